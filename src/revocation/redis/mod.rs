//! The kill switch in Redis: one authority for every broker that shares it.
//!
//! | key | holds |
//! |---|---|
//! | `hallpass:{revocation}:stops` | hash: target → `<at ms> <stop id or ->`, a token's until it is long dead; `lineage` → `<revision> <epoch> <chain>` |
//! | `hallpass:{revocation}:log` | stream of changes, the last 10,000 or so |
//! | `hallpass:{revocation}:seen` | hash: broker → `<at ms> <lineage>`, written at least twice a second |
//! | `hallpass:{revocation}:revision` | the number of the last change |
//! | `hallpass:{revocation}:once:<agent>:*` | proofs that were used, until they expire |
//!
//! **Trust.** An answer counts only over a connection that was refilled after it was made, and only if its
//! lineage goes on from the one known: the same epoch, and more changes or the very same. Flushed, restarted
//! without its last writes, evicted, failed over to a replica that lagged: each breaks one of these, and
//! [`RevocationError::Amnesia`] follows. The refill that finds the break begins a new epoch, by which every
//! other broker notices too. The refill always writes, so a replica is never trusted.
//!
//! **Exactness.** A broker asks how far the authority is. Where its view has followed the log as far, by number,
//! epoch and chain, the view holds all that is there; else it asks about the targets themselves. What was written
//! around hallpass, without a place in the lineage, it sees when it next loads the stops.
//! An answer is merged with this broker's own view. What this broker confirmed to refuse, it
//! refuses, even in the instant before a loss is noticed.
//!
//! **Confirmation.** A report of another broker confirms a change if it is of the same epoch and as far, was
//! first heard after the change was sent, and the authority's lineage does not contradict it. So no report
//! heard before a loss counts. One case is left: a broker reports where it was before a loss after it, having
//! not looked since (a proxy moved its open connection), and as many changes as were lost have been made
//! again by then. That report counts until its next, half a second later.
//!
//! A user that may do what a broker needs and no more (with a database other than 0, add `+select`):
//!
//! ```text
//! user hallpass on >PASSWORD ~hallpass:{revocation}:* -@all +ping +get +set +hget +hmget +hgetall +hset +hdel +xadd +xlen +xread +xrevrange +multi +exec +time +evalsha +script|load
//! ```
//!
//! Keep `maxmemory-policy noeviction` and the append-only file on; hallpass stays safe without them, but has
//! to refill, and forgets which assertions were used.

mod ask;
mod follow;
mod link;
mod merge;
mod once;
mod prune;
mod seen;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use tokio::task::JoinHandle;

use self::ask::Asking;
use self::link::{Link, Session};
use self::merge::{Merge, MergeError};
use self::seen::Roster;
use self::wire::Lineage;
use crate::domain::id::BrokerName;
use crate::domain::revocation::{Levels, Standing, StopBook, Target, Verdict};
use crate::domain::time::Clock;
use crate::revocation::once::Once;
use crate::revocation::settings::RevocationSettings;
use crate::revocation::view::View;
use crate::revocation::{Revision, RevocationError, Stale, Status};

#[derive(Debug)]
pub struct Redis {
    broker: BrokerName,
    clock: Clock,
    max_staleness: Duration,
    link: Arc<Link>,
    keeper: JoinHandle<()>,
    merge: Script,
    asking: Asking,
    trust: ArcSwapOption<Trust>,
    view: View,
    /// Where the view stands in the log.
    followed: ArcSwapOption<Lineage>,
    /// What in Redis the follower cannot read.
    broken: Mutex<Option<RevocationError>>,
    roster: Roster,
    once: Box<Once>,
}

/// What was last known of the authority.
#[derive(Debug)]
struct Trust {
    /// The connection it is trusted over; 0 is none.
    session: u64,
    lineage: Lineage,
    /// The lineage as Redis wrote it: most answers repeat it.
    text: String,
}

impl Redis {
    pub(super) async fn connect(
        settings: &RevocationSettings,
        broker: BrokerName,
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        let link = Arc::new(Link::new(&settings.backend).await?);
        link.establish().await;
        let kept = link.clone();
        Ok(Self {
            broker,
            view: View::new(clock.clone()),
            clock,
            max_staleness: settings.max_staleness,
            link,
            keeper: tokio::spawn(async move { kept.keep().await }),
            merge: Script::new(include_str!("merge.lua")),
            asking: Asking::default(),
            trust: ArcSwapOption::empty(),
            followed: ArcSwapOption::empty(),
            broken: Mutex::default(),
            roster: Roster::default(),
            once: Box::default(),
        })
    }

