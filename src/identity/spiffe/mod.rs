//! SPIFFE: certificates and JWTs of configured trust domains → [`VerifiedIdentity`].
//!
//! A SPIFFE ID names its trust domain, and that domain's [`bundle`] alone vouches for it: two domains never
//! vouch for each other's workloads, whatever keys or names they share. [`certificate`] holds an X.509-SVID to
//! its standard; a JWT-SVID goes the way of every JWT, through [`jws`](super::jws) and
//! [`claims`](super::claims). Bundles are kept as issuers' keys are, by [`PublishedKeys`].

mod bundle;
mod certificate;
mod endpoint;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::domain::confirmation::Thumbprint;
use crate::domain::id::IssuerName;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::domain::spiffe::SpiffeId;
use crate::domain::time::{Clock, Timestamp};
use crate::identity::claims;
use crate::identity::error::{AuthenticatorError, NoKeys, ProofError};
use crate::identity::fetch::Source;
use crate::identity::jws::Unverified;
use crate::identity::keys::{IssuerStatus, Newer, PublishedKeys, Snapshot};
use crate::identity::oidc::candidates;
use crate::identity::settings::{ProofAlgorithm, TrustDomainSettings};
use crate::outbound::Way;
pub(super) use bundle::Bundle;
use certificate::{Svid, UnverifiedSvid};

/// A client certificate that was verified: what a token can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate (RFC 8705 §3.1).
    pub thumbprint: Thumbprint,
    /// The first instant at which it is no longer good; no token bound to it lives longer.
    pub expires: Timestamp,
}

/// The configured trust domains.
#[derive(Debug)]
pub(super) struct TrustDomains {
    domains: Vec<Domain>,
    clock: Clock,
}

#[derive(Debug)]
struct Domain {
    name: IssuerName,
    settings: TrustDomainSettings,
    bundle: Arc<PublishedKeys<Bundle>>,
}

impl TrustDomains {
    /// Reads `bundle_file`s, so that a mistake in one stops the start; contacts nobody.
    pub(super) fn new(
        settings: &[TrustDomainSettings],
        way: &Way,
        clock: Clock,
    ) -> Result<Self, AuthenticatorError> {
        let domain = |settings: &TrustDomainSettings| {
            let source = Source::of_bundle(settings, way, endpoint::verifier)?;
            let bundle = PublishedKeys::new(&settings.name, source, settings.stale_keys, clock.clone())?;
            Ok(Domain { name: settings.name.clone(), settings: settings.clone(), bundle })
        };
        Ok(Self { domains: settings.iter().map(domain).collect::<Result<_, _>>()?, clock })
    }

    /// Keeps the bundles of trust domains that are configured as they were.
    pub(super) fn go_on_from(&self, before: &Self) {
        for domain in &self.domains {
            let same = |other: &&Domain| other.settings == domain.settings;
            if let Some(other) = before.domains.iter().find(same) {
                domain.bundle.go_on_from(&other.bundle);
            }
        }
    }

    pub(super) fn probe(&self) {
        self.domains.iter().for_each(|domain| domain.bundle.probe());
    }

    pub(super) fn status(&self) -> impl Iterator<Item = IssuerStatus> {
        self.domains.iter().map(|domain| domain.bundle.status())
    }

    fn domain(&self, name: &str) -> Result<&Domain, ProofError> {
        self.domains.iter().find(|domain| domain.name.as_str() == name).ok_or_else(|| {
            ProofError::new(
                Reason::IssuerUnknown,
                "the SPIFFE ID is of no trust domain that this broker trusts",
            )
        })
    }

