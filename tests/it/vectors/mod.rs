//! `tests/vectors/`: credentials in files, each with what must happen and why. Every way into the broker
//! runs every file; `tests/vectors/README.md` says how to read them.

mod generate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hallpass::domain::id::AgentId;
use hallpass::domain::identity::VerifiedIdentity;
use hallpass::domain::key::PublicKey;
use hallpass::domain::permission::Origin;
use hallpass::domain::platform::Platform;
use hallpass::domain::reason::Reason;
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::identity::settings::{IssuerSettings, KeySource, OurNames, ProofAlgorithm};
use hallpass::identity::{Authenticator, ProofError, UnverifiedAssertion};
use serde::{Deserialize, Serialize};

/// One credential. A field that this does not name fails the test.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    /// The file's name without `.json`.
    pub(crate) name: String,
    /// Why the verdict is what it is.
    pub(crate) why: String,
    /// The parameter of the token request that carries it.
    #[serde(rename = "as")]
    pub(crate) parameter: Parameter,
    pub(crate) credential: String,
    /// The credential goes on with `A` up to so many bytes, so that a huge one is a small file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pad_to: Option<usize>,
    /// Seconds since the epoch.
    pub(crate) now: i64,
    pub(crate) verdict: Verdict,
    /// The reason code, of a refusal alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// `issuer|subject`, of an acceptance alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workload: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Parameter {
    SubjectToken,
    ClientAssertion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Accept,
    Refuse,
}

impl Vector {
    /// The credential as it is presented.
    pub(crate) fn credential(&self) -> String {
        let missing = self.pad_to.unwrap_or(0).saturating_sub(self.credential.len());
        self.credential.clone() + &"A".repeat(missing)
    }

    /// The reason that a refusal must give.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let known = |code: &String| Reason::ALL.iter().copied().find(|reason| reason.as_str() == code);
        let reason = self
            .reason
            .as_ref()
            .map(|code| known(code).unwrap_or_else(|| panic!("{}: {code} is no reason code", self.name)));
        assert_eq!(reason.is_some(), self.verdict == Verdict::Refuse, "{}: reason", self.name);
        assert_eq!(self.workload.is_some(), self.verdict == Verdict::Accept, "{}: workload", self.name);
        reason
    }
}

/// `tests/vectors/keys/broker.json`: the broker that every vector is meant for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    pub(crate) our_issuer: Origin,
    issuers: Vec<FixtureIssuer>,
    /// The agent whose registered keys sign client assertions.
    pub(crate) agent: AgentId,
    pub(crate) agent_keys: Vec<PublicKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureIssuer {
    name: String,
    url: String,
    audience: String,
    algorithms: Vec<String>,
    max_age_seconds: Option<u64>,
    leeway_seconds: u64,
    jwks_file: PathBuf,
}

impl Broker {
    pub(crate) fn issuers(&self) -> Vec<IssuerSettings> {
        let settings = |issuer: &FixtureIssuer| IssuerSettings {
            name: issuer.name.parse().unwrap(),
            kind: Platform::Oidc,
            url: issuer.url.clone(),
            audience: issuer.audience.clone(),
            algorithms: issuer.algorithms.iter().map(|alg| ProofAlgorithm::named(alg).unwrap()).collect(),
            max_age: issuer.max_age_seconds.map(Duration::from_secs),
            leeway: Duration::from_secs(issuer.leeway_seconds),
            keys: KeySource::File(keys().join(&issuer.jwks_file)),
            ca_file: None,
            jwks_bearer_file: None,
            stale_keys: Duration::ZERO,
        };
        self.issuers.iter().map(settings).collect()
    }

    async fn judge(
        &self,
        parameter: Parameter,
        credential: &str,
        now: i64,
    ) -> Result<VerifiedIdentity, ProofError> {
        let clock = Clock::new(move || Timestamp::from_seconds(now));
        let issuer = self.our_issuer.clone();
        let token_endpoint = format!("{issuer}/oauth/token");
        let us = OurNames { issuer, token_endpoint, issuer_alone: false };
        let authenticator = Authenticator::new(self.issuers(), &[], us, clock).unwrap();
        match parameter {
            Parameter::SubjectToken => {
                let identity = authenticator.jwt(credential).await?;
                assert_eq!(
                    authenticator.jwt(credential).await.as_ref(),
                    Ok(&identity),
                    "the same from the cache"
                );
                Ok((*identity).clone())
            }
            Parameter::ClientAssertion => {
                let assertion = UnverifiedAssertion::parse(credential)?;
                let known: Vec<&PublicKey> = self.agent_keys.iter().collect();
                let keys = if *assertion.agent() == self.agent { known } else { Vec::new() };
                Ok(authenticator.assertion(&assertion, &keys, 1)?.0)
            }
        }
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn keys() -> PathBuf {
    folder().join("keys")
}

/// Every vector, by name.
pub(crate) fn all() -> Vec<Vector> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let vector: Vector =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(vector.name.as_str()));
        vector
    };
    let mut vectors: Vec<Vector> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(read)
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    vectors
}

/// The broker they are meant for.
pub(crate) fn broker() -> Broker {
    serde_json::from_str(&std::fs::read_to_string(keys().join("broker.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn every_credential_meets_its_verdict() {
    let (broker, vectors) = (broker(), all());
    assert!(vectors.len() >= 60, "only {} vectors", vectors.len());
    let mut wrong = Vec::new();
    for vector in &vectors {
        let found = broker.judge(vector.parameter, &vector.credential(), vector.now).await;
        let (found, detail) = match found {
            Ok(identity) => (Ok(identity.workload().to_string()), String::new()),
            Err(error) => (Err(error.reason), error.detail.into_owned()),
        };
        let expected = match vector.reason() {
            Some(reason) => Err(reason),
            None => Ok(vector.workload.clone().unwrap()),
        };
        if found != expected {
            wrong.push(format!("{}: {found:?} ({detail}), not {expected:?}: {}", vector.name, vector.why));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_character_of_a_good_credential_can_change() {
    let broker = broker();
    for vector in all().iter().filter(|vector| vector.verdict == Verdict::Accept) {
        let good = vector.credential();
        for at in (0..good.len()).step_by(7).chain(good.len() - 3..good.len()) {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(bytes).unwrap();
            let verdict = broker.judge(vector.parameter, &changed, vector.now).await;
            assert!(verdict.is_err(), "{} with byte {at} changed", vector.name);
        }
    }
}

#[tokio::test]
async fn no_refusal_repeats_the_credential() {
    let broker = broker();
    for vector in all() {
        let Err(error) = broker.judge(vector.parameter, &vector.credential(), vector.now).await else {
            continue;
        };
        let shown = format!("{error} {error:?}");
        let parts = vector.credential.split(['.', '"', ' ']).filter(|part| part.len() > 8);
        for part in parts {
            assert!(!shown.contains(part), "{}: {shown}", vector.name);
        }
    }
}
