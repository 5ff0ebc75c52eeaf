use std::fs;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::domain::permission::Tier;
use crate::revocation::settings::{Backend, RedisSettings};

mod environment;
mod files;
mod mistakes;
mod postgres;
mod presets;
mod tls;

const KEY_A: &str = "0b3a4f0c5b8f0d6a7f5e0c1d2b3a49586776859403122130415263748596a7b8";
const OPERATOR: &str = "[admin]\nlocal_operator_key_file = 'operator.key'\n";

/// A folder with `hallpass.toml` of this text and an empty `agents/`.
fn folder(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("agents")).unwrap();
    let file = dir.path().join("hallpass.toml");
    fs::write(&file, text).unwrap();
    (dir, file)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Each mistake as it is printed, without the folder.
fn lines(dir: &TempDir, mistakes: &[Diagnostic]) -> Vec<String> {
    let prefix = format!("{}/", dir.path().display());
    mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
}

fn manifest(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn database(config: &Config) -> PathBuf {
    let StoreSettings::Sqlite { path } = &config.store else { panic!("{:?}", config.store) };
    path.clone()
}

#[test]
fn the_embedded_configuration_and_its_agents_pass() {
    let checked = check(&manifest("config/hallpass.toml"), []).unwrap();
    let agents: Vec<&str> = checked.registry.agents().map(|agent| agent.id.as_str()).collect();
    assert_eq!(agents, ["changelog-writer", "dependency-updater", "payments-refactorer"]);
    assert_eq!(checked.config.server.public_url.as_str(), "http://127.0.0.1:8700");
    let KeyEncryptionKeySource::DefaultFile(key) = &checked.config.key_encryption_key else { panic!() };
    assert!(key.ends_with("data/hallpass.db.key"), "{key:?}");
    assert!(database(&checked.config).ends_with("config/../data/hallpass.db"));
    assert_eq!(checked.config.broker_name.as_str(), "broker");

    // What the file shows are the defaults, so that taking a section out changes nothing.
    let (_dir, file) = folder(OPERATOR);
    let defaults = Config::load(&file, []).unwrap();
    assert_eq!(checked.config.guardrails, defaults.guardrails);
    assert_eq!(checked.config.limits, defaults.limits);
    assert_eq!(checked.config.server.listen, defaults.server.listen);
    assert_eq!(checked.config.admin.listen, defaults.admin.listen);
    assert_eq!(checked.config.revocation.max_staleness, defaults.revocation.max_staleness);
}

/// The example for production with its secrets in a folder of the test, and the agents that ship with it.
fn production() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().display().to_string();
    let text = fs::read_to_string(manifest("config/production.toml")).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let point = "\"crv\":\"P-256\",\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\",\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"";
    let jwk =
        |usage: &str| format!("{{\"keys\":[{{\"kty\":\"EC\",\"kid\":\"1\",\"use\":\"{usage}\",{point}}}]}}");
    write("hallpass-key-encryption-key", &"0123456789abcdef".repeat(4));
    write("hallpass-redis-password", "s3cret\n");
    write("cluster-b-token", "s3cret\n");
    write("partner-bundle.json", &jwk("jwt-svid"));
    write("cluster-jwks.json", &jwk("sig"));
    write("token-signing-key.pem", include_str!("../../../tests/vectors/keys/rsa-2048.test-only.pem"));
    let owner_alone: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    for name in ["hallpass-key-encryption-key", "hallpass-redis-password", "token-signing-key.pem"] {
        fs::set_permissions(dir.path().join(name), owner_alone.clone()).unwrap();
    }
    tls::write_pair(&dir, "hallpass-tls");
    for name in ["redis-ca.pem", "gitlab-ca.pem", "cluster-b-ca.pem", "spire-ca.pem"] {
        fs::copy(dir.path().join("hallpass-tls.pem"), dir.path().join(name)).unwrap();
    }
    fs::create_dir(dir.path().join("agents")).unwrap();
    for entry in fs::read_dir(manifest("config/agents")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join("agents").join(entry.file_name())).unwrap();
    }
    let file = dir.path().join("production.toml");
    fs::write(&file, text.replace("/run/secrets", &secrets)).unwrap();
    (dir, file)
}

