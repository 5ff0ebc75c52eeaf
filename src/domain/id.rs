//! Names and ids. Each is a type of its own, so that one can never stand where another belongs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::text::serialized_as_text;
use crate::domain::time::Timestamp;

/// What a name may look like, said where it did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidName {
    what: &'static str,
    rule: &'static str,
}

const LOWER: &str = "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit";
const TEAM: &str = "1 to 64 of A-Z a-z 0-9 . _ - / @, starting with a letter, digit or @";

fn is_lower_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && !text.contains("..")
}

fn is_team_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'@');
    (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && (text.as_bytes()[0].is_ascii_alphanumeric() || text.starts_with('@'))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $valid:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, rule: $rule })
                }
            }
        }

        serialized_as_text!($type);
    };
}

name!(
    /// A registered kind of workload: the name of its file.
    AgentId, "an agent id", is_lower_name, LOWER
);
name!(
    /// The team that answers for an agent.
    Owner, "an owner", is_team_name, TEAM
);
name!(
    /// The name the configuration gives to an OIDC issuer. Proofs by registered key are `key`.
    IssuerName, "an issuer name", is_lower_name, LOWER
);
name!(
    /// The name of one permission within an agent's file: the first half of a scope word.
    PermissionName, "a permission name", is_lower_name, LOWER
);
name!(
    /// A person or system with a role on the admin listener.
    OperatorName, "an operator name", is_lower_name, LOWER
);
name!(
    /// One running broker among those that share a store.
    BrokerName, "a broker name", is_lower_name, LOWER
);

impl AgentId {
    /// The canary that drills stop; no agent file may have this name.
    pub const CANARY: &str = "hallpass.drill";

    pub fn canary() -> Self {
        Self(Self::CANARY.into())
    }
}

impl Owner {
    /// Who answers for the canary of drills: no team.
    pub fn canary() -> Self {
        Self(AgentId::CANARY.into())
    }
}

impl IssuerName {
    /// Who vouches for the canary of drills: the broker itself.
    pub fn canary() -> Self {
        Self(AgentId::CANARY.into())
    }

    /// The issuer of every proof by registered key; no configured issuer may take this name.
    pub const KEY: &str = "key";

    pub fn key() -> Self {
        Self(Self::KEY.into())
    }
}

/// An enforcement point that follows the stops: the name of the key that it shows, and what it calls itself, so that each
/// process of one service has its own. `ledger/pod-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FollowerName {
    pub key: OperatorName,
    pub process: OperatorName,
}

impl fmt::Display for FollowerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.as_str(), self.process.as_str())
    }
}

impl FromStr for FollowerName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (key, process) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self { key: key.parse()?, process: process.parse()? })
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Uuid);

        impl $type {
            /// The least of all; none that is made.
            pub const NIL: Self = Self(Uuid::nil());

            /// A UUID version 7 (RFC 9562) of this instant and these random bytes.
            pub fn new(now: Timestamp, random: &[u8; 10]) -> Self {
                let millis = u64::try_from(now.millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid())
            }

            /// When it was made, as it says itself.
            pub fn made(&self) -> Timestamp {
                // The first 48 bits, which fit.
                Timestamp::from_millis((self.0.as_u128() >> 80) as i64)
            }

            /// Random bits of it.
            pub fn last_byte(&self) -> u8 {
                self.0.as_bytes()[15]
            }
        }

        impl FromStr for $type {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, &'static str> {
                text.parse().map(Self).map_err(|_| "write an id such as 01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11")
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id!(
    /// A token's `jti`.
    TokenId
);
uuid_id!(
    /// One call to hallpass: in its answer, its log lines and its events.
    RequestId
);
uuid_id!(
    /// One stop, by which it is lifted.
    StopId
);
