use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn files_are_private_and_held_by_one_writer() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.folder().join("data")), 0o700);
    for file in ["hallpass.db", "hallpass.db.lock", "hallpass.db-wal", "hallpass.db-shm"] {
        assert_eq!(mode(place.folder().join("data").join(file)), 0o600, "{file}");
    }
    let error = place.try_open().await.unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
    // Another name of the same file is no way around it.
    let other = place.folder().join("other.db");
    std::os::unix::fs::symlink(place.path(), &other).unwrap();
    let error = Store::open(&StoreSettings::sqlite(other)).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
    let clone = store.clone();
    store.close().await;
    assert!(!clone.healthy());
    assert!(matches!(clone.append(refused(1, 0)).await, Err(StoreError::Closed)));
    assert_eq!(issue(&place.open().await, 2, 0).await, 2);
}

#[tokio::test]
async fn each_commit_is_synced() {
    let place = Place::new();
    let store = place.open().await;
    let pragma = |name: &'static str| {
        let store = store.clone();
        async move {
            let read = move |connection: &rusqlite::Connection| {
                connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            };
            raw(&store, read).await.unwrap()
        }
    };
    assert_eq!(pragma("synchronous").await, rusqlite::types::Value::Integer(2));
    assert_eq!(pragma("journal_mode").await, rusqlite::types::Value::Text("wal".into()));
    assert_eq!(pragma("wal_autocheckpoint").await, rusqlite::types::Value::Integer(0));
}

#[tokio::test]
async fn files_of_others_are_not_touched() {
    let place = Place::new();
    place.open().await.close().await;
    place.tamper("PRAGMA user_version = 9");
    let error = place.try_open().await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9, known: 4, .. }), "{error}");
    assert!(matches!(Reader::open(&place.path()), Err(StoreError::Newer { .. })));
    place.tamper("PRAGMA user_version = 3; PRAGMA application_id = 7");
    assert!(matches!(place.try_open().await, Err(StoreError::Foreign { .. })));
    std::fs::write(place.path(), "not a database, but a text that is long enough to look at".repeat(100))
        .unwrap();
    let error = place.try_open().await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

/// The files as a crash leaves them hold whatever was acknowledged before it.
#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..40 {
        let seq = issue(&store, n, 0).await;
        if n % 8 != 0 {
            continue;
        }
        let crashed = Place::new();
        std::fs::create_dir(crashed.path().parent().unwrap()).unwrap();
        for file in ["hallpass.db", "hallpass.db-wal"] {
            let (from, to) = (place.path().with_file_name(file), crashed.path().with_file_name(file));
            std::fs::copy(from, to).unwrap();
        }
        // An auditor may come before the broker does.
        assert_eq!(crashed.verify().unwrap().size, seq);
        let again = crashed.open().await;
        assert_eq!(again.seen_head(), store.seen_head());
        assert_eq!(issue(&again, 1_000, 0).await, seq + 1);
    }
}

/// A writer that never pauses has its log moved all the same, and it starts over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_small_under_load() {
    let place = Place::new();
    let store = place.open().await;
    let size = |file: &str| std::fs::metadata(place.folder().join("data").join(file)).unwrap().len();
    let mut largest = 0;
    for n in 0..1_500 {
        issue(&store, n, 0).await;
        largest = largest.max(size("hallpass.db-wal"));
    }
    // Two or three pages of 8 KiB a commit: 1,500 would be over 24 MiB.
    assert!(largest < 8 << 20, "{largest} bytes");
    assert!(size("hallpass.db") > 1 << 20, "nothing was moved");
}

/// An empty database in the place of a lost one would free whoever is stopped.
#[tokio::test]
async fn a_database_that_was_lost_is_not_made_anew() {
    let place = Place::new();
    place.open().await.close().await;
    let elsewhere = place.path().with_extension("elsewhere");
    std::fs::rename(place.path(), &elsewhere).unwrap();
    let error = place.try_open().await.unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error}");
    assert!(!place.path().exists(), "nothing was made in its place");
    std::fs::rename(&elsewhere, place.path()).unwrap();
    place.open().await.close().await;
    std::fs::remove_file(place.path()).unwrap();
    std::fs::remove_file(place.path().with_extension("db.lock")).unwrap();
    place.open().await;
}