#[test]
fn the_example_for_production_passes_and_shows_every_key() {
    let (_dir, file) = production();
    let checked = check(&file, []).unwrap();
    let Backend::Redis(redis) = &checked.config.revocation.backend else {
        panic!("{:?}", checked.config.revocation)
    };
    let RedisSettings { url, username, password, ca_file, client: None, .. } = &**redis else {
        panic!("{redis:?}")
    };
    assert_eq!(url.to_string(), "rediss://redis.acme.internal:6379");
    assert_eq!(username.as_deref(), Some("hallpass"));
    assert_eq!(password.as_ref().map(|password| password.expose_secret()), Some("s3cret"));
    assert!(ca_file.is_some());
    assert!(checked.config.server.tls.is_some() && checked.config.admin.tls.is_some());
    let debug = format!("{checked:?}");
    assert!(!debug.contains("s3cret") && !debug.contains("BEGIN PRIVATE"), "{debug}");

    let text = fs::read_to_string(&file).unwrap();
    let known = Draft::read(&file, [], &Mistakes::default()).known;
    assert!(known.len() > 40, "{known:?}");
    let secret_or_later =
        ["store.key_encryption_key", "store.password", "revocation.password", "admin.tls.client_ca_files"];
    for key in known.iter().filter(|key| !secret_or_later.contains(&key.as_str())) {
        let name = key.rsplit('.').next().unwrap_or(key);
        assert!(text.contains(name), "config/production.toml does not show {key}");
    }
}

#[test]
fn every_key_and_every_variable_is_documented() {
    let manual = fs::read_to_string(manifest("docs/CONFIGURATION.md")).unwrap();
    let (_dir, file) = production();
    let text = fs::read_to_string(&file).unwrap();
    let mistakes = Mistakes::default();
    let document = Document::parse(&file, &text, &mistakes);
    Draft::of(&document, &[], &mistakes);
    let sections =
        ["server", "admin", "store", "revocation", "token", "registry", "guardrails", "limits", "outbound"];
    for key in document.known() {
        let shown = if sections.contains(&key.as_str()) {
            format!("### `[{key}]`")
        } else if ["server.tls", "admin.tls", "admin.tls.client_ca_files"].contains(&key.as_str()) {
            key.clone()
        } else {
            format!("| `{key}` |")
        };
        assert!(manual.contains(&shown), "docs/CONFIGURATION.md does not have {shown}");
    }
    let lists = [
        "GUARDRAILS__PROTECTED_REFS",
        "GUARDRAILS__ALWAYS_GATED",
        "GUARDRAILS__NEVER",
        "SERVER__TLS__CLIENT_CA_FILES",
        "SERVER__TRUSTED_PROXIES",
        "OUTBOUND__NO_PROXY",
    ];
    let lists = lists.map(|list| format!("HALLPASS_{list}"));
    let mut variables = document.known_variables();
    variables.retain(|variable| !lists.contains(variable));
    for variable in variables {
        assert!(manual.contains(&format!("`{variable}`")), "docs/CONFIGURATION.md does not have {variable}");
    }
    for variable in COMMAND_LINE_VARIABLES {
        assert!(manual.contains(&format!("`{variable}`")), "docs/CONFIGURATION.md does not have {variable}");
    }
}

#[test]
fn an_almost_empty_file_gets_strict_defaults() {
    let (dir, file) = folder(OPERATOR);
    let config = Config::load(&file, []).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8700");
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:8700");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8701");
    assert_eq!(config.admin.local_key_file, Some(dir.path().join("operator.key")));
    assert_eq!(config.registry_path, dir.path().join("agents"));
    assert_eq!(config.guardrails.ttl.as_secs(), 600);
    assert_eq!(config.guardrails.max_ttl.as_secs(), 900);
    assert_eq!(format!("{:?}", config.guardrails.never), "{access:write, secrets:read}");
    assert_eq!(format!("{:?}", config.guardrails.always_gated), "{deploy, merge}");
    assert_eq!(config.guardrails.protected_refs.len(), 2);
    assert_eq!(config.guardrails.production, Tier::Gated);
    assert_eq!(config.limits.tokens_per_minute.map(|limit| limit.get()), Some(6000));
    assert!(matches!(config.revocation.backend, Backend::Memory));
    assert_eq!(config.token.rotate_every.as_secs(), 30 * 86_400);
    assert!(!config.dpop_nonce);
}

