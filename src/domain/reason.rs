//! Why a call was refused: the stable codes of `reason`, each with its OAuth error code.
//! `docs/ERRORS.md` lists every one of them, and a test holds it to this table.

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $error:ident;)*) => {
        /// A stable reason code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it stands in answers, events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The `error` code that goes with it.
            pub const fn error(self) -> OAuthError {
                match self { $(Self::$variant => OAuthError::$error,)* }
            }
        }
    };
}

/// The `error` codes of RFC 6749 §5.2 and its companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthError {
    /// RFC 6749 §5.2.
    InvalidRequest,
    /// RFC 6749 §5.2; answered with 401.
    InvalidClient,
    /// RFC 6749 §5.2, for an `assertion` (RFC 7521 §4.1.1).
    InvalidGrant,
    /// RFC 6749 §5.2.
    UnsupportedGrantType,
    /// RFC 6749 §5.2.
    InvalidScope,
    /// RFC 8707 §2.
    InvalidTarget,
    /// RFC 9396 §5.
    InvalidAuthorizationDetails,
    /// RFC 6749 §4.1.2.1.
    AccessDenied,
    /// RFC 8628 §3.5, with 429 and `Retry-After`.
    SlowDown,
    /// RFC 6749 §4.1.2.1, with 503.
    TemporarilyUnavailable,
    /// RFC 6749 §4.1.2.1, with 500.
    ServerError,
}

impl OAuthError {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::AccessDenied => "access_denied",
            Self::SlowDown => "slow_down",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

reasons! {
    // The form of the request.
    ParameterMissing = "parameter_missing", InvalidRequest;
    ParameterRepeated = "parameter_repeated", InvalidRequest;
    ParameterUnknown = "parameter_unknown", InvalidRequest;
    ParameterInvalid = "parameter_invalid", InvalidRequest;
    GrantTypeUnsupported = "grant_type_unsupported", UnsupportedGrantType;
    BodyInvalid = "body_invalid", InvalidRequest;
    TooLarge = "too_large", InvalidRequest;

    // The proof.
    ProofMalformed = "proof_malformed", InvalidRequest;
    AlgorithmNotAllowed = "algorithm_not_allowed", InvalidRequest;
    IssuerUnknown = "issuer_unknown", InvalidRequest;
    IssuerUnavailable = "issuer_unavailable", TemporarilyUnavailable;
    KeyUnknown = "key_unknown", InvalidRequest;
    SignatureInvalid = "signature_invalid", InvalidRequest;
    AudienceMismatch = "audience_mismatch", InvalidRequest;
    ClaimMissing = "claim_missing", InvalidRequest;
    ClaimInvalid = "claim_invalid", InvalidRequest;
    Expired = "expired", InvalidRequest;
    NotYetValid = "not_yet_valid", InvalidRequest;
    TooOld = "too_old", InvalidRequest;
    LifetimeTooLong = "lifetime_too_long", InvalidRequest;
    Replayed = "replayed", InvalidRequest;

    // The agent.
    /// A good proof that no registered agent, or more than one, is known by.
    NoAgent = "no_agent", InvalidRequest;

    // The decision.
    ScopeNotRegistered = "scope_not_registered", InvalidScope;
    TargetNotRegistered = "target_not_registered", InvalidTarget;
    DetailsInvalid = "details_invalid", InvalidAuthorizationDetails;
    DetailsNotRegistered = "details_not_registered", InvalidAuthorizationDetails;
    ApprovalRequired = "approval_required", AccessDenied;
    Forbidden = "forbidden", AccessDenied;
    NothingFree = "nothing_free", InvalidScope;
    Revoked = "revoked", AccessDenied;

    // The broker.
    RateLimited = "rate_limited", SlowDown;
    JournalUnavailable = "journal_unavailable", TemporarilyUnavailable;
    RevocationUnavailable = "revocation_unavailable", TemporarilyUnavailable;
    ShuttingDown = "shutting_down", TemporarilyUnavailable;
    Internal = "internal", ServerError;

    // Callers of introspection and of the admin listener.
    CredentialMissing = "credential_missing", InvalidClient;
    CredentialInvalid = "credential_invalid", InvalidClient;
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