    pub(super) async fn refill(&self, book: &StopBook) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        self.view.learn(book.iter());
        let known = self.trust.load_full();
        let known = known.as_ref().map(|trust| &trust.lineage);
        let mut connection = session.connection();
        let (lineage, text) = self
            .pour(&mut connection, Merge::Refill, known)
            .await
            .map_err(|err| self.failed_merge(&session, err))?;
        self.trust.store(Some(Arc::new(Trust { session: session.number, lineage, text })));
        Ok(())
    }

    pub(super) async fn apply(
        &self,
        target: &Target,
        standing: Standing,
    ) -> Result<Revision, RevocationError> {
        self.view.learn([(target, &standing)]);
        let sent = Instant::now();
        let session = self.link.session()?;
        let trust = self.trust.load_full();
        let known = trust.as_ref().map(|trust| &trust.lineage);
        let merged = self.merge(&mut session.connection(), Merge::Apply, known, &[(target, &standing)]).await;
        let (lineage, text) = match merged {
            Ok(merged) => merged,
            Err(err) => {
                let err = self.failed_merge(&session, err);
                if let (RevocationError::Amnesia, Some(trust)) = (&err, &trust) {
                    self.distrust(trust);
                }
                return Err(err);
            }
        };
        let revision = Revision { number: lineage.revision, epoch: lineage.epoch.clone(), sent };
        if let Some(trust) = trust.filter(|trust| trust.session == session.number) {
            self.advance(&trust, lineage, text);
        }
        Ok(revision)
    }

    pub(super) fn view(&self, levels: &Levels) -> Result<Verdict, Stale> {
        let age = self.view.age();
        if age > self.max_staleness { Err(Stale { age }) } else { Ok(self.view.verdict(levels)) }
    }

    pub(super) fn known(&self, levels: &Levels) -> Verdict {
        self.view.verdict(levels)
    }

    pub(super) fn view_age(&self) -> Duration {
        self.view.age()
    }

    pub(super) fn status(&self) -> Status {
        if let Some(broken) = &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            return Status::Unusable(broken.to_string());
        }
        match self.link.session() {
            Err(_) => Status::Unusable(format!("Redis: {}", self.link.trouble())),
            Ok(session) if self.trusted(&session).is_none() => Status::Unfilled,
            Ok(_) => Status::Usable,
        }
    }

    fn trusted(&self, session: &Session) -> Option<Arc<Trust>> {
        self.trust.load_full().filter(|trust| trust.session == session.number)
    }

    /// Whether an answer goes on from what was known when its question was sent.
    fn check(
        &self,
        trust: &Arc<Trust>,
        text: Option<&[u8]>,
        counter: Option<&[u8]>,
    ) -> Result<(), RevocationError> {
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let counter = counter.and_then(|counter| std::str::from_utf8(counter).ok()?.parse::<u64>().ok());
        let (Some(text), Some(counter)) = (text, counter) else { return Err(self.forgot(trust)) };
        if text == trust.text && counter >= trust.lineage.revision {
            return Ok(());
        }
        match Lineage::parse(text) {
            Some(now) if now.may_follow(&trust.lineage) && counter >= now.revision => {
                self.advance(trust, now, text.to_owned());
                Ok(())
            }
            _ => Err(self.forgot(trust)),
        }
    }

    /// Remembers a later state, unless another answer or a loss came between.
    fn advance(&self, trust: &Arc<Trust>, lineage: Lineage, text: String) {
        if lineage.may_follow(&trust.lineage) && lineage.revision > trust.lineage.revision {
            let later = Trust { session: trust.session, lineage, text };
            self.trust.compare_and_swap(trust, Some(Arc::new(later)));
        }
    }

    fn forgot(&self, trust: &Arc<Trust>) -> RevocationError {
        self.distrust(trust);
        RevocationError::Amnesia
    }

    /// Keeps what was known, so that the refill sees the loss, and trusts it over no connection.
    fn distrust(&self, trust: &Arc<Trust>) {
        let none = Trust { session: 0, lineage: trust.lineage.clone(), text: trust.text.clone() };
        self.trust.compare_and_swap(trust, Some(Arc::new(none)));
    }

    fn failed_merge(&self, session: &Arc<Session>, err: MergeError) -> RevocationError {
        match err {
            MergeError::Redis(err) => self.failed(session, &err),
            MergeError::Ours(err) => err,
        }
    }

    /// What a failed command means; a connection that cannot be relied on any more is given up.
    fn failed(&self, session: &Arc<Session>, err: &RedisError) -> RevocationError {
        let meaning = meaning(err);
        if let RevocationError::Unreachable(why) = &meaning {
            self.link.lost(session, why.clone());
        }
        meaning
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Timeouts and closed connections, a server that loads, a replica, missing permissions: the authority cannot
/// be asked. An answer of the wrong type: it holds what is none of ours.
fn meaning(err: &RedisError) -> RevocationError {
    let text = err.to_string();
    match err.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RevocationError::Broken(text),
        ErrorKind::Extension if err.code() == Some("AMNESIA") => RevocationError::Amnesia,
        ErrorKind::Extension if text.contains("BROKEN") || text.contains("WRONGTYPE") => {
            RevocationError::Broken(text)
        }
        ErrorKind::Io if err.is_timeout() => RevocationError::Unreachable("no answer in time".into()),
        _ => RevocationError::Unreachable(text),
    }
}

fn is_replica(err: &RedisError) -> bool {
    err.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
