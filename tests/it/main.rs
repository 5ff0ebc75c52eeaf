//! One binary: each module is one behaviour of hallpass as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic, in its support too")]

mod canary;
mod cli_help;
mod commands;
mod compose;
mod crash;
mod demo;
mod dpop;
mod explain;
mod export;
mod identity;
mod kill_switch;
mod layout;
mod limits;
mod operators;
mod outage;
mod readme;
mod registered_keys;
mod platforms;
mod revocation;
mod support;
mod tls;
mod token_endpoint;
mod vectors;
mod vectors_http;
