use super::*;

/// What fails to be written changes nothing in memory: not even the ended tokens, which every copy of a book shares.
#[tokio::test]
async fn a_failed_takeover_kills_nobody() {
    let place = Place::new();
    let store = place.open().await;
    store.end(token(1), Event::new(at(0), Kind::RevocationStopped, Outcome::Done)).await.unwrap();
    issue(&store, 2, 0).await;
    let seen = store.seen();
    let adoption = || crate::store::Adoption {
        event: Event::new(at(9), Kind::StoreRestored, Outcome::Done),
        above: Revision::new(100),
        stops: Vec::new(),
        restated: Vec::new(),
    };
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.adopt(adoption()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    raw(&store, |connection| {
        // The adoption is made, and its commit fails: the head refuses to be written.
        connection.execute_batch(
            "CREATE TEMP TRIGGER full BEFORE UPDATE ON main.head BEGIN SELECT RAISE(FAIL, 'full'); END",
        )
    })
    .await
    .unwrap();
    store.adopt(adoption()).await.unwrap_err();
    for book in [seen, store.seen()] {
        assert!(book.has_ended(token(1)));
        assert!(!book.verdict(&levels(2, Revision::new(1))).is_dead());
    }
}
