//! What every store must do, on a real disk and a real server, and what the tests of each are made of.

pub(in crate::store) mod hits;
mod moving;
mod order;
mod search;
mod stops;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter, Kind, Outcome};
use crate::domain::id::{AgentId, RequestId, StopId, TokenId};
use crate::domain::identity::Workload;
use crate::domain::permission::GrantedPermission;
use crate::domain::revocation::{Holder, Levels, Lift, Revision, Stop, Target, Verdict};
use crate::domain::time::Timestamp;
use crate::store::postgres::server::PostgresServer;
use crate::store::postgres::tests as postgres;
use crate::store::write::{Head, Recorded};

pub(in crate::store) const START: i64 = 1_795_000_000_000;

pub(in crate::store) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// Where a store is: a database of its own.
#[derive(Debug)]
pub(in crate::store) enum Place {
    Sqlite(TempDir),
    /// The name of the database on the server of all tests.
    Postgres(String),
}

impl Place {
    pub(in crate::store) fn new() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    fn postgres() -> Self {
        Self::Postgres(PostgresServer::shared().database())
    }

    /// A new store of the same kind.
    fn another(&self) -> Self {
        match self {
            Self::Sqlite(_) => Self::new(),
            Self::Postgres(_) => Self::postgres(),
        }
    }

    pub(in crate::store) fn folder(&self) -> &Path {
        match self {
            Self::Sqlite(folder) => folder.path(),
            Self::Postgres(_) => PostgresServer::shared().folder(),
        }
    }

    /// The file of SQLite.
    pub(in crate::store) fn path(&self) -> PathBuf {
        self.folder().join("data/hallpass.db")
    }

    pub(in crate::store) fn settings(&self) -> StoreSettings {
        match self {
            Self::Sqlite(_) => StoreSettings::sqlite(self.path()),
            Self::Postgres(database) => {
                StoreSettings::Postgres(Box::new(postgres::settings(PostgresServer::shared(), database)))
            }
        }
    }

    pub(in crate::store) async fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(&self.settings()).await
    }

    pub(in crate::store) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    pub(in crate::store) fn verify(&self) -> Result<Verified, VerifyError> {
        // Blocking, which a thread of a runtime must not be.
        std::thread::scope(|scope| {
            let verify = || Reader::open_store(&self.settings()).unwrap().verify(None, &mut |_, _| {});
            scope.spawn(verify).join().unwrap()
        })
    }

    /// What differs in the store, which is not as it was.
    pub(in crate::store) fn differences(&self) -> Vec<Difference> {
        found(self.verify())
    }

    /// Changes the store as someone with write access could.
    pub(in crate::store) fn tamper(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(database) => drop(PostgresServer::shared().sql(database, sql)),
        }
    }
}

/// Runs each of these tests on a store of each kind.
macro_rules! contract {
    (#[$how:meta] $($test:ident),* $(,)?) => {
        $(mod $test {
            use super::Place;

            #[$how]
            async fn sqlite() {
                super::$test(Place::new()).await;
            }

            #[$how]
            async fn postgres() {
                super::$test(Place::postgres()).await;
            }
        })*
    };
    ($($test:ident),* $(,)?) => { contract!(#[tokio::test] $($test),*); };
}
pub(in crate::store) use contract;

pub(in crate::store) fn found(verified: Result<Verified, VerifyError>) -> Vec<Difference> {
    match verified {
        Err(VerifyError::Differs(differences)) => differences.named().to_vec(),
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) fn bytes(n: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&n.to_be_bytes());
    bytes
}

pub(in crate::store) fn token(n: u64) -> TokenId {
    TokenId::new(at(0), &bytes(n))
}

pub(in crate::store) fn request(n: u64) -> RequestId {
    RequestId::new(at(0), &bytes(n))
}

pub(in crate::store) fn agent(n: u64) -> AgentId {
    format!("agent-{n}").parse().unwrap()
}

pub(in crate::store) fn permissions(n: u64) -> Vec<GrantedPermission> {
    let json = format!(
        r#"[{{"type":"git_repository","identifier":"repo-{n}","locations":["https://github.com/acme/repo-{n}"],
            "actions":["push","read"],"refs":["refs/heads/agent/*"],"environment":"staging"}},
           {{"type":"http_endpoint","identifier":"ledger","locations":["https://ledger.acme.internal"],
            "actions":["GET"],"paths":["/v1/entries/**"]}}]"#
    );
    serde_json::from_str(&json).unwrap()
}

