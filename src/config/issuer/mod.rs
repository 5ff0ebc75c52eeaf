//! `[[issuer]]`.

mod preset;

use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::config::{IssuerNames, files, weak};
use crate::document::{Field, Located, Mistakes, Table, wrong_value};
use crate::domain::id::IssuerName;
use crate::domain::platform::Platform;
use crate::domain::secure::is_secure;
use crate::identity::check_jwks;
use crate::identity::settings::{IssuerSettings, KeySource, ProofAlgorithm};

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
pub(super) const DEFAULT_STALE_KEYS: Duration = Duration::from_secs(60 * 60);

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const MAX_LEEWAY: Duration = Duration::from_secs(60);

pub(super) struct Issuers {
    pub(super) settings: Vec<IssuerSettings>,
    pub(super) names: IssuerNames,
}

/// `public_url` is the broker's, where it could be read.
pub(super) fn read(root: &Table<'_>, public_url: Option<&str>, mistakes: &Mistakes) -> Issuers {
    let mut taken = Taken { mistakes, names: Vec::new(), addresses: Vec::new() };
    let tables = root.list_of_tables("issuer");
    let count = tables.len();
    let settings =
        tables.iter().filter_map(|table| issuer(table, public_url, &mut taken, mistakes)).collect();
    // With one name or kind unreadable, which one an agent's file means cannot be told.
    let all = taken.names.len() == count && taken.names.iter().all(|(_, kind)| kind.is_some());
    let names = taken.names.into_iter().map(|(name, kind)| (name.value, kind.unwrap_or_default())).collect();
    Issuers { settings, names: all.then_some(names) }
}

fn issuer(
    table: &Table<'_>,
    public_url: Option<&str>,
    taken: &mut Taken<'_>,
    mistakes: &Mistakes,
) -> Option<IssuerSettings> {
    let name = table.key("name", "\"github\"").required().parse::<IssuerName>();
    let written = table.key("kind", "\"github\"");
    let is_written = written.is_present();
    let kind = written.or(Platform::Oidc, |field| field.parse::<Platform>());
    // What a mistyped kind would default to cannot be told.
    let platform = kind.as_ref().map_or(Platform::Oidc, |kind| kind.value);
    let url = preset::url(table, platform, kind.is_some(), mistakes);
    if let (Some(url), false) = (&url, is_written) {
        preset::suggest(url, mistakes);
    }
    let audience = table.key("audience", "\"https://hallpass.example\"").required().text();
    taken.note(name.as_ref(), kind.as_ref().map(|kind| kind.value), url.as_ref(), audience.as_ref());
    let algorithms = algorithms(table.key("algorithms", "[\"RS256\", \"ES256\"]"), platform);
    let max_age = table.key("max_age", "\"15m\"");
    let max_age = max_age.or(preset::max_age(platform), |field| field.duration(Duration::ZERO..=DAY));
    let leeway = table.key("leeway", "\"30s\"");
    let leeway = leeway.or(DEFAULT_LEEWAY, |field| field.duration(Duration::ZERO..=MAX_LEEWAY));
    let stale_keys = table.key("stale_keys", "\"1h\"");
    let stale_keys = stale_keys.or(DEFAULT_STALE_KEYS, |field| field.duration(Duration::ZERO..=DAY));
    let ca_file = table.key("ca_file", "\"/etc/hallpass/issuer-ca.pem\"");
    let bearer = table.key("jwks_bearer_file", "\"/var/run/secrets/kubernetes.io/serviceaccount/token\"");
    let of_the_web = [&ca_file, &bearer].map(|field| field.is_present().then(|| field.place().clone()));
    let ca_file = files::roots(ca_file, mistakes);
    let bearer = files::readable(bearer, mistakes);
    let keys = key_source(table, mistakes);
    if table.has("jwks_file") {
        for place in of_the_web.iter().flatten() {
            mistakes.add(place, "has no meaning with jwks_file", "take one of the two out");
        }
    }
    let audience = audience?;
    let settings = IssuerSettings {
        name: name?.value,
        kind: kind?.value,
        url: url?.value,
        audience: audience.value,
        algorithms: algorithms?,
        max_age: Some(max_age?.value).filter(|age| !age.is_zero()),
        leeway: leeway?.value,
        keys: keys?,
        ca_file: ca_file.map(|file| file.value),
        jwks_bearer_file: bearer.map(|file| file.value),
        stale_keys: stale_keys?.value,
    };
    if let Some(public_url) = public_url {
        weak::audience(&settings, &audience.place, public_url, mistakes);
    }
    Some(settings)
}

