//! Request bodies: bounded in size and time, and forms in which nothing is repeated or unknown.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::broker::Denied;
use crate::document::nearest;
use crate::domain::reason::Reason;
use crate::http::call::Turn;
use crate::http::listener::{Full, MAX_BODY};

/// So much of a body that is too large is read and dropped before the answer, in bytes, and for so long: a client that
/// writes on would see a broken connection and never the answer.
const MOST_DRAINED: usize = 2 * 1024 * 1024;
const DRAINING: Duration = Duration::from_millis(250);

/// For a whole body to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body whole, or says why not. Then waits for the request's turn where the listener has turns.
pub(super) async fn read(request: Request<Body>) -> Result<Bytes, Reason> {
    let turn = request.extensions().get::<Turn>().cloned();
    let collected = tokio::time::timeout(PATIENCE, collect(request.into_body())).await;
    let body = collected.unwrap_or(Err(Reason::BodyInvalid))?;
    if let Some(turn) = turn {
        turn.take().await;
    }
    Ok(body)
}

async fn collect(mut body: Body) -> Result<Bytes, Reason> {
    let mut length = 0;
    let mut pieces: Vec<Bytes> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| if is_crowded(&error) { Reason::Overloaded } else { Reason::BodyInvalid })?;
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len();
        if length > MAX_BODY {
            drop(pieces);
            let _late = tokio::time::timeout(DRAINING, drain(body)).await;
            return Err(Reason::TooLarge);
        }
        pieces.push(piece);
    }
    Ok(if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() })
}

/// Reads what is left, up to a bound.
async fn drain(mut body: Body) {
    let mut drained = 0;
    while drained < MOST_DRAINED
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Whether the body was broken off because unfinished requests hold all the memory that they may.
fn is_crowded(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Full>())
}

/// Parameters whose own readers refuse every byte that is not theirs, by the name that the endpoint has
/// for a bad proof or token.
const CREDENTIALS: [&str; 5] = ["subject_token", "actor_token", "assertion", "client_assertion", "token"];

/// Parameters that narrow a token. A script whose variable is empty would get everything by one that is blank, if it
/// were taken for absent.
const NARROWING: [&str; 5] = ["scope", "authorization_details", "resource", "audience", "requested_ttl"];

/// Parameters that OAuth registers for a browser or a person, neither of which there is here. Some libraries send them
/// with each request; nothing that is granted could depend on them, so they are ignored. What asks for more certainty
/// or less access (`acr_values`, `max_age`, `claims`) or is a credential of another flow is refused like any unknown one.
const IGNORED: [&str; 11] = [
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "nonce",
    "display",
    "prompt",
    "ui_locales",
    "claims_locales",
    "login_hint",
    "id_token_hint",
];

/// The longest unknown name that an answer repeats, bytes.
const LONGEST_NAME: usize = 32;

