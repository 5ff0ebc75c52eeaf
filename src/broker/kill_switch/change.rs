//! Stop, lift, end: durable first, then live, then who has confirmed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::KillSwitch;
use crate::domain::event::Event;
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Stop, Target, Verdict};
use crate::domain::time::Timestamp;
use crate::revocation::{Confirmations, RevocationError};
use crate::store::{StoreError, WaitingChange};

/// How long a change waits for other nodes to say that they have seen it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a stop waits to learn who made an earlier one of its target: it never waits for a read.
const LOOKUP: Duration = Duration::from_millis(250);

/// A store that has not written a stop after so long counts as down: the stop takes effect without it. A disk that
/// stalls reports no error, for minutes.
const STALL: Duration = Duration::from_secs(1);

/// Whether the event of a change is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Audited {
    Recorded,
    /// The store is down or stalls: the stop is in effect and in a file beside the store; its event follows when the store is
    /// back.
    Pending,
    /// Neither the store nor the file could be written: the stop holds until this node restarts.
    Volatile,
}

/// A change of the kill switch that is in effect.
#[derive(Debug, Clone)]
pub struct Change {
    pub stop: Stop,
    /// The target was stopped before: `stop` is the earlier stop, which goes on unchanged. Only the event is new.
    pub already_stopped: bool,
    /// The target is a token whose issuance is not in the log. It is stopped all the same.
    pub unknown_token: bool,
    pub took_effect: Timestamp,
    /// Brokers, and after them the enforcement points that follow the stops.
    pub confirmed: Vec<String>,
    pub pending: Vec<String>,
    /// When this node first knew of each that has confirmed; nothing where nobody could be asked.
    pub heard: HashMap<String, Instant>,
    pub audit: Audited,
}

/// What became of a token that its holder ends.
#[derive(Debug)]
pub(in crate::broker) enum Ended {
    Now,
    /// The store is down and the file cannot be written either: it is dead until this node restarts.
    Volatile,
    /// The store is down and as many ends wait for it as may: nothing was done.
    Refused,
}

/// What became of a change that was given to the store.
enum Entry {
    Recorded(Stop),
    /// The store is down or stalls: the change waits for it.
    Waits,
    /// It may not wait: as many ends do as may.
    Refused,
}

impl KillSwitch {
    /// Stops the target of `stop`. From the moment this returns no token is issued to it, and its tokens are dead.
    pub(in crate::broker) async fn stop(self: &Arc<Self>, stop: Stop, event: Event) -> Change {
        let id = stop.id;
        let change = WaitingChange { stop: stop.clone(), event, ended: false };
        if let Entry::Recorded(recorded) = self.record_or_add(change).await {
            let already_stopped = recorded.id != id;
            return Change { already_stopped, ..self.spread(recorded, Audited::Recorded).await };
        }
        // Of several stops of one target the store numbers the first, which is the one to lift.
        let earlier = match self.in_force(&stop.target).filter(|first| *first != id) {
            Some(first) => Some(self.earlier(first, &stop.target).await),
            None => None,
        };
        let already_stopped = earlier.is_some();
        let spread = self.spread(earlier.unwrap_or(stop), Audited::Pending);
        let (audit, change) = tokio::join!(self.keep(id), spread);
        Change { audit, already_stopped, ..change }
    }

    /// Records a change in the store. Where the store fails or stalls, the change is added to those that wait for it.
    async fn record_or_add(self: &Arc<Self>, change: WaitingChange) -> Entry {
        let (id, target) = (change.stop.id, change.stop.target.clone());
        let (switch, copy) = (Arc::clone(self), change.clone());
        let mut write = tokio::spawn(async move { switch.record(copy).await }.in_current_span());
        match tokio::time::timeout(STALL, &mut write).await {
            Ok(Ok(Ok(stop))) => Entry::Recorded(stop),
            Ok(ended) => {
                let error = ended.unwrap_or(Err(StoreError::Closed)).err();
                tracing::error!(?error, %target, "the store cannot be written: the stop takes effect without it, audit pending");
                if self.unjournaled.add(change) { Entry::Waits } else { Entry::Refused }
            }
            Err(_) => {
                tracing::error!(%target, "the store stalls: the stop takes effect without it, audit pending");
                if !self.unjournaled.add_in_flight(change) {
                    return Entry::Refused;
                }
                let switch = Arc::clone(self);
                tokio::spawn(async move {
                    if matches!(write.await, Ok(Ok(_))) {
                        tracing::info!(stop = %id, %target, "a stop on which the store stalled is journaled");
                        switch.forget_journaled(vec![(target, id)]).await;
                    }
                    switch.unjournaled.land(id);
                });
                Entry::Waits
            }
        }
    }

    /// Writes a change to the store, and gives the stop that holds by it. A stop whose id the store has is not recorded
    /// again, nor is the end of a token that has ended.
    pub(super) async fn record(
        &self,
        WaitingChange { stop, event, ended }: WaitingChange,
    ) -> Result<Stop, StoreError> {
        match (&stop.target, ended) {
            (Target::Token(token), true) => self.store.end(*token, event).await.map(|_| stop),
            _ => {
                let id = stop.id;
                self.plan(&stop, &event).await?;
                let recorded = self.store.stop(stop, event.clone()).await?;
                // Another node stopped it meanwhile.
                if recorded.id != id {
                    self.prolong(recorded.id, &event).await?;
                }
                Ok(recorded)
            }
        }
    }

