//! What of a changed configuration a running broker cannot take over.

use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, KeyEncryptionKeySource};
use crate::revocation::settings::Backend;

impl Config {
    /// The keys that differ in `new` and that only a restart takes over: whoever holds them was bound, opened or made at
    /// the start.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let (token, tokens) = (&self.token, &new.token);
        let (limits, bounds) = (&self.public_limits, &new.public_limits);
        let mut keys: Vec<&'static str> = [
            ("server.name", self.broker_name != new.broker_name),
            ("server.listen", self.server.listen != new.server.listen),
            ("server.public_url", self.server.public_url != new.server.public_url),
            ("server.tls", self.server.tls.is_some() != new.server.tls.is_some()),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("admin.tls", self.admin.tls.is_some() != new.admin.tls.is_some()),
            ("store.url", self.store != new.store),
            ("store.key_encryption_key", !same_source(&self.key_encryption_key, &new.key_encryption_key)),
            ("revocation.max_staleness", self.revocation.max_staleness != new.revocation.max_staleness),
            ("token.algorithm", token.algorithm != tokens.algorithm),
            ("token.rsa_key_file", !same_secret(token.rsa_key.as_ref(), tokens.rsa_key.as_ref())),
            ("token.rotate_every", token.rotate_every != tokens.rotate_every),
            ("token.publish_ahead", token.publish_ahead != tokens.publish_ahead),
            ("token.dpop_nonce", self.dpop_nonce != new.dpop_nonce),
            ("limits.connections", limits.connections != bounds.connections),
            ("limits.connections_per_source", limits.per_source != bounds.per_source),
            ("limits.request_memory_mib", limits.memory != bounds.memory),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect();
        keys.extend(redis(&self.revocation.backend, &new.revocation.backend));
        keys
    }
}

fn redis(held: &Backend, new: &Backend) -> Vec<&'static str> {
    match (held, new) {
        (Backend::Memory, Backend::Memory) => Vec::new(),
        (
            Backend::Redis { url, username, password, ca_file },
            Backend::Redis { url: new_url, username: new_username, password: new_password, ca_file: new_ca },
        ) => [
            ("revocation.url", url != new_url),
            ("revocation.username", username != new_username),
            ("revocation.password_file", !same_secret(password.as_ref(), new_password.as_ref())),
            ("revocation.ca_file", ca_file != new_ca),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect(),
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
