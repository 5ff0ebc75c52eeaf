//! What a configuration may say and is weaker for: warnings, at the start and in `check-config`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::document::{Located, Mistakes, Place};
use crate::domain::platform::Platform;
use crate::files;
use crate::identity::settings::IssuerSettings;
use crate::revocation::settings::RedisUrl;
use crate::store::settings::Servers;

/// A key of fewer bits can be guessed by whoever has its hash, or by many tries.
const KEY_BITS: f64 = 128.0;

/// What a key that hallpass makes begins with; it is no part of what has to be guessed.
const KEY_PREFIX: &str = "hpo_";

/// More than any operator key.
const MAX_KEY: u64 = 4096;

/// Whom a file's mode must keep out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Everybody but its owner: of files that hallpass makes itself.
    AndGroup,
    /// Everybody but its owner and group: orchestrators mount secrets for a group.
    Alone,
}

/// Warns of a file that is there and that others can read.
pub(super) fn readable(file: &Located<PathBuf>, what: &str, others: Others, mistakes: &Mistakes) {
    let bits = match others {
        Others::AndGroup => 0o077,
        Others::Alone => 0o007,
    };
    if !mistakes.judge_files() {
        return;
    }
    if let Some(mode) = mode(&file.value).filter(|mode| mode & bits != 0) {
        let path = file.value.display();
        let problem = format!("{what} {path} can be read by others (mode {mode:03o})");
        mistakes.warn(&file.place, problem, format!("run chmod 600 {path}"));
    }
}

/// What SQLite and the broker keep beside a database: changes, their index, stops that wait for it.
const BESIDE_DATABASE: [(&str, &str); 3] = [
    ("-wal", "the write-ahead log"),
    ("-shm", "the index of the write-ahead log"),
    (".unjournaled", "the file of stops that wait for the database"),
];

/// Warns of a database, and of what is beside it, that others can read or replace.
pub(super) fn database(file: &Located<PathBuf>, mistakes: &Mistakes) {
    readable(file, "the database", Others::AndGroup, mistakes);
    for (suffix, what) in BESIDE_DATABASE {
        let mut beside = file.value.clone().into_os_string();
        beside.push(suffix);
        readable(
            &Located { value: beside.into(), place: file.place.clone() },
            what,
            Others::AndGroup,
            mistakes,
        );
    }
    if !mistakes.judge_files() {
        return;
    }
    let folder = file.value.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Some(mode) = mode(folder).filter(|mode| mode & 0o022 != 0) {
        let path = folder.display();
        let problem =
            format!("others can write in the folder {path} (mode {mode:03o}), and so replace the database");
        mistakes.warn(&file.place, problem, format!("run chmod go-w {path}"));
    }
}

fn mode(path: &Path) -> Option<u32> {
    files::mode(path).ok()
}

/// Warns of the key that is in `file`, if there is one and it can be guessed.
pub(super) fn operator_key(file: &Located<PathBuf>, mistakes: &Mistakes) {
    if !mistakes.judge_files()
        || !fs::metadata(&file.value).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_KEY)
    {
        return;
    }
    let Ok(key) = fs::read_to_string(&file.value).map(Zeroizing::new) else { return };
    if !key.trim().is_empty() && bits(key.trim()) < KEY_BITS {
        let problem = format!("the key in {} has fewer than 128 bits", file.value.display());
        mistakes.warn(&file.place, problem, "remove the file, and the next start makes a key of 256 bits");
    }
}

/// Warns of an admin listener whose keys anybody on the way can read.
pub(super) fn admin_listener(listen: &Located<SocketAddr>, has_tls: bool, mistakes: &Mistakes) {
    if !has_tls && !listen.value.ip().is_loopback() {
        let remedy = "write admin.tls, or listen on 127.0.0.1 behind a proxy that ends TLS";
        mistakes.warn(&listen.place, "operators' keys travel to this address without TLS", remedy);
    }
}

/// Whether the host of a URL is this machine, so that nobody is on the way to it.
pub(super) fn is_this_machine(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}

/// Warns of a Redis whose password and stops anybody on the way can read and change.
pub(super) fn redis(url: &Located<String>, redis: &RedisUrl, mistakes: &Mistakes) {
    if !redis.tls && !is_on_this_machine(redis) {
        let remedy = "write rediss://, and revocation.ca_file where its certificate is of a CA of yours";
        mistakes.warn(&url.place, "stops and the password travel to another host without TLS", remedy);
    }
}

/// Warns of a PostgreSQL whose events and stops anybody on the way can read and change.
pub(super) fn postgres(url: &Located<String>, servers: &Servers, has_tls: bool, mistakes: &Mistakes) {
    let Servers::Tcp(addresses) = servers else { return };
    if !has_tls && !addresses.iter().all(|address| is_this_machine(&address.host)) {
        let remedy = "write sslmode=verify-full, and store.ca_file where its certificate is of a CA of yours";
        let problem = "events, stops and sealed keys travel to another host without TLS";
        mistakes.warn(&url.place, problem, remedy);
    }
}

