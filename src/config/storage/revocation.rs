//! `[store]` and `[revocation]`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::config::weak::{self, Others};
use crate::config::{KeyEncryptionKeySource, files};
use crate::document::{Field, Located, Mistakes, Table, wrong_value};
use crate::revocation::settings::{Backend, ClientFiles, RevocationSettings, client_pair};
use crate::store::settings::StoreSettings;

const KEY_ENCRYPTION_KEY: &str = "the key-encryption key";

const DEFAULT_STORE: &str = "sqlite://../data/hallpass.db";
const DEFAULT_REVOCATION: &str = "memory:";
const DEFAULT_STALENESS: Duration = Duration::from_secs(2);

/// A view older than this is no view.
const STALENESS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

pub(super) fn store(
    root: &Table<'_>,
    mistakes: &Mistakes,
) -> (Option<StoreSettings>, Option<KeyEncryptionKeySource>) {
    let section = root.section("store");
    let url = section.key("url", "\"sqlite://../data/hallpass.db\"");
    let url = url.or(DEFAULT_STORE.to_owned(), |url| url.text());
    let database = url.and_then(|url| Some(Located { value: database(&url, mistakes)?, place: url.place }));
    let file = section.key("key_encryption_key_file", "\"/run/secrets/hallpass-key-encryption-key\"");
    let variable = section.secret_variable("key_encryption_key");
    let named = file.is_present();
    if let Some(variable) = variable.as_ref().filter(|_| named) {
        let remedy = "keep one of the two";
        mistakes.add(&variable.place, "store.key_encryption_key_file names a key too", remedy);
    }
    let key = match (named, variable) {
        (true, _) => files::readable(file, mistakes).map(|file| {
            weak::readable(&file, KEY_ENCRYPTION_KEY, Others::Alone, mistakes);
            files::own_key(&file, true, mistakes);
            KeyEncryptionKeySource::File(file.value)
        }),
        (false, Some(text)) => {
            files::key_encryption_key(&text.place, text.value, mistakes);
            Some(KeyEncryptionKeySource::Text(SecretString::from(text.value)))
        }
        (false, None) => database.clone().map(|Located { value, place }| {
            let mut beside = value.into_os_string();
            beside.push(".key");
            let file = Located { value: beside.into(), place };
            weak::readable(&file, KEY_ENCRYPTION_KEY, Others::AndGroup, mistakes);
            files::own_key(&file, true, mistakes);
            KeyEncryptionKeySource::DefaultFile(file.value)
        }),
    };
    if let Some(database) = &database {
        weak::database(database, mistakes);
    }
    (database.map(|database| StoreSettings { path: database.value }), key)
}

/// The file of `sqlite://PATH`.
fn database(url: &Located<String>, mistakes: &Mistakes) -> Option<PathBuf> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    let remedy = "write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db";
    if url.value.starts_with("postgres://") || url.value.starts_with("postgresql://") {
        return refuse("PostgreSQL is not supported by this version", remedy);
    }
    let Some(path) = url.value.strip_prefix("sqlite://") else {
        return refuse("is not a store", remedy);
    };
    if path.contains(['?', '#']) || path == ":memory:" {
        return refuse("must be a file and nothing more: no options, and not memory", remedy);
    }
    let file = files::named(path, &url.place, mistakes)?.value;
    if path.is_empty() || path.ends_with('/') || file.is_dir() {
        return refuse("names a folder", remedy);
    }
    Some(file)
}

