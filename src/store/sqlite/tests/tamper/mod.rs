mod changes;

use super::*;
use crate::domain::checkpoint::Checkpoint;

/// A log of 600 events, the first of which names it, with two stops, one of them lifted: the stops are events 301 and 302, the lift 303.
async fn log() -> Place {
    let place = Place::new();
    let store = place.open().await;
    store.set_origin("log.acme", named()).await.unwrap();
    let events = async |numbers: std::ops::Range<u64>| {
        let waiting = numbers.map(async |n| match n % 3 {
            0 => store.append(refused(n, n as i64)).await.unwrap(),
            _ => issue(&store, n, n as i64).await,
        });
        futures_util::future::join_all(waiting).await;
    };
    events(1..300).await;
    let first =
        store.stop(stop_of(1, Target::Agent("other".parse().unwrap()), 300), stopped(300)).await.unwrap();
    store.stop(stop_of(2, Target::Owner("other".parse().unwrap()), 300), stopped(300)).await.unwrap();
    store.lift(first.id, lift_at(400), lifted()).await.unwrap();
    events(303..600).await;
    store.close().await;
    assert_eq!(place.verify().unwrap().size, 600);
    place
}

fn names(place: &Place, first: u64, last: u64) {
    assert_eq!(place.differences()[0].events(), Some((first, last)));
}

#[tokio::test]
async fn one_byte_of_the_file_names_its_event() {
    let place = log().await;
    let mut file = std::fs::read(place.path()).unwrap();
    let needle = b"{\"seq\":123,";
    let start = file.windows(needle.len()).position(|window| window == needle).unwrap();
    file[start + 30] ^= 1;
    std::fs::write(place.path(), file).unwrap();
    names(&place, 123, 123);
}

