//! How standings and the authority's lineage are written in Redis.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::domain::revocation::{Standing, Target};
use crate::domain::time::Timestamp;
use crate::revocation::RevocationError;

pub(super) const STOPS: &str = "hallpass:{revocation}:stops";
pub(super) const LOG: &str = "hallpass:{revocation}:log";
pub(super) const SEEN: &str = "hallpass:{revocation}:seen";
pub(super) const REVISION: &str = "hallpass:{revocation}:revision";
pub(super) const ONCE: &str = "hallpass:{revocation}:once:";
/// The field of `stops` that holds the lineage; no target is called so. It lives and dies with the stops,
/// so an evicted or deleted hash is never taken for one without stops.
pub(super) const LINEAGE: &str = "lineage";

/// 15 digits: what Lua's numbers hold exactly, and more than 30,000 years of milliseconds.
const MAX_DIGITS: usize = 15;

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// `<at, milliseconds> <stop id or ->`.
pub(super) fn encode(standing: Standing) -> Result<String, RevocationError> {
    let at = standing.at.millis();
    if digits::<i64>(&at.to_string()).is_none() {
        return Err(RevocationError::Broken(format!("a standing cannot be of {}", standing.at)));
    }
    Ok(match standing.stop {
        Some(stop) => format!("{at} {stop}"),
        None => format!("{at} -"),
    })
}

pub(super) fn decode(text: &str) -> Option<Standing> {
    let (at, stop) = text.split_once(' ')?;
    let at = Timestamp::from_millis(digits(at)?);
    let stop = match stop {
        "-" => None,
        // Only as `encode` writes it: the script compares the texts.
        id if id.len() == 36 && !id.bytes().any(|b| b.is_ascii_uppercase()) => Some(id.parse().ok()?),
        _ => return None,
    };
    Some(Standing { stop, at })
}

/// The standing stored for `target`, or an error that names it.
pub(super) fn standing_of(target: &Target, text: &str) -> Result<Standing, RevocationError> {
    decode(text).ok_or_else(|| RevocationError::Broken(format!("the standing of {target}")))
}

/// A field of `stops` other than the lineage.
pub(super) fn stored(field: &str, text: &str) -> Result<(Target, Standing), RevocationError> {
    let target: Target =
        field.parse().map_err(|_| RevocationError::Broken(format!("a stop of {field:?}")))?;
    let standing = standing_of(&target, text)?;
    Ok((target, standing))
}

/// Which changes an authority holds: those of one unbroken life, and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    /// How many changes; never goes back, as far as any broker remembers.
    pub(super) revision: u64,
    /// The life of the authority: a new one begins when a refill finds that it forgot.
    pub(super) epoch: Arc<str>,
    /// A hash over every change of this life: two that lost and gained as many changes differ here.
    pub(super) chain: String,
}

impl Lineage {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (revision, epoch, chain) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || epoch.is_empty() || chain.is_empty() {
            return None;
        }
        Some(Self { revision: digits(revision)?, epoch: epoch.into(), chain: chain.to_owned() })
    }

    /// Whether an authority that says this can still hold all it held when it said `before`.
    pub(super) fn may_follow(&self, before: &Self) -> bool {
        self.epoch == before.epoch
            && (self.revision > before.revision
                || (self.revision == before.revision && self.chain == before.chain))
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.revision, self.epoch, self.chain)
    }
}

/// One entry of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Change {
        lineage: Lineage,
        before: String,
        target: Target,
        standing: Standing,
    },
    /// A broker that shut down in good order.
    Left(String),
}

impl Entry {
    pub(super) fn parse(mut fields: HashMap<String, String>) -> Option<Self> {
        if let Some(broker) = fields.remove("left") {
            return Some(Self::Left(broker));
        }
        Some(Self::Change {
            lineage: Lineage {
                revision: digits(fields.get("revision")?)?,
                epoch: fields.get("epoch")?.as_str().into(),
                chain: fields.remove("chain")?,
            },
            before: fields.remove("before")?,
            target: fields.get("target")?.parse().ok()?,
            standing: decode(fields.get("standing")?)?,
        })
    }
}

/// What a broker reports: `<at, milliseconds of Redis' clock> <lineage>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) at: Timestamp,
    /// Where its view is.
    pub(super) lineage: Lineage,
}

impl Report {
    pub(super) fn encode(&self) -> String {
        format!("{} {}", self.at.millis(), self.lineage)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at, lineage) = text.split_once(' ')?;
        Some(Self { at: Timestamp::from_millis(digits(at)?), lineage: Lineage::parse(lineage)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::StopId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn standings_read_as_written(at in 0i64..10_i64.pow(15), stop in prop::option::of(any::<[u8; 10]>())) {
            let at = Timestamp::from_millis(at);
            let standing = Standing { stop: stop.map(|random| StopId::new(at, &random)), at };
            prop_assert_eq!(decode(&encode(standing).unwrap()), Some(standing));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(decode(&format!("1 {id}")).is_some());
        for text in [
            "",
            "1",
            "1 ",
            " -",
            "-1 -",
            "+1 -",
            "1  -",
            "1 - ",
            "1 x",
            "1000000000000000 -",
            &format!("1 {}", id.to_uppercase()),
            &format!("1 {}", id.replace('-', "")),
            &format!("1 {id} "),
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        for at in [-1, 10_i64.pow(15)] {
            assert!(encode(Standing { stop: None, at: Timestamp::from_millis(at) }).is_err());
        }
    }

    #[test]
    fn a_lineage_goes_on_only_by_growing() {
        let lineage = |text| Lineage::parse(text).unwrap();
        let known = lineage("5 a.1.2 aa");
        for follows in ["5 a.1.2 aa", "6 a.1.2 bb"] {
            assert!(lineage(follows).may_follow(&known), "{follows}");
        }
        for forgot in ["4 a.1.2 aa", "5 a.1.2 bb", "5 b.1.2 aa", "6 b.1.2 aa"] {
            assert!(!lineage(forgot).may_follow(&known), "{forgot}");
        }
        for text in ["", "5", "5 a", "x a b", "5 a b c", "5  b", "-5 a b"] {
            assert_eq!(Lineage::parse(text), None, "{text:?}");
        }
    }
}
