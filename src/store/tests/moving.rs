//! A store in a file that moves into PostgreSQL.

use super::*;
use crate::store::move_to_postgres;

async fn moved(from: &Place, to: &Place) -> Result<Verified, VerifyError> {
    let StoreSettings::Postgres(settings) = to.settings() else { panic!("{to:?}") };
    let path = from.path();
    tokio::task::spawn_blocking(move || move_to_postgres(&path, &settings)).await.unwrap()
}

#[tokio::test]
async fn bytes_order_and_root_stay_and_the_log_goes_on() {
    let (from, to) = (Place::new(), Place::postgres());
    let store = from.open().await;
    store.set_origin("log.acme", named()).await.unwrap();
    let stop = store.stop(stop_of(1, Target::Agent(agent(1)), 0), stopped(0)).await.unwrap();
    let lifted_one = store.stop(stop_of(2, Target::Agent(agent(2)), 0), stopped(0)).await.unwrap();
    store.lift(lifted_one.id, lift_at(1), lifted()).await.unwrap();
    let id = issue(&store, 5, 1).await;
    store.end(token(5), stopped(2)).await.unwrap();
    refuse(&store, 0..700).await;
    let (head, book) = (store.seen_head(), store.seen().point());
    let filter = EventFilter { kind: Some(Kind::RevocationLifted), ..EventFilter::default() };
    let known = store.events(&filter, 10, None).await.unwrap();
    let error = moved(&from, &to).await.unwrap_err();
    assert!(matches!(error, VerifyError::Store(StoreError::Locked(_))), "{error}");
    store.close().await;

    let Verified { size, root } = moved(&from, &to).await.unwrap();
    assert_eq!((size, root), (head.size, head.root));
    let store = to.open().await;
    assert_eq!(store.seen().point(), book);
    assert_eq!(store.stops(true).await.unwrap(), [stop]);
    assert_eq!(store.events(&filter, 10, None).await.unwrap(), known);
    assert_eq!(store.token(token(5)).await.unwrap().unwrap().seq, id);
    assert!(store.seen().has_ended(token(5)));
    assert_eq!(store.origin().await.unwrap().as_deref(), Some("log.acme"));
    let dead = store.append_issuance(issued(1, 3), levels(1, store.seen().revision())).await.unwrap();
    assert!(matches!(dead, Issuance::Dead(_)), "{dead:?}");
    refuse(&store, 700..1000).await;
    to.verify().unwrap();

    // Never over what is there.
    let error = moved(&from, &to).await.unwrap_err();
    assert!(
        matches!(&error, VerifyError::Store(StoreError::Refused(why)) if why.contains("already")),
        "{error}"
    );
}

#[tokio::test]
async fn what_does_not_verify_or_waits_is_not_moved() {
    let (from, to) = (Place::new(), Place::postgres());
    let store = from.open().await;
    refuse(&store, 0..300).await;
    store.close().await;
    let waiting = from.path().with_extension("db.unjournaled");
    std::fs::write(&waiting, "x").unwrap();
    let error = moved(&from, &to).await.unwrap_err();
    assert!(
        matches!(&error, VerifyError::Store(StoreError::Refused(why)) if why.contains("wait")),
        "{error}"
    );
    std::fs::remove_file(&waiting).unwrap();
    from.tamper("UPDATE events SET bytes = replace(bytes, 'no_agent', 'an_agent') WHERE seq = 200");
    assert!(matches!(moved(&from, &to).await, Err(VerifyError::Differs(_))));
    let store = to.open().await;
    assert_eq!(store.seen_head().size, 0);
}
