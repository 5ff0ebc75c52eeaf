//! A connection's bytes, requests and answers, counted on its [`Seat`](super::room::Seat).

mod body;
mod request;
mod stream;
mod tally;

use super::room::CONNECTION;
pub(super) use body::{Answered, Asked};
pub(super) use request::Underway;
pub(super) use stream::Metered;
pub(super) use tally::Tally;

/// What a request holds beside its head and body, until it is answered. Measured.
const REQUEST: usize = 8 * 1024;
/// What is read into buffers without being counted: it is part of [`CONNECTION`].
const FREE: usize = 8 * 1024;
/// Answers that wait in buffers without being counted: they are part of [`CONNECTION`].
const FREE_ANSWERS: usize = 4 * 1024;

const _: () = assert!(CONNECTION > FREE + REQUEST + FREE_ANSWERS);
