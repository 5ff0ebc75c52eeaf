//! Words of a command line that may be secrets, taken out of what is said about it.

use crate::domain::redaction;

/// No option, name or id of hallpass is longer; tokens and keys are.
const LONGEST: usize = 40;

/// `text` with each word that is as long as tokens and keys are, or begins as they do, replaced, and what stands before
/// the host of an address.
pub(super) fn redacted(text: &str) -> String {
    redaction::redacted(&without_users(text), |word| word.len() > LONGEST || redaction::is_credential(word))
}

/// `text` without the users and passwords of its addresses.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("://");
        // A password may hold blanks and quotes. What clap says of a value ends so.
        let said = part.find("' for '").or_else(|| part.find(char::is_whitespace));
        let end = said.unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => {
                kept.push_str("[redacted]");
                kept.push_str(&part[at..]);
            }
            None => kept.push_str(part),
        }
    }
    kept
}

/// Whether a word of `text` would be taken out.
pub(super) fn holds_a_secret(text: &str) -> bool {
    redacted(text) != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_keys_are_taken_out_and_the_rest_stays() {
        let jwt = format!("eyJhbGciOiJFUzI1NiJ9.{}.{}", "a".repeat(300), "b_-".repeat(20));
        for secret in [jwt.as_str(), &jwt[5..], "eyJhbGciOiJub25lIn0.e30.", "hpo_short", &"x".repeat(41)] {
            for (before, after) in [("", ""), ("error: unexpected argument '", "' found\n"), ("token:", " é")]
            {
                assert_eq!(
                    redacted(&format!("{before}{secret}{after}")),
                    format!("{before}[redacted]{after}")
                );
            }
        }
        let address =
            redacted("invalid value 'https://ci:sekret@pw@broker.acme/x' for '--url <URL>': http://[::1]");
        assert_eq!(
            address,
            "invalid value 'https://[redacted]@broker.acme/x' for '--url <URL>': http://[::1]"
        );
        let odd = redacted("invalid value 'https://ci:se c'ret@broker.acme' for '--url <URL>'");
        assert_eq!(odd, "invalid value 'https://[redacted]@broker.acme' for '--url <URL>'");
        assert!(!holds_a_secret("see https://ci.acme.internal/builds/4711 and ask bob@acme.internal"));
        let plain = "error: the argument '--authorization-details <JSON|@FILE>' (token:01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11) é";
        assert_eq!(redacted(plain), plain);
        assert!(!holds_a_secret("seen in a build log, https://ci.acme.internal/builds/4711"));
        assert!(holds_a_secret(&format!("found {jwt}")));
    }
}
