//! The one HTTP client of hallpass: whatever asks over HTTP, in the broker or on the command line, asks through it.
//!
//! What it promises of every request:
//!
//! - It goes to an address that is [secure](crate::domain::secure::is_secure), or nothing is sent.
//! - It goes there alone: no redirect is followed. It goes by a proxy only where the caller's [`Way`] says so, and then what
//!   the proxy sees is encrypted.
//! - It ends: connecting has its time, so has the whole where its [`Limits`] say so, and an answer that is collected
//!   is at most as large as they say.
//! - TLS trusts what the system trusts (`SSL_CERT_FILE` names another bundle), and what [`Roots`] add. Where the system has no
//!   bundle, plain http on this machine works all the same, and an https address is an error that says so.
//!
//! Whoever calls says which addresses there are: they are the operator's, or the user's, and never a token's.

mod bundles;
mod client;
mod error;
mod pinned;
mod roots;
#[cfg(test)]
mod tests;
mod way;

pub use client::{Client, Limits, Response};
pub use error::Error;
pub use reqwest::{Identity, Method, Request, header};
pub use roots::Roots;
pub use way::{BadProxy, Way};
