//! The keys of `[store]` that belong to `postgres://`.

use super::connection::{Examples, Keys, Server};
use super::postgres_url;
use crate::config::{files, weak};
use crate::document::{Field, Located, Mistakes};
use crate::store::settings::{PostgresSettings, PostgresTls};

const DEFAULT_SPOOL: &str = "../data/spool";
const DEFAULT_USERNAME: &str = "hallpass";

pub(super) const POSTGRES: Server = Server { section: "store", name: "PostgreSQL" };

pub(super) const EXAMPLES: Examples = Examples {
    password_file: "\"/run/secrets/postgres-password\"",
    ca_file: "\"/etc/hallpass/postgres-ca.pem\"",
    client_cert_file: "\"/etc/hallpass/postgres-client.pem\"",
    client_key_file: "\"/run/secrets/postgres-client.key\"",
};

/// Whether `url` is meant to be PostgreSQL's.
pub(super) fn is_meant(url: &str) -> bool {
    postgres_url::SCHEMES.iter().any(|scheme| url.starts_with(scheme))
}

/// What `url`, the other keys of `[store]` and `store.spool` say.
pub(super) fn read(
    url: &Located<String>,
    keys: Keys<'_>,
    spool: Field<'_>,
    mistakes: &Mistakes,
) -> Option<PostgresSettings> {
    let target = postgres_url::read(url, mistakes);
    if target.as_ref().is_some_and(|target| !target.tls) {
        let remedy = "take it out, or write sslmode=verify-full at the end of store.url";
        keys.refuse_tls("has no meaning without TLS", remedy, mistakes);
    }
    let keys = keys.read(mistakes);
    let spool = spool.or(DEFAULT_SPOOL.to_owned(), |spool| spool.text());
    let spool = spool.and_then(|spool| files::named(&spool.value, &spool.place, mistakes));
    let spool = spool.filter(|spool| {
        let is_folder = !mistakes.judge_files() || !spool.value.exists() || spool.value.is_dir();
        if !is_folder {
            let problem = format!("{} is not a folder", spool.value.display());
            mistakes.add(&spool.place, problem, "name a folder that hallpass may write in, or may make");
        }
        is_folder
    });
    if let Some(spool) = &spool {
        weak::spool(spool, mistakes);
    }
    let (target, keys, spool) = (target?, keys?, spool?);
    weak::postgres(url, &target.servers, target.tls, mistakes);
    Some(PostgresSettings {
        servers: target.servers,
        database: target.database,
        username: keys.username.unwrap_or_else(|| DEFAULT_USERNAME.to_owned()),
        password: keys.password,
        tls: target.tls.then_some(PostgresTls { ca_file: keys.ca_file, client: keys.client }),
        spool: spool.value,
    })
}