/// A form whose parameters are all known to its endpoint.
pub(super) struct Form {
    body: Zeroizing<String>,
    parameters: Vec<(&'static str, Value)>,
}

enum Value {
    /// Where in the body it stands as it is, which is so of most tokens.
    Verbatim(Range<usize>),
    Decoded(Zeroizing<String>),
}

impl Form {
    /// `known`: the names that may be given, and whether more than once. All of them are in the body: proxies and
    /// histories write addresses down (RFC 6749 §3.2, RFC 6750 §5.3).
    pub(super) async fn read(request: Request<Body>, known: &[(&'static str, bool)]) -> Result<Self, Denied> {
        if request.uri().query().is_some() {
            return Err(said(
                Reason::ParameterInvalid,
                "the address has a query; parameters go into the body",
            ));
        }
        if !is_form(request.headers()) {
            return Err(Reason::BodyInvalid.into());
        }
        Self::parse(&read(request).await?, known)
    }

    fn parse(body: &[u8], known: &[(&'static str, bool)]) -> Result<Self, Denied> {
        let text = std::str::from_utf8(body).map_err(|_| Reason::BodyInvalid)?;
        let mut parameters: Vec<(&'static str, Value)> = Vec::with_capacity(4);
        let mut end = 0;
        for pair in text.split('&') {
            let start = end;
            end = start + pair.len() + 1;
            if pair.is_empty() {
                continue;
            }
            let (name, value) = if is_verbatim(pair) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let value = Value::Verbatim(start + pair.len() - value.len()..start + pair.len());
                (Cow::Borrowed(name), value)
            } else {
                let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else { continue };
                (name, Value::Decoded(Zeroizing::new(value.into_owned())))
            };
            let Some(&(name, many)) = known.iter().find(|(known, _)| *known == name) else {
                if IGNORED.contains(&&*name) {
                    continue;
                }
                return Err(unknown(&name, value.of(text), known));
            };
            // Percent-encoded bytes that are no UTF-8 come as the replacement character.
            let is_odd = |c: char| c == char::REPLACEMENT_CHARACTER || c.is_control();
            let odd = matches!(&value, Value::Decoded(text) if text.chars().any(is_odd));
            if odd && !CREDENTIALS.contains(&name) {
                return Err(said(Reason::ParameterInvalid, format!("{name} is not plain UTF-8 text")));
            }
            if !many && parameters.iter().any(|(given, _)| *given == name) {
                return Err(said(Reason::ParameterRepeated, format!("{name} was given more than once")));
            }
            let given = value.of(text);
            if NARROWING.contains(&name) && given.trim().is_empty() {
                let remedy = "leave it out, or name what the token is to open";
                return Err(said(Reason::ParameterInvalid, format!("{name} is blank: {remedy}")));
            }
            // RFC 6749 §3.1: parameters sent without a value are treated as if they were omitted.
            if !given.is_empty() {
                parameters.push((name, value));
            }
        }
        Ok(Self { body: Zeroizing::new(text.to_owned()), parameters })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.parameters.iter().filter(move |(known, _)| *known == name);
        named.map(|(_, value)| value.of(&self.body))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, Denied> {
        self.get(name).ok_or_else(|| said(Reason::ParameterMissing, format!("{name} is required")))
    }
}

/// Names a parameter that nobody knows, where it can be nothing but a name: whatever else stands before a `=`, or alone,
/// may be a credential that was sent without its name.
fn unknown(name: &str, value: &str, known: &[(&str, bool)]) -> Denied {
    let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && !value.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'[' | b']' | b'.'));
    let mut words =
        if is_name { format!("{name} is an unknown parameter") } else { "an unknown parameter".to_owned() };
    if let Some(meant) = nearest(name, known.iter().copied()) {
        words = format!("{words}, perhaps {meant} is meant");
    }
    said(Reason::ParameterUnknown, format!("{words}; known are {}", known.join(", ")))
}

impl Value {
    fn of<'a>(&'a self, body: &'a str) -> &'a str {
        match self {
            Self::Decoded(text) => text,
            Self::Verbatim(place) => &body[place.clone()],
        }
    }
}

/// Whether decoding would change nothing of it, and it is plain text: all of it printable ASCII, without the two
/// characters of the encoding. Without a way out of the loop, so that many bytes are looked at together.
fn is_verbatim(pair: &str) -> bool {
    pair.bytes().fold(true, |so_far, b| so_far & (b' '..=b'~').contains(&b) & (b != b'%') & (b != b'+'))
}

/// A refusal with words that name parameters and nothing a caller wrote.
pub(super) fn said(reason: Reason, description: impl Into<String>) -> Denied {
    Denied { description: Some(description.into()), ..reason.into() }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[(&str, bool)] = &[("scope", false), ("resource", true)];

    fn reason(body: &[u8]) -> Option<Reason> {
        Form::parse(body, KNOWN).err().map(|denied| denied.reason)
    }

    #[test]
    fn a_form_knows_its_parameters() {
        let form = Form::parse(b"scope=a+b%3Ac&resource=1&resource=2&", KNOWN).ok().unwrap();
        assert_eq!(form.get("scope"), Some("a b:c"));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(reason(b"scope=a&scope=b"), Some(Reason::ParameterRepeated));
        assert_eq!(reason(b"Scope=a"), Some(Reason::ParameterUnknown));
        assert_eq!(reason(b"scope[]=a"), Some(Reason::ParameterUnknown));
        assert_eq!(reason(b"scope=%ff"), Some(Reason::ParameterInvalid));
        assert_eq!(reason(b"scope=a%00"), Some(Reason::ParameterInvalid));
        assert_eq!(reason(b"scope=\xff"), Some(Reason::BodyInvalid));
        for blank in
            [&b"scope="[..], b"scope", b"scope=+", b"scope=%20+", b"resource=1&resource=", b"resource"]
        {
            assert_eq!(reason(blank), Some(Reason::ParameterInvalid), "{blank:?}");
        }
    }

    proptest! {
        /// Whether it is read where it lies or decoded, a form is what the standard's parser says.
        #[test]
        fn a_form_reads_as_the_standard_says(body in "(scope|resource|%73cope|r)?(=|%3D)?([a:+&=%]|%2[05bB]|%c3%a9|é|%00|~){0,12}(&(resource=?)?[a+%=]{0,4}){0,3}") {
            let pairs: Vec<(String, String)> =
                form_urlencoded::parse(body.as_bytes()).map(|(a, b)| (a.into(), b.into())).collect();
            let known = pairs.iter().all(|(name, _)| KNOWN.iter().any(|(known, _)| known == name));
            match Form::parse(body.as_bytes(), KNOWN) {
                Ok(form) => {
                    prop_assert!(known);
                    for (name, _) in KNOWN {
                        let given = pairs.iter().filter(|(given, _)| given == name);
                        let expected: Vec<&str> = given.map(|(_, value)| value.as_str()).collect();
                        prop_assert_eq!(form.all(name).collect::<Vec<_>>(), expected, "{}", body);
                    }
                }
                Err(denied) if denied.reason == Reason::ParameterUnknown => prop_assert!(!known),
                Err(denied) if denied.reason == Reason::ParameterInvalid => {
                    let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
                    let wrong = |value: &String| value.contains(odd) || value.trim().is_empty();
                    prop_assert!(pairs.iter().any(|(_, value)| wrong(value)), "{}", body);
                }
                Err(denied) => prop_assert_eq!(denied.reason, Reason::ParameterRepeated),
            }
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_and_its_value_never() {
        let told = |body: &[u8]| Form::parse(body, KNOWN).err().unwrap().description.unwrap();
        assert_eq!(
            told(b"scopes=canary"),
            "scopes is an unknown parameter, perhaps scope is meant; known are scope, resource"
        );
        assert!(
            told(b"client_secret=canary").starts_with("client_secret is an unknown parameter; known are")
        );
        for body in [&b"client_secret=canary"[..], b"a=canary", b"x=%63anary", b"scopes=canary&scope=a"] {
            assert!(!told(body).contains("canary"), "{body:?}");
        }
        // What may be a credential that came without its name.
        for body in [
            &b"canary"[..],
            b"canary=",
            b"canary7=x",
            b"eyJhbGciOiJub25lIn0.e30.=x",
            b"canary+x=y",
            b"canary%00=x",
        ] {
            assert!(told(body).starts_with("an unknown parameter"), "{body:?}");
        }
        assert!(told(format!("{}=x", "canary".repeat(9)).as_bytes()).starts_with("an unknown parameter"));
    }

    #[test]
    fn what_oauth_registers_for_browsers_and_persons_is_ignored() {
        for name in IGNORED {
            let body = format!("{name}=a&scope=b&{name}=%00");
            assert_eq!(Form::parse(body.as_bytes(), KNOWN).ok().unwrap().get("scope"), Some("b"), "{name}");
        }
        // Each asks for something that would not be given, or is a credential.
        for name in [
            "acr_values",
            "max_age",
            "claims",
            "request",
            "code",
            "code_verifier",
            "refresh_token",
            "username",
            "password",
            "client_secret",
            "req_cnf",
            "dpop_jkt",
            "Scope",
            "State",
        ] {
            assert_eq!(reason(format!("{name}=a").as_bytes()), Some(Reason::ParameterUnknown), "{name}");
        }
    }
}
