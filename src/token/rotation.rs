//! When keys come, sign and go: pure functions of the keys and of `now`.
//!
//! Keys are in the order of `signs_from`, then of `kid`. Brokers that share the records so agree on
//! the key that signs, and none needs to be told.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::signing::SigningAlgorithm;
use crate::domain::time::Timestamp;
use crate::token::key::Key;

/// What the configuration says of the keys.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) algorithm: SigningAlgorithm,
    /// The `kid` of the RSA key that the operator gives with RS256.
    pub(super) operator_kid: Option<String>,
    pub(super) rotate_every: Duration,
    pub(super) publish_ahead: Duration,
}

/// The key that signs at `now`: the newest whose time has come. Before the first one's time, by a
/// clock that was set back, the first one: a broker must not fall silent for that.
pub(super) fn signer(keys: &[Arc<Key>], now: Timestamp) -> Option<&Arc<Key>> {
    let mut held = keys.iter().filter(|key| key.private.is_some());
    held.clone().rfind(|key| key.signs_from <= now).or_else(|| held.next())
}

/// From when a key that is due to be made now is to sign; none where no key is due.
pub(super) fn next_start(keys: &[Arc<Key>], schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let Schedule { algorithm, operator_kid, rotate_every, publish_ahead } = schedule;
    let is_operators = |key: &Arc<Key>| Some(&key.kid) == operator_kid.as_ref();
    // The operator rotates an RSA key by giving another. One that signed before and comes back signs
    // when its old record is gone, or at once if nothing newer can.
    if *algorithm == SigningAlgorithm::Rs256 && keys.iter().any(is_operators) {
        return None;
    }
    let (Some(newest), Some(_)) = (keys.last(), signer(keys, now)) else { return Some(now) };
    // The operator took away the key that signed: an older one must not begin again.
    if keys.iter().rfind(|key| key.signs_from <= now).is_some_and(|key| key.private.is_none()) {
        return Some(now);
    }
    let published = now + *publish_ahead;
    if newest.signs_from > now {
        None
    } else if newest.algorithm != *algorithm {
        Some(published)
    } else {
        let due = newest.signs_from + *rotate_every;
        (due - *publish_ahead <= now).then(|| due.max(published))
    }
}

/// When another key than the one that signs at `now` begins to sign; none where the operator rotates.
pub(super) fn next_change(keys: &[Arc<Key>], schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    if let Some(next) = keys.iter().find(|key| key.private.is_some() && key.signs_from > now) {
        return Some(next.signs_from);
    }
    let newest = keys.last()?;
    let is_operators = Some(&newest.kid) == schedule.operator_kid.as_ref();
    (!is_operators).then(|| newest.signs_from + schedule.rotate_every)
}

/// The keys whose last token is dead: it was signed before the next key began, and lived no longer
/// than any token may.
pub(super) fn dead(keys: &[Arc<Key>], now: Timestamp) -> impl Iterator<Item = &Arc<Key>> {
    let signing = signer(keys, now);
    keys.windows(2)
        .filter(move |pair| pair[1].signs_from + MAX_TOKEN_LIFETIME <= now)
        .map(|pair| &pair[0])
        .filter(move |key| signing.is_none_or(|signing| signing.kid != key.kid))
}
