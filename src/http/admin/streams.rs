//! The places of those that follow the stops: each holds a connection for as long as it follows, so that there are no more
//! of them than leave enough connections to operators.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::id::FollowerName;

/// Of the listener's connections, so many are for streams: one in four.
const SHARE: usize = 4;

/// The open streams of a listener; the router puts them into each request.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Open>);

#[derive(Debug)]
struct Open {
    most: usize,
    of_a_key: usize,
    streams: Mutex<HashMap<FollowerName, Arc<Notify>>>,
}

/// A place for one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    streams: Streams,
    follower: FollowerName,
    replaced: Arc<Notify>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The key has as many streams as one may have: half of all.
    Key,
    All,
}

impl Streams {
    /// Those of a listener that has at most so many connections.
    pub(super) fn of(connections: usize) -> Self {
        let most = (connections / SHARE).max(1);
        Self(Arc::new(Open { most, of_a_key: most.div_ceil(2), streams: Mutex::default() }))
    }

    /// A place for the stream of `follower`. An earlier stream of it ends: its connection may be dead, and nobody knows.
    ///
    /// # Errors
    /// Where there are too many.
    pub(super) fn open(&self, follower: FollowerName) -> Result<Place, Full> {
        let replaced = Arc::new(Notify::new());
        let mut streams = self.lock();
        if !streams.contains_key(&follower) {
            if streams.keys().filter(|other| other.key == follower.key).count() >= self.0.of_a_key {
                return Err(Full::Key);
            }
            if streams.len() >= self.0.most {
                return Err(Full::All);
            }
        }
        if let Some(earlier) = streams.insert(follower.clone(), Arc::clone(&replaced)) {
            earlier.notify_one();
        }
        drop(streams);
        Ok(Place { streams: self.clone(), follower, replaced })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FollowerName, Arc<Notify>>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn follower(&self) -> &FollowerName {
        &self.follower
    }

    /// Until the same follower has opened another stream.
    pub(super) async fn replaced(&self) {
        self.replaced.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        if streams.get(&self.follower).is_some_and(|own| Arc::ptr_eq(own, &self.replaced)) {
            streams.remove(&self.follower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_half_of_the_places_and_a_follower_one() {
        let streams = Streams::of(16);
        let open = |name: &str| streams.open(name.parse().unwrap());
        let first = open("ledger/a").unwrap();
        let again = open("ledger/a").unwrap();
        drop(first);
        let second = open("ledger/b").unwrap();
        assert_eq!(
            open("ledger/c").unwrap_err(),
            Full::Key,
            "the first has not taken the second's place with it"
        );
        let _others = [open("other/a").unwrap(), open("other/b").unwrap()];
        assert_eq!(open("third/a").unwrap_err(), Full::All);
        drop((again, second));
        open("third/a").unwrap();
    }
}
