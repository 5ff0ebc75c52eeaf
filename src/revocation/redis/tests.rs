//! What a node's view says while Redis is away.

use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::domain::digest::Digest;
use crate::domain::revocation::{Revision, Standing};
use crate::domain::time::Timestamp;
use crate::revocation::redis::push::How;
use crate::revocation::{Source, UnnumberedStop};

/// A store that knows what it is told.
#[derive(Default)]
struct Durable(Mutex<Arc<Book>>);

impl Source for Durable {
    async fn book(&self) -> Result<Arc<Book>, RevocationError> {
        Ok(Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn mark(&self, _: Revision) -> Result<Option<Digest>, RevocationError> {
        Ok(None)
    }

    fn unnumbered(&self) -> Vec<UnnumberedStop> {
        Vec::new()
    }

    async fn is_numbered(&self, _: &UnnumberedStop) -> Result<bool, RevocationError> {
        Ok(true)
    }

    async fn take_over(&self) -> Result<(), RevocationError> {
        Ok(())
    }
}

/// Nobody listens there.
async fn away() -> Redis {
    let settings = RedisSettings::new("redis://127.0.0.1:1".parse().unwrap());
    let clock = Clock::new(|| Timestamp::from_seconds(1_795_000_000));
    Redis::connect(&settings, Duration::from_secs(2), "a".parse().unwrap(), ("log.example", false), clock)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_stop_that_gets_its_number_is_in_the_view_at_every_moment() {
    let (redis, store) = (away().await, Durable::default());
    let (target, id) = (Target::Everything, StopId::new(Timestamp::from_seconds(1), &[7; 10]));
    let is_stopped = || {
        let view = redis.known();
        view.unnumbered_of(&target).is_some() || view.get(&target).is_some_and(|known| known.stop.is_some())
    };
    redis.view.learn(|book| book.note_unnumbered(target.clone(), id));
    redis.note_numbered(target.clone(), id);
    assert!(is_stopped(), "before the view has the store's book");

    let revision = Revision::ZERO.next();
    let standing = Standing { stop: Some(id), stopped: revision, changed: revision };
    let point = Point { revision, mark: Digest([1; 32]) };
    let book = Book::of(point, Revision::ZERO, [(target.clone(), standing)]);
    *store.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
    assert!(redis.push(&store, How::IfNeeded).await.is_err(), "Redis is away");
    assert!(is_stopped());
    assert_eq!(redis.known().unnumbered_of(&target), None, "it has its number");
}
