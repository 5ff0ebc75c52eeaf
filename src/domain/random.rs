//! Where a layer that needs it takes randomness. Made once by `app`, or by a test with a seed.

use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::SecureRandom;

/// The source of every nonce, key and id.
#[derive(Clone)]
pub struct Random(Arc<Source<dyn SecureRandom + Send + Sync>>);

struct Source<S: ?Sized> {
    ahead: Mutex<Ahead>,
    system: S,
}

/// Random bytes that were fetched and not used yet: the first so many of the array.
struct Ahead(usize, [u8; 512]);

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

impl Random {
    pub fn new(source: impl SecureRandom + 'static + Send + Sync) -> Self {
        let ahead = Mutex::new(Ahead(0, [0; 512]));
        Self(Arc::new(Source { ahead, system: source }))
    }

    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        self.0.system.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    /// For an id, which is unique and no secret: of bytes that are fetched many ids at a time, for a call of the
    /// operating system costs more than the rest of an id.
    pub fn for_id(&self) -> Result<[u8; 10], NoRandomness> {
        let mut ahead = self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let Ahead(left, bytes) = &mut *ahead;
        if *left < 10 {
            self.0.system.fill(&mut bytes[..]).map_err(|_| NoRandomness)?;
            *left = bytes.len();
        }
        let mut id = [0; 10];
        id.copy_from_slice(&bytes[*left - 10..*left]);
        *left -= 10;
        Ok(id)
    }

    /// As ring's own functions take it.
    pub fn source(&self) -> &dyn SecureRandom {
        &self.0.system
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_are_of_two_ids() {
        let random = system();
        let ids = |count: usize| -> Vec<[u8; 10]> { (0..count).map(|_| random.for_id().unwrap()).collect() };
        let all: Vec<[u8; 10]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ids(500))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        // Halves too, so that no two overlap.
        let halves: HashSet<&[u8]> = all.iter().flat_map(|id| [&id[..5], &id[5..]]).collect();
        assert_eq!(halves.len(), 2 * all.len());
    }

    #[expect(clippy::disallowed_methods, reason = "the bytes of the machine are what is tried")]
    fn system() -> Random {
        Random::new(ring::rand::SystemRandom::new())
    }
}
