//! A trust domain's bundle (SPIFFE Trust Domain and Bundle §4): the keys that vouch for its SVIDs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate::uri_names;
use crate::domain::spiffe::SpiffeId;
use crate::domain::time::Timestamp;
use crate::identity::jwks::{BadJwks, KeySet, LeftOut, Unusable};
use crate::identity::keys::Document;

/// More keys than any trust domain has at once.
const MAX_KEYS: usize = 128;

/// Sooner would be load without use.
const SOONEST_REFRESH: Duration = Duration::from_secs(5);

const NO_AUTHORITY: Unusable =
    Unusable::Broken("its x5c is not the certificate of one CA of a trust domain, which may sign others");
const NO_KID: Unusable = Unusable::Broken("it has no kid");

#[derive(Debug, PartialEq, Eq)]
pub(in crate::identity) struct Bundle {
    authorities: Vec<Authority>,
    /// What verifies JWT-SVIDs, and nothing else.
    pub(super) jwt_keys: KeySet,
    /// What is published and cannot be used.
    left_out: Vec<LeftOut>,
    sequence: Option<u64>,
    refresh: Option<Duration>,
}

/// A certificate that vouches for X.509-SVIDs.
#[derive(Debug, PartialEq, Eq)]
struct Authority {
    anchor: TrustAnchor<'static>,
    /// The trust domain that it says it is of, if it says one.
    domain: Option<Box<str>>,
    /// Seconds since the epoch; the last one included.
    valid: (i64, i64),
}

#[derive(Deserialize)]
struct BundleDocument {
    keys: Vec<Value>,
    spiffe_sequence: Option<u64>,
    spiffe_refresh_hint: Option<u64>,
}

impl Bundle {
    /// What may vouch for X.509-SVIDs of `domain` at `now`. An authority that says it is of another trust
    /// domain is none, whatever name its bundle was given.
    pub(super) fn anchors(&self, domain: &str, now: Timestamp) -> Vec<TrustAnchor<'_>> {
        let now = now.seconds();
        let of_it = |authority: &&Authority| {
            authority.domain.as_deref().is_none_or(|of| of == domain)
                && (authority.valid.0..=authority.valid.1).contains(&now)
        };
        self.authorities.iter().filter(of_it).map(|authority| authority.anchor.clone()).collect()
    }
}

impl Document for Bundle {
    /// Reads a bundle. An element that cannot be used, or whose `use` is not known, is left out and the others
    /// serve (§4.2.2).
    fn parse(document: &[u8]) -> Result<Self, BadJwks> {
        let published: BundleDocument = serde_json::from_slice(document).map_err(|_| BadJwks::NotASet)?;
        if published.keys.len() > MAX_KEYS {
            return Err(BadJwks::TooMany);
        }
        let of_use = |usage: &'static str| {
            published.keys.iter().filter(move |key| key.get("use").and_then(Value::as_str) == Some(usage))
        };
        let mut left_out = Vec::new();
        let mut authorities = Vec::new();
        for key in of_use("x509-svid") {
            match authority(key) {
                Some(authority) => authorities.push(authority),
                None => left_out.push(LeftOut::new(key, NO_AUTHORITY)),
            }
        }
        let nameless = of_use("jwt-svid").filter(|key| signing_key(key).is_none());
        left_out.extend(nameless.map(|key| LeftOut::new(key, NO_KID)));
        let jwt_keys: Vec<Value> = of_use("jwt-svid").filter_map(signing_key).collect();
        let jwt_keys = serde_json::to_vec(&json!({ "keys": jwt_keys })).map_err(|_| BadJwks::NotASet)?;
        let jwt_keys = KeySet::parse(&jwt_keys)?;
        left_out.extend_from_slice(jwt_keys.left_out());
        Ok(Self {
            authorities,
            jwt_keys,
            left_out,
            sequence: published.spiffe_sequence,
            refresh: published
                .spiffe_refresh_hint
                .map(|seconds| Duration::from_secs(seconds).max(SOONEST_REFRESH)),
        })
    }

    fn count(&self) -> usize {
        self.authorities.len() + self.jwt_keys.len()
    }

    fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.clone()
    }

    fn succeeds(&self, held: &Self) -> Result<(), BadJwks> {
        if self.count() == 0 {
            return Err(BadJwks::NoKeys);
        }
        match (self.sequence, held.sequence) {
            (Some(this), Some(held)) if this < held => Err(BadJwks::Older),
            _ => Ok(()),
        }
    }

    fn refresh(&self) -> Option<Duration> {
        self.refresh
    }

    fn vouchers(&self, domain: &str, now: Timestamp) -> Vec<TrustAnchor<'static>> {
        self.anchors(domain, now).into_iter().map(|anchor| anchor.to_owned()).collect()
    }
}

/// A `jwt-svid` element as a plain signing key; its `kid` is required (§4.2.3).
fn signing_key(key: &Value) -> Option<Value> {
    let mut key = key.as_object()?.clone();
    key.get("kid")?.as_str().filter(|kid| !kid.is_empty())?;
    key.insert("use".to_owned(), "sig".into());
    Some(key.into())
}

/// An `x509-svid` element: one certificate in `x5c` (§4.2.3), of a CA that may sign certificates.
fn authority(key: &Value) -> Option<Authority> {
    let [only] = key.get("x5c")?.as_array()?.as_slice() else { return None };
    let der = CertificateDer::from(STANDARD.decode(only.as_str()?).ok()?);
    let (_, certificate) = X509Certificate::from_der(&der).ok().filter(|(rest, _)| rest.is_empty())?;
    // A certificate that does not say what its key is for may use it for anything (RFC 5280 §4.2.1.3).
    let signs = certificate.key_usage().ok()?.is_none_or(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !signs {
        return None;
    }
    let domain = match uri_names(&certificate)?.as_slice() {
        [] => None,
        // One that has a path is of a workload, and vouches for nobody.
        [one] => Some(one.parse::<SpiffeId>().ok().filter(|id| id.path().is_empty())?.trust_domain().into()),
        _ => return None,
    };
    let validity = certificate.validity();
    let valid = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
    Some(Authority { anchor, domain, valid })
}
