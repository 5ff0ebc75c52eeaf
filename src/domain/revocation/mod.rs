//! The rules of the kill switch: what a stop covers, and which tokens are dead (law 2).
//!
//! The store numbers every change. A token carries `as_of`, the number of the last change that was known when it was
//! decided. It is dead iff a level that covers it is stopped now, or was last stopped by a change after that `as_of`.
//! A lift ends a stop for new tokens alone. No clock decides any of it.

mod book;
mod ended;
mod levels;
mod standing;
mod told;

pub use book::{Book, Verdict};
pub use levels::{Holder, Levels, Link};
pub use standing::{Lift, Point, Revision, Standing, Stop};
pub use told::{EndedToken, InvalidPlace, Piece, Pieces, Place, Told};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::id::{AgentId, IssuerName, Owner, TokenId};

/// What a stop stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Token(TokenId),
    Agent(AgentId),
    Owner(Owner),
    Issuer(IssuerName),
    Everything,
}

/// A text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a target is token:JTI, agent:ID, owner:TEAM, issuer:NAME or everything")]
pub struct InvalidTarget;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Owner(owner) => write!(f, "owner:{owner}"),
            Self::Issuer(name) => write!(f, "issuer:{name}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        fn named<T: FromStr>(name: &str, make: impl FnOnce(T) -> Target) -> Result<Target, InvalidTarget> {
            name.parse().map(make).map_err(|_| InvalidTarget)
        }
        match text.split_once(':') {
            Some(("token", id)) => named(id, Self::Token),
            Some(("agent", id)) => named(id, Self::Agent),
            Some(("owner", owner)) => named(owner, Self::Owner),
            Some(("issuer", name)) => named(name, Self::Issuer),
            None if text == "everything" => Ok(Self::Everything),
            _ => Err(InvalidTarget),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
