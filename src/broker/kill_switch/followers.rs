//! Enforcement points outside, which follow the stops: who of them may let a token pass, and who has seen what.
//!
//! One may judge by itself for `max_staleness` after it has sent the last report that was answered. So whoever reported
//! lately is counted, and whoever was silent for longer refuses by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::KillSwitch;
use crate::domain::id::{FollowerName, OperatorName};
use crate::domain::revocation::{Place, Revision};

/// Of one key: each report is kept in memory.
const MOST_OF_A_KEY: usize = 64;
/// A report is forgotten after this.
const FORGET: Duration = Duration::from_secs(60);
/// Between two looks at what they have seen.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Followers {
    heard: Mutex<HashMap<FollowerName, Heard>>,
    /// How many reports this node has heard itself.
    beat: AtomicU64,
}

#[derive(Debug, Clone)]
struct Heard {
    /// `<node>.<beat> <place or ->`: the beat changes with each.
    report: String,
    /// None before it has seen all that there was.
    place: Option<Place>,
    /// When this node first heard it.
    at: Instant,
}

impl Heard {
    fn of(report: String, at: Instant) -> Self {
        let place = report.split(' ').nth(1).and_then(|place| place.parse().ok());
        Self { report, place, at }
    }

    fn is_within(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= time
    }
}

/// Who has seen a change, and who has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) confirmed: Vec<FollowerName>,
    pub(super) pending: Vec<FollowerName>,
    /// When this node first knew of each that has confirmed.
    pub(super) heard: HashMap<FollowerName, Instant>,
}

/// One enforcement point outside, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcementPoint {
    pub name: FollowerName,
    /// Since its last report.
    pub silent: Duration,
    /// Whether it may let a token pass; else it refuses everything by itself.
    pub counts: bool,
}

/// One key has as many enforcement points as may be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyFollowers;

impl Followers {
    fn lock(&self) -> MutexGuard<'_, HashMap<FollowerName, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, name: &FollowerName) -> bool {
        let heard = self.lock();
        heard.contains_key(name) || heard.keys().filter(|one| one.key == name.key).count() < MOST_OF_A_KEY
    }

    fn hear(&self, name: FollowerName, report: String, now: Instant) {
        let mut heard = self.lock();
        if heard.get(&name).is_none_or(|known| known.report != report) {
            heard.insert(name, Heard::of(report, now));
        }
    }

    /// Gives those that were silent for long, and forgets them.
    fn forget_silent(&self, now: Instant) -> Vec<String> {
        let mut silent = Vec::new();
        self.lock().retain(|name, heard| {
            let stays = heard.is_within(FORGET, now);
            if !stays {
                silent.push(name.to_string());
            }
            stays
        });
        silent
    }

    /// Those that may let a token pass.
    fn alive(&self, max_staleness: Duration, now: Instant) -> Vec<FollowerName> {
        let heard = self.lock();
        let alive = heard.iter().filter(|(_, heard)| heard.is_within(max_staleness, now));
        alive.map(|(name, _)| name.clone()).collect()
    }

    fn is_known(&self, name: &FollowerName) -> bool {
        self.lock().contains_key(name)
    }

    fn place(&self, name: &FollowerName) -> Option<Place> {
        self.lock().get(name)?.place
    }
}

impl KillSwitch {
    /// Hears an enforcement point, so that from here on every stop asks for its word, at every node.
    ///
    /// # Errors
    /// Where its key has too many already.
    pub(in crate::broker) async fn hear(
        &self,
        name: &FollowerName,
        place: Option<Place>,
    ) -> Result<(), TooManyFollowers> {
        if !self.followers.has_room(name) {
            return Err(TooManyFollowers);
        }
        let beat = self.followers.beat.fetch_add(1, Ordering::Relaxed);
        let place = place.map_or_else(|| "-".to_owned(), |place| place.to_string());
        let report = format!("{}.{beat} {place}", self.revocation.node());
        self.followers.hear(name.clone(), report.clone(), Instant::now());
        if let Err(error) = self.revocation.note_follower(&name.to_string(), &report).await {
            tracing::debug!(%error, follower = %name, "other brokers do not hear of an enforcement point");
        }
        Ok(())
    }

