//! How the authority's state, standings and the log are written in Redis.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::domain::digest::Digest;
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Book, Point, Revision, Standing, Target};
use crate::revocation::RevocationError;

pub(super) const STOPS: &str = "hallpass:{revocation}:stops";
pub(super) const LOG: &str = "hallpass:{revocation}:log";
pub(super) const SEEN: &str = "hallpass:{revocation}:seen";
pub(super) const FOLLOWERS: &str = "hallpass:{revocation}:followers";
/// What each node tells of itself. The kill switch never looks at it, so that nodes of another version may write it otherwise.
pub(super) const NODES: &str = "hallpass:{revocation}:nodes";
pub(super) const ONCE: &str = "hallpass:{revocation}:once:";
/// The field of `stops` that holds the state; no target is called so. It lives and dies with the stops,
/// so an evicted or deleted hash is never taken for one without stops.
pub(super) const STATE: &str = "state";
/// What stands before the target in the field of a stop that has no number yet.
const UNNUMBERED: &str = "unnumbered:";

/// 15 digits: what Lua's numbers hold exactly.
const MAX_DIGITS: usize = 15;
/// A higher number leaves no room to number on above it, and was never given.
const HIGHEST: u64 = 100_000_000_000_000;

fn digits(text: &str) -> Option<u64> {
    let plain = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// One entry of the hash, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Standing(Target, Standing),
    /// A stop that the store could not number yet.
    Unnumbered(Target, StopId),
    /// It has a number now.
    Numbered(Target, StopId),
}

impl Item {
    /// A token that its holder ended: stopped and over at once.
    pub(super) fn ended(token: TokenId, revision: Revision) -> Self {
        Self::Standing(Target::Token(token), Standing { stop: None, stopped: revision, changed: revision })
    }

    /// The field that it is kept in, and the value: `<last change> <last stop> <stop id or ->` of a standing, the id of a
    /// stop without a number, `- <id>` to remove that.
    pub(super) fn encode(&self) -> (String, String) {
        match self {
            Self::Standing(target, Standing { stop, stopped, changed }) => {
                let stop = stop.map_or_else(|| "-".to_owned(), |id| id.to_string());
                (target.to_string(), format!("{changed} {stopped} {stop}"))
            }
            Self::Unnumbered(target, id) => (unnumbered_field(target), id.to_string()),
            Self::Numbered(target, id) => (unnumbered_field(target), format!("- {id}")),
        }
    }

    /// # Errors
    /// `Broken`, which names the field.
    pub(super) fn decode(field: &str, value: &str) -> Result<Self, RevocationError> {
        let broken = || RevocationError::Broken(format!("{field:?}: {value:?}"));
        let target = field.strip_prefix(UNNUMBERED).unwrap_or(field).parse().map_err(|_| broken())?;
        if field.starts_with(UNNUMBERED) {
            return match value.strip_prefix("- ") {
                Some(id) => Ok(Self::Numbered(target, stop_id(id).ok_or_else(broken)?)),
                None => Ok(Self::Unnumbered(target, stop_id(value).ok_or_else(broken)?)),
            };
        }
        Ok(Self::Standing(target, standing(value).ok_or_else(broken)?))
    }

    /// The number of its last change; none of a stop without one.
    pub(super) fn changed(&self) -> Option<Revision> {
        match self {
            Self::Standing(_, standing) => Some(standing.changed),
            Self::Unnumbered(..) | Self::Numbered(..) => None,
        }
    }

    /// Notes it in a book.
    pub(super) fn learn(self, book: &mut Book) {
        match self {
            Self::Standing(Target::Token(token), Standing { stop: None, stopped, changed })
                if stopped == changed =>
            {
                book.end(token, changed);
            }
            Self::Standing(target, standing) => drop(book.note(target, standing)),
            Self::Unnumbered(target, id) => book.note_unnumbered(target, id),
            Self::Numbered(target, id) => book.forget_unnumbered(&target, id),
        }
    }
}

pub(super) fn unnumbered_field(target: &Target) -> String {
    format!("{UNNUMBERED}{target}")
}

fn standing(value: &str) -> Option<Standing> {
    let mut parts = value.split(' ');
    let (changed, stopped, stop) = (parts.next()?, parts.next()?, parts.next()?);
    let stop = if stop == "-" { None } else { Some(stop_id(stop)?) };
    let (changed, stopped) = (Revision::new(digits(changed)?), Revision::new(digits(stopped)?));
    let whole = parts.next().is_none()
        && changed.number() <= HIGHEST
        && stopped <= changed
        && (stop.is_none() || stopped == changed);
    whole.then_some(Standing { stop, stopped, changed })
}

/// Only as ids print: the script compares texts.
fn stop_id(text: &str) -> Option<StopId> {
    let plain = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    plain.then(|| text.parse().ok()).flatten()
}

