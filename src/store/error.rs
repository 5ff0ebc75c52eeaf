//! Why the store did not do what it was asked.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::event::Kind;
use crate::domain::merkle::OutOfRange;
use crate::store::settings::StoreSettings;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// As many writes wait as the store keeps in memory; nothing was recorded.
    #[error("the journal has more to write than it can keep up with")]
    Busy,
    /// Nothing can be recorded or read now. What was asked may have been recorded all the same, when
    /// the disk failed at the very end of it. The store recovers by itself once the cause is gone.
    #[error("the journal is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The settings of the store, or what is on the other side of them, can never work.
    #[error("{0}")]
    Refused(Arc<str>),
    #[error("the journal is closed")]
    Closed,
    #[error("another broker writes to {}; stop it first", .0.display())]
    Locked(PathBuf),
    #[error("another broker keeps its waiting stops in {}; stop it, or give each broker a store.spool of its own", .0.display())]
    SpoolTaken(PathBuf),
    #[error("{} is there already, and is never overwritten", .0.display())]
    Taken(PathBuf),
    #[error("{} was written by a newer hallpass (schema {found}, this one knows {known})", .path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The database is gone, and with it every stop and event.
    #[error("{} is missing or empty, but {} is there, which was made beside it: restore a backup of the store \
             (`hallpass restore FILE`), or put the file back; where all of it is lost, `hallpass serve --new-store` \
             begins with an empty one, without its stops and events", .database.display(), .beside.display())]
    Lost { database: PathBuf, beside: PathBuf },
    /// Whoever only reads cannot bring it to the schema of this version.
    #[error("{} is of an earlier hallpass (schema {found}, this one has {known}): start the broker once, which \
             brings it up to date", .path.display())]
    Older { path: PathBuf, found: i64, known: i64 },
    #[error("{} is not a hallpass database: {problem}", .path.display())]
    Foreign { path: PathBuf, problem: String },
    /// What is on disk contradicts itself; `hallpass audit verify` says where.
    #[error("the audit log is damaged: {0}")]
    Damaged(String),
    /// The tables of the kill switch are not what the log says. A start by either of them could set somebody free.
    #[error(
        "the tables of the kill switch are not what the audit log tells, so nobody is set free by a start: {0}; \
             `hallpass audit verify` names everything that differs; restore the store from a copy from before it"
    )]
    Differs(String),
    /// Stops, lifts and issuances are recorded by functions of their own, which keep the rules.
    #[error("an event of the kind {} cannot be recorded by itself", .0.as_str())]
    Misplaced(Kind),
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    #[error("{}: {problem}", .path.display())]
    File { path: PathBuf, problem: String },
}

impl StoreError {
    /// Whether the store may take the same write later, once the cause is gone: a full disk, a database that another
    /// program holds. Every other error says that the store is not what it should be.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_))
    }

    /// In words, with the database of `store` named where the error itself does not.
    pub fn at(&self, store: &StoreSettings) -> String {
        match self {
            Self::Damaged(_) | Self::Differs(_) | Self::Unavailable(_) => format!("{}: {self}", store.name()),
            _ => self.to_string(),
        }
    }

    /// Of PostgreSQL, where only a file will do.
    pub(in crate::store) fn not_a_file() -> Self {
        Self::Refused(
            "the store is in PostgreSQL, which has tools of its own: pg_dump, or a base backup".into(),
        )
    }

    pub(in crate::store) fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self::Unavailable(cause.to_string().into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::unavailable(error),
        }
    }
}