    /// It has said that it lets nothing pass any more.
    pub(in crate::broker) async fn forget_follower(&self, name: &FollowerName) {
        self.followers.lock().remove(name);
        if let Err(error) = self.revocation.forget_followers(&[name.to_string()]).await {
            tracing::debug!(%error, follower = %name, "other brokers do not hear that an enforcement point left");
        }
    }

    /// The enforcement points that reported within a minute, by name. Asks nobody.
    pub(in crate::broker) fn enforcement_points(&self) -> Vec<EnforcementPoint> {
        let (now, max_staleness) = (Instant::now(), self.revocation.max_staleness());
        let point = |(name, heard): (&FollowerName, &Heard)| EnforcementPoint {
            name: name.clone(),
            silent: now.saturating_duration_since(heard.at),
            counts: heard.is_within(max_staleness, now),
        };
        let mut points: Vec<_> = self.followers.lock().iter().map(point).collect();
        points.sort_by(|a, b| a.name.cmp(&b.name));
        points
    }

    /// Since when the enforcement point is silent.
    pub(in crate::broker) fn silence(&self, name: &FollowerName) -> Option<Duration> {
        self.followers.lock().get(name).map(|heard| heard.at.elapsed())
    }

    /// Hears those that report to other nodes; forgets whoever was silent for long. Once a second or so.
    pub(in crate::broker) async fn hear_of_followers(&self) {
        self.hear_from_others().await;
        let silent = self.followers.forget_silent(Instant::now());
        if let Err(error) = self.revocation.forget_followers(&silent).await {
            tracing::debug!(%error, "silent enforcement points are not forgotten");
        }
    }

    async fn hear_from_others(&self) {
        let Ok(reports) = self.revocation.followers().await else { return };
        let now = Instant::now();
        let mut by_key: HashMap<OperatorName, usize> = HashMap::new();
        for (name, report) in reports {
            let Ok(name) = name.parse::<FollowerName>() else { continue };
            let count = by_key.entry(name.key.clone()).or_default();
            *count += 1;
            if *count <= 2 * MOST_OF_A_KEY {
                self.followers.hear(name, report, now);
            }
        }
    }

    /// Which of those that may let a token pass have seen the change `revision`, or a change without a number. Waits for
    /// them up to `patience`.
    pub(super) async fn seen_by_followers(&self, revision: Option<Revision>, patience: Duration) -> Seen {
        let started = Instant::now();
        // Whoever reports to another node for the first time from here on is told of the change in the answer, because
        // that node has confirmed it.
        self.hear_from_others().await;
        let mut waiting = self.followers.alive(self.revocation.max_staleness(), Instant::now());
        let mut seen = Seen::default();
        loop {
            let now = Place::of(&self.merged());
            let (confirmed, pending): (Vec<_>, Vec<_>) =
                std::mem::take(&mut waiting).into_iter().partition(|name| {
                    match (self.followers.place(name), revision) {
                        (Some(place), Some(revision)) => place.revision >= revision,
                        (Some(place), None) => {
                            place.unnumbered == now.unnumbered && place.revision >= now.revision
                        }
                        (None, _) => false,
                    }
                });
            let heard = Instant::now();
            seen.heard.extend(confirmed.iter().map(|name| (name.clone(), heard)));
            seen.confirmed.extend(confirmed);
            waiting = pending;
            // One that says that it lets nothing pass any more is not waited for.
            waiting.retain(|name| self.followers.is_known(name));
            if waiting.is_empty() || started.elapsed() >= patience {
                break;
            }
            tokio::time::sleep(LOOK).await;
            self.hear_from_others().await;
        }
        seen.pending = waiting;
        seen.confirmed.sort();
        seen.pending.sort();
        seen
    }
}
