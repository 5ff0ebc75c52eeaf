//! One binary: each module is one behaviour of hallpass as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic, in its support too")]

mod agent_identity;
mod cli_help;
mod compose;
mod examples;
mod explain;
mod export;
mod git_credential;
mod identity;
mod kill_switch;
mod layout;
mod operators;
mod revocation;
mod run;
mod support;
mod token_endpoint;
mod vectors;
