//! Where a layer that needs it takes randomness. Made once by `app`, or by a test with a seed.

use std::sync::Arc;

use ring::rand::SecureRandom;

/// The source of every nonce, key and id.
#[derive(Clone)]
pub struct Random(Arc<dyn SecureRandom + Send + Sync>);

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

impl Random {
    pub fn new(source: impl SecureRandom + 'static + Send + Sync) -> Self {
        Self(Arc::new(source))
    }

    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    /// As ring's own functions take it.
    pub fn source(&self) -> &dyn SecureRandom {
        &*self.0
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}
