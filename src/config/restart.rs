//! What of a changed configuration a running broker cannot take over.

use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, KeyEncryptionKeySource};
use crate::http::settings::{AdminSettings, PublicLimits, ServerSettings};
use crate::revocation::settings::{Backend, RevocationSettings};
use crate::store::settings::{PostgresSettings, PostgresTls, StoreSettings};
use crate::token::settings::TokenSettings;

impl Config {
    /// The keys that differ in `new` and that only a restart takes over: whoever holds them was bound, opened or made at
    /// the start. Names every field, so that a new one is put on one side or the other.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            server,
            admin,
            store,
            key_encryption_key,
            revocation,
            drill_every,
            token,
            dpop_nonce,
            public_limits,
            broker_name,
            strict_assertion_audience: _,
            registry_path: _,
            guardrails: _,
            limits: _,
            resource_servers: _,
            issuers: _,
            trust_domains: _,
            log: _,
            way: _,
        } = self;
        let AdminSettings { listen: admin_listen, tls: admin_tls, operators: _, local_key_file: _ } = admin;
        let RevocationSettings { backend, max_staleness } = revocation;
        let same_kek = same_source(key_encryption_key, &new.key_encryption_key);
        let mut keys = differing([
            ("server.name", *broker_name != new.broker_name),
            ("admin.listen", *admin_listen != new.admin.listen),
            ("admin.tls", admin_tls.is_some() != new.admin.tls.is_some()),
            ("store.key_encryption_key", !same_kek),
            ("revocation.max_staleness", *max_staleness != new.revocation.max_staleness),
            ("revocation.drill_every", *drill_every != new.drill_every),
            ("token.dpop_nonce", *dpop_nonce != new.dpop_nonce),
        ]);
        keys.extend(of_server(server, &new.server));
        keys.extend(of_token(token, &new.token));
        keys.extend(of_limits(public_limits, &new.public_limits));
        keys.extend(of_store(store, &new.store));
        keys.extend(of_redis(backend, &new.revocation.backend));
        keys.sort_unstable();
        keys
    }
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn of_server(held: &ServerSettings, new: &ServerSettings) -> Vec<&'static str> {
    let ServerSettings { listen, public_url, tls, proxies } = held;
    differing([
        ("server.listen", *listen != new.listen),
        ("server.public_url", *public_url != new.public_url),
        ("server.tls", tls.is_some() != new.tls.is_some()),
        ("server.trusted_proxies", *proxies != new.proxies),
    ])
}

fn of_token(held: &TokenSettings, new: &TokenSettings) -> Vec<&'static str> {
    let TokenSettings { algorithm, rsa_key, rotate_every, publish_ahead, verified_memory } = held;
    differing([
        ("token.algorithm", *algorithm != new.algorithm),
        ("token.rsa_key_file", !same_secret(rsa_key.as_ref(), new.rsa_key.as_ref())),
        ("token.rotate_every", *rotate_every != new.rotate_every),
        ("token.publish_ahead", *publish_ahead != new.publish_ahead),
        ("token.verified_memory_mib", *verified_memory != new.verified_memory),
    ])
}

fn of_limits(held: &PublicLimits, new: &PublicLimits) -> Vec<&'static str> {
    let PublicLimits { connections, per_source, memory, idle } = held;
    differing([
        ("limits.connections", *connections != new.connections),
        ("limits.connections_per_source", *per_source != new.per_source),
        ("limits.request_memory_mib", *memory != new.memory),
        ("limits.idle_connections", *idle != new.idle),
    ])
}

fn of_store(held: &StoreSettings, new: &StoreSettings) -> Vec<&'static str> {
    match (held, new) {
        (StoreSettings::Sqlite { path }, StoreSettings::Sqlite { path: new_path }) => {
            differing([("store.url", path != new_path)])
        }
        (StoreSettings::Postgres(held), StoreSettings::Postgres(new)) => of_postgres(held, new),
        _ => vec!["store.url"],
    }
}

fn of_postgres(held: &PostgresSettings, new: &PostgresSettings) -> Vec<&'static str> {
    let PostgresSettings { servers, database, username, password, tls, spool } = held;
    let elsewhere = *servers != new.servers || *database != new.database;
    let mut keys = differing([
        ("store.url", elsewhere || tls.is_some() != new.tls.is_some()),
        ("store.username", *username != new.username),
        ("store.password_file", !same_secret(password.as_ref(), new.password.as_ref())),
        ("store.spool", *spool != new.spool),
    ]);
    if let (Some(PostgresTls { ca_file, client }), Some(new)) = (tls, &new.tls) {
        keys.extend(differing([
            ("store.ca_file", *ca_file != new.ca_file),
            ("store.client_cert_file", *client != new.client),
        ]));
    }
    keys
}

fn of_redis(held: &Backend, new: &Backend) -> Vec<&'static str> {
    match (held, new) {
        (Backend::Memory, Backend::Memory) => Vec::new(),
        (Backend::Redis(held), Backend::Redis(new)) => differing([
            ("revocation.url", held.url != new.url),
            ("revocation.username", held.username != new.username),
            ("revocation.password_file", !same_secret(held.password.as_ref(), new.password.as_ref())),
            ("revocation.ca_file", held.ca_file != new.ca_file),
            ("revocation.client_cert_file", held.client != new.client),
            ("revocation.sentinel_username", held.sentinel.username != new.sentinel.username),
            (
                "revocation.sentinel_password_file",
                !same_secret(held.sentinel.password.as_ref(), new.sentinel.password.as_ref()),
            ),
            ("revocation.sentinel_tls", held.sentinel.tls != new.sentinel.tls),
        ]),
        _ => vec!["revocation.url"],
    }
}

fn same_source(held: &KeyEncryptionKeySource, new: &KeyEncryptionKeySource) -> bool {
    use KeyEncryptionKeySource::{DefaultFile, File, Text};
    match (held, new) {
        (File(held), File(new)) => held == new,
        // It is beside the store, whose key is named then.
        (DefaultFile(_), DefaultFile(_)) => true,
        (Text(held), Text(new)) => same_secret(Some(held), Some(new)),
        _ => false,
    }
}

fn same_secret(held: Option<&SecretString>, new: Option<&SecretString>) -> bool {
    held.map(ExposeSecret::expose_secret) == new.map(ExposeSecret::expose_secret)
}
