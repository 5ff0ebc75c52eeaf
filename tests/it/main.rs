//! One binary: each module is one behaviour of hallpass as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic, in its support too")]

mod agent_identity;
mod canary;
mod cli_help;
mod commands;
mod compose;
mod crash;
mod delegation;
mod demo;
mod dpop;
mod examples;
mod explain;
mod export;
mod git_credential;
mod identity;
mod kill_switch;
mod layout;
mod limits;
mod log_lines;
mod log_of_stops;
mod openapi;
mod operators;
mod otlp;
mod outage;
mod platforms;
mod readme;
mod registered_keys;
mod revocation;
mod run;
mod spiffe;
mod support;
mod tls;
mod token_endpoint;
mod vectors;
mod vectors_http;
