//! The kill switch in Redis: one authority for every node that shares it.
//!
//! | key | holds |
//! |---|---|
//! | `hallpass:{revocation}:stops` | hash: target → `<last change> <last stop> <stop id or ->`; a token that its holder ended is a target too, until it is spent; `unnumbered:<target>` → a stop that the store could not number yet; `state` → `<origin> <life> <serial> <revision> <mark> <floor>` |
//! | `hallpass:{revocation}:log` | stream of writes, the last 10,000 or so |
//! | `hallpass:{revocation}:seen` | hash: node → `<beat> <revision> <life> <serial> <instance of the store>`, written at least twice a second |
//! | `hallpass:{revocation}:followers` | hash: enforcement point outside → what it reported last, by whichever node heard it |
//! | `hallpass:{revocation}:nodes` | hash: node → what it tells of itself once a second, as JSON, for people; nothing is decided by it |
//! | `hallpass:{revocation}:once:<agent>:*` | proofs that were used, until they expire |
//!
//! **Numbers.** The store numbers the changes. `revision` in the state says that every change up to it is here, and `mark`
//! which change that was. A node that has later ones pushes them, and a push builds on the state that it read or is void
//! (`push.lua`). So nodes may push in any order, and an authority that fell back to an earlier state is brought up again.
//! One that has more than the store, or another change of the same number, tells of a store that was restored from an older
//! copy; the store takes over what it lost. `origin` ties the authority to one store.
//!
//! **Trust.** An answer counts only over a connection that was written to since it was made, so a replica is never
//! trusted, and only if the state goes on from the one known: the same life, at least as many writes. Flushed, evicted, restarted
//! without its last writes, failed over to a replica that lagged: each breaks one of these, and
//! [`RevocationError::Amnesia`] follows. A life ends with the history of writes that the server itself names
//! (`master_replid`): a replica that took over has another one, so that no serial ever names two writes. Whoever pushes to an
//! empty authority, or to one that lost writes, begins a new life, by which every other node notices too. An authority that refuses the follower's writes is not asked at all.
//!
//! **Exactness.** A node asks for the state. Where its view has followed the log just as far, the view holds all that is
//! there; else it asks about the targets themselves. The answer is judged together with this node's own view and the
//! store's book: what this node confirmed to refuse, it refuses, even in the instant before a loss is noticed.
//!
//! **Confirmation.** A node reports the last change up to which its view is complete. That number is the store's and
//! is given once, so a report confirms every change up to it, whatever Redis has lost or regained. For a stop that
//! has no number yet, a report confirms by life and serial, if it was heard after the stop was sent. Two nodes
//! of one name cannot be told apart: that name is pending.
//!
//! A Redis user that may do what a node needs and no more is in `docs/CONFIGURATION.md`; a test holds this folder to it.
//!
//! Keep `maxmemory-policy noeviction` and the append-only file on; hallpass stays safe without them, but has
//! to refill, and forgets which assertions were used.

mod ask;
mod door;
mod follow;
mod followers;
mod given;
mod inherit;
mod link;
mod load;
mod nodes;
mod once;
mod outage;
mod permissions;
mod primary;
mod prune;
pub(super) mod push;
mod refill;
mod roster;
mod seen;
mod waits;
mod wire;
mod words;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisError, Script};
use tokio::task::JoinHandle;

use self::ask::Asking;
use self::given::Given;
use self::link::{Link, Session};
use self::outage::{Line, Outage};
use self::refill::Refills;
use self::roster::Roster;
use self::wire::State;
use crate::domain::id::{BrokerName, StopId};
use crate::domain::revocation::{Book, Point, Target};
use crate::domain::time::Clock;
use crate::revocation::once::Once;
use crate::revocation::settings::RedisSettings;
use crate::revocation::view::{SinceStart, View};
use crate::revocation::{RevocationError, Stale, Status};

