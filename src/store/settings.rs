//! `[store]`, after `config` has checked it.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The database file of `sqlite://PATH`.
    pub path: PathBuf,
}

/// What to do where the database is gone and files that were made beside it are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It was lost: refuse to open the store.
    #[default]
    Refuse,
    /// The operator gave it up: make a new one.
    MakeAnew,
}
