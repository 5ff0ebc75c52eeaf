//! What `hallpass revoke` is to stop. It may be given a whole token, as somebody found it: of that the id is kept, and
//! nothing repeats the rest.

use std::convert::Infallible;
use std::fmt;
use std::io::Read;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::TokenId;
use crate::domain::revocation::Target;

/// More than any token has.
const MAX_TOKEN: u64 = 64 * 1024;

/// The argument as it was given: perhaps a token, so it is neither parsed nor shown by the reader of arguments.
#[derive(Clone)]
pub struct Asked(Zeroizing<String>);

impl FromStr for Asked {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked([redacted])")
    }
}

impl Asked {
    /// The target; of a token its id. Reads standard input for `-`.
    ///
    /// # Errors
    /// Usage, without a word of what was given.
    pub fn target(&self, host: &mut Host<'_>) -> Outcome<Target> {
        let text = self.0.trim();
        match text.strip_prefix("token:").unwrap_or(text) {
            "-" => {
                let mut input = Zeroizing::new(String::new());
                let read = host.input.take(MAX_TOKEN).read_to_string(&mut input);
                read.map_err(|_| Failure::usage("standard input holds no token: it cannot be read as text"))?;
                let given = input.trim();
                token(given.strip_prefix("token:").unwrap_or(given))
            }
            rest if rest.len() < text.len() || is_jwt(rest) => token(rest),
            _ => text.parse().map_err(|_| unknown()),
        }
    }
}

/// By its id, or by the token itself.
fn token(text: &str) -> Outcome<Target> {
    let id = text.parse::<TokenId>().ok().or_else(|| id_of(text));
    id.map(Target::Token).ok_or_else(|| {
        Failure::usage("this is neither the id of a token nor a token of hallpass (it is not repeated here)")
            .remedy("give token:JTI, the whole token, or - to read one from standard input")
    })
}

fn unknown() -> Failure {
    Failure::usage("TARGET is none that can be stopped (it is not repeated here, for it may hold a token)")
        .remedy("write token:JTI, agent:ID, owner:TEAM, issuer:NAME or everything; or - for a token on standard input")
}

fn is_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// What the broker is asked by. Nobody has verified it: the broker knows its own tokens.
#[derive(Deserialize)]
struct Claims {
    jti: TokenId,
}

fn id_of(token: &str) -> Option<TokenId> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.jti)
}