#[derive(Debug)]
pub struct Redis {
    pub(super) node: BrokerName,
    /// The log's origin of the store that the authority must belong to.
    origin: String,
    clock: Clock,
    pub(super) max_staleness: Duration,
    link: Arc<Link>,
    keeper: JoinHandle<()>,
    script: Script,
    asking: Asking,
    refills: Refills,
    /// The turn to push.
    pushing: tokio::sync::Mutex<()>,
    /// The number of the connection that was written to since it was made; 0 is none.
    trusted: AtomicU64,
    /// The furthest state that this node has seen.
    reached: ArcSwapOption<State>,
    /// The last change of the authority that was found in the store's history.
    verified: Mutex<Option<Point>>,
    view: View,
    /// Where the view stands in the log.
    followed: ArcSwapOption<State>,
    /// Why the follower cannot follow or report.
    trouble: Mutex<Option<RevocationError>>,
    /// What the log has said of that.
    outage: Mutex<Outage>,
    /// Stops that got their numbers and have yet to lose their place among those without.
    numbered: Mutex<Vec<(Target, StopId)>>,
    /// This node's stops without a number that the authority has.
    given: Given,
    roster: Roster,
    /// Stops of other nodes that have no number, and since when this node knows of each.
    orphans: Mutex<HashMap<StopId, Instant>>,
    pub(super) once: Box<Once>,
}

impl Redis {
    pub(super) async fn connect(
        settings: &RedisSettings,
        max_staleness: Duration,
        node: BrokerName,
        (origin, inherits): (&str, bool),
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        let link = Arc::new(Link::new(settings, max_staleness).await?);
        link.establish().await;
        let kept = link.clone();
        let redis = Self {
            node,
            origin: origin.to_owned(),
            clock,
            max_staleness,
            link,
            keeper: tokio::spawn(async move { kept.keep().await }),
            script: Script::new(include_str!("push.lua")),
            asking: Asking::default(),
            refills: Refills::default(),
            pushing: tokio::sync::Mutex::default(),
            trusted: AtomicU64::new(0),
            reached: ArcSwapOption::empty(),
            verified: Mutex::default(),
            view: View::default(),
            followed: ArcSwapOption::empty(),
            trouble: Mutex::default(),
            outage: Mutex::default(),
            numbered: Mutex::default(),
            given: Given::default(),
            roster: Roster::default(),
            orphans: Mutex::default(),
            once: Box::default(),
        };
        if inherits {
            redis.inherit().await?;
        }
        if let Ok(session) = redis.link.session()
            && let Ok(Some(state)) = redis.state(&mut session.connection()).await
            && state.origin != redis.origin
        {
            return Err(redis.other_store(&state.origin));
        }
        Ok(redis)
    }

    /// A stop has its number now, in the store's book: the next push takes it from those without. The view keeps it until
    /// it has learned that book, or it would hold the stop in neither way meanwhile.
    pub(super) fn note_numbered(&self, target: Target, id: StopId) {
        let mut numbered = self.numbered.lock().unwrap_or_else(PoisonError::into_inner);
        if !numbered.contains(&(target.clone(), id)) {
            numbered.push((target, id));
        }
    }

    pub(super) fn view(&self) -> Result<Arc<Book>, Stale> {
        let age = self.view.age();
        if age > self.max_staleness { Err(Stale { age }) } else { Ok(self.view.book()) }
    }

    pub(super) fn known(&self) -> Arc<Book> {
        self.view.book()
    }

    pub(super) fn view_age(&self) -> Duration {
        self.view.age()
    }

    pub(super) fn status(&self) -> Status {
        if let Err(trouble) = self.usable_or_err() {
            return Status::Unusable(match trouble {
                RevocationError::Unreachable(why) => why,
                trouble => trouble.to_string(),
            });
        }
        match self.link.session() {
            Err(_) => Status::Unusable(self.link.trouble()),
            Ok(session) if self.trusted(&session).is_err() => Status::Unfilled,
            Ok(_) => Status::Usable,
        }
    }

