//! The live kill switch.

pub mod settings;
