//! One binary: each module is one behaviour of hallpass as its users see it.

mod cli_help;
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic, in its support too")]

mod identity;
mod layout;
mod revocation;
mod support;
mod vectors;
