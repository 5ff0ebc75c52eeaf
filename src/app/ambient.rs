//! What the whole program knows of the world around it.

use crate::domain::random::Random;
use crate::domain::time::Clock;
use crate::store::Store;

/// The clock and the randomness: the machine's, or a test's.
#[derive(Debug, Clone)]
pub struct Ambient {
    pub clock: Clock,
    pub random: Random,
    /// An open store that several brokers of one process share; none where the broker opens its own.
    pub store: Option<Store>,
}
