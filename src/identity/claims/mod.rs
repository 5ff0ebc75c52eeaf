//! What the claims of a proof must say (RFC 7519 §4.1), after its signature was verified. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::platform::{KUBERNETES, KUBERNETES_CLAIMS, Platform, is_below_kubernetes};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::identity::error::ProofError;
use crate::identity::json::{Json, Object};
use crate::identity::settings::OurNames;

/// The last second of the year 9999: what lies beyond is a mistake, not a date.
const LAST_SECOND: i64 = 253_402_300_799;

/// The longest `sub`, bytes: it stands in every token and event.
const MAX_SUBJECT: usize = 1024;

/// The longest `jti`, bytes.
pub(super) const MAX_JTI: usize = 256;

/// The longest that a client assertion may live, from `iat` to `exp`. Without `iat`, the furthest that `exp` may be away.
const MAX_ASSERTION_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How far the clock of a registered key's holder may be off. It stretches `exp` here and the record
/// of `jti` alike: if the record ended before, an assertion could be used twice in between.
pub(super) const ASSERTION_LEEWAY: Duration = Duration::from_secs(30);

/// What an issuer's proofs must say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) kind: Platform,
    pub(super) limits: Limits,
}

/// How time bounds a proof.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) leeway: Duration,
    /// The greatest age of `iat`; with one, a proof without `iat` is refused.
    pub(super) max_age: Option<Duration>,
}

/// The dates of a proof, well-typed. Kept beside a cached proof, to be checked again at every use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) expires: Timestamp,
    not_before: Option<Timestamp>,
    issued: Option<Timestamp>,
}

/// An OIDC token's claims, accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) subject: String,
    /// Every string claim, and for Kubernetes the nested ones.
    pub(super) strings: BTreeMap<String, String>,
    pub(super) dates: Dates,
}

/// Checks the claims of an OIDC token.
pub(super) fn accept(claims: Object, expected: Expected<'_>, now: Timestamp) -> Result<Accepted, ProofError> {
    if string(&claims, "iss")? != expected.issuer {
        return Err(invalid("iss is not the issuer whose key signed"));
    }
    if !audiences(&claims)?.contains(&expected.audience) {
        return Err(ProofError::new(
            Reason::AudienceMismatch,
            "aud does not name the audience configured for this issuer",
        ));
    }
    let dates = Dates::read(&claims)?;
    dates.check(expected.limits, now)?;
    let subject = subject(&claims)?.to_owned();
    let nested = match expected.kind {
        Platform::Kubernetes => nested(&claims)?,
        _ => BTreeMap::new(),
    };
    let strings = claims.into_members().filter_map(|(name, value)| match value {
        Json::String(value) => Some((name, value)),
        _ => None,
    });
    Ok(Accepted { subject, strings: strings.chain(nested).collect(), dates })
}

/// The strings below `kubernetes.io`, each under the name that claim rules have for it. An API server writes
/// no claim beside them that could be taken for one; a token that has one was made to confuse somebody.
fn nested(claims: &Object) -> Result<BTreeMap<String, String>, ProofError> {
    if claims.case_variant_of(&[KUBERNETES]).is_some() || claims.names().any(is_below_kubernetes) {
        return Err(invalid("a claim is named as if it were nested below kubernetes.io"));
    }
    let Some(Json::Object(below)) = claims.get(KUBERNETES) else { return Ok(BTreeMap::new()) };
    let found = KUBERNETES_CLAIMS.iter().filter_map(|(name, path)| {
        let (last, parents) = path.split_last()?;
        let parent = parents.iter().try_fold(below, |object, member| match object.get(member) {
            Some(Json::Object(inner)) => Some(inner),
            _ => None,
        })?;
        match parent.get(last) {
            Some(Json::String(value)) => Some(((*name).to_owned(), value.clone())),
            _ => None,
        }
    });
    Ok(found.collect())
}

/// Checks the claims of a client assertion (RFC 7523 §3) whose `iss` and `sub` are the agent already,
/// and gives its dates and `jti`.
pub(super) fn accept_assertion(
    claims: &Object,
    us: &OurNames,
    now: Timestamp,
) -> Result<(Dates, String), ProofError> {
    if !us.are_only(&audiences(claims)?) {
        let detail = if us.issuer_alone {
            "aud must be this broker's issuer alone"
        } else {
            "aud must be this broker's issuer or its token endpoint, and nothing else"
        };
        return Err(ProofError::new(Reason::AudienceMismatch, detail));
    }
    let dates = Dates::read(claims)?;
    dates.check(Limits { leeway: ASSERTION_LEEWAY, max_age: None }, now)?;
    // With an `iat` that may be ahead of this clock by the leeway, `exp` cannot be further away than without one.
    let (lifetime, detail) = match dates.issued {
        Some(issued) => {
            (dates.expires.since(issued), "a client assertion may live 5 minutes from iat to exp")
        }
        None => (
            dates.expires.since(now + ASSERTION_LEEWAY),
            "the exp of a client assertion without iat may be 5 minutes away",
        ),
    };
    if lifetime > MAX_ASSERTION_LIFETIME {
        return Err(ProofError::new(Reason::LifetimeTooLong, detail));
    }
    let jti = string(claims, "jti")?;
    if jti.is_empty() || jti.len() > MAX_JTI {
        return Err(invalid("jti must have 1 to 256 bytes"));
    }
    Ok((dates, jti.to_owned()))
}

