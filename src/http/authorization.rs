//! Extractors that are the authorization: a handler has its caller only through the check.
//!
//! A credential that is not known is always 401, never «anonymous»; a known caller without the role
//! is 403.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, MatchedPath};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::broker::{OperatorRefusal, RefusedOperator};
use crate::domain::digest::Digest;
use crate::domain::id::OperatorName;
use crate::domain::reason::Reason;
use crate::http::call::{Current, known_method};
use crate::http::oauth_error::Refused;
use crate::http::problem::Problem;
use crate::http::settings::{Operator, ResourceServer, Role};
use crate::http::{Callers, Gate};

/// Any operator.
pub(super) struct AnyRole;

/// An operator with the role `admin`.
pub(super) struct Admin(pub(super) OperatorName);

/// An operator with the role `auditor` or `admin`.
pub(super) struct Auditor;

/// Who introspects.
pub(super) enum Verifier {
    Operator,
    /// The callers of the moment, and which of them.
    ResourceServer(Arc<Callers>, usize),
}

/// Who follows the stops: any operator, or a resource server.
pub(super) struct Follower {
    pub(super) name: OperatorName,
    /// Of its key, which may be taken out of the configuration while it follows.
    pub(super) key: Digest,
}

impl Callers {
    /// Whether anybody has this key.
    pub(super) fn knows(&self, key: &Digest) -> bool {
        self.operators.iter().any(|operator| operator.key == *key)
            || self.resource_servers.iter().any(|server| server.key == *key)
    }

    /// Compares with every known key, in a time that does not depend on which one it is.
    fn operator(&self, key: &str) -> Option<&Operator> {
        find(&self.operators, key, |operator| &operator.key).map(|at| &self.operators[at])
    }

    pub(super) fn resource_server(&self, at: usize) -> &ResourceServer {
        &self.resource_servers[at]
    }
}

fn find<T>(all: &[T], key: &str, digest: impl Fn(&T) -> &Digest) -> Option<usize> {
    let given = Digest::of(key.as_bytes());
    let mut found = None;
    for (at, one) in all.iter().enumerate() {
        if bool::from(digest(one).0.ct_eq(&given.0)) {
            found = Some(at);
        }
    }
    found
}

/// What a caller sent, before it is looked up.
enum Credential {
    /// RFC 6750 §2.1.
    Bearer(Zeroizing<String>),
    /// The password of RFC 7617.
    Basic(Zeroizing<String>),
}

impl Credential {
    /// The keys that it may stand for. RFC 6749 §2.3.1 has a password form-encoded before it goes into
    /// `Basic`, and some clients do that even to `_`; others, and people with curl, send it as it is.
    fn keys(self) -> impl Iterator<Item = Zeroizing<String>> {
        let (sent, encoded) = match self {
            Self::Bearer(key) => (key, None),
            Self::Basic(password) => {
                let decoded = form_decoded(&password);
                (password, decoded)
            }
        };
        std::iter::once(sent).chain(encoded)
    }
}

/// `None` where decoding changes nothing, or the text cannot be one encoded value.
fn form_decoded(text: &str) -> Option<Zeroizing<String>> {
    if text.contains('&') || !text.contains(['%', '+']) {
        return None;
    }
    let form = Zeroizing::new(format!("={text}"));
    let (_, value) = form_urlencoded::parse(form.as_bytes()).next()?;
    Some(Zeroizing::new(value.into_owned()))
}

fn credential(headers: &HeaderMap, basic: bool) -> Result<Credential, Reason> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let only = match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().map_err(|_| Reason::CredentialInvalid)?,
        (None, _) => return Err(Reason::CredentialMissing),
        _ => return Err(Reason::CredentialInvalid),
    };
    let (scheme, rest) = only.split_once(' ').ok_or(Reason::CredentialInvalid)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(Credential::Bearer(Zeroizing::new(rest.to_owned())));
    }
    if basic && scheme.eq_ignore_ascii_case("basic") {
        let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| Reason::CredentialInvalid)?);
        let text = std::str::from_utf8(&decoded).map_err(|_| Reason::CredentialInvalid)?;
        let (_, password) = text.split_once(':').ok_or(Reason::CredentialInvalid)?;
        return Ok(Credential::Basic(Zeroizing::new(password.to_owned())));
    }
    Err(Reason::CredentialInvalid)
}

