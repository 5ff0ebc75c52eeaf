//! `[store]` with `postgres://`.

use super::*;
use crate::store::settings::{Address, PostgresSettings, PostgresTls, Servers};

fn postgres(config: &Config) -> &PostgresSettings {
    let StoreSettings::Postgres(settings) = &config.store else { panic!("{:?}", config.store) };
    settings
}

/// `[store]` of these lines, with a key-encryption key.
fn with(lines: &str) -> (TempDir, PathBuf) {
    let (dir, file) = folder(&format!(
        "{OPERATOR}[revocation]\nurl = 'redis://127.0.0.1:6379'\n\n[store]\nkey_encryption_key_file = 'kek'\n{lines}\n"
    ));
    fs::write(dir.path().join("kek"), "4b".repeat(32)).unwrap();
    fs::write(dir.path().join("password"), "pg-canary\n").unwrap();
    (dir, file)
}

#[test]
fn every_key_is_read_and_the_password_is_never_shown() {
    let ca = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&ca).unwrap().pem();
    let (dir, file) = with(
        "url = 'postgres://db-a,db-b:6432/acme'\nusername = 'broker'\npassword_file = 'password'\n\
                            ca_file = 'ca.pem'\nspool = 'waiting'",
    );
    fs::write(dir.path().join("ca.pem"), ca).unwrap();
    let config = Config::load(&file, []).unwrap();
    let settings = postgres(&config);
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    assert_eq!(settings.servers, Servers::Tcp(vec![address("db-a", 5432), address("db-b", 6432)]));
    assert_eq!((settings.database.as_str(), settings.username.as_str()), ("acme", "broker"));
    assert_eq!(settings.password.as_ref().unwrap().expose_secret(), "pg-canary");
    assert_eq!(settings.tls, Some(PostgresTls { ca_file: Some(dir.path().join("ca.pem")), client: None }));
    assert_eq!(settings.spool, dir.path().join("waiting"));
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn the_environment_has_the_url_and_the_secrets() {
    let (dir, file) = folder(OPERATOR);
    let set = variables(&[
        ("HALLPASS_STORE__URL", "postgres:///hallpass?host=/run/postgresql"),
        ("HALLPASS_REVOCATION__URL", "redis://127.0.0.1:6379"),
        ("HALLPASS_STORE__PASSWORD", "pg-canary"),
        ("HALLPASS_STORE__KEY_ENCRYPTION_KEY", &"4b".repeat(32)),
    ]);
    let config = Config::load(&file, set).unwrap();
    let settings = postgres(&config);
    assert_eq!(settings.servers, Servers::Unix { folder: "/run/postgresql".into(), port: 5432 });
    assert_eq!((settings.username.as_str(), settings.tls.as_ref()), ("hallpass", None));
    assert_eq!(settings.password.as_ref().unwrap().expose_secret(), "pg-canary");
    assert_eq!(settings.spool, dir.path().join("../data/spool"));
}

#[test]
fn two_passwords_are_refused() {
    let (dir, file) = with("url = 'postgres://db/acme'\npassword_file = 'password'");
    let told = Config::load(&file, variables(&[("HALLPASS_STORE__PASSWORD", "pg-canary")])).unwrap_err();
    let line =
        "environment: HALLPASS_STORE__PASSWORD: store.password_file names one too; keep one of the two";
    assert_eq!(lines(&dir, &told), [line]);
}

#[test]
fn a_way_without_tls_to_another_host_and_a_folder_for_everybody_are_warned_of() {
    for (url, warned) in [
        ("postgres://127.0.0.1/a", false),
        ("postgres:///a?host=/run/postgresql", false),
        ("postgres://db/a", false),
        ("postgres://localhost,[::1]/a?sslmode=disable", false),
        ("postgres://db/a?sslmode=disable", true),
        ("postgres://localhost,db/a?sslmode=disable", true),
    ] {
        let (_dir, file) = with(&format!("url = '{url}'"));
        let checked = check(&file, []).unwrap();
        let told: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.iter().any(|line| line.contains("store.url: warning: ")), warned, "{url}: {told:?}");
    }
    let (dir, file) = with("url = 'postgres://db/a'\nspool = 'waiting'");
    let spool = dir.path().join("waiting");
    fs::create_dir(&spool).unwrap();
    for (mode, warned) in [(0o700, false), (0o755, false), (0o770, true)] {
        fs::set_permissions(&spool, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let told = check(&file, []).unwrap().warnings;
        assert_eq!(
            told.iter().any(|line| line.to_string().contains("store.spool: warning: ")),
            warned,
            "{told:?}"
        );
    }
}

#[test]
fn what_of_it_needs_a_restart_is_named() {
    let of = |lines: &str| {
        let (dir, file) = with(lines);
        fs::write(dir.path().join("other"), "another\n").unwrap();
        let mut config = Config::load(&file, []).unwrap();
        config.key_encryption_key = KeyEncryptionKeySource::File("kek".into());
        config.registry_path = "agents".into();
        if let AdminSettings { local_key_file: Some(path), .. } = &mut config.admin {
            *path = "operator.key".into();
        }
        config
    };
    let url = "url = 'postgres://db/a'\nspool = '/s'\n";
    let held = of(&format!("{url}password_file = 'password'"));
    for (lines, keys) in [
        (format!("{url}password_file = 'password'"), vec![]),
        (format!("{url}password_file = 'other'"), vec!["store.password_file"]),
        (format!("{url}username = 'x'\npassword_file = 'password'"), vec!["store.username"]),
        ("url = 'postgres://db/b'\nspool = '/s'\npassword_file = 'password'".to_owned(), vec!["store.url"]),
        (
            "url = 'postgres://db/a?sslmode=disable'\nspool = '/t'\npassword_file = 'password'".to_owned(),
            vec!["store.spool", "store.url"],
        ),
        ("url = 'sqlite://x.db'".to_owned(), vec!["store.url"]),
    ] {
        assert_eq!(held.needs_restart(&of(&lines)), keys, "{lines}");
    }
}

/// Nobody would know of the other brokers of the database.
#[test]
fn several_brokers_need_a_redis() {
    let (_dir, file) = with("url = 'postgres://127.0.0.1/a'");
    let text = fs::read_to_string(&file).unwrap().replacen("redis://127.0.0.1:6379", "memory:", 1);
    fs::write(&file, text).unwrap();
    let mistakes = check(&file, []).unwrap_err();
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 1 && told[0].contains("revocation.url") && told[0].contains("redis://host:6379"),
        "{told:?}"
    );
}