#[test]
fn a_default_gives_way_to_a_stricter_key() {
    let strict = "[guardrails]\nmax_ttl = '5m'\nnever = ['merge']\n";
    let (_dir, file) = folder(&format!("{OPERATOR}{strict}"));
    let guardrails = Config::load(&file, []).unwrap().guardrails;
    assert_eq!(guardrails.ttl.as_secs(), 300);
    assert_eq!(format!("{:?} {:?}", guardrails.never, guardrails.always_gated), "{merge} {deploy, merge}");
}

#[test]
fn every_scalar_answers_to_its_variable() {
    let (dir, file) = folder(OPERATOR);
    let password = dir.path().join("password");
    fs::write(&password, "hunter2\n").unwrap();
    let config = Config::load(
        &file,
        variables(&[
            ("HALLPASS_SERVER__LISTEN", "127.0.0.1:0"),
            ("HALLPASS_SERVER__PUBLIC_URL", "https://Hall.Example:443/"),
            ("HALLPASS_SERVER__NAME", "broker-7"),
            ("HALLPASS_STORE__URL", "sqlite://data/x.db"),
            ("HALLPASS_STORE__KEY_ENCRYPTION_KEY", &"4b".repeat(32)),
            ("HALLPASS_REVOCATION__URL", "redis://127.0.0.1:6379"),
            ("HALLPASS_REVOCATION__MAX_STALENESS", "500ms"),
            ("HALLPASS_REVOCATION__PASSWORD_FILE", password.to_str().unwrap()),
            ("HALLPASS_TOKEN__TTL", "5m"),
            ("HALLPASS_TOKEN__ALGORITHM", "EdDSA"),
            ("HALLPASS_TOKEN__DPOP_NONCE", "true"),
            ("HALLPASS_LIMITS__TOKENS_PER_MINUTE", "0"),
            ("HALLPASS_GUARDRAILS__PRODUCTION", "forbidden"),
            ("HALLPASS_CONFIG", "elsewhere"),
            ("PATH", "/bin"),
        ]),
    )
    .unwrap();
    assert_eq!(config.server.public_url.as_str(), "https://hall.example");
    assert_eq!(config.broker_name.as_str(), "broker-7");
    // Relative to the working directory, for no file names it.
    assert_eq!(database(&config), PathBuf::from("data/x.db"));
    assert!(matches!(&config.key_encryption_key, KeyEncryptionKeySource::Text(_)));
    assert!(!format!("{config:?}").contains("4b4b"));
    assert_eq!(config.revocation.max_staleness.as_millis(), 500);
    let Backend::Redis(redis) = &config.revocation.backend else { panic!() };
    assert_eq!(redis.password.as_ref().unwrap().expose_secret(), "hunter2");
    assert_eq!(config.guardrails.ttl.as_secs(), 300);
    assert!(config.dpop_nonce);
    assert_eq!(config.limits.tokens_per_minute, None);
    assert_eq!(config.guardrails.production, Tier::Forbidden);
}

#[test]
fn two_sources_of_one_secret_and_a_list_in_a_variable_are_refused() {
    let (dir, file) = folder(&format!(
        "{OPERATOR}[store]\nkey_encryption_key_file = 'kek'\n\
         [revocation]\nurl = 'redis://h'\npassword_file = 'hallpass.toml'\n"
    ));
    fs::write(dir.path().join("kek"), "4b".repeat(32)).unwrap();
    let set = variables(&[
        ("HALLPASS_STORE__KEY_ENCRYPTION_KEY", "x"),
        ("HALLPASS_REVOCATION__PASSWORD", "x"),
        ("HALLPASS_GUARDRAILS__NEVER", "[]"),
        ("HALLPASS_REGISTRY__PATH", ""),
    ]);
    assert_eq!(
        lines(&dir, &Config::load(&file, set).unwrap_err()),
        [
            "environment: HALLPASS_GUARDRAILS__NEVER: a list cannot come from the environment; write it in the file",
            "environment: HALLPASS_REGISTRY__PATH: is empty; set HALLPASS_REGISTRY__PATH=agents",
            "environment: HALLPASS_REVOCATION__PASSWORD: revocation.password_file names one too; keep one of the two",
            "environment: HALLPASS_STORE__KEY_ENCRYPTION_KEY: store.key_encryption_key_file names a key too; keep one of the two",
        ]
    );
}

