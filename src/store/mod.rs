//! What must outlive the process: the audit log, the stops, the sealed keys.

pub mod settings;
