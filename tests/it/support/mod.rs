//! Real parts that the tests start themselves.

pub(crate) mod proxy;
pub(crate) mod redis;
