//! Real parts that the tests start themselves.

pub mod proxy;
pub mod redis;
