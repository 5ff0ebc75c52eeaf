//! The token in an answer.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::cli::Outcome;
use crate::cli::client::{Answer, is_bearer_token};
use crate::domain::permission::GrantedPermission;

/// How a token is shown to who takes it: its `token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    /// As it stands in `Authorization`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// A successful answer (RFC 8693 §2.2.1).
pub struct Issued {
    pub token: SecretString,
    pub lifetime: Duration,
    pub granted: Vec<GrantedPermission>,
}

impl Issued {
    /// # Errors
    /// When the answer holds no token of the `scheme` that was asked for: one that is bound to another key is of no
    /// use, and one that should be bound and is not could be anybody's. What holds other characters could start a
    /// line of its own in a header, an environment file or git's protocol.
    pub fn read(answer: &Answer, scheme: Scheme) -> Outcome<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            access_token: &'a str,
            token_type: &'a str,
            expires_in: u32,
            #[serde(default)]
            authorization_details: Vec<GrantedPermission>,
        }
        let members: Members<'_> = answer.json()?;
        let scheme = scheme.as_str();
        if !members.token_type.eq_ignore_ascii_case(scheme) || !is_bearer_token(members.access_token) {
            return Err(answer.foreign(&format!("it holds no {scheme} token")));
        }
        Ok(Self {
            token: members.access_token.into(),
            lifetime: Duration::from_secs(members.expires_in.into()),
            granted: members.authorization_details,
        })
    }
}
