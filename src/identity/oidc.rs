//! OIDC tokens of configured issuers.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::domain::digest::Digest;
use crate::domain::id::IssuerName;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::domain::time::Clock;
use crate::identity::claims::{self, Dates, Expected, Limits};
use crate::identity::error::{AuthenticatorError, NoKeys, ProofError};
use crate::identity::fetch::Source;
use crate::identity::jwks::{Found, KeySet, VerificationKey};
use crate::identity::jws::{MAX_TOKEN, Unverified};
use crate::identity::keys::{IssuerKeys, IssuerStatus, Newer, Snapshot};
use crate::identity::settings::IssuerSettings;
use crate::outbound::Way;

/// What verified proofs may take of memory, bytes; about 10,000 of GitHub's.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const CACHE_ITEMS: usize = 20_000;

/// The configured issuers, and the proofs of theirs that were verified lately.
#[derive(Debug)]
pub(super) struct Issuers {
    issuers: Vec<Issuer>,
    clock: Clock,
    /// By the SHA-256 of the whole proof. A hit spares the signature and nothing else.
    verified: Cache<Digest, Arc<VerifiedProof>, ByBytes>,
}

#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    keys: Arc<IssuerKeys>,
}

/// A proof whose signature was verified.
#[derive(Debug)]
struct VerifiedProof {
    /// The index of its issuer.
    issuer: usize,
    /// Of the key set that verified it.
    generation: u64,
    dates: Dates,
    identity: Arc<VerifiedIdentity>,
    bytes: u64,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Digest, Arc<VerifiedProof>> for ByBytes {
    fn weight(&self, _: &Digest, proof: &Arc<VerifiedProof>) -> u64 {
        proof.bytes
    }
}

impl Issuers {
    pub(super) fn new(
        settings: Vec<IssuerSettings>,
        way: &Way,
        clock: Clock,
    ) -> Result<Self, AuthenticatorError> {
        let mut issuers: Vec<Issuer> = Vec::with_capacity(settings.len());
        for settings in settings {
            refuse_confusion(&settings, &issuers)?;
            let source = Source::new(&settings, way)?;
            let keys = IssuerKeys::new(&settings.name, source, settings.stale_keys, clock.clone())?;
            issuers.push(Issuer { settings, keys });
        }
        Ok(Self { issuers, clock, verified: Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, ByBytes) })
    }

    /// Keeps the keys of issuers that are configured as they were.
    pub(super) fn go_on_from(&self, before: &Self) {
        for issuer in &self.issuers {
            let same = |other: &&Issuer| other.settings == issuer.settings;
            if let Some(other) = before.issuers.iter().find(same) {
                issuer.keys.go_on_from(&other.keys);
            }
        }
    }

    pub(super) fn probe(&self) {
        self.issuers.iter().for_each(|issuer| issuer.keys.probe());
    }

    pub(super) fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.iter().map(|issuer| issuer.keys.status()).collect()
    }

    pub(super) async fn authenticate(&self, token: &str) -> Result<Arc<VerifiedIdentity>, ProofError> {
        // Before hashing, so that size buys no work.
        if token.len() > MAX_TOKEN {
            return Err(ProofError::new(Reason::TooLarge, "the proof is over 16 KiB"));
        }
        let digest = Digest::of(token.as_bytes());
        if let Some(proof) = self.verified.get(&digest)
            && let Some(issuer) = self.issuers.get(proof.issuer)
            && issuer.keys().await?.generation == proof.generation
        {
            proof.dates.check(issuer.limits(), self.clock.now())?;
            return Ok(Arc::clone(&proof.identity));
        }
        let proof = Arc::new(self.verify(token).await?);
        self.verified.insert(digest, Arc::clone(&proof));
        Ok(Arc::clone(&proof.identity))
    }

    async fn verify(&self, token: &str) -> Result<VerifiedProof, ProofError> {
        let jws = Unverified::parse(token)?;
        let (index, issuer) = self.issuer_of(&jws)?;
        if !issuer.settings.algorithms.contains(&jws.header.algorithm) {
            return Err(ProofError::new(
                Reason::AlgorithmNotAllowed,
                "alg is not among the algorithms configured for this issuer",
            ));
        }
        let snapshot = issuer.snapshot_for(&jws).await?;
        self.accept(index, issuer, &snapshot, jws, token.len())
    }

    /// The issuer whose keys may vouch for a token: by `iss`, and where several share that, by `aud`. Two
    /// clusters that call themselves the same never meet: each has its own audience, keys and name.
    fn issuer_of(&self, jws: &Unverified<'_>) -> Result<(usize, &Issuer), ProofError> {
        let name = jws.unverified_name("iss")?;
        let mut named = self.issuers.iter().enumerate().filter(|(_, issuer)| issuer.settings.url == name);
        let first = named.next().ok_or_else(|| {
            ProofError::new(Reason::IssuerUnknown, "iss is no issuer that this broker trusts")
        })?;
        let Some(second) = named.next() else { return Ok(first) };
        let audiences = jws.unverified_audiences()?;
        let mut meant = [first, second]
            .into_iter()
            .chain(named)
            .filter(|(_, issuer)| audiences.contains(&issuer.settings.audience.as_str()));
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(ProofError::new(
                Reason::AudienceMismatch,
                "aud does not name the audience of any issuer with this iss",
            )),
            (Some(_), Some(_)) => Err(ProofError::new(
                Reason::AudienceMismatch,
                "aud names the audiences of several issuers with this iss; ask for a token for one",
            )),
        }
    }

    fn accept(
        &self,
        index: usize,
        issuer: &Issuer,
        snapshot: &Snapshot,
        jws: Unverified<'_>,
        token_bytes: usize,
    ) -> Result<VerifiedProof, ProofError> {
        let algorithm = jws.header.algorithm;
        let candidates = candidates(&snapshot.keys, &jws)?;
        let claims = jws.verified(|message, signature| {
            candidates.iter().any(|key| key.verifies(algorithm, message, signature))
        })?;
        let accepted = claims::accept(claims, issuer.expected(), self.clock.now())?;
        let identity = VerifiedIdentity {
            issuer: issuer.settings.name.clone(),
            subject: accepted.subject,
            expires: accepted.dates.expires,
            claims: accepted.strings,
        };
        Ok(VerifiedProof {
            issuer: index,
            generation: snapshot.generation,
            dates: accepted.dates,
            bytes: weight(&identity, token_bytes),
            identity: Arc::new(identity),
        })
    }
}

