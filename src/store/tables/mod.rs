//! What both databases keep, and how it is written, read and verified. The code here speaks SQL that both understand; how a
//! connection is had, and what makes a write durable, is each backend's own.

pub(in crate::store) mod activity;
pub(in crate::store) mod again;
pub(in crate::store) mod batch;
pub(in crate::store) mod blocks;
mod catch_up;
pub(in crate::store) mod columns;
pub(in crate::store) mod draft;
pub(in crate::store) mod events;
pub(in crate::store) mod horizon;
pub(in crate::store) mod keys;
pub(in crate::store) mod meta;
pub(in crate::store) mod pool;
pub(in crate::store) mod published;
pub(in crate::store) mod queue;
pub(in crate::store) mod related;
mod replay;
pub(in crate::store) mod rows;
pub(in crate::store) mod sql;
pub(in crate::store) mod stops;
mod tail;
mod tiles;
pub(in crate::store) mod tip;
mod told;
pub(in crate::store) mod transfer;
pub(in crate::store) mod tree;
pub(in crate::store) mod verify;
