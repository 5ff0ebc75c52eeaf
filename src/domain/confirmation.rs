//! What an access token is bound to, so that it is good only in the hands of the one who got it
//! (`cnf`, RFC 7800 §3.1). A token without it is a bearer token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::digest::Digest;

/// The key that the holder of a token must prove. Serializes as `cnf` has it: one member named after
/// the way of proving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// A DPoP proof by the key of this thumbprint (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Jkt(Thumbprint),
    /// The client certificate of this SHA-256, on the TLS connection that the token is sent over (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    X5t(Thumbprint),
}

/// `token_type` of a token with this `cnf`: how it is to be sent (RFC 6750, RFC 9449 §7.1, RFC 8705 §3).
pub const fn token_type(cnf: Option<Confirmation>) -> &'static str {
    match cnf {
        None | Some(Confirmation::X5t(_)) => "Bearer",
        Some(Confirmation::Jkt(_)) => "DPoP",
    }
}

/// The SHA-256 thumbprint of a JWK (RFC 7638) or of a certificate (RFC 8705 §3.1). Prints and serializes as unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub Digest);

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| Self(Digest(bytes)))
            .ok_or_else(|| serde::de::Error::custom("a thumbprint is 32 bytes in unpadded base64url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_rfc_9449_says_and_reads_nothing_else() {
        let cnf = Confirmation::Jkt(Thumbprint(Digest([0xfb; 32])));
        let text = r#"{"jkt":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"}"#;
        assert_eq!(serde_json::to_string(&cnf).unwrap(), text);
        assert_eq!(serde_json::from_str::<Confirmation>(text).unwrap(), cnf);
        let cnf = Confirmation::X5t(Thumbprint(Digest([0xfb; 32])));
        let by_certificate = text.replace("jkt", "x5t#S256");
        assert_eq!(serde_json::to_string(&cnf).unwrap(), by_certificate);
        assert_eq!(serde_json::from_str::<Confirmation>(&by_certificate).unwrap(), cnf);
        for bad in [
            "{}",
            "null",
            r#"{"jkt":""}"#,
            r#"{"jkt":"AA"}"#,
            r#"{"jkt":1}"#,
            r#"{"kid":"x"}"#,
            // Padded, a second text of the same bytes, and a second member.
            r#"{"jkt":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s="}"#,
            r#"{"jkt":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_t"}"#,
            r#"{"jkt":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s","jwk":{}}"#,
        ] {
            assert!(serde_json::from_str::<Confirmation>(bad).is_err(), "{bad}");
        }
    }
}