/// How far the clock of whoever issues JWT-SVIDs may be off.
const SVID_LEEWAY: Duration = Duration::from_secs(30);

/// Checks the claims of a JWT-SVID (JWT-SVID §3) whose `sub` was read before its signature held, and gives
/// its end. Its audience is this broker alone: one that others may see too, they could send here.
pub(super) fn accept_svid(
    claims: &Object,
    our_issuer: &str,
    now: Timestamp,
) -> Result<Timestamp, ProofError> {
    if audiences(claims)? != [our_issuer] {
        return Err(ProofError::new(Reason::AudienceMismatch, "aud must be this broker's issuer alone"));
    }
    let dates = Dates::read(claims)?;
    dates.check(Limits { leeway: SVID_LEEWAY, max_age: None }, now)?;
    Ok(dates.expires)
}

impl Dates {
    fn read(claims: &Object) -> Result<Self, ProofError> {
        let dates = Self {
            expires: date(claims, "exp")?.ok_or_else(|| missing("exp"))?,
            not_before: date(claims, "nbf")?,
            issued: date(claims, "iat")?,
        };
        if dates.issued.is_some_and(|issued| dates.expires <= issued) {
            return Err(invalid("exp is not after iat"));
        }
        if dates.not_before.is_some_and(|start| dates.expires <= start) {
            return Err(invalid("exp is not after nbf"));
        }
        Ok(dates)
    }

    /// Whether the proof is one at `now`.
    pub(super) fn check(&self, limits: Limits, now: Timestamp) -> Result<(), ProofError> {
        let Limits { leeway, max_age } = limits;
        if now >= self.expires + leeway {
            return Err(ProofError::new(Reason::Expired, "the proof has expired; fetch a fresh one"));
        }
        if self.not_before.is_some_and(|start| now + leeway < start) {
            return Err(ProofError::new(Reason::NotYetValid, "nbf is in the future"));
        }
        if self.issued.is_some_and(|issued| now + leeway < issued) {
            return Err(ProofError::new(Reason::NotYetValid, "iat is in the future; compare the clocks"));
        }
        let Some(max_age) = max_age else { return Ok(()) };
        let issued = self.issued.ok_or_else(|| missing("iat"))?;
        if now.since(issued) > max_age.saturating_add(leeway) {
            return Err(ProofError::new(
                Reason::TooOld,
                "iat is further back than this issuer's max_age; fetch a fresh proof",
            ));
        }
        Ok(())
    }
}

/// `sub`: required, and fit to stand in a token and a log.
fn subject(claims: &Object) -> Result<&str, ProofError> {
    let subject = string(claims, "sub")?;
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        return Err(invalid("sub must have 1 to 1024 bytes, no control characters"));
    }
    Ok(subject)
}

/// `aud`: one string or a non-empty array of strings, none empty.
pub(super) fn audiences(claims: &Object) -> Result<Vec<&str>, ProofError> {
    let audiences = match claims.get("aud") {
        None => return Err(missing("aud")),
        Some(Json::String(one)) => vec![one.as_str()],
        Some(Json::Array(several)) => {
            let strings = several.iter().map(|value| match value {
                Json::String(one) => Some(one.as_str()),
                _ => None,
            });
            strings.collect::<Option<_>>().unwrap_or_default()
        }
        Some(_) => Vec::new(),
    };
    if audiences.is_empty() || audiences.contains(&"") {
        return Err(invalid("aud must be a string or a non-empty array of strings"));
    }
    Ok(audiences)
}

pub(super) fn string<'a>(claims: &'a Object, name: &'static str) -> Result<&'a str, ProofError> {
    match claims.get(name) {
        Some(Json::String(value)) => Ok(value),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
        None => Err(missing(name)),
    }
}

/// A NumericDate (RFC 7519 §2): a JSON number of seconds, a fraction permitted, never a string.
pub(super) fn date(claims: &Object, name: &'static str) -> Result<Option<Timestamp>, ProofError> {
    let wrong = || invalid(format!("{name} must be a number of seconds between the years 1970 and 9999"));
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Integer(seconds)) if (0..=LAST_SECOND).contains(seconds) => {
            Ok(Some(Timestamp::from_seconds(*seconds)))
        }
        Some(Json::Float(seconds)) if (0.0..=LAST_SECOND as f64).contains(seconds) => {
            Ok(Some(Timestamp::from_millis((seconds * 1000.0).floor() as i64)))
        }
        Some(_) => Err(wrong()),
    }
}

fn missing(name: &'static str) -> ProofError {
    ProofError::new(Reason::ClaimMissing, format!("the proof has no {name}"))
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> ProofError {
    ProofError::new(Reason::ClaimInvalid, detail)
}

#[cfg(test)]
mod tests;
