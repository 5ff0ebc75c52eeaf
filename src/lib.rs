//! hallpass: a short-lived credential broker for autonomous coding agents.
//!
//! Arrows go down only, and a test holds the `use crate::` lines to it:
//!
//! ```text
//! main → cli → app → config → http → broker → { identity token registry revocation store } → domain
//! ```

pub mod domain;
