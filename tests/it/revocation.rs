//! The kill switch: what holds of every variant, and what Redis may do to a broker that relies on it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod contract;
mod hostile;
mod merge;
mod outage;
mod prune;
mod several;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{Levels, Standing, StopBook, Target};
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::revocation::settings::{Backend, RevocationSettings};
use hallpass::revocation::{Revocation, RevocationError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::redis::RedisServer;

const START: i64 = 1_795_000_000;

fn clock() -> Clock {
    let started = Instant::now();
    Clock::new(move || Timestamp::from_seconds(START) + started.elapsed())
}

/// `second` after the start of the tests' time.
fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(START + second)
}

fn stop_id(n: u8) -> StopId {
    StopId::new(at(0), &[n; 10])
}

fn stopped(n: u8, second: i64) -> Standing {
    Standing { stop: Some(stop_id(n)), at: at(second) }
}

fn lifted(second: i64) -> Standing {
    Standing { stop: None, at: at(second) }
}

fn token(n: u8) -> TokenId {
    TokenId::new(at(0), &[n; 10])
}

fn levels() -> Levels {
    Levels {
        tokens: vec![token(1), token(2)],
        agent: "payments-refactorer".parse().unwrap(),
        owner: "@acme/team-payments".parse().unwrap(),
        issuer: "github".parse().unwrap(),
        above: Vec::new(),
    }
}

/// Covered by `everything` and nothing else that covers [`levels`].
fn others() -> Levels {
    Levels {
        tokens: vec![token(3)],
        agent: "docs-writer".parse().unwrap(),
        owner: "team-docs".parse().unwrap(),
        issuer: "gitlab".parse().unwrap(),
        above: Vec::new(),
    }
}

fn agent() -> Target {
    Target::Agent(levels().agent)
}

fn book(standings: &[(Target, Standing)]) -> StopBook {
    let mut book = StopBook::default();
    for (target, standing) in standings {
        book.note(target.clone(), *standing);
    }
    book
}

fn redis_at(port: u16) -> RevocationSettings {
    let url = format!("redis://127.0.0.1:{port}").parse().unwrap();
    settings(Backend::Redis { url, username: None, password: None, ca_file: None })
}

fn settings(backend: Backend) -> RevocationSettings {
    RevocationSettings { backend, max_staleness: Duration::from_secs(2) }
}

async fn connect(name: &str, settings: &RevocationSettings) -> Arc<Revocation> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Revocation::connect(settings, name.parse().unwrap(), clock()).await.unwrap().into()
}

/// A broker that follows, with a durable store whose book the test writes.
struct Broker {
    revocation: Arc<Revocation>,
    book: Arc<arc_swap::ArcSwap<StopBook>>,
    shutdown: watch::Sender<bool>,
    following: Option<JoinHandle<()>>,
}

impl Broker {
    async fn start(name: &str, settings: &RevocationSettings) -> Self {
        let revocation = connect(name, settings).await;
        let book = Arc::new(arc_swap::ArcSwap::default());
        let (shutdown, ending) = watch::channel(false);
        let (follower, durable) = (revocation.clone(), book.clone());
        let following =
            tokio::spawn(async move { follower.follow(ending, move || durable.load_full()).await });
        Self { revocation, book, shutdown, following: Some(following) }
    }

    /// And waits for its view.
    async fn ready(name: &str, settings: &RevocationSettings) -> Self {
        let broker = Self::start(name, settings).await;
        eventually("a view", || broker.revocation.view(&levels()).is_ok()).await;
        eventually("trust", || broker.revocation.status() == hallpass::revocation::Status::Usable).await;
        broker
    }

    async fn shut_down(&mut self) {
        self.shutdown.send_replace(true);
        self.following.take().unwrap().await.unwrap();
    }

    /// As the broker does it: the store first, then the authority, refilled if it must be.
    async fn revoke(&self, target: &Target, standing: Standing) -> hallpass::revocation::Revision {
        self.book.rcu(|book| {
            let mut book = StopBook::clone(book);
            book.note(target.clone(), standing);
            book
        });
        match self.revocation.apply(target, standing).await {
            Err(RevocationError::Amnesia) => {
                self.revocation.refill(&self.book.load()).await.unwrap();
                self.revocation.apply(target, standing).await.unwrap()
            }
            done => done.unwrap(),
        }
    }

    /// As issuance asks: refills once when told to.
    async fn may_issue(&self, levels: &Levels) -> Result<bool, RevocationError> {
        let verdict = match self.revocation.ask(levels).await {
            Err(RevocationError::Amnesia) => {
                self.revocation.refill(&self.book.load()).await?;
                self.revocation.ask(levels).await?
            }
            verdict => verdict?,
        };
        Ok(verdict.stopped.is_none())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Until issuance is possible again.
async fn recovered(broker: &Broker) -> Duration {
    let started = Instant::now();
    while broker.may_issue(&others()).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "the broker did not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

fn in_view(broker: &Broker, target: &Target) -> bool {
    broker.revocation.view(&levels()).is_ok_and(|verdict| verdict.stopped.as_ref() == Some(target))
}
