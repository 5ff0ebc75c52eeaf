//! One mistake each in `hallpass.toml`, and every line that is told.

use super::*;

/// The file (the operator is added where it has no `[admin]`), and what is told.
const CASES: &[(&str, &[&str])] = &[
    (
        r#"[sever]
listen = "127.0.0.1:1"
"#,
        &["hallpass.toml:1: sever: unknown key; did you mean `server`?"],
    ),
    (
        r#"server = 1
"#,
        &["hallpass.toml:1: server: is not a table; write [server]"],
    ),
    (
        r#"[server]
listn = "127.0.0.1:1"
"#,
        &["hallpass.toml:2: server.listn: unknown key; did you mean `listen`?"],
    ),
    (
        r#"[server]
listen = "localhost:8700"
"#,
        &[
            r#"hallpass.toml:2: server.listen: invalid socket address syntax; write listen = "127.0.0.1:8700""#,
        ],
    ),
    (
        r#"[server]
listen = 8700
"#,
        &[
            r#"hallpass.toml:2: server.listen: must be a string, not a whole number; write listen = "127.0.0.1:8700""#,
        ],
    ),
    (
        r#"[server]
name = "Broker A"
"#,
        &[
            r#"hallpass.toml:2: server.name: a broker name must be 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit; write name = "broker-1""#,
        ],
    ),
    (
        r#"[server]
public_url = "http://hallpass.example"
"#,
        &[
            r#"hallpass.toml:2: server.public_url: must be https, or http on a loopback host; write public_url = "https://hallpass.example""#,
        ],
    ),
    (
        r#"[server]
public_url = "https://hallpass.example/auth"
"#,
        &[r#"hallpass.toml:2: server.public_url: has a path; write public_url = "https://hallpass.example""#],
    ),
    (
        r#"[server]
public_url = "https://hallpass.example?x=1"
"#,
        &[
            r#"hallpass.toml:2: server.public_url: must not hold a user, password, query or fragment; write public_url = "https://hallpass.example""#,
        ],
    ),
    (
        r#"[server]
public_url = "hallpass.example"
"#,
        &[
            r#"hallpass.toml:2: server.public_url: not a URL such as https://github.com/acme/payments; write public_url = "https://hallpass.example""#,
        ],
    ),
    (
        r#"[server]
listen = "0.0.0.0:8700"
"#,
        &[r#"hallpass.toml:1: server.public_url: is missing; write public_url = "https://hallpass.example""#],
    ),
    (
        r#"[server]
tls = { cert_file = "c", key_file = "k" }
"#,
        &[
            "hallpass.toml:2: server.tls: `tls` is not supported by this version; let a proxy end TLS, and write its https address as public_url",
        ],
    ),
    (
        r#"[server]
listen = "127.0.0.1:8701"
"#,
        &[
            "hallpass.toml:3: admin.listen: is the address of server.listen too; give the listeners an address each, such as 127.0.0.1:8700 and 127.0.0.1:8701",
        ],
    ),
    (
        r#"[[server]]
listen = "127.0.0.1:1"
"#,
        &["hallpass.toml:1: server: is not a table; write [server]"],
    ),
    (
        r#"[server]
listen = "127.0.0.1:1"
listen = "127.0.0.1:2"
"#,
        &["hallpass.toml:3: this key was already written above; keep one of the two"],
    ),
    (
        r#"[server
"#,
        &["hallpass.toml:1: not TOML: unclosed table, expected `]`; see https://toml.io for the syntax"],
    ),
    (
        r#"[admin]
"#,
        &[
            "hallpass.toml:1: admin: no operator could revoke anything; write [[admin.operator]], or local_operator_key_file for one on this machine",
        ],
    ),
    (
        r#"[admin]
listen = "0.0.0.0:8701"
local_operator_key_file = "k"
"#,
        &[
            "hallpass.toml:3: admin.local_operator_key_file: is for an admin listener on this machine alone; write [[admin.operator]] for each operator, or listen on 127.0.0.1",
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
"#,
        &[
            r#"hallpass.toml:2: admin.operator[0].key_sha256: is missing; write key_sha256 = "<what `hallpass operator new` prints>""#,
            r#"hallpass.toml:2: admin.operator[0].name: is missing; write name = "oncall""#,
            r#"hallpass.toml:2: admin.operator[0].roles: is missing; write roles = ["admin"]"#,
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = []
key_sha256 = "KEY_A"
"#,
        &[r#"hallpass.toml:4: admin.operator[0].roles: is empty; write roles = ["admin"]"#],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["root"]
key_sha256 = "KEY_A"
"#,
        &[
            r#"hallpass.toml:4: admin.operator[0].roles[0]: is not one of the roles admin, approver and auditor; write roles = ["admin"]"#,
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "local"
roles = ["admin"]
key_sha256 = "KEY_A"
"#,
        &[
            "hallpass.toml:3: admin.operator[0].name: `local` is the operator that local_operator_key_file makes; write another name, or local_operator_key_file instead",
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "ABC"
"#,
        &[
            r#"hallpass.toml:5: admin.operator[0].key_sha256: not a SHA-256 of 64 lower-case hex digits; write key_sha256 = "<what `hallpass operator new` prints>""#,
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#,
        &[
            "hallpass.toml:5: admin.operator[0].key_sha256: is the hash of no key at all; write the hash that `hallpass operator new` prints",
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "KEY_A"
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "KEY_A"
"#,
        &[
            "hallpass.toml:7: admin.operator[1].name: `oncall` is also the name on line 3; give each operator and resource server a name of its own",
            "hallpass.toml:9: admin.operator[1].key_sha256: is also the key on line 5; make each a key of its own with `hallpass operator new`",
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "KEY_A"
[[resource_server]]
name = "ledger"
origins = ["https://ledger.example"]
key_sha256 = "KEY_A"
"#,
        &[
            "hallpass.toml:9: resource_server[0].key_sha256: is also the key on line 5; make each a key of its own with `hallpass operator new`",
        ],
    ),
    (
        r#"[admin]
[[admin.operator]]
name = "oncall"
roles = ["admin"]
key_sha256 = "KEY_A"
key = "secret"
"#,
        &["hallpass.toml:6: admin.operator[0].key: unknown key; known here: key_sha256, name, roles"],
    ),
    (
        r#"[[resource_server]]
name = "ledger"
origins = []
key_sha256 = "KEY_A"
"#,
        &[
            r#"hallpass.toml:3: resource_server[0].origins: is empty; write origins = ["https://ledger.staging.acme.internal"]"#,
        ],
    ),
    (
        r#"[[resource_server]]
name = "ledger"
origins = ["https://ledger.example/v1"]
key_sha256 = "KEY_A"
"#,
        &[
            r#"hallpass.toml:3: resource_server[0].origins[0]: must not hold a user, password, query or fragment; write origins = ["https://ledger.staging.acme.internal"]"#,
        ],
    ),
    (
        r#"[[resource_server]]
name = "ledger"
origins = ["http://ledger.example"]
key_sha256 = "KEY_A"
"#,
        &[
            r#"hallpass.toml:3: resource_server[0].origins[0]: must be https, or http on a loopback host; write origins = ["https://ledger.staging.acme.internal"]"#,
        ],
    ),
    (
        r#"[[resource_server]]
name = "ledger"
key_sha256 = "KEY_A"
"#,
        &[
            r#"hallpass.toml:1: resource_server[0].origins: is missing; write origins = ["https://ledger.staging.acme.internal"]"#,
        ],
    ),
    (
        r#"[store]
url = "postgres://db.example/hallpass"
"#,
        &[
            "hallpass.toml:2: store.url: PostgreSQL is not supported by this version; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
url = "hallpass.db"
"#,
        &[
            "hallpass.toml:2: store.url: is not a store; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
url = "sqlite://"
"#,
        &[
            "hallpass.toml:2: store.url: names a folder; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
url = "sqlite://agents"
"#,
        &[
            "hallpass.toml:2: store.url: names a folder; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
url = "sqlite://x.db?mode=memory"
"#,
        &[
            "hallpass.toml:2: store.url: must be a file and nothing more: no options, and not memory; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
url = "sqlite://:memory:"
"#,
        &[
            "hallpass.toml:2: store.url: must be a file and nothing more: no options, and not memory; write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db",
        ],
    ),
    (
        r#"[store]
key_encryption_key_file = "missing"
"#,
        &[
            "hallpass.toml:2: store.key_encryption_key_file: missing cannot be used: No such file or directory (os error 2); name a file that hallpass may read, relative to this file or absolute",
        ],
    ),
    (
        r#"[store]
key_encryption_key = "abc"
"#,
        &[
            "hallpass.toml:2: store.key_encryption_key: a secret does not belong in this file; write key_encryption_key_file with the path of a file, or set HALLPASS_STORE__KEY_ENCRYPTION_KEY",
        ],
    ),
    (
        r#"[revocation]
url = "memory"
"#,
        &[
            "hallpass.toml:2: revocation.url: is not a URL; write memory: for one broker, redis://host:6379 or rediss://host:6379 for several",
        ],
    ),
    (
        r#"[revocation]
url = "postgres://db.example/x"
"#,
        &[
            "hallpass.toml:2: revocation.url: PostgreSQL is not supported by this version; write memory: for one broker, redis://host:6379 or rediss://host:6379 for several",
        ],
    ),
    (
        r#"[revocation]
url = "redis://user:pw@redis.example"
"#,
        &[
            "hallpass.toml:2: revocation.url: holds credentials, and URLs end in logs; write revocation.username, and password_file or HALLPASS_REVOCATION__PASSWORD",
        ],
    ),
    (
        r#"[revocation]
url = "redis://:pw@redis.example"
"#,
        &[
            "hallpass.toml:2: revocation.url: holds credentials, and URLs end in logs; write revocation.username, and password_file or HALLPASS_REVOCATION__PASSWORD",
        ],
    ),
    (
        r#"[revocation]
url = "redis://redis.example/main"
"#,
        &[
            "hallpass.toml:2: revocation.url: has more than a host, a port and a database's number; write memory: for one broker, redis://host:6379 or rediss://host:6379 for several",
        ],
    ),
    (
        r#"[revocation]
url = "redis://redis.example?x=1"
"#,
        &[
            "hallpass.toml:2: revocation.url: has more than a host, a port and a database's number; write memory: for one broker, redis://host:6379 or rediss://host:6379 for several",
        ],
    ),
    (
        r#"[revocation]
max_staleness = "0s"
"#,
        &[
            "hallpass.toml:2: revocation.max_staleness: 0s is under the minimum; write a duration from 100ms to 1m",
        ],
    ),
    (
        r#"[revocation]
max_staleness = "2m"
"#,
        &[
            "hallpass.toml:2: revocation.max_staleness: 2m is over the maximum; write a duration from 100ms to 1m",
        ],
    ),
    (
        r#"[revocation]
username = "hallpass"
"#,
        &[
            r#"hallpass.toml:2: revocation.username: has no meaning with revocation.url memory:; take it out, or write url = "redis://…""#,
        ],
    ),
    (
        r#"[revocation]
password = "pw"
"#,
        &[
            "hallpass.toml:2: revocation.password: a secret does not belong in this file; write password_file with the path of a file, or set HALLPASS_REVOCATION__PASSWORD",
        ],
    ),
    (
        r#"[revocation]
url = "redis://redis.example"
password_file = "missing"
"#,
        &[
            "hallpass.toml:3: revocation.password_file: missing cannot be used: No such file or directory (os error 2); name a file that hallpass may read, relative to this file or absolute",
        ],
    ),
    (
        r#"[revocation]
url = "redis://redis.example"
ca_file = "agents"
"#,
        &[
            "hallpass.toml:3: revocation.ca_file: agents cannot be used: it is not a regular file; name a file that hallpass may read, relative to this file or absolute",
            r#"hallpass.toml:3: revocation.ca_file: has no meaning without TLS; write url = "rediss://…""#,
        ],
    ),
    (
        r#"[token]
ttl = "61m"
"#,
        &["hallpass.toml:2: token.ttl: 61m is over the maximum; write a duration from 1s to 1h"],
    ),
    (
        r#"[token]
ttl = "20m"
"#,
        &[
            "hallpass.toml:2: token.ttl: 20m is over guardrails.max_ttl, 15m; write at most 15m, or raise guardrails.max_ttl",
        ],
    ),
    (
        r#"[token]
ttl = "0s"
"#,
        &["hallpass.toml:2: token.ttl: 0s is under the minimum; write a duration from 1s to 1h"],
    ),
    (
        r#"[token]
ttl = "1500ms"
"#,
        &[r#"hallpass.toml:2: token.ttl: is not whole seconds; write whole seconds, such as "90s""#],
    ),
    (
        r#"[token]
algorithm = "HS256"
"#,
        &[
            r#"hallpass.toml:2: token.algorithm: is not one of ES256, EdDSA and RS256; write algorithm = "ES256""#,
        ],
    ),
    (
        r#"[token]
algorithm = "RS256"
"#,
        &[
            r#"hallpass.toml:1: token.rsa_key_file: is missing; write rsa_key_file = "/run/secrets/token-signing-key.pem""#,
        ],
    ),
    (
        r#"[token]
algorithm = "RS256"
rsa_key_file = "hallpass.toml"
"#,
        &[
            "hallpass.toml:3: token.rsa_key_file: is not a private key in PEM; name a PEM file, as `openssl genrsa 3072` writes it",
        ],
    ),
    (
        r#"[token]
rsa_key_file = "hallpass.toml"
"#,
        &[
            r#"hallpass.toml:2: token.rsa_key_file: has no meaning with this algorithm; take it out, or write algorithm = "RS256""#,
        ],
    ),
    (
        r#"[token]
rotate_every = "30m"
"#,
        &[
            "hallpass.toml:2: token.rotate_every: publish_ahead 1h is not shorter than rotate_every 30m; publish each key a part of its time ahead, such as 1h of 30d",
        ],
    ),
    (
        r#"[token]
publish_ahead = "40d"
"#,
        &[
            "hallpass.toml:2: token.publish_ahead: publish_ahead 40d is not shorter than rotate_every 30d; publish each key a part of its time ahead, such as 1h of 30d",
        ],
    ),
    (
        r#"[token]
rotate_every = "10y"
"#,
        &[
            r#"hallpass.toml:2: token.rotate_every: is not a duration: a whole number with ms, s, m, h or d; write rotate_every = "30d""#,
        ],
    ),
    (
        r#"[registry]
path = ""
"#,
        &[r#"hallpass.toml:2: registry.path: is empty; write path = "agents""#],
    ),
    (
        r#"[guardrails]
max_ttl = "2h"
"#,
        &["hallpass.toml:2: guardrails.max_ttl: 2h is over the maximum; write a duration from 1s to 1h"],
    ),
    (
        r#"[guardrails]
max_ttl = "5m"
[token]
ttl = "6m"
"#,
        &[
            "hallpass.toml:4: token.ttl: 6m is over guardrails.max_ttl, 5m; write at most 5m, or raise guardrails.max_ttl",
        ],
    ),
    (
        r#"[guardrails]
protected_refs = ["main"]
"#,
        &[
            r#"hallpass.toml:2: guardrails.protected_refs[0]: a ref starts with `refs/`, so this protects nothing; write "refs/heads/main""#,
        ],
    ),
    (
        r#"[guardrails]
protected_refs = ["refs/**/main"]
"#,
        &[
            r#"hallpass.toml:2: guardrails.protected_refs[0]: `**` may only be the whole last segment, as in `/v1/entries/**`; write protected_refs = ["refs/heads/main"]"#,
        ],
    ),
    (
        r#"[guardrails]
protected_refs = "refs/heads/main"
"#,
        &[
            r#"hallpass.toml:2: guardrails.protected_refs: must be a list of strings, not a string; write protected_refs = ["refs/heads/main"]"#,
        ],
    ),
    (
        r#"[guardrails]
always_gated = ["Merge"]
"#,
        &[
            r#"hallpass.toml:2: guardrails.always_gated[0]: an action is lower-case words such as `push` or `secrets:read`, or an HTTP method such as `GET`; write always_gated = ["merge"]"#,
        ],
    ),
    (
        r#"[guardrails]
never = ["merge"]
always_gated = ["deploy", "merge"]
"#,
        &[
            "hallpass.toml:3: guardrails.always_gated[1]: `merge` is in guardrails.never too; keep it in one of the two",
        ],
    ),
    (
        r#"[guardrails]
production = "never"
"#,
        &[
            r#"hallpass.toml:2: guardrails.production: is not one of free, gated and forbidden; write production = "gated""#,
        ],
    ),
    (
        r#"[limits]
tokens_per_minute = -1
"#,
        &[
            "hallpass.toml:2: limits.tokens_per_minute: is not a whole number from 0 to 4294967295; write tokens_per_minute = 6000",
        ],
    ),
    (
        r#"[limits]
tokens_per_minute = "many"
"#,
        &[
            "hallpass.toml:2: limits.tokens_per_minute: must be a whole number, not a string; write tokens_per_minute = 6000",
        ],
    ),
    (
        r#"[limits]
refusal_per_minute = 60
"#,
        &["hallpass.toml:2: limits.refusal_per_minute: unknown key; did you mean `refusals_per_minute`?"],
    ),
    (
        r#"[[trust_domain]]
name = "acme.internal"
"#,
        &[
            "hallpass.toml:1: trust_domain: `trust_domain` is not supported by this version; prove identities by [[issuer]] or by registered keys",
        ],
    ),
    (
        r#"[[issuer]]
"#,
        &[
            r#"hallpass.toml:1: issuer[0].audience: is missing; write audience = "https://hallpass.example""#,
            r#"hallpass.toml:1: issuer[0].name: is missing; write name = "github""#,
            r#"hallpass.toml:1: issuer[0].url: is missing; write url = "https://token.actions.githubusercontent.com""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "key"
url = "https://gh.example"
audience = "https://h.example"
"#,
        &[
            "hallpass.toml:2: issuer[0].name: `key` is the name of proofs by registered key; write another name",
        ],
    ),
    (
        r#"[[issuer]]
name = "Git Hub"
url = "https://gh.example"
audience = "https://h.example"
"#,
        &[
            r#"hallpass.toml:2: issuer[0].name: an issuer name must be 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit; write name = "github""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
[[issuer]]
name = "other"
url = "https://gh.example/"
audience = "https://h.example"
"#,
        &["hallpass.toml:7: issuer[1].url: is also the url on line 3; configure each issuer once"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
[[issuer]]
name = "github"
url = "https://other.example"
audience = "https://h.example"
"#,
        &[
            "hallpass.toml:6: issuer[1].name: `github` is also the name on line 2; give each issuer a name of its own",
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "http://gh.example"
audience = "https://h.example"
"#,
        &[
            r#"hallpass.toml:3: issuer[0].url: must be https, or http on a loopback host; write url = "https://token.actions.githubusercontent.com""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example?x"
audience = "https://h.example"
"#,
        &[
            r#"hallpass.toml:3: issuer[0].url: has a query or fragment; write url = "https://token.actions.githubusercontent.com""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "gh"
audience = "https://h.example"
"#,
        &[
            r#"hallpass.toml:3: issuer[0].url: is not a URL; write url = "https://token.actions.githubusercontent.com""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = ""
"#,
        &[r#"hallpass.toml:4: issuer[0].audience: is empty; write audience = "https://hallpass.example""#],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
algorithms = []
"#,
        &[r#"hallpass.toml:5: issuer[0].algorithms: is empty; write algorithms = ["RS256", "ES256"]"#],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
algorithms = ["RS256", "HS256"]
"#,
        &[
            r#"hallpass.toml:5: issuer[0].algorithms[1]: is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; write algorithms = ["RS256", "ES256"]"#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
algorithms = ["none"]
"#,
        &[
            r#"hallpass.toml:5: issuer[0].algorithms[0]: is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; write algorithms = ["RS256", "ES256"]"#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
algorithms = ["RS256", "RS256"]
"#,
        &["hallpass.toml:5: issuer[0].algorithms[1]: is written twice; keep one of the two"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
max_age = "25h"
"#,
        &["hallpass.toml:5: issuer[0].max_age: 25h is over the maximum; write a duration from 0s to 1d"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
leeway = "2m"
"#,
        &["hallpass.toml:5: issuer[0].leeway: 2m is over the maximum; write a duration from 0s to 1m"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
stale_keys = "2d"
"#,
        &["hallpass.toml:5: issuer[0].stale_keys: 2d is over the maximum; write a duration from 0s to 1d"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
jwks_url = "http://gh.example/jwks"
"#,
        &[
            r#"hallpass.toml:5: issuer[0].jwks_url: must be https, or http on a loopback host; write jwks_url = "https://issuer.example/jwks.json""#,
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
jwks_file = "missing.json"
"#,
        &[
            "hallpass.toml:5: issuer[0].jwks_file: missing.json cannot be used: No such file or directory (os error 2); name a file that hallpass may read, relative to this file or absolute",
        ],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
jwks_url = "https://gh.example/jwks"
jwks_file = "hallpass.toml"
"#,
        &["hallpass.toml:6: issuer[0].jwks_file: jwks_url names the keys too; keep one of the two"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
jwks_file = "hallpass.toml"
ca_file = "hallpass.toml"
"#,
        &["hallpass.toml:6: issuer[0].ca_file: has no meaning with jwks_file; take one of the two out"],
    ),
    (
        r#"[[issuer]]
name = "github"
url = "https://gh.example"
audience = "https://h.example"
jwks_uri = "https://gh.example/jwks"
"#,
        &["hallpass.toml:5: issuer[0].jwks_uri: unknown key; did you mean `jwks_url`?"],
    ),
];

#[test]
fn each_mistake_is_told_with_its_line_and_remedy() {
    let mut wrong = Vec::new();
    for (at, (text, expected)) in CASES.iter().enumerate() {
        let text = text.replace("KEY_A", KEY_A);
        let whole = if text.contains("[admin]") { text } else { format!("{text}{OPERATOR}") };
        let (dir, file) = folder(&whole);
        let lines = Config::load(&file, []).map_or_else(|mistakes| lines(&dir, &mistakes), |_| Vec::new());
        if lines != *expected || lines.is_empty() {
            wrong.push(format!("case {at}: {whole:?}\n  {}", lines.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
