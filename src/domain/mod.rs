//! What hallpass knows and decides, without doing: ids, permissions, agents, the decision, the
//! revocation rules, events and the Merkle tree of the audit log.
//!
//! Everything here is pure. There is no I/O, no runtime and no clock: `now` and random bytes are
//! arguments. Any layer may use it; it uses none of them.

pub mod agent;
pub mod checkpoint;
pub mod client_certificate;
pub mod confirmation;
pub mod count;
pub mod curve;
pub mod decision;
pub mod delegation;
pub mod diagnostic;
pub mod digest;
pub mod event;
pub mod grant;
pub mod guardrails;
pub mod id;
pub mod identity;
pub mod key;
pub mod merkle;
pub mod optional;
pub mod pattern;
pub mod pem;
pub mod permission;
pub mod platform;
pub mod random;
pub mod reason;
pub mod receipt;
pub mod redaction;
pub mod request;
pub mod revocation;
pub mod secure;
pub mod signing;
pub mod source;
pub mod spiffe;
mod text;
pub mod time;
