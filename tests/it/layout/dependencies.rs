//! What the project may depend on: no banned crate, nothing that is not from crates.io, and one HTTP client.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::syntax::{code_of, module_of};
use super::{nothing_found, read, sources};

/// What `lock` holds against `[bans]` and `[sources]` of `deny`.
fn banned(lock: &str, deny: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let names = denied(deny);
    let packages = lock["package"].as_array().expect("packages");
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let named = |other: &&toml::Value| {
            let needs = other.get("dependencies").and_then(toml::Value::as_array);
            needs.is_some_and(|all| all.iter().filter_map(toml::Value::as_str).any(|need| is_of(need, name)))
        };
        let mut needers = packages.iter().filter(named).filter_map(|other| other["name"].as_str()).peekable();
        let is_wrapped = needers.peek().is_some()
            && names.get(name).is_some_and(|wrappers| needers.all(|needer| wrappers.contains(needer)));
        if names.contains_key(name) && !is_wrapped {
            found.push(format!(
                "Cargo.lock: {name} is banned in deny.toml; find who needs it with `cargo tree -i {name}`"
            ));
        }
        let source = package.get("source").and_then(toml::Value::as_str);
        if source.is_some_and(|url| url != "registry+https://github.com/rust-lang/crates.io-index") {
            found.push(format!("Cargo.lock: {name} is not from crates.io"));
        }
    }
    found
}

/// Whether a line of `dependencies` names this package, with or without its version.
fn is_of(need: &str, name: &str) -> bool {
    need.split(' ').next() == Some(name)
}

/// Each banned crate, and the crates that may need it all the same.
fn denied(deny: &str) -> BTreeMap<String, BTreeSet<String>> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let crates = deny["bans"]["deny"].as_array().expect("bans.deny").iter();
    let text = |value: &toml::Value| value.as_str().expect("a name").to_owned();
    let wrappers = |entry: &toml::Value| {
        let wrappers = entry.get("wrappers").and_then(toml::Value::as_array);
        wrappers.into_iter().flatten().map(text).collect()
    };
    crates.map(|entry| (text(&entry["crate"]), wrappers(entry))).collect()
}

#[test]
fn dependencies_hold_no_banned_crate() {
    let deny = read("deny.toml");
    let names = denied(&deny);
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "rsa", "p256"] {
        assert!(names.contains_key(name), "deny.toml must ban {name}");
        assert_eq!(banned(&format!("[[package]]\nname = {name:?}"), &deny).len(), 1, "{name}");
    }
    let elsewhere = "[[package]]\nname = \"x\"\nsource = \"git+https://example.org/x\"";
    assert_eq!(banned(elsewhere, &deny).len(), 1);
    let wrapped = |needer: &str| {
        let bans = "[bans]\ndeny = [{ crate = \"a\", wrappers = [\"b\"] }]";
        let lock = format!(
            "[[package]]\nname = \"a\"\n[[package]]\nname = {needer:?}\ndependencies = [\"a 1.0.0\"]"
        );
        banned(&lock, bans).len()
    };
    assert_eq!((wrapped("b"), wrapped("c")), (0, 1));
    nothing_found(&banned(&read("Cargo.lock"), &deny));
}

/// Lines that name reqwest: whoever does asks past the limits that `outbound` promises.
fn other_clients(file: &Path, text: &str) -> Vec<String> {
    let module = module_of(file);
    if module[0] == "outbound" || module.iter().any(|name| name == "tests") {
        return Vec::new();
    }
    let code = code_of(text);
    let named = code.lines().enumerate().filter(|(_, line)| line.contains("reqwest"));
    named
        .map(|(index, _)| format!("{}:{}: names reqwest; ask by `outbound`", file.display(), index + 1))
        .collect()
}

#[test]
fn there_is_one_http_client() {
    let found = |file: &str, text: &str| other_clients(Path::new(file), text).len();
    assert_eq!(found("src/identity/fetch.rs", "use x;\nuse reqwest::Client;"), 1);
    for (file, text) in [
        ("src/outbound/client.rs", "use reqwest::Client;"),
        ("src/http/listener/tests.rs", "reqwest::Client::builder()"),
        ("src/cli/ready.rs", "// reqwest"),
    ] {
        assert_eq!(found(file, text), 0, "{file}");
    }
    nothing_found(&sources().iter().flat_map(|(file, text)| other_clients(file, text)).collect::<Vec<_>>());
}