    /// Ends a token for its holder.
    pub(in crate::broker) async fn end(self: &Arc<Self>, token: TokenId, id: StopId, event: Event) -> Ended {
        // Of a token whose end is only in memory: the file may take it now.
        if let Some(waiting) = self.unjournaled.book().unnumbered_of(&Target::Token(token)) {
            return match self.keep(waiting).await {
                Audited::Volatile => Ended::Volatile,
                _ => Ended::Now,
            };
        }
        let stop = Stop {
            id,
            target: Target::Token(token),
            at: event.at,
            reason: event.reason.clone().unwrap_or_default(),
            operator: None,
            revision: None,
            lift: None,
        };
        let recorded = self.record_or_add(WaitingChange { stop, event, ended: true }).await;
        let ended = match recorded {
            Entry::Refused => return Ended::Refused,
            Entry::Waits if self.keep(id).await == Audited::Volatile => Ended::Volatile,
            Entry::Waits | Entry::Recorded(_) => Ended::Now,
        };
        self.tell_followers();
        // Others learn of it by the log of the authority, now or when it is level with the store again.
        if let Err(error) = self.refill().await {
            tracing::warn!(%error, %token, "kill switch not reached; the store holds the end");
        }
        ended
    }

    /// The stop of `target` that holds, as far as this node knows without its store.
    pub(in crate::broker) fn in_force(&self, target: &Target) -> Option<StopId> {
        let stored = self.store.seen().get(target).and_then(|standing| standing.stop);
        stored.or_else(|| self.unjournaled.book().unnumbered_of(target))
    }

    /// The stop `id` as far as it can be told without the store: its id says since when it holds.
    async fn earlier(&self, id: StopId, target: &Target) -> Stop {
        if let Some(waiting) = self.unjournaled.of(id) {
            return waiting;
        }
        match tokio::time::timeout(LOOKUP, self.store.stop_of(id)).await {
            Ok(Ok(Some(stop))) => stop,
            _ => Stop {
                id,
                target: target.clone(),
                at: id.made(),
                reason: "in the store, which cannot be read now".to_owned(),
                operator: None,
                revision: None,
                lift: None,
            },
        }
    }

    /// Whether a stop of `target` that has no number yet holds it, as far as this node knows.
    pub(super) fn holds_unnumbered(&self, target: &Target) -> bool {
        self.books().iter().any(|book| book.unnumbered_of(target).is_some())
    }

    fn is_in_force(&self, target: &Target) -> bool {
        let books = self.books();
        Verdict::is_stopped(target, &books.iter().map(|book| &**book).collect::<Vec<_>>())
    }

    /// Writes down a stop that waits for the store.
    async fn keep(&self, id: StopId) -> Audited {
        match self.unjournaled.keep(id).await {
            Ok(()) => Audited::Pending,
            Err(error) => {
                tracing::error!(%error, "the stop is in no file: it holds until this broker restarts");
                Audited::Volatile
            }
        }
    }

    /// Tells the authority and every node what the store holds, and who has confirmed it.
    ///
    /// An authority that cannot be used is brought level when it is back; until then issuance asks the store, so the
    /// change is in effect here, and whoever else was alive lately is pending.
    pub(super) async fn spread(&self, stop: Stop, audit: Audited) -> Change {
        let took_effect = self.clock.now();
        let begun = Instant::now();
        self.tell_followers();
        let seen = match self.announce(audit == Audited::Recorded).await {
            // What is merged from everywhere must say so too, or somebody else's number outranks the store's.
            Ok(seen) if stop.lift.is_none() && !self.is_in_force(&stop.target) => {
                tracing::error!(target = %stop.target, "the stop is recorded and not obeyed: Redis holds a number that the store never gave");
                by_nobody(seen)
            }
            // A stop that came meanwhile and has no number yet outranks the lift.
            Ok(seen) if stop.lift.is_some() && self.holds_unnumbered(&stop.target) => {
                tracing::warn!(target = %stop.target, "a stop is lifted, and another one of its target waits for the store");
                by_nobody(seen)
            }
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, target = %stop.target, "kill switch not reached; this broker holds the change");
                self.revocation.unconfirmed()
            }
        };
        let revision = match audit {
            Audited::Recorded => stop.lift.as_ref().map(|lift| lift.revision).or(stop.revision),
            Audited::Pending | Audited::Volatile => None,
        };
        let followers = self.seen_by_followers(revision, PATIENCE.saturating_sub(begun.elapsed())).await;
        let confirmed = names(&seen.confirmed).chain(names(&followers.confirmed)).collect();
        let pending = names(&seen.pending).chain(names(&followers.pending)).collect();
        let heard = seen.heard.into_iter().map(|(node, at)| (node.to_string(), at));
        let followers = followers.heard.into_iter().map(|(name, at)| (name.to_string(), at));
        let heard = heard.chain(followers).collect();
        Change {
            stop,
            already_stopped: false,
            unknown_token: false,
            took_effect,
            confirmed,
            pending,
            heard,
            audit,
        }
    }

    async fn announce(&self, numbered: bool) -> Result<Confirmations, RevocationError> {
        let applied = match self.revocation.push(self).await {
            Err(RevocationError::Ahead { .. }) => {
                self.wait_for_takeover().await?;
                self.revocation.push(self).await?
            }
            pushed => pushed?,
        };
        let applied = if numbered { applied } else { applied.without_number() };
        self.revocation.confirmations(&applied, PATIENCE).await
    }
}

fn names<T: ToString>(of: &[T]) -> impl Iterator<Item = String> {
    of.iter().map(ToString::to_string)
}

/// Nobody obeys what was asked for.
fn by_nobody(seen: Confirmations) -> Confirmations {
    Confirmations { pending: [seen.confirmed, seen.pending].concat(), ..Confirmations::default() }
}
