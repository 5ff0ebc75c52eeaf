//! A broker's no, in the broker's words, with what to do about it.

use serde::Deserialize;
use url::{Position, Url};

use crate::cli::Failure;
use crate::cli::listener::Listener;
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

    /// Whether hallpass said it, and not a proxy or another server at that address.
    pub fn is_of_hallpass(&self) -> bool {
        self.reason.is_some() || self.request_id.is_some()
    }

    /// The failure to end with. `url` is what was asked, at which `listener`.
    pub fn failure(self, status: u16, retry_after: Option<&str>, url: &Url, listener: Listener) -> Failure {
        if !self.is_of_hallpass() {
            return self.foreign(status, retry_after, url, listener);
        }
        let reason = self.reason.as_deref();
        let remedy = reason.and_then(|reason| remedy_of(reason, listener));
        let remedy = remedy.or_else(|| remedy_of_status(status, listener));
        let message = self.words().unwrap_or_else(|| format!("{} answers {status}", url.path()));
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
        failure = with_pause(failure, retry_after);
        match remedy {
            Some(remedy) => failure.remedy(remedy),
            None => failure,
        }
    }

    fn words(&self) -> Option<String> {
        let words = [&self.error_description, &self.detail, &self.title].into_iter().flatten().next();
        match (words, &self.error) {
            (Some(words), Some(error)) => Some(format!("{words} ({error})")),
            (Some(words), None) => Some(words.clone()),
            (None, Some(error)) => Some(error.clone()),
            (None, None) => None,
        }
    }

    /// An answer that hallpass never gives is nothing that an operator could allow.
    fn foreign(self, status: u16, retry_after: Option<&str>, url: &Url, listener: Listener) -> Failure {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut failure = Failure::failed(format!("{host} answered {status}, is it the broker?"));
        failure = failure.fact("asked for", url.path());
        if let Some(words) = self.words() {
            failure = failure.fact("it said", words);
        }
        with_pause(failure, retry_after).remedy(format!(
            "not hallpass answered, so look at the address ({}) and at what stands between: a proxy, a gateway, a login page",
            listener.named_by()
        ))
    }
}

fn with_pause(failure: Failure, retry_after: Option<&str>) -> Failure {
    match retry_after {
        Some(after) if after.bytes().all(|b| b.is_ascii_digit()) => {
            failure.fact("retry after", format!("{after} s"))
        }
        Some(date) => failure.fact("retry after", date),
        None => failure,
    }
}

fn remedy_of(reason: &str, listener: Listener) -> Option<&'static str> {
    let reason = Reason::ALL.iter().find(|known| known.as_str() == reason)?;
    Some(remedy(*reason, listener))
}

/// Where no reason says it.
fn remedy_of_status(status: u16, listener: Listener) -> Option<&'static str> {
    match (status, listener) {
        (429, _) => Some(WAIT),
        (500..=599, _) => Some(try_again(listener)),
        (401, Listener::Admin) => Some(CHECK_OPERATOR_KEY),
        (403, Listener::Admin) => {
            Some("use the key of an operator whose roles in [[admin.operator]] allow this")
        }
        (404, Listener::Admin) => {
            Some("check the name (hallpass agents list, hallpass revocations --all) and the address")
        }
        (404, Listener::Public) => Some(NAME_PUBLIC_LISTENER),
        _ => None,
    }
}

/// An operator can look into the broker. An agent can only tell one.
const fn try_again(listener: Listener) -> &'static str {
    match listener {
        Listener::Admin => {
            "try again; if it lasts, ask `hallpass ready -v` what the broker lacks, or its log"
        }
        Listener::Public => "try again; if it lasts, give whoever runs the broker the request_id",
    }
}

// Remedies that several reasons share, and those that are too long for a line of the table below.

const CHECK_OPERATOR_KEY: &str = "check the operator key: --key-file or HALLPASS_OPERATOR_KEY_FILE";
const NAME_PUBLIC_LISTENER: &str =
    "name the broker's public listener with --url or HALLPASS_URL; its admin listener has another port";
const WAIT: &str = "wait, then try again";
const ADD_ALGORITHM: &str = "sign with an algorithm that the broker takes from this issuer, or have whoever runs the broker \
    add yours to the issuer's `algorithms`";
const REACH_ISSUER: &str =
    "try again; if it lasts, tell whoever runs the broker that it does not reach the issuer's keys";
const COMPARE_KEYS: &str = "get a new identity token; if it lasts, have whoever runs the broker compare the issuer's keys with \
    its [[issuer]]";
const ADD_ISSUER: &str = "name the broker that your platform is configured at, or have whoever runs this one add the issuer as \
    an [[issuer]]";
const NAME_AUDIENCE: &str = "request the identity token for the audience of the broker's [[issuer]], which should be the \
    broker's own address";
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
    "ask for what is registered (`hallpass whoami` shows what is free), or have the agent's file changed";

/// What whoever typed the command can do. Every reason has one; `docs/ERRORS.md` says more. Those of proofs, requests and
/// agents are told to agents alone, who have no operator's commands.
const fn remedy(reason: Reason, listener: Listener) -> &'static str {
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
        Reason::ProxyProtocolRequired => {
            "name the address of the proxy before the broker, not the broker's own"
        }
        Reason::ParameterInvalid => "correct the flag that the message names",
        Reason::TooLarge => "ask for less at once, or check that the proof is the identity token alone",
        Reason::ProofMalformed => "check that the file or variable holds one JWT and nothing else",
        Reason::AlgorithmNotAllowed => ADD_ALGORITHM,
        Reason::IssuerUnknown => ADD_ISSUER,
        Reason::IssuerUnavailable => REACH_ISSUER,
        Reason::KeyUnknown => COMPARE_KEYS,
        Reason::SignatureInvalid => CHECK_SIGNATURE,
        Reason::AudienceMismatch => NAME_AUDIENCE,
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
        Reason::Revoked => {
            "stop, and ask the team that answers for the agent; asking again does not help until the stop is lifted"
        }
        Reason::RateLimited | Reason::Overloaded => WAIT,
        Reason::JournalUnavailable | Reason::RevocationUnavailable | Reason::Internal => try_again(listener),
        Reason::CredentialMissing | Reason::CredentialInvalid => CHECK_OPERATOR_KEY,
    }
}
