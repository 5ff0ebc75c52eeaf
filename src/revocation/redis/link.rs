//! Connections to Redis. A lost one is never replaced unseen: each has a number, and whoever holds trust
//! holds it for one number. While there is none, calls fail at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

use super::door::Door;
use super::permissions;
use super::primary::Primary;
use super::waits::Waits;
use super::words;
use crate::revocation::RevocationError;
use crate::revocation::settings::{Address, RedisSettings};

/// Between attempts to connect, doubled after each failure.
pub(super) const RETRY: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(500)];
/// An idle connection is tried this often, so that the first agent after a pause need not find it dead.
const PROBE: Duration = Duration::from_millis(500);

/// One connection, from its making to its loss.
pub(super) struct Session {
    pub(super) number: u64,
    at: Address,
    connection: MultiplexedConnection,
}

impl Session {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

pub(super) struct Link {
    primary: Primary,
    username: Option<String>,
    tls: bool,
    pub(super) waits: Waits,
    session: ArcSwapOption<Session>,
    /// The number of the last session; they begin at 1.
    sessions: AtomicU64,
    /// The server of the last session.
    at: watch::Sender<Option<Address>>,
    /// Why there is no session.
    trouble: Mutex<String>,
    wake: Notify,
}

impl Link {
    pub(super) async fn new(
        settings: &RedisSettings,
        max_staleness: Duration,
    ) -> Result<Self, RevocationError> {
        let waits = Waits::of(max_staleness);
        let [door, sentinels] = Door::both(settings, waits).await?;
        let tls = door.has_tls();
        Ok(Self {
            primary: Primary::new(settings.url.servers.clone(), door, sentinels, waits),
            username: settings.username.clone(),
            tls,
            waits,
            session: ArcSwapOption::empty(),
            sessions: AtomicU64::new(0),
            at: watch::Sender::new(None),
            trouble: Mutex::new("not connected yet".into()),
            wake: Notify::new(),
        })
    }

    /// The current session, or at once why there is none.
    pub(super) fn session(&self) -> Result<Arc<Session>, RevocationError> {
        self.session.load_full().ok_or_else(|| RevocationError::Unreachable(self.trouble()))
    }

    pub(super) fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Gives up `session`, if it is still the current one, and lets the keeper make another.
    pub(super) fn lost(&self, session: &Arc<Session>, why: String) {
        let current = self.session.load();
        if current.as_ref().is_some_and(|current| current.number == session.number) {
            self.note(why);
            self.session.compare_and_swap(&current, None);
            self.wake.notify_one();
        }
    }

    /// What a failed command means, in words: which server, why, and what to do.
    pub(super) fn describe(&self, err: &RedisError, within: Duration) -> String {
        let why = words::why(err, within);
        match self.at.borrow().as_ref() {
            Some(at) => self.primary.introduce(at, &why),
            None => why,
        }
    }

    /// A connection of its own to the primary, whose answers may take `response`.
    pub(super) async fn open(&self, response: Duration) -> Result<(Address, MultiplexedConnection), String> {
        self.primary.open(response).await
    }

    /// Waits until the sessions are with another server than `at`.
    pub(super) async fn leaves(&self, at: &Address) {
        let mut now = self.at.subscribe();
        // The sender lives as long as this.
        let _ = now.wait_for(|now| now.as_ref().is_some_and(|now| now != at)).await;
    }

    /// One attempt to have a session.
    pub(super) async fn establish(&self) -> bool {
        match self.connect().await {
            Ok((at, connection)) => {
                let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
                self.at.send_if_modified(|now| now.replace(at.clone()).as_ref() != Some(&at));
                self.session.store(Some(Arc::new(Session { number, at, connection })));
                true
            }
            Err(why) => {
                self.note(why);
                false
            }
        }
    }

    async fn connect(&self) -> Result<(Address, MultiplexedConnection), String> {
        let (at, connection) = self.open(self.waits.response).await?;
        match permissions::check(&connection, self.username.as_deref(), self.waits.response).await {
            Ok(()) => Ok((at, connection)),
            Err(why) => Err(self.primary.introduce(&at, &why)),
        }
    }

    /// Makes a new session whenever there is none, for ever.
    pub(super) async fn keep(&self) {
        let mut pause = RETRY[0];
        loop {
            match self.session.load_full() {
                None if self.establish().await => pause = RETRY[0],
                None => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY[1]);
                }
                Some(session) => {
                    let idle = tokio::time::timeout(PROBE, self.wake.notified()).await.is_err();
                    if idle {
                        self.probe(&session).await;
                    }
                }
            }
        }
    }

    /// Gives the session up where the server is dead, or is the primary no more.
    async fn probe(&self, session: &Arc<Session>) {
        let answers = async {
            if let Err(err) = redis::cmd("PING").exec_async(&mut session.connection()).await {
                self.lost(session, self.describe(&err, self.waits.response));
            }
        };
        let is_primary = async {
            if let Some(now) = self.primary.replaced(&session.at).await {
                tracing::warn!(before = %session.at, %now, "the sentinels name another primary");
                self.lost(session, format!("{} is the primary no more, {now} is", session.at));
            }
        };
        tokio::select! {
            // Whoever waits for a new session need not wait for slow sentinels.
            () = self.wake.notified() => {}
            _ = async { tokio::join!(answers, is_primary) } => {}
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("primary", &self.primary).field("tls", &self.tls).finish_non_exhaustive()
    }
}