/// What the authority says of itself: `<origin> <life> <serial> <revision> <mark> <floor>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The store that it serves.
    pub(super) origin: String,
    /// Its uninterrupted life: it begins anew when a push finds it empty.
    pub(super) life: Arc<str>,
    /// How many writes there were in this life.
    pub(super) serial: u64,
    /// Every change up to this one is in it.
    pub(super) point: Point,
    pub(super) floor: Revision,
}

impl State {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let state = Self {
            origin: parts.next().filter(|origin| !origin.is_empty())?.to_owned(),
            life: parts.next().filter(|life| !life.is_empty())?.into(),
            serial: digits(parts.next()?)?,
            point: Point { revision: Revision::new(digits(parts.next()?)?), mark: mark(parts.next()?)? },
            floor: Revision::new(digits(parts.next()?)?),
        };
        parts.next().is_none().then_some(state)
    }

    /// Whether an authority that says this can still hold all that it held when it said `before`.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        self.life == before.life
            && self.serial >= before.serial
            && self.point.revision >= before.point.revision
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, life, serial, point, floor } = self;
        write!(f, "{origin} {life} {serial} {} {} {floor}", point.revision, point.mark)
    }
}

pub(super) fn mark(text: &str) -> Option<Digest> {
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(Digest(bytes))
}

/// One entry of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The items of one write, and the state after it.
    Change { state: State, items: Vec<Item> },
    /// A node that shut down in good order.
    Left(String),
}

impl Entry {
    pub(super) fn parse(mut fields: HashMap<String, String>) -> Option<Self> {
        if let Some(node) = fields.remove("left") {
            return Some(Self::Left(node));
        }
        let items = fields.get("items")?.lines().map(|line| {
            let (field, value) = line.split_once(' ')?;
            Item::decode(field, value).ok()
        });
        Some(Self::Change {
            state: State::parse(fields.get("state")?)?,
            items: items.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use proptest::prelude::*;

    fn id(random: [u8; 10]) -> StopId {
        StopId::new(Timestamp::from_millis(1_795_000_000_000), &random)
    }

    proptest! {
        #[test]
        fn items_read_as_written(random: [u8; 10], stopped in 0u64..10_u64.pow(13), lifted in prop::option::of(1u64..1000)) {
            let stopped = Revision::new(stopped);
            let changed = Revision::new((stopped.number() + lifted.unwrap_or(0)).min(10_u64.pow(15) - 1));
            let stop = lifted.is_none().then(|| id(random));
            let target = Target::Agent("payments".parse().unwrap());
            for item in [
                Item::Standing(target.clone(), Standing { stop, stopped, changed }),
                Item::Unnumbered(target.clone(), id(random)),
                Item::Numbered(target, id(random)),
                Item::ended(TokenId::new(Timestamp::from_millis(1), &random), changed),
            ] {
                let (field, value) = item.encode();
                prop_assert_eq!(Item::decode(&field, &value), Ok(item));
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(Item::decode("everything", &format!("1 1 {id}")).is_ok());
        for value in [
            "",
            "1",
            "1 1",
            "1 1 ",
            "1  -",
            "-1 1 -",
            "1 2 -",
            "1 1 x",
            "1 1 - ",
            &format!("2 1 {id}"),
            &format!("1 1 {}", id.to_uppercase()),
            "1000000000000000 1 -",
        ] {
            assert!(Item::decode("everything", value).is_err(), "{value:?}");
        }
        for field in ["", "agent", "agent:UPPER", "unnumbered:", "unnumbered:x"] {
            assert!(Item::decode(field, &format!("1 1 {id}")).is_err(), "{field:?}");
            assert!(Item::decode(field, id).is_err(), "{field:?}");
        }
    }

    #[test]
    fn a_state_goes_on_only_by_growing() {
        let zero = "0".repeat(64);
        let state = |text: &str| State::parse(&text.replace('Z', &zero)).unwrap();
        let known = state("log.example a.1 5 3 Z 0");
        assert_eq!(known.to_string(), format!("log.example a.1 5 3 {zero} 0"));
        for follows in ["log.example a.1 5 3 Z 0", "log.example a.1 6 3 Z 0", "log.example a.1 6 4 Z 2"] {
            assert!(state(follows).may_follow(&known), "{follows}");
        }
        for forgot in ["log.example a.1 4 3 Z 0", "log.example b.1 6 3 Z 0", "log.example a.1 6 2 Z 0"] {
            assert!(!state(forgot).may_follow(&known), "{forgot}");
        }
        for text in ["", "a b 1 1", "a b 1 1 Z", "a b x 1 Z 0", "a b 1 1 Z 0 0", " b 1 1 Z 0", "a b -1 1 Z 0"]
        {
            assert_eq!(State::parse(&text.replace('Z', &zero)), None, "{text:?}");
        }
    }
}
