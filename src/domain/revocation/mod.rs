//! The rules of the kill switch: what a stop covers, and which tokens are dead.
//!
//! A token is dead iff a level that covers it is stopped, or its `iat` is at or before the last
//! instant at which that level was stopped. A lift ends a stop for new tokens alone.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::{AgentId, IssuerName, OperatorName, Owner, StopId, TokenId};
use crate::domain::time::Timestamp;

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

/// One stop, as the durable store keeps it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub id: StopId,
    pub target: Target,
    pub at: Timestamp,
    pub reason: String,
    /// Who stopped it; none where an agent ended its own token (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Lift>,
}

/// The end of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    pub at: Timestamp,
    pub reason: String,
    pub operator: OperatorName,
}

impl Stop {
    /// What this stop alone says of its target.
    pub fn standing(&self) -> Standing {
        match &self.lift {
            None => Standing { stop: Some(self.id), at: self.at },
            Some(lift) => Standing { stop: None, at: lift.at },
        }
    }
}

/// What is known of one target: whether it is stopped now, and since when that holds.
///
/// Of two standings the later is true. The changes of one target never share an instant: a lift is at
/// least a millisecond after its stop, and the next stop after the lift, whatever the clocks say. So
/// standings can be merged in any order, as often as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The active stop.
    pub stop: Option<StopId>,
    /// When the target was stopped, or its last stop lifted. Tokens with `iat` in or before that second
    /// are dead, for ever.
    pub at: Timestamp,
}

impl Standing {
    /// Whether a token issued in the second `iat` is dead by this.
    pub fn kills(&self, iat: i64) -> bool {
        self.stop.is_some() || iat <= self.at.seconds()
    }

    /// The truth of both: the later one; of two at one instant, the one that stops.
    pub fn merge(self, other: Self) -> Self {
        if (other.at, other.stop) > (self.at, self.stop) { other } else { self }
    }

    /// Whether nothing can be told of `target` by it any more: no token that it kills can still be
    /// unexpired. A stop of one token ends so too, or a book would keep every token that was ever ended.
    pub fn is_spent(&self, target: &Target, now: Timestamp) -> bool {
        let kills_the_new = self.stop.is_some() && !matches!(target, Target::Token(_));
        !kills_the_new && self.at + 2 * MAX_TOKEN_LIFETIME < now
    }
}

/// The levels that cover a token, or a request for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// The token's own id and its ancestors'; empty before it has one.
    pub tokens: Vec<TokenId>,
    pub agent: AgentId,
    pub owner: Owner,
    pub issuer: IssuerName,
    /// Who handed the token down, the nearest first; empty for a token that nobody did.
    pub above: Vec<Holder>,
}

/// Who holds a token, as far as a stop can hit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub agent: AgentId,
    pub owner: Owner,
    pub issuer: IssuerName,
}

impl Levels {
    /// The levels of a request for a token, which has no id yet.
    pub fn asked_by(holder: Holder) -> Self {
        let Holder { agent, owner, issuer } = holder;
        Self { tokens: Vec::new(), agent, owner, issuer, above: Vec::new() }
    }

    /// The levels of a token that nobody handed down.
    pub fn of(token: TokenId, holder: Holder) -> Self {
        Self { tokens: vec![token], ..Self::asked_by(holder) }
    }

    /// The levels of what is handed down from a token of these, to another holder.
    pub fn handed_to(self, holder: Holder) -> Self {
        let mut above = Vec::with_capacity(1 + self.above.len());
        above.push(Holder { agent: self.agent, owner: self.owner, issuer: self.issuer });
        above.extend(self.above);
        let Holder { agent, owner, issuer } = holder;
        Self { tokens: self.tokens, agent, owner, issuer, above }
    }

    /// Every target whose stop covers this, the widest first.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::with_capacity(4 + self.tokens.len() + 3 * self.above.len());
        targets.push(Target::Everything);
        targets.push(Target::Issuer(self.issuer.clone()));
        targets.extend(self.above.iter().map(|holder| Target::Issuer(holder.issuer.clone())));
        targets.push(Target::Owner(self.owner.clone()));
        targets.extend(self.above.iter().map(|holder| Target::Owner(holder.owner.clone())));
        targets.push(Target::Agent(self.agent.clone()));
        targets.extend(self.above.iter().map(|holder| Target::Agent(holder.agent.clone())));
        targets.extend(self.tokens.iter().copied().map(Target::Token));
        targets
    }
}

/// What the levels of one token or request say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The widest level that is stopped now.
    pub stopped: Option<Target>,
    /// The last second whose tokens are dead by some level.
    pub through: Option<i64>,
}

impl Verdict {
    /// Joins the standings of the levels that have one.
    pub fn of(standings: impl IntoIterator<Item = (Target, Standing)>) -> Self {
        let mut verdict = Self::default();
        for (target, standing) in standings {
            if standing.stop.is_some() && verdict.stopped.is_none() {
                verdict.stopped = Some(target);
            }
            verdict.through = verdict.through.max(Some(standing.at.seconds()));
        }
        verdict
    }

    /// What two sources say together: each may only add.
    pub fn join(self, other: Self) -> Self {
        Self { stopped: self.stopped.or(other.stopped), through: self.through.max(other.through) }
    }

    /// Whether a token issued in the second `iat` is dead.
    pub fn kills(&self, iat: i64) -> bool {
        self.stopped.is_some() || self.through.is_some_and(|through| iat <= through)
    }
}

/// Every standing that can still tell something, by target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopBook(HashMap<Target, Standing>);

impl StopBook {
    /// The standings of `stops`, in any order.
    pub fn of<'a>(stops: impl IntoIterator<Item = &'a Stop>, now: Timestamp) -> Self {
        let mut book = Self::default();
        for stop in stops {
            book.note(stop.target.clone(), stop.standing());
        }
        book.forget_spent(now);
        book
    }

    pub fn note(&mut self, target: Target, standing: Standing) {
        let known = self.0.entry(target).or_insert(standing);
        *known = known.merge(standing);
    }

    pub fn get(&self, target: &Target) -> Option<Standing> {
        self.0.get(target).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Target, &Standing)> {
        self.0.iter()
    }

    pub fn verdict(&self, levels: &Levels) -> Verdict {
        if self.0.is_empty() {
            return Verdict::default();
        }
        Verdict::of(levels.targets().into_iter().filter_map(|target| {
            let standing = self.get(&target)?;
            Some((target, standing))
        }))
    }

    /// Drops what can tell nothing any more, so that a book stays as small as the last hours.
    pub fn forget_spent(&mut self, now: Timestamp) {
        self.0.retain(|target, standing| !standing.is_spent(target, now));
    }
}

#[cfg(test)]
mod tests;