/// Warns of a folder of waiting stops that others can read or replace.
pub(super) fn spool(folder: &Located<PathBuf>, mistakes: &Mistakes) {
    if !mistakes.judge_files() {
        return;
    }
    if let Some(mode) = mode(&folder.value).filter(|mode| mode & 0o022 != 0) {
        let path = folder.value.display();
        let problem =
            format!("others can write in the folder {path} (mode {mode:03o}), and so take stops out of it");
        mistakes.warn(&folder.place, problem, format!("run chmod go-w {path}"));
    }
}

/// Warns of sentinels whose word anybody on the way can change.
pub(super) fn sentinels(place: &Place, redis: &RedisUrl, mistakes: &Mistakes) {
    if !is_on_this_machine(redis) {
        let problem =
            "the address of the primary and the sentinels' password come from another host without TLS";
        mistakes.warn(place, problem, "give the sentinels TLS and take this key out");
    }
}

fn is_on_this_machine(redis: &RedisUrl) -> bool {
    redis.addresses().iter().all(|address| is_this_machine(&address.host))
}

/// Warns of a GitHub issuer whose audience is not what `hallpass token` asks GitHub for.
pub(super) fn audience(issuer: &IssuerSettings, place: &Place, public_url: &str, mistakes: &Mistakes) {
    if issuer.kind == Platform::Github && issuer.audience != public_url {
        let problem = format!(
            "jobs that use `hallpass token` ask GitHub for a token for {public_url}, and are refused"
        );
        mistakes.warn(
            place,
            problem,
            format!("write audience = \"{public_url}\", or have every job ask for this one itself"),
        );
    }
}

