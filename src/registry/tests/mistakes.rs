//! One mistake each: what is changed in a good file, and every line that is told.

use super::*;

/// What in [`GOOD`] is replaced, by what, and what is told.
const CASES: &[(&str, &str, &[&str])] = &[
    (
        r#"purpose = "Changes code."
"#,
        "",
        &[r#"a.toml:1: purpose: is missing; write purpose = "Says in one sentence what the agent is for.""#],
    ),
    (
        r#""Changes code.""#,
        r#""""#,
        &[r#"a.toml:1: purpose: is empty; write purpose = "Says in one sentence what the agent is for.""#],
    ),
    (
        r#""Changes code.""#,
        r#""Two\nlines""#,
        &["a.toml:1: purpose: has a line break or control character; write one plain sentence"],
    ),
    (
        "purpose =",
        "purpsoe =",
        &[
            r#"a.toml:1: purpose: is missing; write purpose = "Says in one sentence what the agent is for.""#,
            "a.toml:1: purpsoe: unknown key; did you mean `purpose`?",
        ],
    ),
    (
        r#"owner   = "team-a"
"#,
        "",
        &[r#"a.toml:1: owner: is missing; write owner = "team-payments""#],
    ),
    (r#""team-a""#, r#"" ""#, &[r#"a.toml:2: owner: is empty; write owner = "team-payments""#]),
    (
        r#""team-a""#,
        r#""the team""#,
        &[
            r#"a.toml:2: owner: an owner must be 1 to 64 of A-Z a-z 0-9 . _ - / @, starting with a letter, digit or @; write owner = "team-payments""#,
        ],
    ),
    (
        r#""team-a""#,
        "7",
        &[r#"a.toml:2: owner: must be a string, not a whole number; write owner = "team-payments""#],
    ),
    (
        r#"max_ttl = "10m""#,
        "max_ttl = 600",
        &[r#"a.toml:3: max_ttl: must be a string, not a whole number; write max_ttl = "10m""#],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "ten minutes""#,
        &[
            r#"a.toml:3: max_ttl: is not a duration: a whole number with ms, s, m, h or d; write max_ttl = "10m""#,
        ],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "16m""#,
        &["a.toml:3: max_ttl: 16m is over guardrails.max_ttl, 15m; write at most 15m"],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "61m""#,
        &["a.toml:3: max_ttl: 61m is over the maximum; write a duration from 1s to 1h"],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "0s""#,
        &["a.toml:3: max_ttl: 0s is under the minimum; write a duration from 1s to 1h"],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "1500ms""#,
        &[r#"a.toml:3: max_ttl: is not whole seconds; write whole seconds, such as "90s""#],
    ),
    (
        r#"max_ttl = "10m""#,
        "tokens_per_minute = 6001",
        &["a.toml:3: tokens_per_minute: 6001 is over limits.tokens_per_minute, 6000; write at most 6000"],
    ),
    (
        r#"max_ttl = "10m""#,
        "tokens_per_minute = 0",
        &[
            "a.toml:3: tokens_per_minute: 0 would let it have no token; write at least 1, or leave the key out for the limit of all agents",
        ],
    ),
    (
        r#"max_ttl = "10m""#,
        "tokens_per_minute = -1",
        &[
            "a.toml:3: tokens_per_minute: is not a whole number from 0 to 4294967295; write tokens_per_minute = 60",
        ],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"colour = "red""#,
        &[
            "a.toml:3: colour: unknown key; known here: endpoint, identity, max_ttl, owner, purpose, repository, tokens_per_minute",
        ],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"owner = "team-b""#,
        &["a.toml:3: this key was already written above; keep one of the two"],
    ),
    (
        r#"max_ttl = "10m""#,
        r#"max_ttl = "10m"#,
        &[r#"a.toml:3: not TOML: invalid basic string, expected `"`; see https://toml.io for the syntax"#],
    ),
    (
        r#"[[identity]]
issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
"#,
        "",
        &[
            "a.toml:1: identity: is missing, so no workload could prove to be this agent; write [[identity]] with issuer and claims, or with key",
        ],
    ),
    ("[[identity]]", "[identity]", &["a.toml:5: identity: is not a list of tables; write [[identity]]"]),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
"#,
        "",
        &["a.toml:5: identity[0]: names no workload; write issuer and claims, or key"],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"spiffe = "spiffe://acme.internal/x""#,
        &[
            "a.toml:6: identity[0].spiffe: `spiffe` is not supported by this version; prove the identity by `issuer` and `claims`, or by `key`",
        ],
    ),
    (
        r#"issuer = "github"
"#,
        "",
        &[r#"a.toml:5: identity[0].issuer: is missing; write issuer = "github""#],
    ),
    (
        r#""github""#,
        r#""githbu""#,
        &["a.toml:6: identity[0].issuer: no issuer is configured as `githbu`; did you mean `github`?"],
    ),
    (
        r#""github""#,
        r#""okta""#,
        &[
            "a.toml:6: identity[0].issuer: no issuer is configured as `okta`; configure it as [[issuer]], or write one of github, gitlab",
        ],
    ),
    (
        r#"claims = { repository_id = "1", ref = "refs/heads/main" }
"#,
        "",
        &[
            r#"a.toml:5: identity[0].claims: is missing; write claims = { repository_id = "456789", ref = "refs/heads/main" }"#,
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        "{}",
        &[
            r#"a.toml:7: identity[0].claims: is empty, so every workload of the issuer would match; write claims = { repository_id = "456789", ref = "refs/heads/main" }"#,
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        "{ repository_id = 1 }",
        &[
            r#"a.toml:7: identity[0].claims.repository_id: must be a string, not a whole number; write repository_id = "the value, as a string""#,
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ repository_id = "" }"#,
        &[
            r#"a.toml:7: identity[0].claims.repository_id: is empty; write repository_id = "the value, as a string""#,
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ repository_id = "1", sub = "*" }"#,
        &["a.toml:7: identity[0].claims.sub: matches every value; write the value, or leave the claim out"],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "**" }"#,
        &["a.toml:7: identity[0].claims.sub: matches every value; write the value, or leave the claim out"],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "*:*" }"#,
        &["a.toml:7: identity[0].claims.sub: matches every value; write the value, or leave the claim out"],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:*" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: sub would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:*/code:ref:refs/heads/main" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: sub would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ repository = "acme/*" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: repository would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "system:serviceaccount:**" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: sub would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "https://github.com/**" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: sub would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ ref = "refs/heads/main", event_name = "push" }"#,
        &[
            "a.toml:7: identity[0].claims: is too broad: event_name, ref would match workloads of strangers; add a claim that names the workload exactly, such as repository_id or sub",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "^repo:acme/code:.*$" }"#,
        &[
            "a.toml:7: identity[0].claims.sub: `^` looks like a regular expression, which no policy here is; write the whole value; `*` stands for what lies between `:` and `/`",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:acme/.*:ref:refs/heads/main" }"#,
        &[
            "a.toml:7: identity[0].claims.sub: `.*` looks like a regular expression, which no policy here is; write the whole value; `*` stands for what lies between `:` and `/`",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:acme/a|repo:acme/b" }"#,
        &[
            "a.toml:7: identity[0].claims.sub: `|` looks like a regular expression, which no policy here is; write the whole value; `*` stands for what lies between `:` and `/`",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:acme/(?:a)" }"#,
        &[
            "a.toml:7: identity[0].claims.sub: `(?` looks like a regular expression, which no policy here is; write the whole value; `*` stands for what lies between `:` and `/`",
        ],
    ),
    (
        r#"{ repository_id = "1", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:acme/code:***" }"#,
        &[
            r#"a.toml:7: identity[0].claims.sub: `***` means nothing; write `*` (one segment) or `**` (all that follows); write sub = "the value, as a string""#,
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:6: identity[0].issuer: does not go together with `key`; write one [[identity]] with key, and one with issuer and claims",
            "a.toml:7: identity[0].claims: does not go together with `key`; write one [[identity]] with key, and one with issuer and claims",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }
[[identity]]
key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:7: identity[1]: is the same key as identity[0] in a.toml:5; make each agent a key of its own",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
[[identity]]
issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        &[
            "a.toml:8: identity[1]: is the same rule as identity[0] in a.toml:5; keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
[[identity]]
issuer = "github"
claims = { repository_id = "1" }"#,
        &[
            "a.toml:8: identity[1]: matches every workload that is matched by identity[0] in a.toml:5; keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }
[[identity]]
issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main", actor = "bot" }"#,
        &[
            "a.toml:8: identity[1]: matches only workloads that are matched by identity[0] in a.toml:5; keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"issuer = "github"
claims = { sub = "repo:acme/*:ref:refs/heads/main" }
[[identity]]
issuer = "github"
claims = { sub = "repo:acme/code:*:refs/heads/main" }"#,
        &[
            "a.toml:8: identity[1]: can match the same workload as identity[0] in a.toml:5; keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", d = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:6: identity[0].key.d: this is a private key: anyone who read this file has it; make a new one with `hallpass keygen` and write only what that prints for this file",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "RSA", crv = "P-256", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:6: identity[0].key.crv: this kind of key is not supported; write kty OKP with crv Ed25519, or kty EC with crv P-256 or P-384",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "EC", crv = "secp256k1", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", y = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:6: identity[0].key.crv: this kind of key is not supported; write kty OKP with crv Ed25519, or kty EC with crv P-256 or P-384",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAEC" }"#,
        &["a.toml:6: identity[0].key.x: holds 3 bytes, where this curve has 32; copy the public key whole"],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" }"#,
        &[
            "a.toml:6: identity[0].key.x: is not base64url without padding; copy the value as `hallpass keygen` prints it",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519" }"#,
        &[r#"a.toml:6: identity[0].key.x: is missing; write x = "…""#],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", y = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &["a.toml:6: identity[0].key.y: an OKP key has no y; leave it out"],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "EC", crv = "P-256", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[r#"a.toml:6: identity[0].key.y: is missing; write y = "…""#],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "EC", crv = "P-384", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", y = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" }"#,
        &[
            "a.toml:6: identity[0].key.x: holds 32 bytes, where this curve has 48; copy the public key whole",
            "a.toml:6: identity[0].key.y: holds 32 bytes, where this curve has 48; copy the public key whole",
        ],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = { kty = "OKP", crv = "Ed25519", x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", kid = "1" }"#,
        &["a.toml:6: identity[0].key.kid: unknown key; known here: crv, kty, x, y"],
    ),
    (
        r#"issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }"#,
        r#"key = "abc""#,
        &[
            r#"a.toml:6: identity[0].key: must be a table, not a string; write key = { kty = "OKP", crv = "Ed25519", x = "…" }"#,
        ],
    ),
    (
        r#"name  = "code"
"#,
        "",
        &[r#"a.toml:9: repository[0].name: is missing; write name = "payments""#],
    ),
    (
        r#"name  = "code""#,
        r#"name  = "Code""#,
        &[
            r#"a.toml:10: repository[0].name: a permission name must be 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit; write name = "payments""#,
        ],
    ),
    (
        r#"name  = "api""#,
        r#"name  = "code""#,
        &[
            "a.toml:17: endpoint[0].name: `code` is also the name of repository[0].name; give each permission a name of its own",
        ],
    ),
    (
        "https://github.com/acme/code",
        "http://github.com/acme/code",
        &[
            r#"a.toml:11: repository[0].url: must be https, or http on a loopback host; write url = "https://github.com/acme/payments""#,
        ],
    ),
    (
        "https://github.com/acme/code",
        "https://github.com",
        &[
            "a.toml:11: repository[0].url: names a whole host; write the repository's own URL, such as https://github.com/acme/payments",
        ],
    ),
    (
        "https://github.com/acme/code",
        "https://me:pw@github.com/acme/code",
        &[
            r#"a.toml:11: repository[0].url: must not hold a user, password, query or fragment; write url = "https://github.com/acme/payments""#,
        ],
    ),
    (
        "https://github.com/acme/code",
        "github.com/acme/code",
        &[
            r#"a.toml:11: repository[0].url: not a URL such as https://github.com/acme/payments; write url = "https://github.com/acme/payments""#,
        ],
    ),
    (
        r#"refs  = ["refs/heads/agent/*"]
"#,
        "",
        &[
            r#"a.toml:9: repository[0].refs: is missing, so `push` would reach every ref; write refs = ["refs/heads/agent/*"]"#,
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        "[]",
        &[r#"a.toml:12: repository[0].refs: is empty; write refs = ["refs/heads/agent/*"]"#],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#""refs/heads/agent/*""#,
        &[
            r#"a.toml:12: repository[0].refs: must be a list of strings, not a string; write refs = ["refs/heads/agent/*"]"#,
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["agent/*"]"#,
        &[
            r#"a.toml:12: repository[0].refs[0]: a ref starts with `refs/`; write refs = ["refs/heads/agent/*"]"#,
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["refs/heads/agent/*",
  "refs/heads/*"]"#,
        &[
            "a.toml:13: repository[0].refs[1]: `push` to refs/heads/* could reach refs/heads/main, which guardrails protect; write a narrower ref, such as refs/heads/agent/*",
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["refs/**"]"#,
        &[
            "a.toml:12: repository[0].refs[0]: `push` to refs/** could reach refs/heads/main, which guardrails protect; write a narrower ref, such as refs/heads/agent/*",
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["refs/heads/release/1.0"]"#,
        &[
            "a.toml:12: repository[0].refs[0]: `push` to refs/heads/release/1.0 could reach refs/heads/release/**, which guardrails protect; write a narrower ref, such as refs/heads/agent/*",
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["refs/heads/**/x"]"#,
        &[
            r#"a.toml:12: repository[0].refs[0]: `**` may only be the whole last segment, as in `/v1/entries/**`; write refs = ["refs/heads/agent/*"]"#,
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["^refs/heads/agent/x$"]"#,
        &[
            "a.toml:12: repository[0].refs[0]: `^` looks like a regular expression, which no policy here is; `*` stands for what lies between two `/`, and `**` at the end for all that follows",
        ],
    ),
    (
        r#"["refs/heads/agent/*"]"#,
        r#"["refs/heads/agent/*", "refs/heads/agent/*"]"#,
        &["a.toml:12: repository[0].refs[1]: is written twice; keep one of the two"],
    ),
    (
        r#"free  = ["read", "push"]
gated = ["merge"]
"#,
        "",
        &[r#"a.toml:9: repository[0]: allows nothing; write free = ["read"]"#],
    ),
    (
        r#"free  = ["read", "push"]
gated = ["merge"]"#,
        "free  = []",
        &[r#"a.toml:9: repository[0]: allows nothing; write free = ["read"]"#],
    ),
    (
        r#"["read", "push"]"#,
        r#"["read", "merge"]"#,
        &[
            "a.toml:13: repository[0].free[1]: guardrails.always_gated gates `merge`; move it to gated",
            "a.toml:14: repository[0].gated[0]: `merge` is both free and gated; keep it in one of the two",
        ],
    ),
    (
        r#"["read", "push"]"#,
        r#"["read", "secrets:read"]"#,
        &["a.toml:13: repository[0].free[1]: guardrails.never forbids `secrets:read`; take it out"],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"gated = ["access:write"]"#,
        &["a.toml:14: repository[0].gated[0]: guardrails.never forbids `access:write`; take it out"],
    ),
    (
        r#"["read", "push"]"#,
        r#"["read", "psuh"]"#,
        &["a.toml:13: repository[0].free[1]: `psuh` is no known action; did you mean `push`?"],
    ),
    (
        r#"["read", "push"]"#,
        r#"["GET"]"#,
        &[
            "a.toml:13: repository[0].free[0]: `GET` is no action on a repository; write words such as read, push or merge",
        ],
    ),
    (
        r#"["read", "push"]"#,
        r#"["Read"]"#,
        &[
            r#"a.toml:13: repository[0].free[0]: an action is lower-case words such as `push` or `secrets:read`, or an HTTP method such as `GET`; write free = ["read"]"#,
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"gated = ["read"]"#,
        &["a.toml:14: repository[0].gated[0]: `read` is both free and gated; keep it in one of the two"],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"environment = "production""#,
        &[
            "a.toml:13: repository[0].free[0]: guardrails.production gates every action in production, `read` too; move it to gated",
            "a.toml:13: repository[0].free[1]: guardrails.production gates every action in production, `push` too; move it to gated",
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"environment = "prod""#,
        &[
            r#"a.toml:14: repository[0].environment: would escape guardrails.production, which rules the environment `production` alone; write environment = "production""#,
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"environment = "Production""#,
        &[
            r#"a.toml:14: repository[0].environment: would escape guardrails.production, which rules the environment `production` alone; write environment = "production""#,
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"environment = "producton""#,
        &[
            r#"a.toml:14: repository[0].environment: would escape guardrails.production, which rules the environment `production` alone; write environment = "production""#,
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"environment = "QA 2""#,
        &[
            r#"a.toml:14: repository[0].environment: is not an environment's name; write 1 to 64 of a-z 0-9 . _ -, such as "staging""#,
        ],
    ),
    (
        r#"gated = ["merge"]"#,
        r#"paths = ["/"]"#,
        &[
            "a.toml:14: repository[0].paths: unknown key; known here: environment, free, gated, name, refs, url",
        ],
    ),
    (
        "https://api.acme.internal",
        "https://api.acme.internal/v1",
        &[
            r#"a.toml:18: endpoint[0].url: has a path; write url = "https://api.acme.internal", and the path in paths"#,
        ],
    ),
    (
        "https://api.acme.internal",
        "http://api.acme.internal",
        &[
            r#"a.toml:18: endpoint[0].url: must be https, or http on a loopback host; write url = "https://ledger.staging.acme.internal""#,
        ],
    ),
    (
        r#"paths = ["/v1/**"]
"#,
        "",
        &[
            r#"a.toml:16: endpoint[0].paths: is missing; write paths = ["/v1/entries/**"], or ["/**"] for every path"#,
        ],
    ),
    (
        r#"["/v1/**"]"#,
        r#"["v1/**"]"#,
        &[r#"a.toml:20: endpoint[0].paths[0]: a path starts with `/`; write paths = ["/v1/entries/**"]"#],
    ),
    (
        r#"["/v1/**"]"#,
        r#"["/v1/%2e%2e"]"#,
        &[
            r#"a.toml:20: endpoint[0].paths[0]: `%`, `\`, `;`, `?` and `#` never match; write the decoded path alone; write paths = ["/v1/entries/**"]"#,
        ],
    ),
    (
        r#"["/v1/**"]"#,
        r#"["/v1/../admin"]"#,
        &[
            r#"a.toml:20: endpoint[0].paths[0]: empty, `.` and `..` segments never match; write paths = ["/v1/entries/**"]"#,
        ],
    ),
    (
        r#"["/v1/**"]"#,
        r#"["/v1/.*"]"#,
        &[
            "a.toml:20: endpoint[0].paths[0]: `.*` looks like a regular expression, which no policy here is; `*` stands for what lies between two `/`, and `**` at the end for all that follows",
        ],
    ),
    (
        r#"free  = ["GET"]"#,
        r#"free  = ["GTE"]"#,
        &["a.toml:21: endpoint[0].free[0]: `GTE` is no known action; did you mean `GET`?"],
    ),
    (
        r#"free  = ["GET"]"#,
        r#"free  = ["read"]"#,
        &[
            "a.toml:21: endpoint[0].free[0]: `read` is no action on an endpoint; write HTTP methods such as GET or POST",
        ],
    ),
    (
        r#"free  = ["GET"]"#,
        r#"free  = ["POST"]"#,
        &["a.toml:22: endpoint[0].gated[0]: `POST` is both free and gated; keep it in one of the two"],
    ),
    (
        r#""staging""#,
        r#""production""#,
        &[
            "a.toml:21: endpoint[0].free[0]: guardrails.production gates every action in production, `GET` too; move it to gated",
        ],
    ),
];

#[test]
fn each_mistake_is_told_with_its_line_and_remedy() {
    let mut wrong = Vec::new();
    for (at, (from, to, expected)) in CASES.iter().enumerate() {
        assert!(GOOD.contains(from), "case {at}: {from}");
        let lines = told(&[("a.toml", &GOOD.replacen(from, to, 1))]);
        if lines != *expected || lines.is_empty() {
            wrong.push(format!("case {at}: {to:?}\n  {}", lines.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn identities_that_two_agents_share_are_told_at_the_later_file() {
    let claims = |claims: &str| GOOD.replace(r#"{ repository_id = "1", ref = "refs/heads/main" }"#, claims);
    let wide = claims(r#"{ repository_id = "1" }"#);
    let told = |a: &str, b: &str| told(&[("a.toml", a), ("b.toml", b)]);
    let remedy = "keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`";
    let line = |how: &str| [format!("b.toml:5: identity[0]: {how} identity[0] in a.toml:5; {remedy}")];
    assert_eq!(told(GOOD, GOOD), line("is the same rule as"));
    assert_eq!(told(GOOD, &wide), line("matches every workload that is matched by"));
    assert_eq!(told(&wide, GOOD), line("matches only workloads that are matched by"));
    let one = claims(r#"{ sub = "repo:acme/*:ref:refs/heads/main" }"#);
    let other = claims(r#"{ sub = "repo:acme/code:*:refs/heads/main" }"#);
    assert_eq!(told(&one, &other), line("can match the same workload as"));
    assert_eq!(told(GOOD, &GOOD.replace("\"github\"", "\"gitlab\"")), [""; 0]);
}
