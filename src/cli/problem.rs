//! A broker's no, in the broker's words, with what to do about it.

use serde::Deserialize;
use url::Url;

use crate::cli::Failure;
use crate::domain::reason::Reason;

/// What an error answer says: RFC 6749 §5.2 with `reason` and `request_id`, or RFC 9457. Nothing in
/// it is required, for what answers may not be hallpass.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    error: Option<String>,
    error_description: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    reason: Option<String>,
    request_id: Option<String>,
}

impl Problem {
    pub fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Whether `error` is this code.
    pub fn is(&self, error: &str) -> bool {
        self.error.as_deref() == Some(error)
    }

    /// The failure to end with. `url` is what was asked.
    pub fn failure(self, status: u16, retry_after: Option<&str>, url: &Url) -> Failure {
        let reason = self.reason.as_deref();
        let remedy = reason.and_then(remedy_of).or_else(|| remedy_of_status(status));
        let words = self.error_description.or(self.detail).or(self.title);
        let message = match (words, self.error) {
            (Some(words), Some(error)) => format!("{words} ({error})"),
            (Some(words), None) => words,
            (None, Some(error)) => error,
            (None, None) => format!("{} answers {status}, without a word that hallpass knows", url.path()),
        };
        let mut failure = match status {
            400..=499 => Failure::refused(message),
            _ => Failure::failed(message),
        };
        if let Some(reason) = reason {
            failure = failure.fact("reason", reason);
        }
        if let Some(id) = self.request_id {
            failure = failure.fact("request_id", id);
        }
        if let Some(seconds) = retry_after {
            failure = failure.fact("retry after", format!("{seconds} s"));
        }
        match remedy {
            Some(remedy) => failure.remedy(remedy),
            None => failure,
        }
    }
}

fn remedy_of(reason: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|known| known.as_str() == reason).map(|known| remedy(*known))
}

/// Where no reason says it.
fn remedy_of_status(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(CHECK_OPERATOR_KEY),
        403 => Some("use the key of an operator whose roles in [[admin.operator]] allow this"),
        404 => Some("check the name (hallpass agents list, hallpass revocations --all) and the address"),
        429 => Some(WAIT),
        500..=599 => Some("ask `hallpass ready -v` what the broker lacks, or its log"),
        _ => None,
    }
}

// Remedies that several reasons share, and those that are too long for a line of the table below.

const CHECK_OPERATOR_KEY: &str = "check the operator key: --key-file or HALLPASS_OPERATOR_KEY_FILE";
const ASK_READY: &str = "try again; if it lasts, ask `hallpass ready -v` what the broker lacks, or its log";
const WAIT: &str = "wait, then try again";
const ADD_ALGORITHM: &str = "add the algorithm to the issuer's `algorithms`, or sign with one of them";
const REACH_ISSUER: &str = "try again; if it lasts, check that the broker reaches the issuer's keys";
const COMPARE_KEYS: &str =
    "get a new identity token; if it lasts, compare the issuer's keys with the broker's [[issuer]]";
const CHECK_SIGNATURE: &str = "check that the proof was not changed, and that the key is the registered one";
const CARRY_CLAIM: &str = "get an identity token that carries what the message names";
const BIND_TO_KEY: &str = "bind the token to a key: --dpop-key FILE, an OAuth client that sends DPoP proofs \
    (RFC 9449), or an X.509-SVID (--x509-svid)";
const BIND_BY_DPOP: &str =
    "bind the token to a key: --dpop-key FILE, or an OAuth client that sends DPoP proofs (RFC 9449)";
const PROVE_PARENTS_KEY: &str = "prove the key that the parent's token is bound to (--dpop-key FILE for one \
    that is bound by DPoP, --x509-svid or --svid-file for a certificate)";
const SIGN_DPOP_PROOF: &str = "sign a new DPoP proof for this broker's token endpoint, and check the clock";
const ASK_FOR_REGISTERED: &str =
    "ask for what is registered (hallpass agents show ID), or have the agent's file changed";

/// What whoever typed the command can do. Every reason has one; `docs/ERRORS.md` says more.
const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::ParameterMissing
        | Reason::ParameterRepeated
        | Reason::ParameterUnknown
        | Reason::BodyInvalid
        | Reason::GrantTypeUnsupported
        | Reason::ResponseTypeUnsupported => "use a hallpass of the broker's version",
        Reason::PathUnknown | Reason::MethodNotAllowed => "check that the address is the broker's own",
        Reason::HeadTooLarge => "ask with a shorter key or credential",
        Reason::RequestMalformed => "check that nothing between here and the broker changes requests",
        Reason::TlsRequired => "write https:// instead of http:// in the broker's address",
        Reason::ParameterInvalid => "correct the flag that the message names",
        Reason::TooLarge => "ask for less at once, or check that the proof is the identity token alone",
        Reason::ProofMalformed => "check that the file or variable holds one JWT and nothing else",
        Reason::AlgorithmNotAllowed => ADD_ALGORITHM,
        Reason::IssuerUnknown => "configure the token's issuer as an [[issuer]] of the broker",
        Reason::IssuerUnavailable => REACH_ISSUER,
        Reason::KeyUnknown => COMPARE_KEYS,
        Reason::SignatureInvalid => CHECK_SIGNATURE,
        Reason::AudienceMismatch => "request the identity token for the audience of the broker's [[issuer]]",
        Reason::ClaimMissing | Reason::ClaimInvalid => CARRY_CLAIM,
        Reason::Expired | Reason::TooOld | Reason::Replayed => "get a new identity token and try again",
        Reason::NotYetValid => "check the clocks of this machine and of the issuer",
        Reason::LifetimeTooLong => "make assertions that live at most 5 minutes",
        Reason::NoAgent => "ask whoever registers agents to look up the request_id in the audit log",
        Reason::SenderConstraintRequired => BIND_TO_KEY,
        Reason::DpopNonceRequired => BIND_BY_DPOP,
        Reason::ParentInvalid => "get the parent's token anew; it may have ended, or been stopped",
        Reason::ParentBound => PROVE_PARENTS_KEY,
        Reason::DelegationNotRegistered => "have the parent's file list this agent in may_delegate_to",
        Reason::DelegationTooDeep => "let an agent that is nearer to the first one delegate",
        Reason::BeyondParent => "ask for less, or have the parent ask for more first",
        Reason::DpopProofInvalid | Reason::DpopReplayed => SIGN_DPOP_PROOF,
        Reason::ScopeNotRegistered | Reason::TargetNotRegistered | Reason::DetailsNotRegistered => {
            ASK_FOR_REGISTERED
        }
        Reason::DetailsInvalid => "give a JSON array of objects with `type` and `identifier`",
        Reason::ApprovalRequired => "ask only for free actions; this one needs a person's approval",
        Reason::Forbidden => "no agent may do this; the guardrails of the broker say so",
        Reason::NothingFree => "name what you need with --scope; the agent has nothing that is free",
        Reason::Revoked => "an admin stopped this; see `hallpass revocations`, and `hallpass lift` ends it",
        Reason::RateLimited | Reason::Overloaded => WAIT,
        Reason::JournalUnavailable | Reason::RevocationUnavailable | Reason::Internal => ASK_READY,
        Reason::CredentialMissing | Reason::CredentialInvalid => CHECK_OPERATOR_KEY,
    }
}
