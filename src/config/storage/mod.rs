//! `[store]` and `[revocation]`.

mod connection;
mod postgres;
mod postgres_url;
mod revocation;
mod store;

pub(super) use revocation::revocation;
pub(super) use store::store;
