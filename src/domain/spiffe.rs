//! SPIFFE IDs: `spiffe://trust-domain/path`, read as strictly as the SPIFFE-ID standard §2 has them.

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "spiffe://";

/// Bytes (SPIFFE-ID §2.3).
const MAX_ID: usize = 2048;

/// Bytes (SPIFFE-ID §2.1).
const MAX_TRUST_DOMAIN: usize = 255;

/// The name of a workload, or without a path of a trust domain itself. Has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    /// Where the path begins; the length where there is none.
    path: usize,
}

/// A text that is no SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    #[error("must begin with spiffe://")]
    Scheme,
    #[error("must name a trust domain of a-z 0-9 . - _, without port or user")]
    TrustDomain,
    #[error(
        "must have a path of segments of A-Z a-z 0-9 . - _, none empty, `.` or `..`, no slash at its end"
    )]
    Path,
    #[error("must have at most 2048 bytes")]
    TooLong,
}

impl SpiffeId {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.path]
    }

    /// With its leading slash; empty for a trust domain's own ID.
    pub fn path(&self) -> &str {
        &self.text[self.path..]
    }
}

/// Whether `name` can be a trust domain's.
pub fn is_trust_domain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    (1..=MAX_TRUST_DOMAIN).contains(&name.len()) && name.bytes().all(plain)
}

fn is_segment(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;
    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > MAX_ID {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = match rest.split_once('/') {
            Some((domain, path)) => (domain, Some(path)),
            None => (rest, None),
        };
        if !is_trust_domain(domain) {
            return Err(InvalidSpiffeId::TrustDomain);
        }
        if !path.is_none_or(|path| path.split('/').all(is_segment)) {
            return Err(InvalidSpiffeId::Path);
        }
        Ok(Self { text: text.into(), path: SCHEME.len() + domain.len() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_standard_allows() {
        let id: SpiffeId = "spiffe://acme.internal/agents/Payments_1.x".parse().unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("acme.internal", "/agents/Payments_1.x"));
        let domain: SpiffeId = "spiffe://acme.internal".parse().unwrap();
        assert_eq!((domain.trust_domain(), domain.path()), ("acme.internal", ""));
    }

    #[test]
    fn refuses_every_second_spelling() {
        use InvalidSpiffeId as I;
        for (text, expected) in [
            ("", I::Scheme),
            ("SPIFFE://acme/a", I::Scheme),
            ("https://acme/a", I::Scheme),
            ("spiffe:/acme/a", I::Scheme),
            ("spiffe://", I::TrustDomain),
            ("spiffe:///a", I::TrustDomain),
            ("spiffe://Acme/a", I::TrustDomain),
            ("spiffe://acme:8443/a", I::TrustDomain),
            ("spiffe://user@acme/a", I::TrustDomain),
            ("spiffe://acme%2e/a", I::TrustDomain),
            ("spiffe://acme?x", I::TrustDomain),
            ("spiffe://*/a", I::TrustDomain),
            ("spiffe://acme/", I::Path),
            ("spiffe://acme/a/", I::Path),
            ("spiffe://acme//a", I::Path),
            ("spiffe://acme/./a", I::Path),
            ("spiffe://acme/../a", I::Path),
            ("spiffe://acme/a%2fb", I::Path),
            ("spiffe://acme/a?x=1", I::Path),
            ("spiffe://acme/a#x", I::Path),
            ("spiffe://acme/a b", I::Path),
            ("spiffe://acme/ä", I::Path),
            ("spiffe://acme/a\0", I::Path),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(expected), "{text}");
        }
        let long = |length: usize| format!("spiffe://acme/{}", "a".repeat(length - 14));
        assert!(long(2048).parse::<SpiffeId>().is_ok());
        assert_eq!(long(2049).parse::<SpiffeId>(), Err(I::TooLong));
        assert!(format!("spiffe://{}/a", "a".repeat(255)).parse::<SpiffeId>().is_ok());
        assert!(format!("spiffe://{}/a", "a".repeat(256)).parse::<SpiffeId>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(domain in "[a-z0-9._-]{1,20}", path in "(/[A-Za-z0-9_-]{1,8}){0,4}") {
            let text = format!("spiffe://{domain}{path}");
            let id: SpiffeId = text.parse().unwrap();
            prop_assert_eq!((id.trust_domain(), id.path()), (domain.as_str(), path.as_str()));
            prop_assert_eq!(id.to_string(), text);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,60}") {
            let _ = text.parse::<SpiffeId>();
            let _ = format!("spiffe://{text}").parse::<SpiffeId>();
        }
    }
}
