use std::time::{Duration, Instant};

use super::*;

/// A broker that ends does not wait for a disk that stalls.
#[tokio::test]
async fn a_store_that_stalls_is_given_up() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let stall = store.stall();
    tokio::task::yield_now().await;
    let begun = Instant::now();
    store.close().await;
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    drop(stall);
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..400 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within four seconds");
}

/// Whether the event whose request this is stands in the log.
async fn stands(store: &Store, n: u64) -> bool {
    let filter = EventFilter { request: Some(request(n)), ..EventFilter::default() };
    !store.events(&filter, 1, None).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_full_disk_refuses_everyone_in_the_commit_and_is_recovered_from() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let (head, book) = (store.seen_head(), store.seen().revision());
    // The connection may not grow the file: SQLite answers with SQLITE_FULL, as on a full disk.
    let no_growth = |connection: &rusqlite::Connection| {
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    };
    raw(&store, no_growth).await.unwrap();
    let long = Event { detail: Some("x".repeat(60_000)), ..refused(2, 0) };
    let stop = stop_of(1, Target::Everything, 0);
    let (event, stopping) = tokio::join!(store.append(long), store.stop(stop, stopped(0)));
    let error = event.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("full")), "{error}");
    // The stop shares the commit or comes after the recovery; it is all there or not at all.
    match stopping {
        Err(StoreError::Unavailable(_)) => {
            assert_eq!(store.seen_head(), head);
            assert_eq!(store.seen().revision(), book);
            assert!(!store.healthy());
        }
        Ok(_) => assert_eq!(store.seen_head().size, 2),
        Err(error) => panic!("{error}"),
    }
    assert!(!stands(&store, 2).await);
    // No restart: the next write finds the disk with room again.
    store.append(refused(3, 0)).await.unwrap();
    assert!(store.healthy());
    assert!(stands(&store, 3).await);
    let size = store.seen_head().size;
    store.close().await;
    assert_eq!(place.verify().unwrap().size, size);
}

#[tokio::test]
async fn a_locked_file_refuses_until_it_is_free() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.append(refused(2, 0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!store.healthy());
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    until(|| store.healthy()).await;
    assert_eq!(store.append(refused(3, 0)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_write_that_panics_fails_alone() {
    let place = Place::new();
    let store = place.open().await;
    let stop = store.stop(stop_of(1, Target::Everything, 0), stopped(0)).await.unwrap();
    let faulty = raw(&store, |_| -> rusqlite::Result<()> { panic!("a fault in a write") }).await;
    assert!(matches!(faulty, Err(StoreError::Unavailable(_))));
    assert_eq!(store.seen().verdict(&asked(1)).stopped, Some(Target::Everything));
    assert_eq!(store.append(refused(3, 0)).await.unwrap(), 2);
    assert_eq!(store.stops(true).await.unwrap(), [stop]);
}

#[tokio::test]
async fn a_log_that_was_deleted_takes_no_event() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let head = store.seen_head();
    std::fs::remove_file(place.path()).unwrap();
    let answer = store.append_issuance(issued(2, 0), levels(2, Revision::ZERO)).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert!(!store.healthy());
    assert_eq!(store.seen_head(), head);
    // Nor one that stands in its place, even with the right name.
    std::fs::write(place.path(), "").unwrap();
    let answer = store.append_issuance(issued(3, 0), levels(3, Revision::ZERO)).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    // An idle broker notices as well.
    assert!(!store.healthy());
}

#[tokio::test]
async fn an_idle_broker_notices_that_its_log_is_gone_and_back() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let aside = place.folder().join("data/aside.db");
    std::fs::rename(place.path(), &aside).unwrap();
    until(|| !store.healthy()).await;
    std::fs::rename(&aside, place.path()).unwrap();
    until(|| store.healthy()).await;
    assert_eq!(issue(&store, 2, 0).await, 2);
    store.close().await;
    assert_eq!(place.verify().unwrap().size, 2);
}

#[tokio::test]
async fn a_deleted_write_ahead_log_loses_nothing_that_was_promised() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..50 {
        issue(&store, n, 0).await;
    }
    let wal = place.folder().join("data/hallpass.db-wal");
    std::fs::remove_file(&wal).unwrap();
    let answer = store.append_issuance(issued(50, 0), levels(0, Revision::ZERO)).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    until(|| store.healthy()).await;
    assert_eq!(issue(&store, 51, 0).await, 51);
    store.close().await;
    assert_eq!(place.verify().unwrap().size, 51);
}

/// Whatever the thread that moves it is at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ahead_log_deleted_under_load_loses_nothing_that_was_promised() {
    let place = Place::new();
    let store = place.open().await;
    let wal = place.folder().join("data/hallpass.db-wal");
    let mut promised = 0;
    for round in 0..4u64 {
        // Each is a commit of its own, and the log is moved every 128 of them.
        for n in 0..120 + 5 * round {
            promised = promised.max(issue(&store, n, 0).await);
        }
        std::fs::remove_file(&wal).unwrap();
        let tasks = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.append_issuance(issued(n, 0), levels(0, Revision::ZERO)).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            if let Ok(Issuance::Recorded(seq)) = task.await.unwrap() {
                promised = promised.max(seq.seq());
            }
        }
        until(|| store.healthy()).await;
    }
    assert!(promised > 400);
    assert!(store.seen_head().size >= promised);
    store.close().await;
    assert!(place.verify().unwrap().size >= promised);
}

#[tokio::test]
async fn a_log_that_lost_events_is_not_taken_for_the_log() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..3 {
        issue(&store, n, 0).await;
    }
    let earlier = rusqlite::Connection::open(place.path()).unwrap();
    let head: (i64, Vec<u8>, Vec<u8>) = earlier
        .query_row("SELECT size, root, peaks FROM head", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    issue(&store, 3, 0).await;
    // Someone rolls the log back under the running broker, head and all, and makes a commit fail.
    earlier.execute("DELETE FROM events WHERE seq = 4", []).unwrap();
    earlier.execute("UPDATE head SET size = ?1, root = ?2, peaks = ?3", head).unwrap();
    let failing = raw(&store, |connection| connection.execute("no SQL", [])).await;
    assert!(failing.is_err());
    let answer = store.append_issuance(issued(5, 0), levels(0, Revision::ZERO)).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");
    assert!(!store.healthy());
    assert_eq!(store.seen_head().size, 4);
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let place = Place::new();
    let store = place.open().await;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let blocked = raw(&store, move |_| {
        let _ = wait.recv();
        Ok(0)
    });
    let mut waiting: Vec<Waiting<'_, _>> = vec![Box::pin(blocked)];
    assert!(poll_once(&mut waiting[0]).await.is_pending());
    let mut busy = false;
    for n in 0..QUEUE as u64 + 300 {
        let mut append: Waiting<'_, _> = Box::pin(store.append(refused(n, 0)));
        match poll_once(&mut append).await {
            std::task::Poll::Pending => waiting.push(append),
            std::task::Poll::Ready(answer) => {
                assert!(matches!(answer, Err(StoreError::Busy)), "{answer:?}");
                busy = true;
                break;
            }
        }
    }
    assert!(busy, "the queue has no end");
    drop(go);
    for answer in waiting {
        answer.await.unwrap();
    }
    assert!(store.append(refused(9_999, 0)).await.is_ok());
}
