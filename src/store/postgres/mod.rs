//! The store in PostgreSQL.

#![cfg_attr(not(test), expect(dead_code, reason = "what connects for now is the tests"))]

mod connect;
mod connect_error;
#[cfg(test)]
#[expect(dead_code, reason = "some of it is for the tests of the whole program, which include it too")]
#[path = "../../../tests/it/support/postgres.rs"]
pub(in crate::store) mod server;
#[cfg(test)]
mod tests;
mod tls;
