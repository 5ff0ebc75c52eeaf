//! What must outlive the process: the audit log, the stops, the sealed keys.
//!
//! It promises that whatever it says is recorded is on disk (`synchronous=FULL`), that the events have
//! one total order without gaps, that a stop and its event are recorded together or not at all, and
//! that no issuance is ordered after a stop that covers it. When it cannot keep a promise it says so
//! and records nothing, and it recovers by itself once the cause is gone.
//!
//! [`Store`] is the broker's, the only writer. [`Reader`] reads beside it, for `hallpass audit`, and
//! [`verify()`] recomputes the whole log. One folder holds one backend.

mod error;
mod record;
pub mod settings;
mod sqlite;
mod write;

pub use error::StoreError;
pub use settings::StoreSettings;
pub use sqlite::{Activity, Reach, Reader, Sqlite as Store, Verified, VerifyError, verify};
pub use write::{Head, Issuance, Lifted, Recorded};
