//! The one HTTP client of hallpass: whatever asks over HTTP, in the broker or on the command line, asks through it.
//!
//! What it promises of every request:
//!
//! - It goes to an address that is [secure](crate::domain::secure::is_secure), or nothing is sent.
//! - It goes there alone: no redirect is followed, and no variable of the environment names a proxy.
//! - It ends: connecting has its time, so has the whole where its [`Limits`] say so, and an answer that is collected
//!   is at most as large as they say.
//! - TLS trusts what the system trusts (`SSL_CERT_FILE` names another bundle), and what [`Roots`] add.
//!
//! Whoever calls says which addresses there are: they are the operator's, or the user's, and never a token's.

mod client;
mod error;
mod roots;
#[cfg(test)]
mod tests;

pub use client::{Client, Limits, Response};
pub use error::Error;
pub use reqwest::{Identity, Method, Request, header};
pub use roots::Roots;
