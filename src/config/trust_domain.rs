//! `[[trust_domain]]`.

use std::path::PathBuf;
use std::time::Duration;

use spiffe::transport::Endpoint;

use crate::config::files;
use crate::config::issuer::{DAY, DEFAULT_STALE_KEYS, secure_url};
use crate::document::{Field, Located, Mistakes, Table};
use crate::domain::id::IssuerName;
use crate::domain::spiffe::SpiffeId;
use crate::identity::check_bundle;
use crate::identity::settings::{BundleSource, IssuerSettings, SpiffeEndpoint, TrustDomainSettings};

pub(super) struct TrustDomains {
    pub(super) settings: Vec<TrustDomainSettings>,
    /// Their names, where each could be read.
    pub(super) names: Option<Vec<IssuerName>>,
}

pub(super) fn read(root: &Table<'_>, issuers: &[IssuerSettings], mistakes: &Mistakes) -> TrustDomains {
    let mut taken: Vec<Located<IssuerName>> = Vec::new();
    let tables = root.list_of_tables("trust_domain");
    let count = tables.len();
    let settings =
        tables.iter().filter_map(|table| trust_domain(table, &mut taken, issuers, mistakes)).collect();
    let names: Vec<IssuerName> = taken.into_iter().map(|name| name.value).collect();
    TrustDomains { settings, names: Some(names).filter(|names| names.len() == count) }
}

fn trust_domain(
    table: &Table<'_>,
    taken: &mut Vec<Located<IssuerName>>,
    issuers: &[IssuerSettings],
    mistakes: &Mistakes,
) -> Option<TrustDomainSettings> {
    // A trust domain's name stands where an issuer's does: in rules, events and the kill switch.
    let name = table.key("name", "\"acme.internal\"").required().parse::<IssuerName>();
    if let Some(name) = &name {
        note(name, taken, issuers, mistakes);
    }
    let ca_file = table.key("ca_file", "\"/etc/hallpass/bundle-ca.pem\"");
    let ca_place = ca_file.is_present().then(|| ca_file.place().clone());
    let ca_file = files::roots(ca_file, mistakes);
    let stale_keys = table.key("stale_keys", "\"1h\"");
    let stale_keys = stale_keys.or(DEFAULT_STALE_KEYS, |field| field.duration(Duration::ZERO..=DAY));
    let bundle = bundle(table, name.as_ref(), mistakes);
    let local =
        ["bundle_file", "workload_api", "endpoint_spiffe_id"].into_iter().find(|source| table.has(source));
    if let (Some(source), Some(place)) = (local, ca_place) {
        mistakes.add(&place, format!("has no meaning with {source}"), "take one of the two out");
    }
    Some(TrustDomainSettings {
        name: name?.value,
        bundle: bundle?,
        ca_file: ca_file.map(|file| file.value),
        stale_keys: stale_keys?.value,
    })
}

fn note(
    name: &Located<IssuerName>,
    taken: &mut Vec<Located<IssuerName>>,
    issuers: &[IssuerSettings],
    mistakes: &Mistakes,
) {
    if name.value.as_str() == IssuerName::KEY {
        mistakes.add(&name.place, "`key` is the name of proofs by registered key", "write another name");
    }
    if let Some(first) = taken.iter().find(|other| other.value == name.value) {
        let line = first.place.line.unwrap_or_default();
        let problem = format!("`{}` is also the name on line {line}", name.value);
        mistakes.add(&name.place, problem, "configure each trust domain once");
    }
    if issuers.iter().any(|issuer| issuer.name == name.value) {
        let problem = format!("`{}` is also the name of an [[issuer]]", name.value);
        mistakes.add(&name.place, problem, "give the issuer another name; a trust domain cannot have one");
    }
    taken.push(name.clone());
}