/// No less than what a key can have been drawn from: its length in the smallest common alphabet that its characters
/// are of, or in those characters themselves where they are few.
fn bits(key: &str) -> f64 {
    let key = key.strip_prefix(KEY_PREFIX).unwrap_or(key);
    let all = |of: fn(char) -> bool| key.chars().all(of);
    let alphabet: u32 = if all(|c| c.is_ascii_digit()) {
        10
    } else if all(|c| matches!(c, '0'..='9' | 'a'..='f')) || all(|c| matches!(c, '0'..='9' | 'A'..='F')) {
        16
    } else if all(|c| c.is_ascii_lowercase()) || all(|c| c.is_ascii_uppercase()) {
        26
    } else if all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        36
    } else if all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '=')) {
        64
    } else {
        95
    };
    let length = u32::try_from(key.chars().count()).unwrap_or(u32::MAX);
    let distinct = u32::try_from(key.chars().collect::<BTreeSet<_>>().len()).unwrap_or(u32::MAX);
    // Even a short random key has more than half of the characters that it could have.
    let drawn_from = if distinct < 8 { distinct } else { alphabet };
    f64::from(length) * f64::from(drawn_from).log2()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_has_the_bits_that_it_can_have_been_drawn_from() {
        for (key, enough) in [
            ("hpo_vG5lC9kQ0dYxS1nJ7r-2mWbPzT8aKfUe4hXo3iLqMtE", true),
            ("0123456789abcdef0123456789abcdef", true),
            ("0123456789abcdef0123456789abcde", false),
            ("hpo_0123456789abcdef0123456789abcde", false),
            ("vG5lC9kQ0dYxS1nJ7r-2mW", true),
            ("vG5lC9kQ0dYxS1nJ7r-2m", false),
            ("hunter2", false),
            ("correct horse battery", true),
            (&"a".repeat(100), false),
            (&"ab".repeat(40), false),
            (&"7".repeat(43), false),
            ("31415926535897932384626433832795028841", false),
            ("314159265358979323846264338327950288419", true),
        ] {
            assert_eq!(bits(key) >= KEY_BITS, enough, "{key}: {}", bits(key));
        }
    }

    fn warnings(toml: &str, files: &[(&str, &str, u32)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            fs::write(dir.path().join(name), text).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(*mode)).unwrap();
        }
        fs::create_dir(dir.path().join("agents")).unwrap();
        let file = dir.path().join("hallpass.toml");
        fs::write(&file, toml).unwrap();
        let checked = crate::config::check(&file, []).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let prefix = format!("{}/", dir.path().display());
        let told = checked.warnings.iter().map(|warning| warning.to_string().replace(&prefix, ""));
        // That nobody is registered is no matter of these tests.
        told.filter(|line| !line.starts_with("agents: ")).collect()
    }

    const KEY: &str = "hpo_vG5lC9kQ0dYxS1nJ7r-2mWbPzT8aKfUe4hXo3iLqMtE\n";

    #[test]
    fn files_that_others_can_read_are_warned_of() {
        let toml =
            "[admin]\nlocal_operator_key_file = 'operator.key'\n[store]\nurl = 'sqlite://hallpass.db'\n";
        let with = |key: u32, database: u32, beside: u32| {
            let files = [
                ("operator.key", KEY, key),
                ("hallpass.db", "", database),
                (
                    "hallpass.db.key",
                    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                    beside,
                ),
            ];
            warnings(toml, &files)
        };
        assert_eq!(warnings(toml, &[]), [""; 0], "before the first start");
        assert_eq!(with(0o600, 0o600, 0o400), [""; 0]);
        let key = "hallpass.toml:2: admin.local_operator_key_file: warning: the operator key operator.key can be read by \
                   others (mode 640); run chmod 600 operator.key";
        assert_eq!(with(0o640, 0o600, 0o600), [key]);
        let database = "hallpass.toml:4: store.url: warning: the database hallpass.db can be read by others (mode 644); \
                        run chmod 600 hallpass.db";
        let beside = "hallpass.toml:4: store.url: warning: the key-encryption key hallpass.db.key can be read by others \
                      (mode 604); run chmod 600 hallpass.db.key";
        assert_eq!(with(0o600, 0o644, 0o604), [database, beside]);
        // One that is mounted for a group is as it should be.
        let named = format!("{toml}key_encryption_key_file = 'kek'\n");
        let kek = "4b".repeat(32);
        assert_eq!(warnings(&named, &[("kek", &kek, 0o440)]), [""; 0]);
        let told = warnings(&named, &[("kek", &kek, 0o444)]);
        assert!(
            told.len() == 1 && told[0].contains("the key-encryption key kek can be read by others"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_beside_the_database_and_its_folder_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let toml = format!(
            "[admin]\nlocal_operator_key_file = 'operator.key'\n[store]\nurl = 'sqlite://{}/hallpass.db'\n",
            data.display()
        );
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let told = || -> Vec<String> {
            let prefix = format!("{}/", dir.path().display());
            warnings(&toml, &[]).into_iter().map(|warning| warning.replace(&prefix, "")).collect()
        };
        for (mode, warned) in [(0o700, false), (0o755, false), (0o770, true), (0o1777, true), (0o702, true)] {
            set(&data, mode);
            let shown = mode & 0o777;
            let folder = format!(
                "hallpass.toml:4: store.url: warning: others can write in the folder data (mode {shown:03o}), and so replace \
                 the database; run chmod go-w data"
            );
            assert_eq!(told(), if warned { vec![folder] } else { vec![] }, "{mode:o}");
        }
        set(&data, 0o700);
        for (name, what) in [
            ("hallpass.db-wal", "the write-ahead log"),
            ("hallpass.db-shm", "the index of the write-ahead log"),
            ("hallpass.db.unjournaled", "the file of stops that wait for the database"),
        ] {
            let file = data.join(name);
            fs::write(&file, "").unwrap();
            set(&file, 0o600);
            assert_eq!(told(), [""; 0], "{name}");
            set(&file, 0o640);
            let line = format!(
                "hallpass.toml:4: store.url: warning: {what} data/{name} can be read by others (mode 640); run chmod 600 data/{name}"
            );
            assert_eq!(told(), [line]);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_key_that_can_be_guessed_is_warned_of_and_not_shown() {
        let toml = "[admin]\nlocal_operator_key_file = 'operator.key'\n";
        let told = warnings(toml, &[("operator.key", "hunter2-canary\n", 0o600)]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("the key in operator.key has fewer than 128 bits"), "{told:?}");
        assert!(!told[0].contains("canary"), "{told:?}");
    }

    #[test]
    fn ways_without_tls_to_another_host_are_warned_of() {
        let operator = "[[admin.operator]]\nname = 'oncall'\nroles = ['admin']\nkey_sha256 = \
                        '0b3a4f0c5b8f0d6a7f5e0c1d2b3a49586776859403122130415263748596a7b8'\n";
        for (listen, warned) in [
            ("127.0.0.1:8701", false),
            ("[::1]:8701", false),
            ("0.0.0.0:8701", true),
            ("192.0.2.1:8701", true),
        ] {
            let told = warnings(&format!("[admin]\nlisten = '{listen}'\n{operator}"), &[]);
            assert_eq!(
                told.iter().any(|line| line.contains("admin.listen: warning: ")),
                warned,
                "{listen}: {told:?}"
            );
        }
        for (url, warned) in [
            ("memory:", false),
            ("redis://127.0.0.1:6379", false),
            ("redis://[::1]:6379", false),
            ("redis://localhost", false),
            ("rediss://redis.acme.internal", false),
            ("redis://redis.acme.internal", true),
            ("redis://localhost.evil.example", true),
            ("redis://192.0.2.1:6379/1", true),
            ("redis+sentinel://127.0.0.1,127.0.0.1:2/main", false),
            ("redis+sentinel://127.0.0.1,192.0.2.1/main", true),
            ("rediss+sentinel://192.0.2.1/main", false),
            ("redis+cluster://192.0.2.1", true),
        ] {
            let told = warnings(&format!("{operator}[revocation]\nurl = '{url}'\n"), &[]);
            assert_eq!(
                told.iter().any(|line| line.contains("revocation.url: warning: ")),
                warned,
                "{url}: {told:?}"
            );
        }
    }
}
