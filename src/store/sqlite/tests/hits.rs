//! What a search finds beside the events that bear a name: what hit it, and what came of it.

use super::*;
use crate::store::tests::hits::{append_issued, child, find, pad};

/// A store of schema 3 has no such terms; the first start enters them.
#[tokio::test]
async fn a_store_of_schema_3_is_taken_over() {
    let place = Place::new();
    let store = place.open().await;
    append_issued(&store, issued(1, 0)).await;
    append_issued(&store, child(2, 1)).await;
    store.stop(stop_of(1, Target::Token(token(1)), 0), stopped(0)).await.unwrap();
    pad(&store, 600).await;
    store.close().await;
    place.tamper(
        "DELETE FROM terms WHERE term GLOB 'target *' OR term GLOB 'parent *' OR term GLOB 'holder *';
         PRAGMA user_version = 3",
    );
    let error = Reader::open(&place.path()).unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 3, known: 4, .. }), "{error}");
    let store = place.open().await;
    let filter = EventFilter { token: Some(token(1)), ..EventFilter::default() };
    assert_eq!(find(&store, &filter).await, [3, 2, 1]);
    store.close().await;
    place.verify().unwrap();
}
