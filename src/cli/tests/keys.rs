//! Keys that are made here, and files that hold them.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::domain::digest::Digest;
use crate::domain::key::PublicKey;
use crate::http::settings::Role;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keygen_writes_once_for_its_owner_and_prints_what_to_register() {
    let machine = Machine::new();
    let path = machine.path("agent.key");
    let args = ["keygen", "--out", path.to_str().unwrap()];
    let ran = machine.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(mode(&path), 0o600);
    let made = std::fs::read(&path).unwrap();

    let file: toml::Table = ran.out.parse().unwrap();
    let key = file["identity"][0]["key"].clone();
    let key: PublicKey = key.try_into().unwrap();
    assert_eq!((key.kty.as_str(), key.crv.as_str(), key.x.len()), ("OKP", "Ed25519", 43));

    let again = machine.run(&args);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    assert_eq!(std::fs::read(&path).unwrap(), made);
    let secret = String::from_utf8(made).unwrap();
    // RFC 8410 §10.3: one line of 48 bytes, the form that every library reads.
    let lines: Vec<&str> = secret.lines().collect();
    assert_eq!((lines.len(), lines[1].len()), (3, 64));
    assert!(lines[1].starts_with("MC4CAQAwBQYDK2VwBCIEI"), "PKCS#8 without the public half");
    let line = lines[1];
    assert!(!format!("{ran:?}{again:?}").contains(line), "the private key stays in its file");
}

#[test]
fn a_new_operators_hash_is_of_the_key_that_was_made() {
    let machine = Machine::new();
    let path = machine.path("oncall.key");
    let args = ["operator", "new", "oncall", "--roles", "auditor,admin,approver,admin"];
    let filed = machine.run(&[&args as &[_], &["--out", path.to_str().unwrap()]].concat());
    assert_eq!((filed.code, mode(&path)), (0, 0o600), "{}", filed.err);
    let key = std::fs::read_to_string(&path).unwrap();
    let key = key.trim();
    assert!(key.starts_with("hpo_") && key.len() == 47);
    let config: toml::Table = filed.out.parse().expect("with --out, standard output is configuration alone");
    let operator = &config["admin"]["operator"][0];
    assert_eq!(operator["key_sha256"].as_str(), Some(Digest::of(key.as_bytes()).to_string().as_str()));
    let roles: Vec<Role> = operator["roles"].clone().try_into().expect("roles that the broker knows");
    assert_eq!(roles, [Role::Admin, Role::Approver, Role::Auditor]);
    assert!(!format!("{filed:?}").contains(&key[4..]));

    let shown = machine.run(&args);
    let printed = shown.out.lines().find_map(|line| line.trim().strip_prefix("hpo_")).unwrap();
    let hash = Digest::of(format!("hpo_{printed}").as_bytes());
    assert!(shown.out.contains(&format!("key_sha256 = \"{hash}\"")), "{}", shown.out);
    assert_ne!(printed, &key[4..], "each key is new");
}

#[test]
fn a_key_that_others_can_read_is_warned_of_and_used() {
    let broker = Canned::new(|_| ok(r#"{"agents":[]}"#));
    let machine = Machine::new();
    let key = machine.file("shared.key", OPERATOR_KEY);
    let args = ["agents", "list", "--admin-url", &broker.url, "--key-file", &key];
    assert!(!machine.run(&args).err.contains("warning"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let ran = machine.run(&args);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("can be read by others (mode 640)"), "{}", ran.err);
}

#[test]
fn a_file_that_is_no_key_sends_nothing() {
    let broker = Canned::new(|_| ok(r#"{"agents":[]}"#));
    let machine = Machine::new();
    let long = "x".repeat(64 * 1024 + 1);
    for text in ["", " \n", "two\nlines", "hpo_ü", "hpo key", &long] {
        let key = machine.file("odd.key", text);
        let ran = machine.run(&["agents", "list", "--admin-url", &broker.url, "--key-file", &key]);
        assert_eq!(ran.code, 1, "{text:.20}: {}", ran.err);
    }
    let ran = machine.run(&["agents", "list", "--admin-url", &broker.url, "--key-file", "/nowhere"]);
    assert!(ran.code == 1 && ran.err.contains("HALLPASS_OPERATOR_KEY_FILE"), "{}", ran.err);
    assert!(broker.seen().is_empty());
}
