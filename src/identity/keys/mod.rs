//! What an issuer publishes of its keys, at hand: cached, refreshed while it serves, bounded when it grows stale.
//!
//! An OIDC issuer publishes a JWK set, a SPIFFE trust domain a bundle; both are a [`Document`].
//! Promises: at most one fetch of an issuer runs at a time, and whoever needs its outcome waits for that one, for a
//! bounded time; an unknown `kid` fetches at most once a minute, and waits for nothing while fetches fail; however many
//! callers need an issuer that hangs, [`MAX_WAITERS`] of them wait.

mod attempt;
mod document;
mod pace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};

use crate::domain::id::IssuerName;
use crate::domain::time::{Clock, Timestamp};
use crate::identity::error::{AuthenticatorError, NoKeys};
use crate::identity::fetch::{self, FetchError, Source, TOTAL_TIMEOUT};
use crate::identity::jwks::{KeySet, Unusable};
use attempt::{Attempts, Cause, Fetch};
pub(super) use document::Document;
use pace::{FRESH, Pace};

/// What is wrong with a document whose keys are all of other kinds.
pub(super) const NO_USABLE_KEY: &str = "no usable key: RSA of 2048 bits or more, P-256, P-384 or Ed25519";

/// The longest wait for fresh keys while stale ones are at hand.
const STALE_WAIT: Duration = Duration::from_secs(1);

/// So many callers wait for one issuer at a time. A caller that waits holds one of the 512 turns that all requests
/// share, and needs no key of anybody's for that: an unsigned token with an unknown `kid` suffices.
const MAX_WAITERS: usize = 64;

/// A document as it was fetched.
#[derive(Debug)]
pub(super) struct Snapshot<D = KeySet> {
    pub(super) keys: Arc<D>,
    /// Differs when, and only when, the set differs: a proof that was verified by another generation
    /// must be verified again.
    pub(super) generation: u64,
    fetched: Timestamp,
}

/// What became of a call for keys that the current set lacks.
#[derive(Debug)]
pub(super) enum Newer<D = KeySet> {
    /// The set, fetched since.
    Keys(Arc<Snapshot<D>>),
    /// The issuer was asked a short while ago, and this is all it has.
    NoNews,
    /// The issuer could not be asked: whether it has the key is not known.
    Unavailable(NoKeys),
}

/// How an issuer's keys stand, for readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    pub name: IssuerName,
    /// How many usable keys are at hand, stale ones too.
    pub keys: usize,
    /// When they were last fetched.
    pub fetched: Option<Timestamp>,
    /// Why the last fetch failed, if it did.
    pub error: Option<String>,
}

/// The keys of one issuer.
pub(super) type IssuerKeys = PublishedKeys<KeySet>;

/// What one issuer publishes.
#[derive(Debug)]
pub(super) struct PublishedKeys<D> {
    name: IssuerName,
    source: Source,
    pace: Pace,
    stale_keys: Duration,
    clock: Clock,
    current: ArcSwapOption<Snapshot<D>>,
    attempts: Mutex<Attempts>,
    /// Counts the fetches that ended, so that a caller can wait for one.
    ended: watch::Sender<u64>,
    waiters: Semaphore,
}

impl<D: Document> PublishedKeys<D> {
    /// Reads a file at once, so that a mistake in it stops the start; contacts nobody.
    pub(super) fn new(
        name: &IssuerName,
        source: Source,
        stale_keys: Duration,
        clock: Clock,
    ) -> Result<Arc<Self>, AuthenticatorError> {
        let pace = if source.is_local() { Pace::LOCAL } else { Pace::NETWORK };
        let keys = Self {
            name: name.clone(),
            source,
            pace,
            stale_keys,
            clock,
            current: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            ended: watch::Sender::new(0),
            waiters: Semaphore::new(MAX_WAITERS),
        };
        if let Some(path) = keys.source.file_at_start() {
            let document = std::fs::read(path).map_err(|source| AuthenticatorError::Unreadable {
                issuer: name.clone(),
                path: path.to_owned(),
                source,
            })?;
            let bad = |problem: String| AuthenticatorError::BadJwks {
                issuer: name.clone(),
                path: path.to_owned(),
                problem,
            };
            let set = D::parse(&document).map_err(|error| bad(error.to_string()))?;
            if set.count() == 0 {
                return Err(bad(NO_USABLE_KEY.into()));
            }
            // One that vouches for the endpoint alone may be long out of date.
            if keys.source.bootstrap().is_none() {
                keys.replace(set);
            }
        }
        Ok(Arc::new(keys))
    }

