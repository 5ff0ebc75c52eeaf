//! The store on a real disk, in folders of its own.

mod faults;
mod order;
mod pace;
mod search;
mod stops;
mod tamper;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;
use crate::domain::event::Outcome;
use crate::domain::id::RequestId;
use crate::domain::identity::Workload;
use crate::domain::permission::GrantedPermission;
use crate::store::record;

const START: i64 = 1_795_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// A clock whose hands the test moves.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || Timestamp::from_millis(hands.0.load(Ordering::SeqCst)))
    }

    fn set(&self, millis: i64) {
        self.0.store(START + millis, Ordering::SeqCst);
    }
}

struct Place {
    folder: TempDir,
    hands: Hands,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), hands: Hands::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/hallpass.db")
    }

    async fn try_open(&self) -> Result<Sqlite, StoreError> {
        Sqlite::open(&StoreSettings { path: self.path() }, self.hands.clock()).await
    }

    async fn open(&self) -> Sqlite {
        self.try_open().await.unwrap()
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        verify(&Reader::open(&self.path()).unwrap(), None, &mut |_, _| {})
    }

    /// Changes the file as someone with write access could.
    fn tamper(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
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
        ttl: Some(600),
        registry: Some("sha256:00".into()),
        request: Some(request(n)),
        peer: Some("10.1.2.3".parse().unwrap()),
        ..Event::new(at(millis), Kind::TokenIssued, Outcome::Issued)
    }
}

fn levels(n: u64) -> Arc<Levels> {
    Arc::new(Levels {
        tokens: vec![token(n)],
        agent: agent(n % 5),
        owner: format!("team-{}", n % 2).parse().unwrap(),
        issuer: "github".parse().unwrap(),
        above: Vec::new(),
    })
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
        lift: None,
    }
}

fn stopped(millis: i64) -> Event {
    Event::new(at(millis), Kind::RevocationStopped, Outcome::Done)
}

fn lift_at(millis: i64) -> Lift {
    Lift { at: at(millis), reason: "over".into(), operator: "oncall".parse().unwrap() }
}

fn lifted(stop: &Stop) -> Event {
    Event::new(stop.at, Kind::RevocationLifted, Outcome::Done)
}

fn seqs(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

async fn issue(store: &Sqlite, n: u64, millis: i64) -> u64 {
    match store.append_issuance(issued(n, millis), &levels(n), None).await.unwrap() {
        Issuance::Recorded(seq) => seq,
        Issuance::Dead(verdict) => panic!("{verdict:?}"),
    }
}

type Waiting<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// Gives the future one chance: enough to queue its write.
async fn poll_once<T>(future: &mut Waiting<'_, T>) -> std::task::Poll<T> {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
}

/// Records many refusals in this order, sharing commits.
async fn refuse(store: &Sqlite, numbers: std::ops::Range<u64>) {
    let waiting = numbers.map(|n| store.append(refused(n, n as i64)));
    for seq in futures_util::future::join_all(waiting).await {
        seq.unwrap();
    }
}
