//! The kill switch of this node: the durable store, the live authority, and the stops that wait for the store, as one.
//!
//! Durable first, then live: a stop is in the store, in one transaction with its event, before the authority hears of
//! it. With the store down or stalled the stop takes effect all the same, is kept in a file, and its event waits.
//! What each of the three says of a target is merged by the numbers of the changes, so none of them can un-stop what
//! another has stopped later.

mod change;
mod feed;
mod followers;
mod journal;
mod lift;
mod schedule;
mod take_over;
#[cfg(test)]
mod tests;
mod unjournaled;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::change::Ended;
pub use self::change::{Audited, Change};
use self::feed::Feed;
use self::followers::Followers;
pub use self::followers::{EnforcementPoint, TooManyFollowers};
pub(super) use self::lift::LiftError;
use self::schedule::Schedule;
pub(super) use self::schedule::lasting;
use self::unjournaled::Unjournaled;
use crate::broker::Denied;
use crate::domain::digest::Digest;
use crate::domain::reason::Reason;
use crate::domain::revocation::{Book, Levels, Point, Revision, Target, Verdict};
use crate::domain::time::Clock;
use crate::revocation::{Revocation, RevocationError, Source};
use crate::store::{Spool, Store, StoreError, WaitingChange};

/// What a stop waits until a store that lost stops has them again.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(4);
/// What callers wait for a refill of the authority, since it began. One that takes longer goes on without them.
const REFILL_PATIENCE: Duration = Duration::from_millis(100);
/// Milliseconds between looks at a store that seems to have lost numbers: it may only be in the middle of a commit.
const LOOKS: [u64; 4] = [1, 4, 16, 64];
/// What the kill switch waits for the store to say what others have written.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

pub struct KillSwitch {
    store: Store,
    revocation: Arc<Revocation>,
    unjournaled: Unjournaled,
    /// The turn to journal what waits.
    journaling: Arc<tokio::sync::Mutex<()>>,
    /// The turn to take over what a restored store has lost, and up to where it was taken over last.
    taken_over: tokio::sync::Mutex<Option<(Point, Revision)>>,
    /// Redis holds changes that the store has lost, and they are not taken over yet; or nobody knows whether it does.
    store_is_behind: watch::Sender<bool>,
    feed: Feed,
    followers: Followers,
    schedule: Schedule,
    clock: Clock,
}

impl KillSwitch {
    /// `left`: the stops that an earlier process kept in the `spool`; they are in effect at once.
    pub fn new(
        store: Store,
        revocation: Arc<Revocation>,
        (spool, left): (Spool, Vec<WaitingChange>),
        clock: Clock,
    ) -> Self {
        let unjournaled = Unjournaled::new(spool, left);
        let is_shared = matches!(*revocation, Revocation::Redis(_));
        Self {
            store,
            revocation,
            unjournaled,
            journaling: Arc::default(),
            taken_over: tokio::sync::Mutex::default(),
            // With Redis nobody knows before the two were compared: the store may be an older copy.
            store_is_behind: watch::Sender::new(is_shared),
            feed: Feed::default(),
            followers: Followers::default(),
            schedule: Schedule::default(),
            clock,
        }
    }

    /// What holds of `levels`, exactly: the authority's word and the durable store's.
    ///
    /// An authority that lost its memory is refilled from the store and asked again (law 5). One that
    /// cannot be used leaves the store's word, which holds every stop; the store then has to be
    /// well, or nobody can tell. A store that was found to have lost stops does not hold every one.
    pub(super) async fn verdict(&self, levels: &Levels) -> Result<Verdict, Denied> {
        match self.ask(levels).await {
            Ok(live) => Ok(self.judge(levels, &live)),
            // The store has every stop of every node, and is asked for those that this one has not seen.
            Err(error) if !self.is_behind() && self.store.healthy() && self.stored().await.is_ok() => {
                if self.revocation.usable() && error != RevocationError::Amnesia {
                    tracing::warn!(%error, "kill switch asked from the store alone");
                } else {
                    // The log tells of the outage, or of a long refill, once, and not for each token.
                    tracing::debug!(%error, "kill switch asked from the store alone");
                }
                Ok(self.known(levels))
            }
            Err(error) => {
                tracing::error!(%error, "neither the kill switch nor the store can be asked");
                Err(Reason::RevocationUnavailable.into())
            }
        }
    }

