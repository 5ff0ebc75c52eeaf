//! The store on a real disk, in folders of its own.

mod faults;
mod hits;
mod order;
mod pace;
mod search;
mod signing_keys;
mod start;
mod stops;
mod tail;
mod tamper;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::RequestId;
use crate::domain::identity::Workload;
use crate::domain::permission::GrantedPermission;
use crate::domain::revocation::{Holder, Levels, Lift, Revision, Verdict};
use crate::store::tables::{batch, blocks, draft};
use crate::store::{Difference, Issuance, LiftOutcome, Reader, Store, StoreSettings, Verified, VerifyError, record};

const START: i64 = 1_795_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/hallpass.db")
    }

    async fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(&StoreSettings::sqlite(self.path())).await
    }

    async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        Reader::open(&self.path()).unwrap().verify(None, &mut |_, _| {})
    }

    /// What differs in the file, which is not as it was.
    fn differences(&self) -> Vec<Difference> {
        found(self.verify())
    }

    /// Changes the file as someone with write access could.
    fn tamper(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

fn found(verified: Result<Verified, VerifyError>) -> Vec<Difference> {
    match verified {
        Err(VerifyError::Differs(differences)) => differences.named().to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Does `work` on the connection of the writer, in a batch with what else waits.
async fn raw<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let Store::Sqlite(store) = store;
    let (send, value) = std::sync::mpsc::channel();
    let job = move |connection: &rusqlite::Connection| work(connection).map(|value| drop(send.send(value)));
    store.run_raw(Box::new(job)).await.map(|_| value.recv().unwrap())
}

fn bytes(n: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn token(n: u64) -> TokenId {
    TokenId::new(at(0), &bytes(n))
}

fn request(n: u64) -> RequestId {
    RequestId::new(at(0), &bytes(n))
}

fn agent(n: u64) -> AgentId {
    format!("agent-{n}").parse().unwrap()
}

fn permissions(n: u64) -> Vec<GrantedPermission> {
    let json = format!(
        r#"[{{"type":"git_repository","identifier":"repo-{n}","locations":["https://github.com/acme/repo-{n}"],
            "actions":["push","read"],"refs":["refs/heads/agent/*"],"environment":"staging"}},
           {{"type":"http_endpoint","identifier":"ledger","locations":["https://ledger.acme.internal"],
            "actions":["GET"],"paths":["/v1/entries/**"]}}]"#
    );
    serde_json::from_str(&json).unwrap()
}

/// The issuance of token `n` to agent `n % 5` of owner `n % 2` at `millis`.
fn issued(n: u64, millis: i64) -> Event {
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

fn holder(n: u64) -> Holder {
    Holder {
        agent: agent(n % 5),
        owner: format!("team-{}", n % 2).parse().unwrap(),
        issuer: "github".parse().unwrap(),
    }
}

/// The levels of a request by agent `n % 5`.
fn asked(n: u64) -> Levels {
    Levels::asked_by(holder(n))
}

/// The levels of token `n`, decided at `as_of`.
fn levels(n: u64, as_of: Revision) -> Arc<Levels> {
    Arc::new(Levels::of(token(n), as_of, holder(n)))
}

fn refused(n: u64, millis: i64) -> Event {
    Event {
        reason: Some("no_agent".into()),
        request: Some(request(n)),
        ..Event::new(at(millis), Kind::TokenRefused, Outcome::Refused)
    }
}

fn stop_of(n: u64, target: Target, millis: i64) -> Stop {
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

fn stopped(millis: i64) -> Event {
    Event::new(at(millis), Kind::RevocationStopped, Outcome::Done)
}

fn named() -> Event {
    Event::new(at(0), Kind::LogNamed, Outcome::Done)
}

fn lift_at(millis: i64) -> Lift {
    Lift {
        at: at(millis),
        reason: "over".into(),
        operator: "oncall".parse().unwrap(),
        revision: Revision::ZERO,
    }
}

fn lifted() -> Event {
    Event::new(at(0), Kind::RevocationLifted, Outcome::Done)
}

fn seqs(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

async fn issue(store: &Store, n: u64, millis: i64) -> u64 {
    let as_of = store.seen().revision();
    let event = Event { as_of: Some(as_of), ..issued(n, millis) };
    match store.append_issuance(event, levels(n, as_of)).await.unwrap() {
        Issuance::Recorded(receipt) => receipt.seq(),
        Issuance::Dead(verdict) => panic!("{verdict:?}"),
    }
}

type Waiting<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Gives the future one chance: enough to queue its write.
async fn poll_once<T>(future: &mut Waiting<'_, T>) -> std::task::Poll<T> {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
}

/// Records many refusals in this order, sharing commits.
async fn refuse(store: &Store, numbers: std::ops::Range<u64>) {
    let waiting = numbers.map(|n| store.append(refused(n, n as i64)));
    for seq in futures_util::future::join_all(waiting).await {
        seq.unwrap();
    }
}
