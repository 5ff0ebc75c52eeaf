use std::collections::BTreeSet;

use super::*;
use crate::domain::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use crate::domain::signing::{KeyPurpose, SigningAlgorithm};

contract!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    many_at_once_get_one_order_without_gaps
);

contract!(
    a_reopened_store_goes_on_where_it_was,
    special_kinds_have_functions_of_their_own,
    keys_and_origin_are_kept,
    proofs_hold_across_inner_nodes,
    a_caller_that_goes_away_leaves_its_event,
);

async fn many_at_once_get_one_order_without_gaps(place: Place) {
    let store = place.open().await;
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                let mut own = Vec::new();
                for n in 0..10 {
                    let seq = issue(&store, task * 10 + n, 0).await;
                    assert!(seq > last, "an event is ordered before one that was durable earlier");
                    assert!(store.seen_head().size >= seq, "the head does not count what was acknowledged");
                    last = seq;
                    own.push((seq, task * 10 + n));
                }
                own
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=640).collect::<Vec<_>>());
    for (seq, n) in all {
        let found = store.token(token(n)).await.unwrap().unwrap();
        assert_eq!(found.seq, seq);
        assert!(found.bytes.starts_with(&format!("{{\"seq\":{seq},\"at\":\"2026-")), "{}", found.bytes);
    }
    let head = store.seen_head();
    store.close().await;
    assert_eq!(place.verify().unwrap(), Verified { size: 640, root: head.root });
}

async fn a_reopened_store_goes_on_where_it_was(place: Place) {
    let mut expected = crate::domain::merkle::Frontier::default();
    for round in 0..4 {
        let store = loop {
            match place.try_open().await {
                Err(StoreError::Locked(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(store.seen_head(), Head { size: expected.size(), root: expected.root() });
        for n in 0..10 {
            assert_eq!(issue(&store, round * 10 + n, 0).await, round * 150 + n + 1);
        }
        refuse(&store, 10..150).await;
        for event in store.events(&EventFilter::default(), 150, None).await.unwrap().iter().rev() {
            expected.append(leaf_hash(event.bytes.as_bytes()));
        }
        assert_eq!(store.seen_head(), Head { size: expected.size(), root: expected.root() });
        // Dropped without `close`: everything acknowledged is in the file all the same.
        if round % 2 == 0 { drop(store) } else { store.close().await }
    }
    assert_eq!(place.verify().unwrap().size, 600);
}

async fn special_kinds_have_functions_of_their_own(place: Place) {
    let store = place.open().await;
    for event in [issued(1, 0), stopped(0), Event::new(at(0), Kind::RevocationLifted, Outcome::Done)] {
        assert!(matches!(store.append(event).await, Err(StoreError::Misplaced(_))));
    }
    assert!(matches!(
        store.append_issuance(refused(1, 0), levels(1, Revision::ZERO)).await,
        Err(StoreError::Misplaced(_))
    ));
    let stop = stop_of(1, Target::Everything, 0);
    assert!(matches!(store.stop(stop, refused(1, 0)).await, Err(StoreError::Misplaced(_))));
    assert_eq!(store.seen_head().size, 0);
    assert_eq!(store.seen().standings().count(), 0);
}

async fn keys_and_origin_are_kept(place: Place) {
    let store = place.open().await;
    let key = |kid: &str, purpose, algorithm| SealedKey {
        kid: kid.into(),
        purpose,
        algorithm,
        created: at(0),
        signs_from: at(5),
        sealed: vec![1, 2, 3],
    };
    let first = key("a", KeyPurpose::Checkpoint, SigningAlgorithm::EdDsa);
    let second = key("b", KeyPurpose::Token, SigningAlgorithm::Es256);
    let event = || Event::new(at(0), Kind::KeyRotated, Outcome::Done);
    store.put_key(first.clone(), Vec::new(), event()).await.unwrap();
    store.put_key(second.clone(), Vec::new(), event()).await.unwrap();
    assert!(store.put_key(second.clone(), Vec::new(), issued(1, 0)).await.is_err());
    // Another node's key for tokens, made without knowledge of this one.
    let rival = key("c", KeyPurpose::Token, SigningAlgorithm::Es256);
    assert!(!store.put_key(rival.clone(), vec!["a".to_owned()], event()).await.unwrap());
    assert_eq!(store.keys().await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(store.seen_head().size, 2);
    assert!(store.put_key(rival.clone(), vec!["b".to_owned()], event()).await.unwrap());
    store.remove_key("c", event()).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [first.clone(), second]);
    assert_eq!(store.seen_head().size, 4);
    store.remove_key("b", event()).await.unwrap();
    store.remove_key("unknown", event()).await.unwrap();
    assert_eq!(store.origin().await.unwrap(), None);
    assert_eq!(store.set_origin("log.acme", named()).await.unwrap(), "log.acme");
    assert_eq!(store.set_origin("other", named()).await.unwrap(), "log.acme");
    assert_eq!(store.seen_head().size, 6, "named once");
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.keys().await.unwrap(), [first]);
    assert_eq!(store.origin().await.unwrap().as_deref(), Some("log.acme"));
}

async fn proofs_hold_across_inner_nodes(place: Place) {
    let store = place.open().await;
    let mut roots = vec![store.seen_head()];
    for n in 0..700 {
        store.append(refused(n, 0)).await.unwrap();
        roots.push(store.seen_head());
    }
    for (seq, size) in [(1, 1), (1, 700), (256, 256), (257, 700), (512, 513), (700, 700), (3, 300)] {
        let path = store.inclusion_proof(seq, size).await.unwrap();
        let event = store.events(&EventFilter::default(), 1, Some(seq + 1)).await.unwrap().remove(0);
        let leaf = leaf_hash(event.bytes.as_bytes());
        assert!(verify_inclusion(&leaf, seq - 1, size, &path, &roots[size as usize].root), "{seq} in {size}");
    }
    for (first, second) in [(1u64, 700u64), (256, 512), (257, 700), (512, 700), (700, 700), (3, 5)] {
        let path = store.consistency_proof(first, second).await.unwrap();
        let (old, new) = (roots[first as usize].root, roots[second as usize].root);
        assert!(verify_consistency((first, &old), (second, &new), &path), "{first} to {second}");
    }
    for (seq, size) in [(0, 700), (701, 701), (5, 4)] {
        assert!(matches!(store.inclusion_proof(seq, size).await, Err(StoreError::OutOfRange(_))));
    }
    assert!(matches!(store.consistency_proof(0, 5).await, Err(StoreError::OutOfRange(_))));
    assert!(matches!(store.consistency_proof(5, 701).await, Err(StoreError::OutOfRange(_))));
}

async fn a_caller_that_goes_away_leaves_its_event(place: Place) {
    let store = place.open().await;
    for n in 0..20 {
        let mut waiting: Waiting<'_, _> = Box::pin(store.append(refused(n, 0)));
        // Polled once, so that it is queued, and dropped.
        assert!(poll_once(&mut waiting).await.is_pending());
    }
    store.append(refused(99, 0)).await.unwrap();
    assert_eq!(store.seen_head().size, 21);
}