/// The issuance of token `n` to agent `n % 5` of owner `n % 2` at `millis`.
pub(in crate::store) fn issued(n: u64, millis: i64) -> Event {
    Event {
        agent: Some(agent(n % 5)),
        owner: Some(format!("team-{}", n % 2).parse().unwrap()),
        workload: Some(Workload(format!("github|repo:acme/\"repo\"-{n}:ref:refs/heads/main").into())),
        token: Some(token(n)),
        token_sha256: Some(Digest::of(&bytes(n))),
        permissions: permissions(n % 3).into(),
        ttl: Some(Duration::from_secs(600).into()),
        registry: Some("sha256:00".into()),
        request: Some(request(n)),
        peer: Some("10.1.2.3".parse().unwrap()),
        ..Event::new(at(millis), Kind::TokenIssued, Outcome::Issued)
    }
}

pub(in crate::store) fn holder(n: u64) -> Holder {
    Holder {
        agent: agent(n % 5),
        owner: format!("team-{}", n % 2).parse().unwrap(),
        issuer: "github".parse().unwrap(),
    }
}

/// The levels of a request by agent `n % 5`.
pub(in crate::store) fn asked(n: u64) -> Levels {
    Levels::asked_by(holder(n))
}

/// The levels of token `n`, decided at `as_of`.
pub(in crate::store) fn levels(n: u64, as_of: Revision) -> Arc<Levels> {
    Arc::new(Levels::of(token(n), as_of, holder(n)))
}

pub(in crate::store) fn refused(n: u64, millis: i64) -> Event {
    Event {
        reason: Some("no_agent".into()),
        request: Some(request(n)),
        ..Event::new(at(millis), Kind::TokenRefused, Outcome::Refused)
    }
}

pub(in crate::store) fn stop_of(n: u64, target: Target, millis: i64) -> Stop {
    Stop {
        id: StopId::new(at(0), &bytes(n)),
        target,
        at: at(millis),
        reason: format!("leak {n}"),
        operator: Some("oncall".parse().unwrap()),
        revision: None,
        lift: None,
    }
}

pub(in crate::store) fn stopped(millis: i64) -> Event {
    Event::new(at(millis), Kind::RevocationStopped, Outcome::Done)
}

pub(in crate::store) fn named() -> Event {
    Event::new(at(0), Kind::LogNamed, Outcome::Done)
}

pub(in crate::store) fn lift_at(millis: i64) -> Lift {
    Lift {
        at: at(millis),
        reason: "over".into(),
        operator: "oncall".parse().unwrap(),
        revision: Revision::ZERO,
    }
}

pub(in crate::store) fn lifted() -> Event {
    Event::new(at(0), Kind::RevocationLifted, Outcome::Done)
}

pub(in crate::store) fn seqs(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

pub(in crate::store) async fn issue(store: &Store, n: u64, millis: i64) -> u64 {
    let as_of = store.seen().revision();
    let event = Event { as_of: Some(as_of), ..issued(n, millis) };
    match store.append_issuance(event, levels(n, as_of)).await.unwrap() {
        Issuance::Recorded(receipt) => receipt.seq(),
        Issuance::Dead(verdict) => panic!("{verdict:?}"),
    }
}

pub(in crate::store) type Waiting<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Gives the future one chance: enough to queue its write.
pub(in crate::store) async fn poll_once<T>(future: &mut Waiting<'_, T>) -> std::task::Poll<T> {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
}

/// Records many refusals in this order, sharing commits.
pub(in crate::store) async fn refuse(store: &Store, numbers: std::ops::Range<u64>) {
    let waiting = numbers.map(|n| store.append(refused(n, n as i64)));
    for seq in futures_util::future::join_all(waiting).await {
        seq.unwrap();
    }
}