pub(super) fn revocation(root: &Table<'_>, mistakes: &Mistakes) -> Option<RevocationSettings> {
    let section = root.section("revocation");
    let max_staleness =
        section.key("max_staleness", "\"2s\"").or(DEFAULT_STALENESS, |field| field.duration(STALENESS));
    let username = section.key("username", "\"hallpass\"");
    let password_file = section.key("password_file", "\"/run/secrets/redis-password\"");
    let password = section.secret_variable("password");
    let ca_file = section.key("ca_file", "\"/etc/hallpass/redis-ca.pem\"");
    let client_cert_file = section.key("client_cert_file", "\"/etc/hallpass/redis-client.pem\"");
    let client_key_file = section.key("client_key_file", "\"/run/secrets/redis-client.key\"");
    let url = section.key("url", "\"redis://127.0.0.1:6379\"");
    let url = url.or(DEFAULT_REVOCATION.to_owned(), |url| url.text())?;
    if url.value == DEFAULT_REVOCATION {
        let fields = [&username, &password_file, &ca_file, &client_cert_file, &client_key_file];
        let fields = fields.map(|field| (field.is_present(), field.place()));
        let password = (password.is_some(), password.as_ref().map_or(&url.place, |password| &password.place));
        for (_, place) in fields.into_iter().chain([password]).filter(|(present, _)| *present) {
            let remedy = "take it out, or write url = \"redis://…\"";
            mistakes.add(place, "has no meaning with revocation.url memory:", remedy);
        }
        return Some(RevocationSettings { backend: Backend::Memory, max_staleness: max_staleness?.value });
    }
    let redis = redis(&url, mistakes);
    if redis.as_ref().is_some_and(|redis| redis.scheme() == "redis") {
        let of_tls = [&ca_file, &client_cert_file, &client_key_file];
        for field in of_tls.into_iter().filter(|field| field.is_present()) {
            mistakes.add(field.place(), "has no meaning without TLS", "write url = \"rediss://…\"");
        }
    }
    let username = optional(username, |field| field.text());
    let password = redis_password(password_file, password, mistakes);
    let ca_file = optional(ca_file, |field| files::roots(field, mistakes));
    let client = client_files(client_cert_file, client_key_file, mistakes);
    let backend = Backend::Redis {
        url: redis?,
        username: username?,
        password: password?,
        ca_file: ca_file?,
        client: client?,
    };
    Some(RevocationSettings { backend, max_staleness: max_staleness?.value })
}

/// The client certificate for Redis and its key, which stand together or not at all.
fn client_files(cert: Field<'_>, key: Field<'_>, mistakes: &Mistakes) -> Option<Option<ClientFiles>> {
    if !cert.is_present() && !key.is_present() {
        return Some(None);
    }
    let (cert, key) = (cert.required(), key.required());
    let (cert, key) = (files::readable(cert, mistakes), files::readable(key, mistakes));
    let (cert, key) = (cert?, key?);
    weak::readable(&key, "the key of Redis's client certificate", Others::AndGroup, mistakes);
    let read = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
    if mistakes.judge_files()
        && let Err(problem) = client_pair(&read(&cert.value), &read(&key.value))
    {
        mistakes.add(&cert.place, problem, "name a certificate in PEM and its private key");
        return None;
    }
    Some(Some(ClientFiles { cert: cert.value, key: key.value }))
}

/// `Some(None)` where the key is missing, `None` where it is wrong.
fn optional<'a, T>(
    field: Field<'a>,
    read: impl FnOnce(Field<'a>) -> Option<Located<T>>,
) -> Option<Option<T>> {
    if field.is_present() { read(field).map(|read| Some(read.value)) } else { Some(None) }
}

fn redis_password(
    file: Field<'_>,
    variable: Option<Located<&str>>,
    mistakes: &Mistakes,
) -> Option<Option<SecretString>> {
    match variable {
        Some(variable) if file.is_present() => {
            mistakes.add(&variable.place, "revocation.password_file names one too", "keep one of the two");
            None
        }
        Some(variable) => Some(Some(SecretString::from(variable.value))),
        None => optional(file, |file| files::password(file, "the Redis password", mistakes)),
    }
}

fn redis(url: &Located<String>, mistakes: &Mistakes) -> Option<Url> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    let remedy = "write memory: for one broker, redis://host:6379 or rediss://host:6379 for several";
    if url.value.starts_with("postgres://") || url.value.starts_with("postgresql://") {
        return refuse("PostgreSQL is not supported by this version", remedy);
    }
    let Ok(parsed) = url.value.parse::<Url>() else {
        return refuse("is not a URL", remedy);
    };
    if !matches!(parsed.scheme(), "redis" | "rediss") || parsed.host_str().is_none_or(str::is_empty) {
        return refuse("is not a store for revocations", remedy);
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let remedy = "write revocation.username, and password_file or HALLPASS_REVOCATION__PASSWORD";
        return refuse("holds credentials, and URLs end in logs", remedy);
    }
    let database = parsed.path().trim_start_matches('/');
    let numbered = database.is_empty() || database.parse::<u16>().is_ok();
    if parsed.query().is_some() || parsed.fragment().is_some() || !numbered {
        return refuse("has more than a host, a port and a database's number", remedy);
    }
    weak::redis(url, &parsed, mistakes);
    Some(parsed)
}
