//! hallpass: a short-lived credential broker for autonomous coding agents.
//!
//! Arrows go down only, and a test holds the `use crate::` lines to it:
//!
//! ```text
//! main → cli → app → config → http → broker → { identity token registry revocation store } → { outbound files document telemetry } → domain
//! ```

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod document;
pub mod domain;
pub mod files;
pub mod http;
pub mod identity;
pub mod outbound;
pub mod registry;
pub mod revocation;
pub mod store;
pub mod telemetry;
pub mod token;
