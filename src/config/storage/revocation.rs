//! `[revocation]`.

use std::time::Duration;

use super::connection::{Examples, Keys, Server, one_password, optional};
use crate::config::weak;
use crate::document::{Field, Located, Mistakes, Table, wrong_value};
use crate::revocation::settings::{
    Backend, RedisSettings, RedisUrl, RevocationSettings, SentinelSettings, Servers, UrlError,
};
use crate::store::settings::StoreSettings;

const MEMORY: &str = "memory:";
const DEFAULT_STALENESS: Duration = Duration::from_secs(2);

const EXAMPLES: Examples = Examples {
    password_file: "\"/run/secrets/redis-password\"",
    ca_file: "\"/etc/hallpass/redis-ca.pem\"",
    client_cert_file: "\"/etc/hallpass/redis-client.pem\"",
    client_key_file: "\"/run/secrets/redis-client.key\"",
};

/// A view older than this is no view.
const STALENESS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A drill takes up to ten seconds where somebody is late.
const DRILLS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);

/// The settings, and how often the broker drills by itself: never without the key. None where they are wrong.
pub(in crate::config) fn revocation(
    root: &Table<'_>,
    store: Option<&StoreSettings>,
    mistakes: &Mistakes,
) -> (Option<RevocationSettings>, Option<Option<Duration>>) {
    let section = root.section("revocation");
    let drill_every = optional(section.key("drill_every", "\"24h\""), |field| field.duration(DRILLS));
    (settings(&section, store, mistakes), drill_every)
}

fn settings(
    section: &Table<'_>,
    store: Option<&StoreSettings>,
    mistakes: &Mistakes,
) -> Option<RevocationSettings> {
    let max_staleness =
        section.key("max_staleness", "\"2s\"").or(DEFAULT_STALENESS, |field| field.duration(STALENESS));
    let server = Server { section: "revocation", name: "Redis" };
    let keys = Keys::ask(section, server, &EXAMPLES);
    let sentinels = Sentinels::ask(section);
    let url = section.key("url", "\"redis://127.0.0.1:6379\"");
    let url = url.or(MEMORY.to_owned(), |url| url.text())?;

    if url.value == MEMORY {
        if let Some(StoreSettings::Postgres(_)) = store {
            let problem = "knows of one broker, and store.url names a database that several may share";
            let remedy =
                "write url = \"redis://host:6379\" and so on, the same for every broker of the database";
            mistakes.add(&url.place, problem, remedy);
        }
        let (problem, remedy) =
            ("has no meaning with revocation.url memory:", "take it out, or write url = \"redis://…\"");
        keys.refuse(problem, remedy, mistakes);
        sentinels.refuse(problem, remedy, mistakes);
        return Some(RevocationSettings { backend: Backend::Memory, max_staleness: max_staleness?.value });
    }
    let redis = redis_url(&url, mistakes);
    let has_sentinels = redis.as_ref().is_none_or(|redis| matches!(redis.servers, Servers::Sentinels { .. }));
    if !has_sentinels {
        let remedy = "take it out, or write url = \"redis+sentinel://…\"";
        sentinels.refuse("has no meaning without sentinels", remedy, mistakes);
    }
    let (sentinel, tls) = sentinels.read(mistakes);
    let tls = tls?;
    if let Some(redis) = &redis {
        let asked = tls.as_ref().map(|tls| tls.value);
        if !redis.tls && asked != Some(true) {
            keys.refuse_tls("has no meaning without TLS", "write url = \"rediss://…\"", mistakes);
        }
        weak::redis(&url, redis, mistakes);
        if let Some(tls) = tls.as_ref().filter(|tls| redis.tls && !tls.value) {
            weak::sentinels(&tls.place, redis, mistakes);
        }
    }
    let connection = keys.read(mistakes);
    let (url, connection) = (redis?, connection?);
    let backend = Backend::Redis(Box::new(RedisSettings {
        sentinel: SentinelSettings {
            tls: has_sentinels && tls.map_or(url.tls, |tls| tls.value),
            ..sentinel?
        },
        url,
        username: connection.username,
        password: connection.password,
        ca_file: connection.ca_file,
        client: connection.client,
    }));
    Some(RevocationSettings { backend, max_staleness: max_staleness?.value })
}

/// What was written about sentinels.
struct Sentinels<'a> {
    username: Field<'a>,
    password_file: Field<'a>,
    password: Option<Located<&'a str>>,
    tls: Field<'a>,
}

impl<'a> Sentinels<'a> {
    fn ask(section: &Table<'a>) -> Self {
        Self {
            username: section.key("sentinel_username", "\"hallpass\""),
            password_file: section.key("sentinel_password_file", "\"/run/secrets/sentinel-password\""),
            password: section.secret_variable("sentinel_password"),
            tls: section.key("sentinel_tls", "true"),
        }
    }

    /// Tells of each that was written although there are none.
    fn refuse(&self, problem: &str, remedy: &str, mistakes: &Mistakes) {
        let fields = [&self.username, &self.password_file, &self.tls].into_iter();
        let written = fields.filter(|field| field.is_present()).map(|field| field.place());
        for place in written.chain(self.password.as_ref().map(|password| &password.place)) {
            mistakes.add(place, problem, remedy);
        }
    }

    /// What they say, and whether TLS was asked for, if anybody said so.
    fn read(self, mistakes: &Mistakes) -> (Option<SentinelSettings>, Option<Option<Located<bool>>>) {
        let Self { username, password_file, password, tls } = self;
        let place = tls.place().clone();
        let tls = optional(tls, |field| field.boolean());
        let tls = tls.map(|tls| tls.map(|value| Located { value, place }));
        let username = optional(username, |field| field.text());
        let named = ("revocation.sentinel_password_file", "the sentinels' password");
        let password = one_password(password_file, password, named, mistakes);
        let settings = match (username, password) {
            (Some(username), Some(password)) => Some(SentinelSettings { username, password, tls: false }),
            _ => None,
        };
        (settings, tls)
    }
}

fn redis_url(url: &Located<String>, mistakes: &Mistakes) -> Option<RedisUrl> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    url.value.parse().map_or_else(|err: UrlError| refuse(&err.to_string(), err.remedy()), Some)
}
