//! Files that the configuration names: what `serve` refuses, `check-config` refuses.

use super::*;

/// Every file that the example for production names, and that of the local operator.
const NAMED: [&str; 13] = [
    "hallpass-tls.pem",
    "hallpass-tls.key",
    "hallpass-key-encryption-key",
    "hallpass-redis-password",
    "redis-ca.pem",
    "token-signing-key.pem",
    "gitlab-ca.pem",
    "cluster-b-ca.pem",
    "cluster-b-token",
    "cluster-jwks.json",
    "spire-ca.pem",
    "partner-bundle.json",
    "clients.pem",
];

/// With every key of a file in use.
fn with_all() -> (TempDir, PathBuf) {
    let (dir, file) = production();
    let secrets = dir.path().display().to_string();
    let text = fs::read_to_string(&file).unwrap();
    let clients = format!("client_ca_files = [\"{secrets}/clients.pem\"], key_file = \"");
    let text = text.replacen("key_file = \"", &clients, 1);
    fs::copy(dir.path().join("hallpass-tls.pem"), dir.path().join("clients.pem")).unwrap();
    fs::write(&file, text).unwrap();
    (dir, file)
}

#[test]
fn a_named_file_that_holds_something_else_is_a_mistake() {
    let (dir, file) = with_all();
    check(&file, []).unwrap();
    for name in NAMED {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        // A bearer token and a password may be any text.
        let any_text = name == "cluster-b-token" || name == "hallpass-redis-password";
        let broken: &[u8] = if any_text { b"" } else { b"something else" };
        fs::write(&path, broken).unwrap();
        let told = check(&file, []).err().unwrap_or_default();
        assert!(name == "cluster-b-token" || !told.is_empty(), "{name}");
        // On a machine without the secrets nothing is told of them.
        let skipped = check_without_files(&file, []).unwrap();
        assert_eq!(skipped.registry.agents().len(), 3);
        fs::remove_file(&path).unwrap();
        assert!(!check(&file, []).unwrap_err().is_empty(), "{name} is not there");
        check_without_files(&file, []).unwrap();
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn keys_that_the_broker_makes_are_judged_where_they_are() {
    let (dir, file) = folder(&format!("{OPERATOR}[store]\nurl = 'sqlite://hallpass.db'\n"));
    check(&file, []).unwrap();
    let told = |name: &str, text: &[u8]| {
        fs::write(dir.path().join(name), text).unwrap();
        let told = lines(&dir, &check(&file, []).unwrap_err());
        fs::remove_file(dir.path().join(name)).unwrap();
        told
    };
    assert_eq!(
        told("operator.key", b" \n"),
        [
            "hallpass.toml:2: admin.local_operator_key_file: operator.key cannot be used: it is empty; name a file that \
          hallpass may read, relative to this file or absolute"
        ]
    );
    let key = told("hallpass.db.key", b"hunter2-canary");
    assert!(key.len() == 1 && key[0].contains("is no key-encryption key"), "{key:?}");
    assert!(!key[0].contains("canary"), "{key:?}");
    let set = variables(&[("HALLPASS_STORE__KEY_ENCRYPTION_KEY", "hunter2-canary")]);
    let told = lines(&dir, &check(&file, set).unwrap_err());
    assert!(told.len() == 1 && !told[0].contains("canary"), "{told:?}");
}

#[test]
fn agents_alone_are_judged_under_a_configuration_that_is_not_whole() {
    let (dir, file) = folder("[guardrails]\nmax_ttl = '5m'\n[server]\nlisten = 'nowhere'\n");
    let agent = |text: &str| fs::write(dir.path().join("agents/a.toml"), text).unwrap();
    let good = "purpose = 'p'\nowner = 'o'\n[[identity]]\nkey = { kty = 'OKP', crv = 'Ed25519', x = \
                '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }\n[[repository]]\nname = 'r'\nurl = 'https://h/r'\nfree = ['read']\n";
    agent(good);
    assert_eq!(check_agents(&file, []).unwrap().agents().len(), 1);
    agent(&format!("max_ttl = '6m'\n{good}"));
    let told = lines(&dir, &check_agents(&file, []).unwrap_err());
    assert_eq!(told, ["agents/a.toml:1: max_ttl: 6m is over guardrails.max_ttl, 5m; write at most 5m"]);
    fs::write(&file, "[server\n").unwrap();
    assert!(lines(&dir, &check_agents(&file, []).unwrap_err())[0].starts_with("hallpass.toml:1: not TOML"));
    fs::remove_file(&file).unwrap();
    assert!(lines(&dir, &check_agents(&file, []).unwrap_err())[0].contains("there is no such file"));
}

#[test]
fn what_clients_would_meet_is_a_warning() {
    let (dir, file) = folder(&format!(
        "{OPERATOR}[server]\npublic_url = 'https://hallpass.other'\ntls = {{ cert_file = 'tls.pem', key_file = 'tls.key' }}\n\
         [[issuer]]\nname = 'github'\nkind = 'github'\naudience = 'hallpass'\n"
    ));
    tls::write_pair(&dir, "tls");
    let told = |text: &str| {
        let prefix = format!("{}/", dir.path().display());
        let warnings = check(&file, []).unwrap().warnings;
        let all: Vec<String> =
            warnings.iter().map(|warning| warning.to_string().replace(&prefix, "")).collect();
        all.into_iter().filter(|line| line.contains(text)).collect::<Vec<_>>()
    };
    assert_eq!(
        told("other hosts"),
        [
            "hallpass.toml:5: server.tls.cert_file: warning: tls.pem is for other hosts than hallpass.other, where clients \
          call; name a certificate for it, or correct server.public_url"
        ]
    );
    assert_eq!(
        told("audience"),
        [
            "hallpass.toml:9: issuer[0].audience: warning: jobs that use `hallpass token` ask GitHub for a token for \
          https://hallpass.other, and are refused; write audience = \"https://hallpass.other\", or have every job ask for this one \
          itself"
        ]
    );
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("hallpass.other", "hallpass.test").replace("'hallpass'", "'https://hallpass.test'"),
    )
    .unwrap();
    assert_eq!((told("other hosts"), told("audience")), (vec![], vec![]));
}

#[test]
fn the_password_of_redis_is_one_line_that_others_cannot_read() {
    use std::os::unix::fs::PermissionsExt;
    let redis = "[revocation]\nurl = 'redis://127.0.0.1'\npassword_file = 'redis.password'\n";
    let told = |password: &str, mode: u32| {
        let (dir, file) = folder(&format!("{OPERATOR}{redis}"));
        let path = dir.path().join("redis.password");
        fs::write(&path, password).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let lines = match check(&file, []) {
            Ok(checked) => checked.warnings.iter().map(ToString::to_string).collect(),
            Err(mistakes) => lines(&dir, &mistakes),
        };
        lines.into_iter().filter(|line| line.contains("revocation.")).collect::<Vec<_>>().join("\n")
    };
    for good in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        assert_eq!(told(good, 0o600), "", "{good:?}");
    }
    // Orchestrators mount secrets for a group.
    assert_eq!(told("s3cret\n", 0o640), "");
    let open = told("s3cret\n", 0o644);
    assert!(
        open.contains("warning: the Redis password") && open.contains("(mode 644); run chmod 600"),
        "{open}"
    );
    for two in ["s3cret\nother\n", "s3cret\n\nother", "s3cret\rother"] {
        let told = told(two, 0o600);
        assert!(
            told.contains("redis.password cannot be used: it holds more than one line"),
            "{two:?}: {told}"
        );
        assert!(!told.contains("s3cret") && !told.contains("other"), "{told}");
    }
}