    /// Verifies an X.509-SVID: a client certificate, whose key the handshake has shown to be the caller's,
    /// and what it sent beside. Every validity is judged anew at each call, for connections are kept open.
    pub(super) async fn certificate(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> Result<(VerifiedIdentity, ClientCertificate), ProofError> {
        let svid = UnverifiedSvid::of(chain)?;
        let domain = self.domain(svid.trust_domain())?;
        let vouched = |held: &Snapshot<Bundle>| {
            let now = self.clock.now();
            svid.verified_by(&held.keys.anchors(svid.trust_domain(), now), now)
        };
        let held = domain.held().await?;
        let verified = match vouched(&held) {
            // Perhaps by an authority that the trust domain has added since.
            Err(error) if error.reason == Reason::SignatureInvalid => {
                match domain.bundle.newer(&held).await {
                    Newer::Keys(newer) => vouched(&newer),
                    Newer::NoNews => Err(error),
                    Newer::Unavailable(missing) => Err(unavailable(missing)),
                }
            }
            verified => verified,
        };
        let Svid { id, expires, sha256 } = verified?;
        Ok((domain.identity(&id, expires), ClientCertificate { thumbprint: Thumbprint(sha256), expires }))
    }

    /// Whether the text looks like a JWT-SVID of a configured trust domain, by a `sub` that nobody has vouched for.
    /// `nameless`: only one without `iss`. What a configured issuer refused is not judged again by other rules.
    pub(super) fn may_know(&self, text: &str, nameless: bool) -> bool {
        let subject = |jws: &Unverified<'_>| jws.unverified_name("sub").ok()?.parse::<SpiffeId>().ok();
        !self.domains.is_empty()
            && Unverified::parse(text).is_ok_and(|jws| {
                (!nameless || jws.unverified_name("iss").is_err())
                    && subject(&jws).is_some_and(|id| self.domain(id.trust_domain()).is_ok())
            })
    }

    /// Verifies a JWT-SVID (SPIFFE JWT-SVID standard) whose audience is `our_issuer` alone. One may be sent
    /// as often as its holder likes: workloads share a cached one.
    pub(super) async fn jwt(&self, text: &str, our_issuer: &str) -> Result<VerifiedIdentity, ProofError> {
        let jws = Unverified::parse(text)?;
        if jws.header.algorithm == ProofAlgorithm::EdDsa {
            return Err(ProofError::new(
                Reason::AlgorithmNotAllowed,
                "a JWT-SVID is signed with RS, PS or ES",
            ));
        }
        let id: SpiffeId = jws.unverified_name("sub")?.parse().map_err(|_| not_an_id())?;
        if id.path().is_empty() {
            return Err(not_an_id());
        }
        let domain = self.domain(id.trust_domain())?;
        let mut held = domain.held().await?;
        if candidates(&held.keys.jwt_keys, &jws).is_err_and(|error| error.reason == Reason::KeyUnknown) {
            held = match domain.bundle.newer(&held).await {
                Newer::Keys(newer) => newer,
                Newer::NoNews => held,
                Newer::Unavailable(missing) => return Err(unavailable(missing)),
            };
        }
        let keys = candidates(&held.keys.jwt_keys, &jws)?;
        let algorithm = jws.header.algorithm;
        let claims = jws.verified(|message, signature| {
            keys.iter().any(|key| key.verifies(algorithm, message, signature))
        })?;
        let expires = claims::accept_svid(&claims, our_issuer, self.clock.now())?;
        Ok(domain.identity(&id, expires))
    }
}

impl Domain {
    async fn held(&self) -> Result<Arc<Snapshot<Bundle>>, ProofError> {
        self.bundle.current().await.map_err(unavailable)
    }

    fn identity(&self, id: &SpiffeId, expires: Timestamp) -> VerifiedIdentity {
        let subject = id.to_string();
        let claims = BTreeMap::from([("sub".to_owned(), subject.clone())]);
        VerifiedIdentity { issuer: self.name.clone(), subject, claims, expires }
    }
}

fn not_an_id() -> ProofError {
    ProofError::new(Reason::ClaimInvalid, "sub must be the SPIFFE ID of a workload")
}

fn unavailable(missing: NoKeys) -> ProofError {
    ProofError::no_keys("the trust domain's bundle cannot be had at the moment; try again", missing)
}
