//! Real parts that the tests start themselves.

pub mod redis;
