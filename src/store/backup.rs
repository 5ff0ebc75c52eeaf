//! Backups: a whole copy of the store, made while a broker serves too, and a store that is made of one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::settings::{Missing, StoreSettings};
use super::sqlite::{copy_file, failed, lock, real_name, set_log_aside, sync};
use super::verify::{Verified, VerifyError};
use super::write::Adoption;
use super::{Reader, Store, StoreError};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::revocation::Revision;
use crate::domain::time::Timestamp;
use crate::files::beside;

/// The store that is lost may have gone on after the backup, and given tokens numbers that nobody knows. So new ones are
/// given this far above: more than changes are made between a backup and its use.
const GAP: u64 = 1_000_000;

/// What became of a backup that was restored.
#[derive(Debug)]
pub struct Restored {
    /// How many events the backup held.
    pub events: u64,
    /// The log as it is now, the event of the restoration included.
    pub log: Verified,
    /// Where the store is that was there before.
    pub replaced: Option<PathBuf>,
    /// The backup is a plain copy of a database that a broker had open.
    pub was_copied_open: bool,
}

/// Makes a whole copy of the store as it is at one moment, beside a serving broker too. The copy gets the name `to` once it
/// is on disk and verifies. Blocking.
///
/// # Errors
/// When there is a file of that name, the store or the copy does not verify, or the copy cannot be written.
pub fn back_up(database: &Path, to: &Path) -> Result<Verified, VerifyError> {
    refuse_if_there(to)?;
    let part = beside(to, &format!(".part-{}", std::process::id()));
    let made = make_copy(database, &part, to);
    if made.is_err() {
        let _ = fs::remove_file(&part);
    }
    made
}

fn make_copy(database: &Path, part: &Path, to: &Path) -> Result<Verified, VerifyError> {
    Reader::open(database)?.copy_to(part)?;
    let verified = Reader::open(part)?.verify(None, &mut |_, _| {})?;
    publish(part, to)?;
    Ok(verified)
}

/// Makes `database` of a backup. The log tells of it, and every token that was issued before is dead, because what was
/// issued and stopped since is lost. With `replace`, a store that is there is kept beside it under another name.
///
/// # Errors
/// `Locked` while a broker writes to it; when there is a store and it must not be replaced; when the backup does not verify
/// or cannot be copied. What is there then stays as it is.
pub async fn restore(
    backup: &Path,
    database: &Path,
    replace: bool,
    now: Timestamp,
) -> Result<Restored, VerifyError> {
    let database = real_name(database)?;
    let _lock = lock(&database)?;
    if !replace {
        refuse_if_there(&database)?;
    }
    let new = beside(&database, ".restoring");
    remove_family(&new)?;
    let restored = match make(backup, &new, now).await {
        Ok(restored) => put_in_place(&new, &database, restored, now),
        Err(error) => Err(error),
    };
    let removed = remove_family(&new);
    let restored = restored?;
    removed?;
    Ok(restored)
}

/// Copies the backup, brings it to the schema of this version, and tells in its log that it was restored.
async fn make(backup: &Path, new: &Path, now: Timestamp) -> Result<Restored, VerifyError> {
    let was_copied_open = copy_file(backup, new)?;
    let store = Store::open_or(&StoreSettings::sqlite(new), Missing::MakeAnew).await?;
    let (events, known) = (store.seen_head().size, store.seen().revision());
    let detail = format!(
        "restored from a backup of {events} events, which has changes of the kill switch up to {known}; every token issued \
         before is dead"
    );
    let event = Event { detail: Some(detail), ..Event::new(now, Kind::StoreRestored, Outcome::Done) };
    let above = Revision::new(known.number().saturating_add(GAP));
    let adopted = store.adopt(Adoption { event, above, stops: Vec::new(), restated: Vec::new() }).await;
    store.close().await;
    adopted?;
    let log = Reader::open(new)?.verify(None, &mut |_, _| {})?;
    Ok(Restored { events, log, replaced: None, was_copied_open })
}

fn put_in_place(
    new: &Path,
    database: &Path,
    restored: Restored,
    now: Timestamp,
) -> Result<Restored, VerifyError> {
    let replaced = set_aside(database, now)?;
    publish(new, database)?;
    Ok(Restored { replaced, ..restored })
}

fn refuse_if_there(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path, "look for it")(error)),
        Ok(_) => Err(StoreError::Taken(path.to_owned())),
    }
}

/// Gives `part` its name, and never takes the place of another file.
fn publish(part: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::hard_link(part, to) {
        Ok(()) => fs::remove_file(part).map_err(failed(part, "remove"))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(StoreError::Taken(to.to_owned()));
        }
        // A file system without links.
        Err(_) => {
            refuse_if_there(to)?;
            fs::rename(part, to).map_err(failed(to, "make"))?;
        }
    }
    sync(to).map_err(failed(to, "sync"))
}

/// Gives the store that is there another name, with its write-ahead log. One that is lost may have left its log.
fn set_aside(database: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    if database.symlink_metadata().is_err() {
        set_log_aside(database)?;
        return Ok(None);
    }
    let aside = beside(database, &format!(".replaced-{}", stamp(now)));
    refuse_if_there(&aside)?;
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(beside(database, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(database, "set aside")(error));
            }
            _ => {}
        }
    }
    Ok(Some(aside))
}

/// As a part of a file's name: `20261129T083000Z`.
pub fn stamp(now: Timestamp) -> String {
    let text = now.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace(['-', ':'], ""))
}

/// Removes what an interrupted restoration left.
fn remove_family(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let file = beside(path, suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&file, "remove")(error)),
            _ => {}
        }
    }
    Ok(())
}