async fn operator(parts: &Parts, gate: &Gate, roles: &[Role]) -> Result<OperatorName, Problem> {
    let Current(call) = Current::of(parts);
    let callers = gate.callers.load_full();
    let known = match credential(&parts.headers, false) {
        Ok(credential) => credential.keys().find_map(|key| callers.operator(&key)),
        // Who shows no key is nobody yet.
        Err(Reason::CredentialMissing) => return Err(Problem::unauthorized(call, Reason::CredentialMissing)),
        Err(_) => None,
    };
    let Some(operator) = known else {
        tell(gate, parts, OperatorRefusal::UnknownKey, None, "").await;
        return Err(Problem::unauthorized(call, Reason::CredentialInvalid));
    };
    if roles.is_empty() || roles.iter().any(|role| operator.roles.contains(role)) {
        return Ok(operator.name.clone());
    }
    let wanted: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let wanted = format!("this needs the role {}", wanted.join(" or "));
    tell(gate, parts, OperatorRefusal::MissingRole, Some(&operator.name), &wanted).await;
    Err(Problem::new(call, StatusCode::FORBIDDEN, wanted))
}

/// Journals a refusal, with what was asked as the routes name it, so that no word of the caller's is in it.
async fn tell(gate: &Gate, parts: &Parts, why: OperatorRefusal, operator: Option<&OperatorName>, more: &str) {
    let Current(call) = Current::of(parts);
    let route = parts.extensions.get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    let method = known_method(&parts.method);
    let detail =
        if more.is_empty() { format!("{method} {route}") } else { format!("{method} {route}: {more}") };
    let refused = RefusedOperator { why, operator: operator.cloned(), target: None, detail };
    gate.broker.refuse_operator(&call, refused).await;
}

macro_rules! by_role {
    ($extractor:ident, $roles:expr, $make:expr) => {
        impl<S> FromRequestParts<S> for $extractor
        where
            Gate: FromRef<S>,
            S: Send + Sync,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                operator(parts, &Gate::from_ref(state), $roles).await.map($make)
            }
        }
    };
}

by_role!(AnyRole, &[], |_| Self);
by_role!(Admin, &[Role::Admin], Self);
by_role!(Auditor, &[Role::Auditor, Role::Admin], |_| Self);

impl<S> FromRequestParts<S> for Follower
where
    Gate: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let gate = Gate::from_ref(state);
        let Current(call) = Current::of(parts);
        let credential = credential(&parts.headers, true);
        if let Err(Reason::CredentialMissing) = credential {
            return Err(Problem::unauthorized(call, Reason::CredentialMissing));
        }
        let callers = gate.callers.load_full();
        for key in credential.into_iter().flat_map(Credential::keys) {
            if let Some(operator) = callers.operator(&key) {
                return Ok(Self { name: operator.name.clone(), key: operator.key });
            }
            if let Some(at) = find(&callers.resource_servers, &key, |server| &server.key) {
                let server = callers.resource_server(at);
                return Ok(Self { name: server.name.clone(), key: server.key });
            }
        }
        tell(&gate, parts, OperatorRefusal::UnknownKey, None, "").await;
        Err(Problem::unauthorized(call, Reason::CredentialInvalid))
    }
}

impl<S> FromRequestParts<S> for Verifier
where
    Gate: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let gate = Gate::from_ref(state);
        let Current(call) = Current::of(parts);
        let credential = credential(&parts.headers, true);
        if let Err(Reason::CredentialMissing) = credential {
            return Err(Refused::new(call, Reason::CredentialMissing));
        }
        let callers = gate.callers.load_full();
        for key in credential.into_iter().flat_map(Credential::keys) {
            if callers.operator(&key).is_some() {
                return Ok(Self::Operator);
            }
            if let Some(at) = find(&callers.resource_servers, &key, |server| &server.key) {
                return Ok(Self::ResourceServer(callers, at));
            }
        }
        tell(&gate, parts, OperatorRefusal::UnknownKey, None, "").await;
        Err(Refused::new(call, Reason::CredentialInvalid))
    }
}
