//! `[[issuer]]`, after `config` has checked it.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::id::IssuerName;
use crate::domain::permission::Origin;
use crate::domain::platform::Platform;
use crate::domain::spiffe::SpiffeId;

/// What a proof that is made for this broker may call it in `aud`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurNames {
    /// The broker's public URL, which every kind of proof may use.
    pub issuer: Origin,
    /// The URL of the token endpoint, which a client assertion may use as well (RFC 7523 §3).
    pub token_endpoint: String,
    /// `token.strict_assertion_audience`: a client assertion may use the issuer alone (as FAPI 2.0 has it).
    pub issuer_alone: bool,
}

impl OurNames {
    /// Whether every one of these audiences is this broker, and there is one.
    pub(super) fn are_only(&self, audiences: &[&str]) -> bool {
        !audiences.is_empty() && audiences.iter().all(|audience| self.is(audience))
    }

    /// SDKs that keep the issuer as a parsed URL write its empty path as `/` (RFC 3986 §6.2.3).
    fn is(&self, audience: &str) -> bool {
        let issuer = self.issuer.as_str();
        let lenient = || audience == self.token_endpoint || audience.strip_suffix('/') == Some(issuer);
        audience == issuer || (!self.issuer_alone && lenient())
    }
}

/// One OIDC issuer whose tokens are proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    pub name: IssuerName,
    /// Whose tokens they are. Decides which nested claims are read, and nothing about keys.
    pub kind: Platform,
    /// Compared with `iss` byte for byte. Two issuers may share it if their audiences differ.
    pub url: String,
    /// Must be among the proof's `aud`.
    pub audience: String,
    /// Never empty.
    pub algorithms: Vec<ProofAlgorithm>,
    /// The greatest age of `iat`; none where an operator wrote `max_age = "0s"`.
    pub max_age: Option<Duration>,
    pub leeway: Duration,
    pub keys: KeySource,
    /// Extra roots to trust for this issuer's https, PEM.
    pub ca_file: Option<PathBuf>,
    /// Holds a bearer token (RFC 6750) for the discovery document and the JWK set. Read again at each
    /// fetch; sent to the origin of the configured address alone.
    pub jwks_bearer_file: Option<PathBuf>,
    /// How long keys still serve after the issuer stopped answering: counted from when they became
    /// stale, 15 minutes after they were last fetched.
    pub stale_keys: Duration,
}

/// Where an issuer's JWK set comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `<url>/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4).
    Discovery,
    Url(url::Url),
    File(PathBuf),
}

/// `[[trust_domain]]`, after `config` has checked it: a SPIFFE trust domain whose SVIDs are proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomainSettings {
    /// The trust domain, which is the issuer of its identities.
    pub name: IssuerName,
    pub bundle: BundleSource,
    /// Extra roots to trust for the bundle's https, PEM.
    pub ca_file: Option<PathBuf>,
    /// As [`IssuerSettings::stale_keys`].
    pub stale_keys: Duration,
}

/// Where a trust domain's bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    File(PathBuf),
    /// A bundle endpoint, in the profile `https_web`.
    Url(url::Url),
    /// A bundle endpoint, in the profile `https_spiffe`.
    Endpoint(SpiffeEndpoint),
    /// The SPIFFE Workload API of this machine: `unix:///run/spire/sockets/agent.sock`.
    WorkloadApi(spiffe::transport::Endpoint),
}

/// A bundle endpoint that is known by its own SVID (SPIFFE Federation §5.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeEndpoint {
    pub url: url::Url,
    /// Of the trust domain whose bundle it has.
    pub id: SpiffeId,
    /// A bundle of that trust domain, which vouches for the endpoint until a newer one is had.
    pub bootstrap: PathBuf,
}

/// A signature algorithm of a proof (RFC 7518 §3.1, RFC 8037 §3.1). Symmetric ones and `none` do not exist.
/// Neither does ES512: ring, the one crypto backend, has no P-521.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl ProofAlgorithm {
    pub const ALL: &[Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As `alg` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl ProofAlgorithm {
    /// The algorithm that `alg` names, byte for byte; `None` for any that hallpass does not verify.
    /// `Ed25519` is the name of RFC 9864 for EdDSA with that curve, the only one there is here.
    pub fn named(alg: &str) -> Option<Self> {
        if alg == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == alg)
    }
}