    /// The keys to verify with now. Waits for the issuer only while it is not known to be down.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<Snapshot<D>>, NoKeys> {
        let now = self.clock.now();
        let held = self.current.load_full();
        let age = held.as_ref().map(|snapshot| elapsed(snapshot.fetched, now));
        match (held, age) {
            (Some(snapshot), Some(age)) if age < self.pace.fresh => {
                if age >= self.renew(&snapshot) {
                    self.start(Cause::Age, now);
                }
                Ok(snapshot)
            }
            (Some(_), Some(age)) if age < self.limit() => {
                let wait = if self.is_failing() { Duration::ZERO } else { STALE_WAIT };
                self.fetched(Cause::Age, now, wait).await;
                self.usable(now)
            }
            _ => {
                let wait = if self.is_failing() { STALE_WAIT } else { TOTAL_TIMEOUT + STALE_WAIT };
                self.fetched(Cause::Age, now, wait).await;
                self.usable(now)
            }
        }
    }

    /// Asks the issuer for keys newer than `seen`, which lacks the one that a proof names. Does not wait for an issuer
    /// that is known to be down.
    pub(super) async fn newer(self: &Arc<Self>, seen: &Snapshot<D>) -> Newer<D> {
        let now = self.clock.now();
        let wait = if self.is_failing() { Duration::ZERO } else { TOTAL_TIMEOUT + STALE_WAIT };
        let knows = self.fetched(Cause::UnknownKid, now, wait).await;
        match self.usable(now) {
            Ok(snapshot) if snapshot.generation != seen.generation => Newer::Keys(snapshot),
            _ if self.is_failing() || !knows => Newer::Unavailable(self.no_keys()),
            Ok(_) => Newer::NoNews,
            Err(missing) => Newer::Unavailable(missing),
        }
    }

    /// Goes on with the keys and the pace of `before`, which asked at the same addresses. What was read from a file at once
    /// stays.
    pub(super) fn go_on_from(&self, before: &Self) {
        if self.current.load().is_none() {
            self.current.store(before.current.load_full());
            let held = before.attempts().clone();
            *self.attempts() = Attempts { running: false, ..held };
        }
    }

    /// Starts a fetch that is due beside the calls: of what was never fetched, has become old, or failed last time. One that
    /// fails again and again is tried less and less often.
    pub(super) fn probe(self: &Arc<Self>) {
        let now = self.clock.now();
        let held = self.current.load_full();
        let due = match held {
            Some(held) if !self.is_failing() => elapsed(held.fetched, now) >= self.renew(&held),
            _ => {
                let attempts = self.attempts();
                let pause = self.pace.retry_after(attempts.failures);
                attempts.last.is_none_or(|last| elapsed(last, now) >= pause)
            }
        };
        if due {
            self.start(Cause::Age, now);
        }
    }

    pub(super) fn status(&self) -> IssuerStatus {
        let held = self.current.load();
        IssuerStatus {
            name: self.name.clone(),
            keys: held.as_ref().map_or(0, |snapshot| snapshot.keys.count()),
            fetched: held.as_ref().map(|snapshot| snapshot.fetched),
            error: self.attempts().error.clone(),
        }
    }

    fn usable(&self, now: Timestamp) -> Result<Arc<Snapshot<D>>, NoKeys> {
        let held = self.current.load_full().filter(|held| elapsed(held.fetched, now) < self.limit());
        held.ok_or_else(|| self.no_keys())
    }

    /// Why there is no usable key now.
    pub(super) fn no_keys(&self) -> NoKeys {
        let cause = self.attempts().error.clone();
        let cause = cause.unwrap_or_else(|| match self.current.load().as_ref() {
            Some(held) if held.keys.count() == 0 => "it publishes no usable key".to_owned(),
            // Whoever waits for less time than a fetch may take does not know its outcome.
            _ => "its keys did not come in time, and the fetch goes on".to_owned(),
        });
        NoKeys(format!("{}: {cause}", self.name).into())
    }

    /// How old keys may be and still verify.
    fn limit(&self) -> Duration {
        FRESH.saturating_add(self.stale_keys)
    }

    /// How old a document may be before it is fetched again beside the calls: sooner where it asks for that.
    fn renew(&self, held: &Snapshot<D>) -> Duration {
        let asked = held.keys.refresh().unwrap_or(self.pace.renew);
        asked.clamp(self.pace.retry.min(self.pace.renew), self.pace.renew)
    }

    fn is_failing(&self) -> bool {
        self.attempts().error.is_some()
    }

    /// Starts a fetch if one is due, and waits, at most `wait`, for whichever is running, unless enough others wait for
    /// it. False where the fetch still runs: then the caller goes on with what there is.
    async fn fetched(self: &Arc<Self>, cause: Cause, now: Timestamp, wait: Duration) -> bool {
        // Before the start, so that an end in between is not missed.
        let mut ended = self.ended.subscribe();
        if !self.start(cause, now) {
            return true;
        }
        if wait.is_zero() {
            return false;
        }
        match self.waiters.try_acquire() {
            Ok(_waiter) => tokio::time::timeout(wait, ended.changed()).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Whether a fetch is running now: this call's, if one was due, or another's.
    fn start(self: &Arc<Self>, cause: Cause, now: Timestamp) -> bool {
        let mut attempts = self.attempts();
        if attempts.running {
            return true;
        }
        let (last, pause) = match cause {
            Cause::Age => (attempts.last, self.pace.retry),
            Cause::UnknownKid => (attempts.last_for_kid, self.pace.unknown_kid),
        };
        if last.is_some_and(|last| elapsed(last, now) < pause) {
            return false;
        }
        attempts.running = true;
        attempts.last = Some(now);
        if cause == Cause::UnknownKid {
            attempts.last_for_kid = Some(now);
        }
        drop(attempts);
        // A task of its own: a caller that hangs up must not end the fetch that others wait for.
        tokio::spawn(Fetch(Arc::clone(self)).run());
        true
    }

    /// The bytes of the document.
    async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let Some(path) = self.source.bootstrap() else { return self.source.fetch(Vec::new).await };
        let first = fetch::read_document(path).await?;
        let now = self.clock.now();
        let vouchers = |set: &D| set.vouchers(self.name.as_str(), now);
        let mut anchors = vouchers(&D::parse(&first)?);
        if let Some(held) = self.current.load_full() {
            anchors.extend(vouchers(&held.keys));
        }
        self.source.fetch(move || anchors).await
    }

    fn replace(&self, set: D) {
        let fetched = self.clock.now();
        let held = self.current.load_full();
        self.log_left_out(&set, held.as_ref().map(|held| &*held.keys));
        let snapshot = match held {
            Some(held) if *held.keys == set => {
                Snapshot { keys: Arc::clone(&held.keys), generation: held.generation, fetched }
            }
            held => {
                let generation = held.map_or(0, |held| held.generation) + 1;
                Snapshot { keys: Arc::new(set), generation, fetched }
            }
        };
        self.current.store(Some(Arc::new(snapshot)));
    }

    /// Logs which keys of `set` cannot be used and why: once, not at every fetch.
    fn log_left_out(&self, set: &D, held: Option<&D>) {
        let known = held.map(D::left_out).unwrap_or_default();
        for key in set.left_out().into_iter().filter(|key| !known.contains(key)) {
            let (issuer, kid) = (&self.name, key.kid.as_deref().unwrap_or("-"));
            match key.why {
                Unusable::Other(cause) => tracing::info!(%issuer, ?kid, cause, "a published key is left out"),
                Unusable::Broken(cause) => {
                    tracing::warn!(%issuer, ?kid, cause, "a published key is left out")
                }
            }
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time since `earlier`. If that lies in the future by more than what two threads' readings of the
/// clock may differ, the clock was set back: then for ever, so that nothing waits for it to catch up.
fn elapsed(earlier: Timestamp, now: Timestamp) -> Duration {
    if earlier.since(now) > Duration::from_secs(10) { Duration::MAX } else { now.since(earlier) }
}