#[test]
fn no_mistake_repeats_a_secret() {
    let canary = "canary-5ecret";
    let text = format!(
        "{OPERATOR}[store]\nurl = 'postgres://u:{canary}@h/db'\nkey_encryption_key = '{canary}'\n\
         [revocation]\nurl = 'redis://u:{canary}@h'\npassword = '{canary}'\n\
         [server]\npublic_url = 'https://u:{canary}@h'\n[[issuer]]\nname = 'ci'\nurl = 'https://u:{canary}@h'\n\
         [[resource_server]]\nname = 'r'\norigins = ['https://h']\nkey_sha256 = '{canary}'\n"
    );
    let (_dir, file) = folder(&text);
    let set = variables(&[
        ("HALLPASS_STORE__KEY_ENCRYPTION_KEY", canary),
        ("HALLPASS_REVOCATION__PASSWROD", canary),
    ]);
    let told = Config::load(&file, set).unwrap_err();
    assert!(told.len() >= 9, "{told:?}");
    assert!(!format!("{told:?}").contains(canary), "{told:?}");
}

#[test]
fn one_check_tells_every_mistake_of_every_file() {
    let (dir, file) = folder(
        "[server]\nlisten = 'nowhere'\n[guardrails]\nmax_ttl = '5m'\n[token]\nttl = '5m'\n[[issuer]]\nname = 'github'\n",
    );
    let agent = |name: &str, text: &str| fs::write(dir.path().join("agents").join(name), text).unwrap();
    agent("a.toml", "owner = 'team-a'\nmax_ttl = '6m'\n");
    agent("b.toml", "purpose = \n");
    agent("Bad Name.toml", "purpose = 'x'\n");
    let told = lines(&dir, &check(&file, variables(&[("HALLPASS_TOKEN__ALGORITHM", "none")])).unwrap_err());
    insta::assert_snapshot!(told.join("\n"), @r#"
    agents/Bad Name.toml: an agent id must be 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit; rename the file: its name is the agent's id
    agents/Bad Name.toml:1: the agent has no permission; write [[repository]] or [[endpoint]] with what it may do
    agents/Bad Name.toml:1: identity: is missing, so no workload could prove to be this agent; write [[identity]] with issuer and claims, with spiffe, or with key
    agents/Bad Name.toml:1: owner: is missing; write owner = "team-payments"
    agents/a.toml:1: the agent has no permission; write [[repository]] or [[endpoint]] with what it may do
    agents/a.toml:1: identity: is missing, so no workload could prove to be this agent; write [[identity]] with issuer and claims, with spiffe, or with key
    agents/a.toml:1: purpose: is missing; write purpose = "Says in one sentence what the agent is for."
    agents/a.toml:2: max_ttl: 6m is over guardrails.max_ttl, 5m; write at most 5m
    agents/b.toml:1: not TOML: string values must be quoted, expected literal string; see https://toml.io for the syntax
    hallpass.toml:1: admin: no operator could revoke anything; write [[admin.operator]], or local_operator_key_file for one on this machine
    hallpass.toml:2: server.listen: "nowhere": invalid socket address syntax; write listen = "127.0.0.1:8700"
    hallpass.toml:7: issuer[0].audience: is missing; write audience = "https://hallpass.example"
    hallpass.toml:7: issuer[0].url: is missing; write url = "https://token.actions.githubusercontent.com"
    environment: HALLPASS_TOKEN__ALGORITHM: "none" is not one of ES256, EdDSA and RS256; set HALLPASS_TOKEN__ALGORITHM=ES256
    "#);
}

#[test]
fn agent_files_are_judged_by_what_could_be_read_of_a_broken_configuration() {
    let (dir, file) = folder("[guardrails]\nnever = ['explode']\n[[issuer]]\nname = \n");
    let agent = "purpose = 'p'\nowner = 'o'\n[[identity]]\nissuer = 'anyone'\nclaims = { sub = 'x' }\n\
                 [[repository]]\nname = 'r'\nurl = 'https://h/r'\nfree = ['explode']\n";
    fs::write(dir.path().join("agents/a.toml"), agent).unwrap();
    let told = lines(&dir, &check(&file, []).unwrap_err());
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        "agents/a.toml:9: repository[0].free[0]: guardrails.never forbids `explode`; take it out"
    );
    assert!(told[1].starts_with("hallpass.toml:4: not TOML: "), "{told:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_one_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let told = lines(&dir, &check(&dir.path().join("hallpass.toml"), []).unwrap_err());
    assert_eq!(told, ["hallpass.toml: there is no such file; make it, or correct the path"]);
    let told = lines(&dir, &Config::load(dir.path(), []).unwrap_err());
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("is a folder; write a file of this name"), "{told:?}");
}
