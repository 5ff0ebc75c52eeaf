//! The one writer: every token, stop and lift goes through here, and so through the audit log.

pub mod settings;