#[tokio::test]
async fn rehashed_events_are_caught_by_the_tree() {
    let place = log().await;
    // One who recomputes the leaf hash too, in a whole tile and in the open end.
    for (seq, first, last) in [(100, 1, 256), (599, 593, 600)] {
        let connection = rusqlite::Connection::open(place.path()).unwrap();
        let bytes: String =
            connection.query_row("SELECT bytes FROM events WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
        let changed = bytes.replacen("10.1.2.3", "10.1.2.4", 1).replacen("no_agent", "no_agenT", 1);
        assert_ne!(bytes, changed);
        let rewrite = |bytes: &str| {
            let leaf = crate::domain::merkle::leaf_hash(bytes.as_bytes());
            let sql = "UPDATE events SET bytes = ?1, leaf = ?2 WHERE seq = ?3";
            connection.execute(sql, rusqlite::params![bytes, &leaf.0[..], seq]).unwrap();
        };
        rewrite(&changed);
        names(&place, first, last);
        rewrite(&bytes);
        place.verify().unwrap();
    }
}

#[tokio::test]
async fn what_no_event_is_to_blame_for_is_named_too() {
    let place = log().await;
    let original = std::fs::read(place.path()).unwrap();
    for sql in [
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE head SET skew = skew + 1",
        "UPDATE head SET latest = latest + 1",
        "INSERT INTO tiles VALUES (16, 0, zeroblob(32))",
        "DELETE FROM head",
    ] {
        place.tamper(sql);
        assert!(matches!(place.differences()[..], [Difference::Head(_)]), "{sql}");
        std::fs::write(place.path(), &original).unwrap();
    }
    for (sql, name) in [
        ("CREATE TRIGGER quiet AFTER INSERT ON events BEGIN DELETE FROM stops; END", "quiet"),
        ("DROP INDEX stops_active; CREATE INDEX stops_active ON stops(target) WHERE at > 9", "stops_active"),
        ("DROP INDEX stops_active", "stops_active"),
    ] {
        place.tamper(sql);
        assert_eq!(place.differences()[0], Difference::Schema(name.to_owned()), "{sql}");
        std::fs::write(place.path(), &original).unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_catches_what_the_log_alone_cannot_tell() {
    let place = log().await;
    let reader = Reader::open(&place.path()).unwrap();
    let head = reader.head().unwrap();
    let with = |reader: &Reader, checkpoint: &Checkpoint| reader.verify(Some(checkpoint), &mut |_, _| {});
    let kept = Checkpoint { origin: "log.acme".into(), size: head.size, root: head.root };
    assert_eq!(with(&reader, &kept).unwrap(), Verified { size: 600, root: head.root });
    let empty = Checkpoint { size: 0, root: crate::domain::merkle::empty_root(), ..kept.clone() };
    with(&reader, &empty).unwrap();
    let other = Checkpoint { origin: "log.evil".into(), ..kept.clone() };
    assert!(matches!(found(with(&reader, &other))[..], [Difference::OtherLog { .. }]));
    drop(reader);

    // The log goes on, and the old checkpoint still holds.
    let store = place.open().await;
    refuse(&store, 1000..1100).await;
    let grown = store.seen_head();
    let reader = Reader::open(&place.path()).unwrap();
    assert_eq!(with(&reader, &kept).unwrap(), Verified { size: 700, root: grown.root });
    let newer = Checkpoint { size: 700, root: grown.root, ..kept.clone() };
    with(&reader, &newer).unwrap();

    // A whole log of the same shape, rewritten from the start, is good in itself alone.
    let forged = log().await;
    let store = forged.open().await;
    store.append(refused(7, 7)).await.unwrap();
    forged.verify().unwrap();
    let reader = Reader::open(&forged.path()).unwrap();
    with(&reader, &kept).unwrap();
    assert_eq!(found(with(&reader, &newer)), [Difference::Truncated { size: 601, covered: 700 }]);
    refuse(&store, 0..99).await;
    assert_eq!(found(with(&reader, &newer)), [Difference::Rewritten { covered: 700 }]);
}

#[tokio::test]
async fn verifying_beside_a_writer_sees_one_state() {
    let place = log().await;
    let store = place.open().await;
    let (path, writer) = (place.path(), store.clone());
    let verifying = tokio::task::spawn_blocking(move || {
        let reader = Reader::open(&path).unwrap();
        let mut sizes = Vec::new();
        for _ in 0..10 {
            let mut steps = Vec::new();
            sizes.push(reader.verify(None, &mut |done, total| steps.push((done, total))).unwrap().size);
            assert_eq!(steps.last().map(|(done, total)| done == total), Some(true));
        }
        sizes
    });
    let mut n = 0;
    while !verifying.is_finished() {
        writer.append(refused(n, 1_000)).await.unwrap();
        n += 1;
    }
    let sizes = verifying.await.unwrap();
    assert!(sizes.is_sorted() && sizes[0] >= 600);
    // A copy holds all of it, also what is only in the write-ahead log.
    let copy = place.folder().join("copy.db");
    Reader::open(&place.path()).unwrap().copy_to(&copy).unwrap();
    let copied = Reader::open(&copy).unwrap().verify(None, &mut |_, _| {}).unwrap();
    assert_eq!(copied.root, store.seen_head().root);
    assert!(Reader::open(&place.path()).unwrap().copy_to(&copy).is_err(), "a copy is never overwritten");
}

#[tokio::test]
async fn a_damaged_end_stops_the_start() {
    let place = log().await;
    let original = std::fs::read(place.path()).unwrap();
    for sql in [
        "DELETE FROM events WHERE seq = 600",
        "UPDATE head SET size = 599",
        "UPDATE head SET root = zeroblob(32)",
        "DELETE FROM head",
    ] {
        place.tamper(sql);
        let error = place.try_open().await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{sql}: {error}");
        std::fs::write(place.path(), &original).unwrap();
    }
    place.open().await;
}

/// A store that an earlier version wrote is brought up to date by the broker, with every event as it was.
#[tokio::test]
async fn a_store_of_schema_1_is_taken_over() {
    let place = log().await;
    let root = place.verify().unwrap().root;
    let stops = Reader::open(&place.path()).unwrap().stops(false).unwrap();
    place.tamper(
        "CREATE TABLE old_head(
             id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL, peaks BLOB NOT NULL,
             latest INTEGER NOT NULL, skew INTEGER NOT NULL
         ) STRICT;
         INSERT INTO old_head SELECT id, size, root, peaks, latest, skew FROM head;
         DROP TABLE head; ALTER TABLE old_head RENAME TO head;
         CREATE TABLE old_stops(
             id TEXT PRIMARY KEY NOT NULL, target TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,
             operator TEXT, seq INTEGER NOT NULL UNIQUE,
             lift_at INTEGER, lift_reason TEXT, lift_operator TEXT, lift_seq INTEGER UNIQUE
         ) STRICT;
         INSERT INTO old_stops SELECT id, target, at, reason, operator, seq, lift_at, lift_reason, lift_operator, lift_seq
             FROM stops;
         DROP TABLE stops; DROP TABLE changes; ALTER TABLE old_stops RENAME TO stops;
         CREATE UNIQUE INDEX stops_active ON stops(target) WHERE lift_at IS NULL;
         CREATE INDEX stops_target ON stops(target, lift_at);
         CREATE INDEX stops_at ON stops(at);
         CREATE INDEX stops_lasting ON stops(lift_at) WHERE target NOT GLOB 'token:*';
         DROP TABLE blocks; DROP TABLE terms; CREATE INDEX events_at ON events(at);
         CREATE INDEX events_token ON events(token) WHERE token IS NOT NULL;
         CREATE TABLE event_resources(
             resource TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(resource, seq)
         ) STRICT, WITHOUT ROWID;
         INSERT INTO event_resources VALUES ('ledger', 2); PRAGMA user_version = 1;",
    );
    let error = Reader::open(&place.path()).unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 1, known: 4, .. }), "{error}");
    let store = place.open().await;
    assert_eq!(place.verify().unwrap(), Verified { size: 600, root });
    let filter = EventFilter { agent: Some(agent(2)), ..EventFilter::default() };
    assert_eq!(store.events(&filter, 500, None).await.unwrap().len(), 79);
    assert_eq!(store.seen().revision(), crate::domain::revocation::Revision::new(3));
    assert_eq!(store.stops(false).await.unwrap(), stops, "the same stops, with their numbers");
}