/// One of the three sources, which exclude each other.
fn bundle(
    table: &Table<'_>,
    name: Option<&Located<IssuerName>>,
    mistakes: &Mistakes,
) -> Option<BundleSource> {
    let id = table.key("endpoint_spiffe_id", "\"spiffe://acme.internal/spire/server\"");
    let bootstrap = table.key("bootstrap_bundle_file", "\"/etc/hallpass/acme-bundle.json\"");
    let file = table.key("bundle_file", "\"/run/spire/bundle.json\"");
    let url = table.key("bundle_url", "\"https://spire.acme.internal:8443\"");
    let api = table.key("workload_api", "\"unix:///run/spire/sockets/agent.sock\"");
    let present: Vec<&Field<'_>> = [&file, &url, &api].into_iter().filter(|f| f.is_present()).collect();
    match present.as_slice() {
        [_] => {}
        [] => {
            let remedy = "write bundle_file, bundle_url or workload_api";
            mistakes.add(&table.place(), "names no bundle", remedy);
            return None;
        }
        [first, second, ..] => {
            let problem = format!("{} names the bundle too", first.key());
            mistakes.add(second.place(), problem, "keep one of the two");
            return None;
        }
    }
    if id.is_present() || bootstrap.is_present() {
        if !url.is_present() {
            let place = if id.is_present() { id.place() } else { bootstrap.place() };
            mistakes.add(place, "has no meaning without bundle_url", "write bundle_url, or take it out");
            return None;
        }
        return spiffe_endpoint(url, id.required(), bootstrap.required(), name, mistakes);
    }
    if file.is_present() {
        bundle_file(file, mistakes).map(|file| BundleSource::File(file.value))
    } else if url.is_present() {
        secure_url(url, mistakes).map(|(_, url)| BundleSource::Url(url))
    } else {
        endpoint(api, mistakes).map(BundleSource::WorkloadApi)
    }
}

/// An endpoint that is known by its SVID: one of the trust domain itself.
fn spiffe_endpoint(
    url: Field<'_>,
    id: Field<'_>,
    bootstrap: Field<'_>,
    name: Option<&Located<IssuerName>>,
    mistakes: &Mistakes,
) -> Option<BundleSource> {
    let place = url.place().clone();
    let url = secure_url(url, mistakes);
    let id = id.parse::<SpiffeId>();
    let bootstrap = bundle_file(bootstrap, mistakes);
    let ((_, url), id, name) = (url?, id?, name?);
    if url.scheme() != "https" {
        mistakes.add(&place, "must be https, as endpoint_spiffe_id is shown in TLS", "write https://…");
        return None;
    }
    if id.value.trust_domain() != name.value.as_str() || id.value.path().is_empty() {
        let remedy =
            format!("write the ID of its SPIRE server, such as spiffe://{}/spire/server", name.value);
        mistakes.add(&id.place, "is not a workload of this trust domain", remedy);
        return None;
    }
    let (id, bootstrap) = (id.value, bootstrap?.value);
    Some(BundleSource::Endpoint(SpiffeEndpoint { url, id, bootstrap }))
}

fn bundle_file(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    let judge = |bytes: &[u8]| check_bundle(bytes).map_err(|problem| format!("cannot be used: {problem}"));
    files::judged(
        field,
        "name a bundle, as `spire-server bundle show -format spiffe` prints it",
        judge,
        mistakes,
    )
}

/// The socket need not be there yet: a SPIRE agent may start after the broker.
fn endpoint(field: Field<'_>, mistakes: &Mistakes) -> Option<Endpoint> {
    let remedy = field.remedy();
    let text = field.text()?;
    match Endpoint::parse(&text.value) {
        // Whoever is on the way could put another bundle in its place: it is not encrypted.
        Ok(Endpoint::Tcp { host, .. }) if !host.is_loopback() => {
            mistakes.add(
                &text.place,
                "must be a socket of this machine: unix, or tcp on a loopback address",
                remedy,
            );
            None
        }
        Ok(endpoint) => Some(endpoint),
        Err(error) => {
            mistakes.add(&text.place, format!("is no endpoint of the Workload API: {error}"), remedy);
            None
        }
    }
}
