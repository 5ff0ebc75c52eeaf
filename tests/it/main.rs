//! One binary: each module is one behaviour of hallpass as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic, in its support too")]

mod cli_help;
mod compose;
mod explain;
mod export;
mod identity;
mod kill_switch;
mod layout;
mod operators;
mod platforms;
mod revocation;
mod support;
mod token_endpoint;
mod vectors;
