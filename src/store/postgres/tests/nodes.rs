//! Several nodes on one database: one log, whoever writes.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::TokenId;
use crate::domain::revocation::{Book, Revision, Standing, Target};
use crate::store::tests::*;
use crate::store::{Adoption, Issuance, Store, StoreError, record};

pub(super) fn place() -> Place {
    Place::Postgres(PostgresServer::shared().database())
}

/// All events of the log, the first one first.
pub(super) async fn whole(store: &Store) -> Vec<Event> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = store.events(&EventFilter::default(), 500, before).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        all.extend(page.iter().map(|event| record::parse(event.seq, &event.bytes).unwrap()));
    }
    all.reverse();
    all
}

/// What a book says, in one order.
pub(super) type Said = (Revision, Revision, Vec<(Target, Standing)>, Vec<(Revision, TokenId)>);

pub(super) fn said(book: &Book) -> Said {
    let mut standings: Vec<_> =
        book.standings().map(|(target, standing)| (target.clone(), standing)).collect();
    standings.sort_by(|a, b| a.0.cmp(&b.0));
    (book.revision(), book.floor(), standings, book.ended_after(Revision::ZERO, usize::MAX))
}

/// Replays the log: no token was issued after a change that makes it dead.
pub(super) fn check_order(log: &[Event]) -> (usize, usize) {
    let mut stopped: HashMap<Target, (Revision, bool)> = HashMap::new();
    let (mut last, mut issued, mut changes) = (Revision::ZERO, 0, 0);
    for event in log {
        if let Some(revision) = event.revision {
            assert_eq!(revision, last.next(), "the changes are numbered in the order of the log");
            (last, changes) = (revision, changes + 1);
        }
        match (event.kind, &event.target, event.revision) {
            (Kind::RevocationStopped, Some(target), Some(revision)) => {
                stopped.insert(target.clone(), (revision, true));
            }
            (Kind::RevocationLifted, Some(target), _) => stopped.get_mut(target).unwrap().1 = false,
            (Kind::TokenIssued, ..) => {
                issued += 1;
                let as_of = event.as_of.unwrap();
                assert!(as_of <= last);
                let of = [
                    Some(Target::Everything),
                    event.agent.clone().map(Target::Agent),
                    event.owner.clone().map(Target::Owner),
                    event.token.map(Target::Token),
                ];
                for target in of.into_iter().flatten() {
                    let Some((revision, holds)) = stopped.get(&target) else { continue };
                    assert!(!holds && *revision <= as_of, "{target}: {stopped:?} {event:?}");
                }
            }
            _ => {}
        }
    }
    (issued, changes)
}

async fn try_issue(store: &Store, n: u64) -> bool {
    let as_of = store.seen().revision();
    let event = Event { as_of: Some(as_of), ..issued(n, n as i64) };
    matches!(store.append_issuance(event, levels(n, as_of)).await.unwrap(), Issuance::Recorded(_))
}