impl Issuer {
    fn limits(&self) -> Limits {
        Limits { leeway: self.settings.leeway, max_age: self.settings.max_age }
    }

    fn expected(&self) -> Expected<'_> {
        let IssuerSettings { url, audience, kind, .. } = &self.settings;
        Expected { issuer: url, audience, kind: *kind, limits: self.limits() }
    }

    async fn keys(&self) -> Result<Arc<Snapshot>, ProofError> {
        match self.keys.current().await {
            Ok(snapshot) if snapshot.keys.len() > 0 => Ok(snapshot),
            Ok(_) => Err(unavailable(self.keys.no_keys())),
            Err(missing) => Err(unavailable(missing)),
        }
    }

    /// The current set, or a newer one if the current one has not the key that the header names.
    async fn snapshot_for(&self, jws: &Unverified<'_>) -> Result<Arc<Snapshot>, ProofError> {
        let snapshot = self.keys().await?;
        let header = &jws.header;
        if !matches!(snapshot.keys.find(header.kid.as_deref(), header.algorithm), Found::Unknown) {
            return Ok(snapshot);
        }
        match self.keys.newer(&snapshot).await {
            Newer::Keys(newer) => Ok(newer),
            Newer::NoNews => Ok(snapshot),
            Newer::Unavailable(missing) => Err(unavailable(missing)),
        }
    }
}

/// An issuer that cannot be told from another would speak for the other's agents. `config` refuses it with
/// file and line; this holds whoever builds an authenticator.
fn refuse_confusion(settings: &IssuerSettings, before: &[Issuer]) -> Result<(), AuthenticatorError> {
    if settings.name == IssuerName::key() {
        return Err(AuthenticatorError::ReservedName);
    }
    for Issuer { settings: other, .. } in before {
        if other.name == settings.name {
            return Err(AuthenticatorError::SharedName { issuer: settings.name.clone() });
        }
        if other.url == settings.url && other.audience == settings.audience {
            let (issuer, other) = (settings.name.clone(), other.name.clone());
            return Err(AuthenticatorError::SharedUrl { issuer, other });
        }
    }
    Ok(())
}

/// The keys of `set` that may have signed this.
pub(super) fn candidates<'a>(
    set: &'a KeySet,
    jws: &Unverified<'_>,
) -> Result<Vec<&'a VerificationKey>, ProofError> {
    match set.find(jws.header.kid.as_deref(), jws.header.algorithm) {
        Found::Keys(keys) => Ok(keys),
        Found::WrongAlgorithm => {
            Err(ProofError::new(Reason::AlgorithmNotAllowed, "the key that kid names is not for this alg"))
        }
        Found::Unknown => {
            Err(ProofError::new(Reason::KeyUnknown, "the issuer has no key for this kid and alg"))
        }
        Found::Ambiguous => Err(ProofError::new(
            Reason::KeyUnknown,
            "the proof has no kid, and the issuer has several keys for this alg",
        )),
    }
}

fn unavailable(missing: NoKeys) -> ProofError {
    ProofError::no_keys("the issuer's keys cannot be had at the moment; try again", missing)
}

/// About what a cached proof takes: the strings, and what a map's entry and two allocations cost beside them.
fn weight(identity: &VerifiedIdentity, token_bytes: usize) -> u64 {
    (256 + token_bytes + identity.claims.len() * 96) as u64
}
