//! What the whole program knows of the world around it.

use crate::domain::random::Random;
use crate::domain::time::Clock;

/// The clock and the randomness: the machine's, or a test's.
#[derive(Debug, Clone)]
pub struct Ambient {
    pub clock: Clock,
    pub random: Random,
}
