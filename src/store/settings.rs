//! `[store]`, after `config` has checked it.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The database file of `sqlite://PATH`.
    pub path: PathBuf,
}
