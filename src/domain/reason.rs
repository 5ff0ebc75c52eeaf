//! Why a call was refused: the stable codes of `reason`, each with its OAuth error code.
//! `docs/ERRORS.md` lists every one of them, and a test holds it to this table.

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($variant:ident = $code:literal, $error:ident, $meaning:literal;)*) => {
        /// A stable reason code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
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

            /// What it means, for anyone to read: it tells nothing that the code does not.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
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
    /// RFC 6749 §4.1.2.1.
    UnsupportedResponseType,
    /// RFC 6749 §5.2.
    InvalidScope,
    /// RFC 8707 §2.
    InvalidTarget,
    /// RFC 9449 §5.
    InvalidDpopProof,
    /// RFC 9449 §8; the answer brings the nonce in `DPoP-Nonce`.
    UseDpopNonce,
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
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
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
    ParameterMissing = "parameter_missing", InvalidRequest, "a required parameter is missing";
    ParameterRepeated = "parameter_repeated", InvalidRequest, "a parameter was given more than once";
    ParameterUnknown = "parameter_unknown", InvalidRequest, "a parameter that this endpoint does not know";
    ParameterInvalid = "parameter_invalid", InvalidRequest, "a parameter has a value that it cannot have";
    GrantTypeUnsupported = "grant_type_unsupported", UnsupportedGrantType, "this grant_type is not supported";
    ResponseTypeUnsupported = "response_type_unsupported", UnsupportedResponseType, "nobody can log in here: agents get tokens at the token endpoint";
    BodyInvalid = "body_invalid", InvalidRequest, "the body is not an application/x-www-form-urlencoded form in UTF-8";
    TooLarge = "too_large", InvalidRequest, "the token is over 16 KiB or the body over 64 KiB";

    HeadTooLarge = "head_too_large", InvalidRequest, "the request's head is over 32 KiB or has more than 64 fields";
    RequestMalformed = "request_malformed", InvalidRequest, "what was sent is no HTTP request";
    TlsRequired = "tls_required", InvalidRequest, "this port speaks TLS: ask with https://";
    ProxyProtocolRequired = "proxy_protocol_required", InvalidRequest, "from this address each connection begins with the header of the PROXY protocol: ask by the proxy";
    PathUnknown = "path_unknown", InvalidRequest, "there is nothing at this path";
    MethodNotAllowed = "method_not_allowed", InvalidRequest, "this path is for other methods: Allow lists them";

    // The proof.
    ProofMalformed = "proof_malformed", InvalidRequest, "the proof is not a JWT as RFC 7515 writes it, or the certificate not an X.509-SVID";
    AlgorithmNotAllowed = "algorithm_not_allowed", InvalidRequest, "the proof's alg is not allowed for its issuer";
    IssuerUnknown = "issuer_unknown", InvalidRequest, "the proof's issuer or trust domain is not configured";
    IssuerUnavailable = "issuer_unavailable", TemporarilyUnavailable, "the issuer's keys cannot be had at the moment";
    KeyUnknown = "key_unknown", InvalidRequest, "the issuer has no key by the proof's kid";
    SignatureInvalid = "signature_invalid", InvalidRequest, "the proof's signature is not good";
    AudienceMismatch = "audience_mismatch", InvalidRequest, "the proof's aud does not name this broker";
    ClaimMissing = "claim_missing", InvalidRequest, "the proof lacks a claim that it must have";
    ClaimInvalid = "claim_invalid", InvalidRequest, "a claim of the proof has the wrong type or value";
    Expired = "expired", InvalidRequest, "the proof has expired";
    NotYetValid = "not_yet_valid", InvalidRequest, "the proof is not valid yet: compare the clocks";
    TooOld = "too_old", InvalidRequest, "the proof was issued too long ago: fetch a fresh one";
    LifetimeTooLong = "lifetime_too_long", InvalidRequest, "the proof lives longer than 5 minutes";
    Replayed = "replayed", InvalidRequest, "the proof was used before: sign a new one for each call";

    // The agent.
    NoAgent = "no_agent", InvalidRequest, "no registered agent is known by this proof";

    // The token that is handed down.
    ParentInvalid = "parent_invalid", InvalidRequest, "the subject_token is no access token of this broker that is good now";
    ParentBound = "parent_bound", InvalidRequest, "the parent's token is bound to a key: prove that key in the same request";
    DelegationNotRegistered = "delegation_not_registered", AccessDenied, "the parent's file does not let it delegate to this agent";
    DelegationTooDeep = "delegation_too_deep", AccessDenied, "the chain is longer than the guardrails allow, or has this agent in it";
    BeyondParent = "beyond_parent", InvalidScope, "more than the parent's token holds";

    // The key that the token is to be bound to.
    DpopProofInvalid = "dpop_proof_invalid", InvalidDpopProof, "the DPoP proof is not one for this request (RFC 9449 §4.3)";
    DpopReplayed = "dpop_replayed", InvalidDpopProof, "the DPoP proof was used before: sign a new one for each call";
    DpopNonceRequired = "dpop_nonce_required", UseDpopNonce, "the DPoP proof lacks the nonce of this answer's DPoP-Nonce header, or has an old one";
    SenderConstraintRequired = "sender_constraint_required", InvalidRequest, "the agent's tokens must be bound to a key: send a DPoP proof, or an X.509-SVID";

    // The decision.
    ScopeNotRegistered = "scope_not_registered", InvalidScope, "a scope word that is not registered";
    TargetNotRegistered = "target_not_registered", InvalidTarget, "a resource that is not registered";
    DetailsInvalid = "details_invalid", InvalidAuthorizationDetails, "authorization_details is not what RFC 9396 and this broker know";
    DetailsNotRegistered = "details_not_registered", InvalidAuthorizationDetails, "authorization_details beyond the registration";
    ApprovalRequired = "approval_required", AccessDenied, "a person has to approve this first";
    Forbidden = "forbidden", AccessDenied, "the guardrails forbid it";
    NothingFree = "nothing_free", InvalidScope, "nothing that was asked for is free";
    Revoked = "revoked", AccessDenied, "a stop is in effect";

    // The broker.
    RateLimited = "rate_limited", SlowDown, "too many calls: wait as Retry-After says";
    Overloaded = "overloaded", TemporarilyUnavailable, "the broker has no memory left for another request at the moment";
    JournalUnavailable = "journal_unavailable", TemporarilyUnavailable, "the audit log cannot take an event, so no token is released";
    RevocationUnavailable = "revocation_unavailable", TemporarilyUnavailable, "the kill switch cannot be asked, so no token is released";
    Internal = "internal", ServerError, "a fault in the broker; its log has the request id";

    // Callers of introspection and of the admin listener.
    CredentialMissing = "credential_missing", InvalidClient, "no credential was given";
    CredentialInvalid = "credential_invalid", InvalidClient, "the credential is not known";
}

impl Reason {
    /// Whether the proof itself was at fault, whatever it was meant for.
    pub const fn is_of_proof(self) -> bool {
        matches!(
            self,
            Self::ProofMalformed
                | Self::AlgorithmNotAllowed
                | Self::IssuerUnknown
                | Self::KeyUnknown
                | Self::SignatureInvalid
                | Self::AudienceMismatch
                | Self::ClaimMissing
                | Self::ClaimInvalid
                | Self::Expired
                | Self::NotYetValid
                | Self::TooOld
                | Self::LifetimeTooLong
                | Self::Replayed
        )
    }

    /// Whether the broker or what it stands on is at fault, and not the caller.
    pub const fn is_fault(self) -> bool {
        matches!(self.error(), OAuthError::TemporarilyUnavailable | OAuthError::ServerError)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
