//! Real parts that the tests start themselves.

pub(crate) mod issuer;
pub(crate) mod redis;
pub(crate) mod signer;
