//! Real parts that the tests start themselves.

pub(crate) mod broker;
pub(crate) mod command;
pub(crate) mod configuration;
pub(crate) mod disk;
pub(crate) mod fleet;
pub(crate) mod follower;
pub(crate) mod git;
pub(crate) mod github;
pub(crate) mod issuer;
#[expect(dead_code, reason = "the unit tests of the library include it too, and use the rest")]
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
pub(crate) mod sentinel;
pub(crate) mod signer;
pub(crate) mod tls;