/// One node's writes: tokens, and among them stops of what the other nodes issue, lifts, and ends.
async fn work(store: Store, node: u64) -> BTreeSet<TokenId> {
    let mut ended = BTreeSet::new();
    for round in 0..40u64 {
        let first = node * 10_000 + round * 10;
        let issuing = (first..first + 6).map(|n| try_issue(&store, n));
        let change = async {
            let target = match round % 4 {
                0 => Target::Agent(agent((node + round) % 5)),
                1 => Target::Owner(format!("team-{}", round % 2).parse().unwrap()),
                2 => Target::Token(token(first + 3)),
                _ => {
                    store.end(token(first), stopped(first as i64)).await.unwrap();
                    return Some(token(first));
                }
            };
            let millis = first as i64;
            let stop = store.stop(stop_of(first, target, millis), stopped(millis)).await.unwrap();
            tokio::task::yield_now().await;
            store.lift(stop.id, lift_at(millis), lifted()).await.unwrap();
            None
        };
        let (_, end) = tokio::join!(futures_util::future::join_all(issuing), change);
        ended.extend(end);
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_write_at_once_make_one_log() {
    let place = place();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(place.open().await);
    }
    let working: Vec<_> = (0..).zip(&nodes).map(|(n, node)| tokio::spawn(work(node.clone(), n))).collect();
    let mut ended = BTreeSet::new();
    for node in working {
        ended.extend(node.await.unwrap());
    }
    let log = whole(&nodes[0]).await;
    let (issued, changes) = check_order(&log);
    assert!(issued > 300 && changes > 150, "{issued} {changes}");
    let verified = place.verify().unwrap();
    assert_eq!(verified.size, log.len() as u64);

    let fresh = place.open().await;
    let expected = said(&fresh.seen());
    assert_eq!(expected.3.iter().map(|(_, token)| *token).collect::<BTreeSet<_>>(), ended);
    for node in &nodes {
        assert_eq!(said(&node.book().await.unwrap()), expected);
        assert_eq!(node.head().await.unwrap().root, verified.root);
        assert!(node.healthy());
    }
    // Blocks that events of several nodes filled.
    assert!(log.len() > 512);
    for n in 0..3 {
        let name = format!("repo-{n}");
        let mut seqs: Vec<u64> = (1..)
            .zip(&log)
            .filter(|(_, event)| event.permissions.resources().iter().any(|known| **known == *name))
            .map(|(seq, _)| seq)
            .collect();
        seqs.reverse();
        let filter = EventFilter { resource: Some(name), ..EventFilter::default() };
        assert_eq!(hits::find(&nodes[n as usize], &filter).await, seqs);
    }
    for kind in [Kind::RevocationStopped, Kind::RevocationLifted] {
        let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
        let found = hits::find(&fresh, &filter).await;
        assert_eq!(found.len(), log.iter().filter(|event| event.kind == kind).count());
    }
    for node in nodes {
        node.close().await;
    }
}

/// A stop that another node has confirmed holds for every token that is issued after it, though this node has not looked.
#[tokio::test]
async fn a_stop_of_another_node_holds_at_once() {
    let place = place();
    let (a, b) = (place.open().await, place.open().await);
    for n in 0..20 {
        let target = Target::Agent(agent(n % 5));
        let as_of = a.seen().revision();
        let stop = b.stop(stop_of(n, target.clone(), 0), stopped(0)).await.unwrap();
        let event = Event { as_of: Some(as_of), ..issued(n, 0) };
        let answer = a.append_issuance(event, levels(n, as_of)).await.unwrap();
        assert!(matches!(answer, Issuance::Dead(verdict) if verdict.stopped == Some(target)));
        // Of two nodes that lift one, one does.
        let (x, y) =
            tokio::join!(a.lift(stop.id, lift_at(1), lifted()), b.lift(stop.id, lift_at(1), lifted()));
        let now = [x.unwrap(), y.unwrap()];
        assert_eq!(now.iter().filter(|done| matches!(done, crate::store::LiftOutcome::Now(_))).count(), 1);
        // And of two that end a token.
        let (x, y) = tokio::join!(a.end(token(n), stopped(0)), b.end(token(n), stopped(0)));
        assert!(x.unwrap() > as_of && y.unwrap() > as_of);
    }
    assert_eq!(check_order(&whole(&a).await), (0, 60));
    // A restoration kills what was issued before, at every node.
    let restored = Event::new(at(9), Kind::StoreRestored, crate::domain::event::Outcome::Done);
    let before = a.seen().revision();
    let adoption =
        Adoption { event: restored, above: Revision::new(99), stops: Vec::new(), restated: Vec::new() };
    b.adopt(adoption).await.unwrap();
    let dead = a.append_issuance(issued(900, 0), levels(900, before)).await.unwrap();
    assert!(matches!(dead, Issuance::Dead(_)));
    assert_eq!(a.book().await.unwrap().floor(), Revision::new(100));
    assert_eq!(said(&a.seen()), said(&b.seen()));
    issue(&a, 901, 0).await;
    let last = said(&a.seen());
    a.close().await;
    b.close().await;
    let fresh = place.open().await;
    assert_eq!(said(&fresh.seen()), last);
    place.verify().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_open_an_empty_database_at_once_make_its_tables_once() {
    for _ in 0..10 {
        let place = place();
        let (a, b, c) = tokio::join!(place.try_open(), place.try_open(), place.try_open());
        let nodes = [a.unwrap(), b.unwrap(), c.unwrap()];
        for (n, node) in (1..).zip(&nodes) {
            assert_eq!(issue(node, n, 0).await, n);
        }
        assert_eq!(place.verify().unwrap().size, 3);
    }
}

#[tokio::test]
async fn a_database_that_is_not_of_this_version_is_refused() {
    let refused = async |sql: &str| {
        let place = place();
        place.tamper(sql);
        let error = place.try_open().await.unwrap_err();
        assert!(!error.is_outage(), "{sql}: {error}");
        error
    };
    for sql in [
        "CREATE TABLE users(id int)",
        "CREATE TABLE hallpass(id int, name text)",
        "CREATE TABLE terms(id int)",
        "CREATE VIEW tiles AS SELECT 1",
        "CREATE TABLE x(id int); CREATE INDEX blocks ON x(id)",
        "CREATE SEQUENCE signing_keys",
        "DROP SCHEMA public",
    ] {
        let error = refused(sql).await;
        assert!(matches!(error, StoreError::Foreign { .. }), "{sql}: {error}");
    }
    let error = refused("CREATE TABLE x(id int)").await;
    assert!(error.to_string().contains("make a database for hallpass alone"), "{error}");
    // What an extension brings is nobody's table.
    let place = place();
    place.tamper("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION amcheck");
    let store = place.open().await;
    issue(&store, 1, 0).await;
    store.close().await;
    place.verify().unwrap();
    for (schema, newer) in [(2, true), (0, false), (-1, false)] {
        place.tamper(&format!("UPDATE hallpass SET schema = {schema}"));
        let error = place.try_open().await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Newer { found, known: 1, .. } if found == schema), newer);
        assert_eq!(matches!(error, StoreError::Foreign { .. }), !newer, "{error}");
    }
    place.tamper("UPDATE hallpass SET schema = 1");
    // A schema before the one of the tables would look like an empty store.
    place.tamper("CREATE SCHEMA hallpass AUTHORIZATION hallpass");
    let error = place.try_open().await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { problem, .. } if problem.contains("hides")), "{error}");
    place.tamper("DROP SCHEMA hallpass");
    place.open().await;
}

/// Names that must be quoted are names, too.
#[tokio::test]
async fn a_schema_of_any_name_will_do() {
    let place = place();
    let Place::Postgres(database) = &place else { panic!() };
    place.tamper(&format!(
        "CREATE SCHEMA \"My Store\" AUTHORIZATION hallpass;
         ALTER DATABASE {database} SET search_path = \"My Store\""
    ));
    let store = place.open().await;
    issue(&store, 1, 0).await;
    store.close().await;
    place.verify().unwrap();
    assert_eq!(issue(&place.open().await, 2, 0).await, 2);
}
