//! `[store]`: which database, and the key that seals the signing keys in it.

use std::path::PathBuf;

use secrecy::SecretString;

use super::connection::Keys;
use super::postgres::{self, EXAMPLES, POSTGRES};
use crate::config::weak::{self, Others};
use crate::config::{KeyEncryptionKeySource, files};
use crate::document::{Field, Located, Mistakes, Table, wrong_value};
use crate::store::settings::StoreSettings;

const KEY_ENCRYPTION_KEY: &str = "the key-encryption key";

const DEFAULT_STORE: &str = "sqlite://../data/hallpass.db";

const NO_MEANING: &str = "has no meaning with store.url sqlite://";
const REMEDY: &str = "take it out, or write url = \"postgres://…\"";

pub(in crate::config) fn store(
    root: &Table<'_>,
    mistakes: &Mistakes,
) -> (Option<StoreSettings>, Option<KeyEncryptionKeySource>) {
    let section = root.section("store");
    let url = section.key("url", "\"sqlite://../data/hallpass.db\"");
    let url = url.or(DEFAULT_STORE.to_owned(), |url| url.text());
    let file = section.key("key_encryption_key_file", "\"/run/secrets/hallpass-key-encryption-key\"");
    let variable = section.secret_variable("key_encryption_key");
    let keys = Keys::ask(&section, POSTGRES, &EXAMPLES);
    let spool = section.key("spool", "\"/var/lib/hallpass/spool\"");
    if let Some(url) = url.as_ref().filter(|url| postgres::is_meant(&url.value)) {
        let key = key_encryption_key(file, variable, mistakes, |file| {
            let remedy = format!("{}, or set HALLPASS_STORE__KEY_ENCRYPTION_KEY", file.remedy());
            let problem = "is missing: with postgres:// the key-encryption key has no place beside the store";
            mistakes.add(file.place(), problem, remedy);
            None
        });
        let settings = postgres::read(url, keys, spool, mistakes);
        return (settings.map(|settings| StoreSettings::Postgres(Box::new(settings))), key);
    }
    let database = url.and_then(|url| Some(Located { value: database(&url, mistakes)?, place: url.place }));
    keys.refuse(NO_MEANING, REMEDY, mistakes);
    if spool.is_present() {
        mistakes.add(spool.place(), NO_MEANING, REMEDY);
    }
    let key = key_encryption_key(file, variable, mistakes, |_| {
        let Located { value, place } = database.clone()?;
        let mut beside = value.into_os_string();
        beside.push(".key");
        let file = Located { value: beside.into(), place };
        weak::readable(&file, KEY_ENCRYPTION_KEY, Others::AndGroup, mistakes);
        files::own_key(&file, true, mistakes);
        Some(KeyEncryptionKeySource::DefaultFile(file.value))
    });
    if let Some(database) = &database {
        weak::database(database, mistakes);
    }
    (database.map(|database| StoreSettings::sqlite(database.value)), key)
}

/// The key that was named in one of two ways, or what `unnamed` gives.
fn key_encryption_key(
    file: Field<'_>,
    variable: Option<Located<&str>>,
    mistakes: &Mistakes,
    unnamed: impl FnOnce(Field<'_>) -> Option<KeyEncryptionKeySource>,
) -> Option<KeyEncryptionKeySource> {
    let named = file.is_present();
    if let Some(variable) = variable.as_ref().filter(|_| named) {
        let remedy = "keep one of the two";
        mistakes.add(&variable.place, "store.key_encryption_key_file names a key too", remedy);
    }
    match (named, variable) {
        (true, _) => files::readable(file, mistakes).map(|file| {
            weak::readable(&file, KEY_ENCRYPTION_KEY, Others::Alone, mistakes);
            files::own_key(&file, true, mistakes);
            KeyEncryptionKeySource::File(file.value)
        }),
        (false, Some(text)) => {
            files::key_encryption_key(&text.place, text.value, mistakes);
            Some(KeyEncryptionKeySource::Text(SecretString::from(text.value)))
        }
        (false, None) => unnamed(file),
    }
}

/// The file of `sqlite://PATH`.
fn database(url: &Located<String>, mistakes: &Mistakes) -> Option<PathBuf> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    let remedy = "write sqlite:// and the path of a file, such as sqlite://../data/hallpass.db, or postgres://host/database";
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
