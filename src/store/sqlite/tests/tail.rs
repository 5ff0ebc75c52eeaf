//! The last events of the log at a start: a stop that was taken out of the tables is still among them.

use super::start::stopped_twice;
use super::*;

/// Which events are read is told by no column: a stop that calls itself a refusal there goes on holding.
#[tokio::test]
async fn a_stop_is_not_hidden_by_the_columns() {
    let hide = "UPDATE events SET kind = 'token.refused' WHERE seq = 3;
        DELETE FROM stops WHERE seq = 3; DELETE FROM terms WHERE term = 'kind revocation.stopped';";
    for others in [0, 1, 300, 600] {
        let place = Place::new();
        let store = place.open().await;
        for n in [1, 2, 3] {
            store.stop(stop_of(n, Target::Agent(agent(n)), 0), stopped(0)).await.unwrap();
        }
        refuse(&store, 0..others).await;
        store.close().await;
        let original = std::fs::read(place.path()).unwrap();
        for more in ["", "DELETE FROM changes WHERE revision = 3; UPDATE head SET revision = 2;"] {
            place.tamper(&format!("{hide} {more}"));
            let error = place.try_open().await.unwrap_err();
            assert!(matches!(error, StoreError::Differs(_)), "{others} {more}: {error}");
            std::fs::write(place.path(), &original).unwrap();
        }
        assert!(place.open().await.seen().verdict(&asked(3)).is_dead());
    }
}

/// The last events are those that were hashed, and none is missing.
#[tokio::test]
async fn the_last_events_are_those_of_the_tree() {
    let place = stopped_twice(600).await;
    let original = std::fs::read(place.path()).unwrap();
    for seq in [257, 400, 512, 513, 605] {
        let leaf = "(SELECT leaf FROM events WHERE seq = 1)";
        for sql in [
            format!("UPDATE events SET bytes = bytes || ' ' WHERE seq = {seq}"),
            format!(
                "UPDATE events SET (bytes, leaf) = (SELECT bytes, leaf FROM events WHERE seq = 1) WHERE seq = {seq}"
            ),
            format!("UPDATE events SET leaf = {leaf} WHERE seq = {seq}"),
        ] {
            place.tamper(&sql);
            let error = place.try_open().await.unwrap_err();
            assert!(matches!(error, StoreError::Differs(_)), "{sql}: {error}");
            std::fs::write(place.path(), &original).unwrap();
        }
    }
    place.tamper("UPDATE tiles SET hash = zeroblob(32) WHERE place = 1");
    assert!(matches!(place.try_open().await, Err(StoreError::Differs(_))));
}