fn algorithms(field: Field<'_>, platform: Platform) -> Option<Vec<ProofAlgorithm>> {
    if !field.is_present() {
        return Some(preset::algorithms(platform).to_vec());
    }
    let list = field.filled_list::<AlgorithmName>()?;
    Some(list.value.into_iter().map(|algorithm| algorithm.value.0).collect())
}

fn key_source(table: &Table<'_>, mistakes: &Mistakes) -> Option<KeySource> {
    let url = table.key("jwks_url", "\"https://issuer.example/jwks.json\"");
    let file = table.key("jwks_file", "\"issuer-jwks.json\"");
    match (url.is_present(), file.is_present()) {
        (true, true) => {
            mistakes.add(file.place(), "jwks_url names the keys too", "keep one of the two");
            None
        }
        (true, false) => secure_url(url, mistakes).map(|(_, url)| KeySource::Url(url)),
        (false, true) => {
            let judge =
                |bytes: &[u8]| check_jwks(bytes).map_err(|problem| format!("cannot be used: {problem}"));
            let file = files::judged(file, "name the issuer's JWK set (RFC 7517)", judge, mistakes);
            file.map(|file| KeySource::File(file.value))
        }
        (false, false) => Some(KeySource::Discovery),
    }
}

/// A URL that keys may be fetched from, as it was written and parsed.
pub(super) fn secure_url(field: Field<'_>, mistakes: &Mistakes) -> Option<(Located<String>, Url)> {
    let remedy = field.remedy();
    let text = field.text()?;
    let problem = match text.value.parse::<Url>() {
        Err(_) => "is not a URL",
        Ok(url) if !is_secure(&url) => "must be https, or http on a loopback host",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => "holds credentials",
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "has a query or fragment",
        Ok(url) => return Some((text, url)),
    };
    mistakes.add(&text.place, wrong_value(&text.value, problem), remedy);
    None
}

/// Names and addresses of issuers, each of which must say which one it is.
struct Taken<'m> {
    mistakes: &'m Mistakes,
    names: Vec<(Located<IssuerName>, Option<Platform>)>,
    /// URL, and audience where it could be read.
    addresses: Vec<(Located<String>, Option<String>)>,
}

impl Taken<'_> {
    fn note(
        &mut self,
        name: Option<&Located<IssuerName>>,
        kind: Option<Platform>,
        url: Option<&Located<String>>,
        audience: Option<&Located<String>>,
    ) {
        if let Some(name) = name {
            if name.value.as_str() == IssuerName::KEY {
                let problem = "`key` is the name of proofs by registered key";
                self.mistakes.add(&name.place, problem, "write another name");
            }
            if let Some(first) = self.names.iter().find(|(other, _)| other.value == name.value) {
                let line = first.0.place.line.unwrap_or_default();
                let problem = format!("`{}` is also the name on line {line}", name.value);
                self.mistakes.add(&name.place, problem, "give each issuer a name of its own");
            }
            self.names.push((name.clone(), kind));
        }
        let Some(url) = url else { return };
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        let audience = audience.map(|audience| audience.value.clone());
        let same = |(other, of): &&(Located<String>, Option<String>)| {
            bare(&other.value) == bare(&url.value) && *of == audience
        };
        if let Some((first, _)) = self.addresses.iter().find(same) {
            let line = first.place.line.unwrap_or_default();
            let problem = format!("is also the url on line {line}, with the same audience");
            let remedy = "configure each issuer once, or give each an audience of its own";
            self.mistakes.add(&url.place, problem, remedy);
        }
        self.addresses.push((url.clone(), audience));
    }
}

#[derive(PartialEq)]
struct AlgorithmName(ProofAlgorithm);

impl FromStr for AlgorithmName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = ProofAlgorithm::ALL.iter().find(|algorithm| algorithm.as_str() == text);
        found.copied().map(Self).ok_or_else(|| {
            let all: Vec<&str> = ProofAlgorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
            format!("is not one of {}", all.join(", "))
        })
    }
}
