//! What breaks between a node and the server: an event is recorded once, or it is said that it is not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::cutter::{Break, Cutter, Way};
use super::nodes::{check_order, place, said, whole};
use super::*;
use crate::domain::event::{Event, Kind};
use crate::domain::revocation::Target;
use crate::store::tests::*;
use crate::store::{Issuance, Store, StoreError, StoreSettings};

/// A node of the database behind a proxy.
async fn behind(cutter: &Cutter, place: &Place) -> Store {
    let StoreSettings::Postgres(mut settings) = place.settings() else { panic!() };
    settings.servers = Servers::Tcp(vec![address("127.0.0.1", cutter.port)]);
    Store::open(&StoreSettings::Postgres(settings)).await.unwrap()
}

/// Waits until the node knows what others have written, without being told to.
async fn recovers(node: &Store) {
    let begun = Instant::now();
    while node.book().await.is_err() || !node.healthy() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it does not recover: {:?}", node.fault());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was asked in one round, and what was answered.
struct Asked {
    refusal: Result<u64, StoreError>,
    issuance: Result<Issuance, StoreError>,
    end: Result<(), StoreError>,
}

async fn ask(store: &Store, n: u64) -> Asked {
    let as_of = store.seen().revision();
    let event = Event { as_of: Some(as_of), ..issued(n, 0) };
    let (refusal, issuance, end) = tokio::join!(
        store.append(refused(100_000 + n, 0)),
        store.append_issuance(event, levels(n, as_of)),
        store.end(token(200_000 + n), stopped(0)),
    );
    Asked { refusal, issuance, end: end.map(drop) }
}

/// Breaks a node's connection at each of these bytes of a commit, and compares the log with what was answered.
async fn break_at(way: Way, bytes: impl Iterator<Item = usize>) {
    let place = place();
    let cutter = Cutter::to(PostgresServer::shared().port).await;
    let (node, other) = (behind(&cutter, &place).await, place.open().await);
    let mut rounds = Vec::new();
    rounds.push((0, ask(&node, 100).await));
    let mut failed = 0;
    for (n, bytes) in (101..).zip(bytes) {
        cutter.arm(way, bytes, Break::Cut);
        let asked = ask(&node, n).await;
        cutter.disarm();
        failed += usize::from(asked.refusal.is_err());
        rounds.push((bytes, asked));
        // Whatever happened, it is as before after a moment, without being told.
        recovers(&node).await;
        node.append(refused(300_000 + n, 0)).await.unwrap();
        other.append(refused(400_000 + n, 0)).await.unwrap();
    }
    let log = whole(&other).await;
    let mut requests = HashMap::new();
    let mut ends = HashMap::new();
    for event in &log {
        match (event.kind, event.request, &event.target) {
            (Kind::TokenRefused | Kind::TokenIssued, Some(request), _) => {
                *requests.entry(request).or_insert(0) += 1;
            }
            (_, _, Some(Target::Token(token))) => *ends.entry(*token).or_insert(0) += 1,
            _ => {}
        }
    }
    for (n, (bytes, asked)) in (100..).zip(&rounds) {
        let found = |count: Option<&i32>| count.copied().unwrap_or(0);
        for (what, count, is_told) in [
            ("refusal", found(requests.get(&request(100_000 + n))), asked.refusal.is_ok()),
            ("issuance", found(requests.get(&request(n))), asked.issuance.is_ok()),
            ("end", found(ends.get(&token(200_000 + n))), asked.end.is_ok()),
        ] {
            assert_eq!(
                count,
                i32::from(is_told),
                "{what} of round {n}, {way:?} {bytes}: {:?}",
                asked.refusal
            );
        }
        if let Err(error) = &asked.refusal {
            assert!(!error.to_string().contains("nobody can tell"), "{error}");
        }
    }
    assert!(failed > 0 && failed + 1 < rounds.len(), "{failed} of {} failed", rounds.len());
    assert_eq!(said(&node.book().await.unwrap()), said(&other.book().await.unwrap()));
    check_order(&log);
    assert_eq!(place.verify().unwrap().size, log.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cut_at_any_byte_to_the_server_an_event_is_there_once_or_refused() {
    break_at(Way::ToServer, (0..9_000).step_by(149)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cut_at_any_byte_to_the_client_an_event_is_there_once_or_refused() {
    break_at(Way::ToClient, (0..900).step_by(17)).await;
}

/// The ends of the messages of PostgreSQL's protocol in what a client sent: the kind of each, and how many bytes it ends after.
fn messages(sent: &[u8]) -> Vec<(u8, usize)> {
    let (mut messages, mut at) = (Vec::new(), 0);
    while let Some(length) = sent.get(at + 1..at + 5) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        messages.push((sent[at], at + 1 + length));
        at += 1 + length;
    }
    messages
}

/// A node that stops anywhere in what it sends of a commit does not stop the others for long, and what it had not
/// committed is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_is_stopped_within_a_commit_does_not_stop_the_others() {
    let shape = place();
    let cutter = Cutter::to(PostgresServer::shared().port).await;
    let node = behind(&cutter, &shape).await;
    node.append(refused(1, 0)).await.unwrap();
    // Without a look of the idle node between.
    let sent = loop {
        cutter.record();
        node.append(refused(2, 0)).await.unwrap();
        let sent = messages(&cutter.recorded());
        if sent.iter().filter(|(kind, _)| *kind == b'Q').count() == 2 {
            break sent;
        }
    };
    let begin = sent.iter().position(|(kind, _)| *kind == b'Q').unwrap();
    let mut points: Vec<usize> = sent[begin..].iter().map(|(_, end)| *end).collect();
    points.extend(sent[begin..].iter().map(|(_, end)| *end - 2));
    points.sort_unstable();
    let stopped = points.into_iter().map(async |bytes| {
        let place = place();
        let cutter = Cutter::to(PostgresServer::shared().port).await;
        let (node, other) = (behind(&cutter, &place).await, place.open().await);
        node.append(refused(1, 0)).await.unwrap();
        cutter.arm(Way::ToServer, bytes, Break::Hold);
        let writing = tokio::spawn({
            let node = node.clone();
            async move { node.append(refused(2, 0)).await }
        });
        let begun = Instant::now();
        while cutter.is_armed() && begun.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begun = Instant::now();
        let written = other.append(refused(3, 0)).await;
        let took = begun.elapsed();
        assert!(written.is_ok() && took < Duration::from_secs(12), "{bytes}: {written:?} after {took:?}");
        let told = writing.await.unwrap();
        recovers(&node).await;
        let there = whole(&node).await.iter().filter(|event| event.request == Some(request(2))).count();
        assert_eq!(there, usize::from(told.is_ok()), "{bytes}: {told:?}");
        assert_eq!(node.append(refused(4, 0)).await.unwrap(), 3 + there as u64);
        place.verify().unwrap();
        took
    });
    let took = futures_util::future::join_all(stopped).await;
    assert!(took.iter().any(|took| *took > Duration::from_secs(3)), "nobody waited: {took:?}");
}

/// Somebody else's session that holds the lock, as an administrator's might.
#[tokio::test]
async fn a_lock_that_is_held_is_waited_for_and_then_refused() {
    let place = place();
    let StoreSettings::Postgres(settings) = place.settings() else { panic!() };
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let holder = session(&settings).await;
    holder.batch_execute("BEGIN; SELECT * FROM head FOR UPDATE").await.unwrap();
    let begun = Instant::now();
    assert_eq!(issue(&store, 2, 0).await, 2);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    let holder = session(&settings).await;
    let hold = "SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT * FROM head FOR UPDATE";
    holder.batch_execute(hold).await.unwrap();
    let error = store.append(refused(3, 0)).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.append(refused(4, 0)).await.unwrap(), 3);
    assert!(store.healthy());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_stopped_or_frozen_loses_nothing_that_was_promised() {
    let mut server = PostgresServer::start();
    let database = server.database();
    let settings = StoreSettings::Postgres(Box::new(settings(&server, &database)));
    let nodes = [Store::open(&settings).await.unwrap(), Store::open(&settings).await.unwrap()];
    let mut promised = Vec::new();
    for round in 0..3u64 {
        let writing: Vec<_> = (0..8u64)
            .map(|task| {
                let node = nodes[(task % 2) as usize].clone();
                tokio::spawn(async move {
                    let (mut told, begun) = (Vec::new(), Instant::now());
                    for n in 0.. {
                        if begun.elapsed() > Duration::from_millis(1500) {
                            break;
                        }
                        let n = round * 1_000_000 + task * 100_000 + n;
                        match node.append(refused(n, 0)).await {
                            Ok(seq) => told.push((n, seq)),
                            Err(error) => assert!(error.is_outage(), "{error}"),
                        }
                        let _ = node.token(token(n)).await;
                    }
                    told
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        match round {
            0 => {
                server.kill();
                server.restart();
            }
            1 => {
                server.stop();
                server.restart();
            }
            _ => {
                server.freeze(true);
                tokio::time::sleep(Duration::from_secs(3)).await;
                server.freeze(false);
            }
        }
        for task in writing {
            promised.extend(task.await.unwrap());
        }
        let begun = Instant::now();
        for node in &nodes {
            while !node.healthy() {
                assert!(begun.elapsed() < Duration::from_secs(10), "{round}: {:?}", node.fault());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            node.keys().await.unwrap();
            // The pool, each of its connections.
            let reads = (0..8).map(|n| node.token(token(n)));
            futures_util::future::try_join_all(reads).await.unwrap();
        }
    }
    let log = whole(&nodes[0]).await;
    assert!(promised.len() > 50, "{}", promised.len());
    let mut times = HashMap::new();
    for event in &log {
        *times.entry(event.request.unwrap()).or_insert(0) += 1;
    }
    for (n, seq) in promised {
        assert_eq!(log[seq as usize - 1].request, Some(request(n)), "{n}");
    }
    assert!(times.values().all(|times| *times == 1));
    let verify = move || crate::store::Reader::open_store(&settings).unwrap().verify(None, &mut |_, _| {});
    assert_eq!(std::thread::spawn(verify).join().unwrap().unwrap().size, log.len() as u64);
}