    /// An authority that the follower cannot write to is not asked: it answers, but others may not hear it.
    fn usable_or_err(&self) -> Result<(), RevocationError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set_trouble(&self, trouble: Option<RevocationError>) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match &trouble {
            Some(err) => match outage.failed(std::mem::discriminant(err), Instant::now()) {
                Some(Line::Gone) => tracing::warn!(error = %err, "the revocation log cannot be followed"),
                Some(Line::StillAway { since, attempts }) => tracing::warn!(
                    error = %err,
                    seconds = since.as_secs(),
                    attempts,
                    "the revocation log still cannot be followed"
                ),
                None => {}
            },
            None => {
                if let Some(away) = outage.over(Instant::now()) {
                    tracing::info!(seconds = away.as_secs(), "the revocation log is followed again");
                }
            }
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn trusted(&self, session: &Session) -> Result<(), RevocationError> {
        let trusted = self.trusted.load(Ordering::Acquire) == session.number;
        trusted.then_some(()).ok_or(RevocationError::Amnesia)
    }

    /// The authority took a push over this connection and was left in this state.
    fn trust(&self, session: &Session, state: &State) {
        self.reached.store(Some(Arc::new(state.clone())));
        self.verify(state.point);
        self.trusted.store(session.number, Ordering::Release);
        self.refills.tell();
    }

    /// Until the next push the authority is not believed.
    fn distrust(&self) {
        self.trusted.store(0, Ordering::Release);
    }

    fn reached(&self) -> Option<Arc<State>> {
        self.reached.load_full()
    }

    fn followed(&self) -> Option<Arc<State>> {
        self.followed.load_full()
    }

    fn verified(&self) -> Option<Point> {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verify(&self, point: Point) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
    }

    fn numbered(&self) -> Vec<(Target, StopId)> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The authority has them with their numbers, and so has the view.
    fn forget_numbered(&self, settled: &[(Target, StopId)]) {
        if settled.is_empty() {
            return;
        }
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| !settled.contains(one));
        self.forget_in_view(settled);
    }

    /// The view has them with their numbers.
    fn forget_in_view(&self, numbered: &[(Target, StopId)]) {
        if numbered.is_empty() {
            return;
        }
        self.view.learn(|book| {
            for (target, id) in numbered {
                book.forget_unnumbered(target, *id);
            }
        });
    }

    /// A name for the life of an authority that is found empty.
    fn new_life(&self) -> String {
        format!("{}.{}.{}", self.node, self.clock.now().millis(), SinceStart::now().beat())
    }

    fn other_store(&self, theirs: &str) -> RevocationError {
        RevocationError::OtherStore { theirs: theirs.to_owned(), ours: self.origin.clone() }
    }

    /// What a failed command means; a connection that cannot be relied on any more is given up.
    fn failed(&self, session: &Arc<Session>, err: &RedisError) -> RevocationError {
        let meaning = self.failure(err);
        self.note_failure(session, &meaning);
        meaning
    }

    fn note_failure(&self, session: &Arc<Session>, err: &RevocationError) {
        if let RevocationError::Unreachable(why) = err {
            self.link.lost(session, why.clone());
        }
    }

    fn failure(&self, err: &RedisError) -> RevocationError {
        match (err.kind(), err.code()) {
            (ErrorKind::Extension, Some("OTHER")) => self.other_store(err.detail().unwrap_or_default()),
            _ => self.meaning(err, self.link.waits.response),
        }
    }

    /// Timeouts and closed connections, a server that loads or is full, a replica, missing permissions: the authority cannot
    /// be used. An answer of the wrong type: it holds what is none of ours.
    fn meaning(&self, err: &RedisError, within: Duration) -> RevocationError {
        let text = err.to_string();
        match err.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RevocationError::Broken(text),
            ErrorKind::Extension if text.contains("BROKEN") || text.contains("WRONGTYPE") => {
                RevocationError::Broken(text)
            }
            _ => RevocationError::Unreachable(self.link.describe(err, within)),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[cfg(test)]
mod tests;