    async fn ask(&self, levels: &Levels) -> Result<Arc<Book>, RevocationError> {
        let live = match self.revocation.ask(levels).await {
            Err(RevocationError::Amnesia) if self.revocation.refilled(REFILL_PATIENCE).await => {
                self.revocation.ask(levels).await?
            }
            asked => asked?,
        };
        if self.is_level_with(&live).await? {
            return Ok(live);
        }
        // What it holds was never given by this store: nothing may be judged by it.
        self.wait_for_takeover().await?;
        let live = self.revocation.ask(levels).await?;
        if self.is_level_with(&live).await? {
            return Ok(live);
        }
        Err(RevocationError::Unreachable("it holds numbers that the store never gave".to_owned()))
    }

    /// Whether the store has given every number that `live` holds. Every book shares the tokens that ended, and those of
    /// a commit are in there a moment before the store's book says how far it is: so it is looked at again.
    async fn is_level_with(&self, live: &Book) -> Result<bool, RevocationError> {
        let newest = live.newest();
        // Where this node has seen the number, nobody need be asked.
        if newest <= self.store.seen().revision() {
            return Ok(true);
        }
        for pause in LOOKS {
            if newest <= self.stored().await?.revision() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(newest <= self.stored().await?.revision())
    }

    /// The store's book, with what other nodes have written. A store that hangs is not waited for.
    pub(super) async fn stored(&self) -> Result<Arc<Book>, RevocationError> {
        in_time(self.store.book()).await
    }

    /// What this node knows of `levels` without asking anybody: every stop that it has confirmed is in it.
    pub(super) fn known(&self, levels: &Levels) -> Verdict {
        let [waiting, view, stored] = self.books();
        Verdict::of(levels, &[&waiting, &view, &stored])
    }

    /// The same, without the stops that would end with this process.
    pub(super) fn lastingly_known(&self, levels: &Levels) -> Verdict {
        let waiting = self.unjournaled.written();
        let (view, stored) = (self.revocation.known(), self.store.seen());
        Verdict::of(levels, &[&waiting, &view, &stored])
    }

    fn judge(&self, levels: &Levels, live: &Book) -> Verdict {
        let [waiting, view, stored] = self.books();
        Verdict::of(levels, &[live, &waiting, &view, &stored])
    }

    /// What [`KillSwitch::known`] is judged by. In this order: a stop that gets its number meanwhile is in the store's book
    /// before it leaves the others.
    pub(super) fn books(&self) -> [Arc<Book>; 3] {
        let waiting = self.unjournaled.book();
        let view = self.revocation.known();
        [waiting, view, self.store.seen()]
    }

    /// Whether the store may have lost stops that Redis remembers, and nobody could tell yet.
    pub(super) fn is_behind(&self) -> bool {
        *self.store_is_behind.borrow()
    }

    /// How many targets are stopped, by the books of the store and of Redis as far as this node has seen them.
    pub(super) fn stops_in_force(&self) -> usize {
        let books = self.books();
        let stopped =
            books.iter().flat_map(|book| book.standings()).filter(|(_, standing)| standing.stop.is_some());
        let targets: HashSet<&Target> = stopped.map(|(target, _)| target).collect();
        let known: Vec<&Book> = books.iter().map(|book| &**book).collect();
        let numbered = targets.iter().filter(|target| Verdict::is_stopped(target, &known)).count();
        let waiting =
            books.iter().flat_map(|book| book.unnumbered()).filter(|(target, _)| !targets.contains(*target));
        numbered + waiting.map(|(target, _)| target).collect::<HashSet<_>>().len()
    }

    /// How many stops wait for the store.
    pub(super) fn waiting(&self) -> usize {
        self.unjournaled.len()
    }

    /// How many of them are in no file either: they would be lost with this process.
    pub(super) fn unwritten(&self) -> usize {
        self.unjournaled.unwritten()
    }

    pub(super) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// Reads the stops anew, in the store and in the authority: nothing that is in memory is relied on.
    pub(super) async fn reread(&self) {
        if let Err(error) = self.store.reread().await {
            tracing::error!(%error, "the stops cannot be read anew");
        }
        if let Err(error) = self.refill().await {
            tracing::warn!(%error, "kill switch not reached");
        }
    }

    /// Makes authority and store know the same changes.
    async fn refill(&self) -> Result<(), RevocationError> {
        match self.revocation.push(self).await {
            Err(RevocationError::Ahead { .. }) => {
                self.wait_for_takeover().await?;
                self.revocation.push(self).await.map(drop)
            }
            pushed => pushed.map(drop),
        }
    }

    fn set_behind(&self, is_behind: bool) {
        self.store_is_behind.send_if_modified(|known| std::mem::replace(known, is_behind) != is_behind);
    }

    /// Until store and authority have been found to hold the same changes, but no longer than `patience`.
    pub async fn wait_until_level(&self, patience: Duration) {
        let mut behind = self.store_is_behind.subscribe();
        let _level_or_late = tokio::time::timeout(patience, behind.wait_for(|is_behind| !is_behind)).await;
    }

    /// Until the follower has taken over what the store lost. It alone does: a caller that is broken off half-way, as
    /// those of a request are, would leave the next one to do it again.
    async fn wait_for_takeover(&self) -> Result<(), RevocationError> {
        self.set_behind(true);
        let mut behind = self.store_is_behind.subscribe();
        match tokio::time::timeout(TAKEOVER_PATIENCE, behind.wait_for(|is_behind| !is_behind)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(RevocationError::Unreachable("what the store lost is not taken over yet".to_owned())),
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, RevocationError> {
    let answer = tokio::time::timeout(STORE_PATIENCE, asked).await;
    answer.map_err(|_| unreadable("the store does not answer"))?.map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Display) -> RevocationError {
    RevocationError::Source(error.to_string())
}

impl Source for KillSwitch {
    /// Where the store cannot say what others have written, what this node knows of its history must do: a stop takes
    /// effect without the store.
    async fn book(&self) -> Result<Arc<Book>, RevocationError> {
        let error = match self.stored().await {
            Ok(book) => return Ok(book),
            Err(error) => error,
        };
        if self.is_behind() {
            return Err(error);
        }
        let (seen, view) = (self.store.seen(), self.revocation.known());
        Ok(if view.revision() > seen.revision() { view } else { seen })
    }

    async fn mark(&self, revision: Revision) -> Result<Option<Digest>, RevocationError> {
        in_time(self.store.mark(revision)).await
    }

    fn unnumbered(&self) -> Vec<crate::revocation::UnnumberedStop> {
        self.unjournaled.targets()
    }

    async fn is_numbered(&self, stop: &crate::revocation::UnnumberedStop) -> Result<bool, RevocationError> {
        if let Target::Token(token) = stop.target
            && self.store.seen().has_ended(token)
        {
            return Ok(true);
        }
        self.store.knows_stop(stop.id).await.map_err(unreadable)
    }

    fn instance(&self) -> String {
        self.store.instance()
    }

    fn must_compare(&self) -> bool {
        self.is_behind()
    }

    fn is_level(&self) {
        self.set_behind(false);
    }

    async fn claim(&self, stop: &crate::revocation::UnnumberedStop) -> Result<(), RevocationError> {
        self.claim_abandoned(stop).await
    }

    async fn take_over(&self) -> Result<(), RevocationError> {
        self.take_over_history().await
    }
}
