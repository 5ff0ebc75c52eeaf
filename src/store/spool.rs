//! Stops that were taken while the store was down, in a small file beside it, so that they outlive the process.
//!
//! Each change of the list replaces the file whole: written beside it, synced, renamed, and the folder synced.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::revocation::Stop;
use crate::files::beside;
use crate::store::error::StoreError;
use crate::store::settings::StoreSettings;

/// Bytes that are kept free. While the file is replaced the old and the new one stand side by side, so half of it is what
/// both stops and ends may take; ends take half of that at most, by [`MAX_ENDS`].
const RESERVE: usize = 1024 * 1024;
/// Between two tries to make the reserve where there is no room for it: each try takes what room there is for a moment.
const RETRY_RESERVE: Duration = Duration::from_secs(10);
/// How many ends of tokens by their holders may wait. Any agent can end its tokens: without a bound they would take the
/// room of the stops. No line of an end is longer than 2 KiB.
pub const MAX_ENDS: usize = 128;
/// What the last line begins with: a file that was cut short has lost it.
const END: &str = "end ";

/// A disk, or what this user may take of it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The rest of the last line, by which a file that lost a part is told.
fn ending(stops: &str) -> String {
    format!("{}\n", Digest::of(stops.as_bytes()))
}

/// A stop that is in effect and has no number yet, and the event that it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitingChange {
    pub stop: Stop,
    pub event: Event,
    /// The holder of the token ended it: it is no stop in the list of stops.
    pub ended: bool,
}

/// The file of one store. Blocking.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// Held while the folder is this broker's alone.
    _lock: Option<File>,
    /// When there was no room for the reserve.
    lacks_reserve: Mutex<Option<Instant>>,
}

impl Spool {
    /// The file of a store, and what an earlier process left in it: beside a database in a file, in a folder of its own
    /// (0700, made where it is missing) with PostgreSQL.
    ///
    /// # Errors
    /// `Locked` where another broker uses the folder; as [`Self::open`].
    pub fn of(store: &StoreSettings) -> Result<(Self, Vec<WaitingChange>), StoreError> {
        match store {
            StoreSettings::Sqlite { path } => Self::open(path),
            StoreSettings::Postgres(settings) => Self::open_folder(&settings.spool),
        }
    }

    fn open_folder(folder: &Path) -> Result<(Self, Vec<WaitingChange>), StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| StoreError::File { path, problem: error.to_string() }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
        let folder = fs::canonicalize(folder).map_err(failed(folder))?;
        // Two brokers would each take the other's stops out of the file.
        let lock_file = folder.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.append(true).create(true).mode(0o600).open(&lock_file);
        let lock = opened.map_err(failed(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::SpoolTaken(folder)),
            Err(TryLockError::Error(error)) => return Err(failed(&lock_file)(error)),
        }
        let path = folder.join("stops");
        let spool = Self { path, _lock: Some(lock), lacks_reserve: Mutex::default() };
        let left = spool.left()?;
        spool.reserve();
        Ok((spool, left))
    }

    /// The file beside the database, and what an earlier process left in it.
    ///
    /// # Errors
    /// `File` where it cannot be read: what it holds must not be lost, so the start must not go on without it.
    pub fn open(database: &Path) -> Result<(Self, Vec<WaitingChange>), StoreError> {
        // Beside the file itself, as its lock and its write-ahead log are, so that each path to it finds them.
        let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        let path = beside(&database, ".unjournaled");
        let spool = Self { path, _lock: None, lacks_reserve: Mutex::default() };
        let left = spool.left()?;
        // The folder of a first start is made by the store.
        if left.is_empty() && database.exists() {
            spool.reserve();
        }
        Ok((spool, left))
    }

    /// What an earlier process left.
    fn left(&self) -> Result<Vec<WaitingChange>, StoreError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(&error)),
        };
        let unreadable = |problem: String| StoreError::File {
            path: self.path.clone(),
            problem: format!("it holds stops that are in effect, and cannot be read: {problem}"),
        };
        let Some((stops, _)) = text.rsplit_once(END).filter(|(stops, end)| *end == ending(stops)) else {
            return Err(unreadable("its end is missing, or is not that of what stands above".to_owned()));
        };
        let left: Result<Vec<WaitingChange>, _> = stops.lines().map(serde_json::from_str).collect();
        left.map_err(|error| unreadable(error.to_string()))
    }

    /// Makes `waiting` all that the file holds; durable when this returns. On a full disk the reserve gives way to it
    /// where `for_stop`: there is a stop of an operator in it that the file did not hold.
    ///
    /// # Errors
    /// `File`: what it held before still stands.
    pub fn replace(&self, waiting: &[WaitingChange], for_stop: bool) -> Result<(), StoreError> {
        let replaced = match waiting {
            [] => self.remove(),
            _ if for_stop => self.write_or_make_room(waiting),
            _ => self.write(waiting),
        };
        replaced.map_err(|error| self.failed(&error))
    }

    fn write_or_make_room(&self, waiting: &[WaitingChange]) -> io::Result<()> {
        match self.write(waiting) {
            // Without a reserve that could be removed, the error is that of the disk.
            Err(error) if is_full(&error) && fs::remove_file(beside(&self.path, ".reserve")).is_ok() => {
                self.write(waiting)
            }
            written => written,
        }
    }

    /// Makes the reserve again where it is missing. On a disk that is still full that is tried from time to time.
    pub fn keep_reserve(&self) {
        let failed = *self.lacks_reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none_or(|at| at.elapsed() >= RETRY_RESERVE) {
            self.reserve();
        }
    }

    /// Room for some hundred stops on a disk that fills up later. Without it nothing is lost yet.
    fn reserve(&self) {
        let path = beside(&self.path, ".reserve");
        let before = fs::metadata(&path).map_or(0, |file| file.len());
        let lacking = RESERVE.saturating_sub(usize::try_from(before).unwrap_or(RESERVE));
        if lacking == 0 {
            return;
        }
        let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let filled = made.and_then(|mut file| {
            let filled = file.write_all(&vec![0; lacking]).and_then(|()| file.sync_all());
            // Half a reserve would only fill the disk further.
            filled.inspect_err(|_| drop(file.set_len(before)))
        });
        let mut lacks = self.lacks_reserve.lock().unwrap_or_else(PoisonError::into_inner);
        match filled {
            Ok(()) if lacks.take().is_some() => {
                tracing::info!(path = %path.display(), "room is kept again for stops on a full disk");
            }
            Ok(()) => {}
            Err(error) => {
                if lacks.replace(Instant::now()).is_none() {
                    tracing::warn!(path = %path.display(), %error, "too little room is kept for stops on a full disk");
                }
                if before == 0 {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }

    fn write(&self, waiting: &[WaitingChange]) -> io::Result<()> {
        let next = beside(&self.path, ".new");
        let mut text = String::new();
        for stop in waiting {
            text.push_str(&serde_json::to_string(stop)?);
            text.push('\n');
        }
        text = format!("{text}{END}{}", ending(&text));
        let mut options = OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&next);
        made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&next, &self.path))
            // What is half written would keep its room on a full disk.
            .inspect_err(|_| drop(fs::remove_file(&next)))?;
        self.sync_folder()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => {
                self.reserve();
                self.sync_folder()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), problem: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Kind, Outcome};
    use crate::domain::id::StopId;
    use crate::domain::time::Timestamp;

    fn waiting(n: u8) -> WaitingChange {
        let at = Timestamp::from_seconds(1_795_000_000);
        let target = format!("agent:agent-{n}").parse().unwrap();
        let reason = "a \"reason\" with\u{2028}everything, end and all".to_owned();
        let id = StopId::new(at, &[n; 10]);
        let stop = Stop { id, target, at, reason, operator: None, revision: None, lift: None };
        WaitingChange { stop, event: Event::new(at, Kind::RevocationStopped, Outcome::Done), ended: false }
    }

    /// A configuration that names the database by a link, and later by itself, loses no stop.
    #[test]
    fn what_is_kept_is_found_by_every_path_to_the_database() {
        let folder = tempfile::TempDir::new().unwrap();
        let (database, link) = (folder.path().join("hallpass.db"), folder.path().join("link.db"));
        fs::write(&database, "").unwrap();
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let (spool, _) = Spool::open(&link).unwrap();
        spool.replace(&[waiting(1)], true).unwrap();
        for path in [&database, &link] {
            assert_eq!(Spool::open(path).unwrap().1, [waiting(1)]);
        }
    }

    #[test]
    fn a_folder_of_its_own_is_made_kept_and_locked() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a/spool");
        let (spool, left) = Spool::open_folder(&path).unwrap();
        assert!(left.is_empty());
        assert_eq!(crate::files::mode(&path).unwrap(), 0o700);
        assert_eq!(fs::metadata(path.join("stops.reserve")).unwrap().len(), RESERVE as u64);
        spool.replace(&[waiting(1)], true).unwrap();
        assert!(matches!(Spool::open_folder(&path), Err(StoreError::SpoolTaken(_))));
        drop(spool);
        let (spool, left) = Spool::open_folder(&path).unwrap();
        assert_eq!(left, [waiting(1)]);
        spool.replace(&[], true).unwrap();
        drop(spool);
        assert!(Spool::open_folder(&path).unwrap().1.is_empty());
    }

    #[test]
    fn what_is_kept_is_read_again_and_a_file_that_lost_a_part_is_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = folder.path().join("hallpass.db");
        let (spool, left) = Spool::open(&database).unwrap();
        assert!(left.is_empty());
        let stops = [waiting(1), waiting(2)];
        spool.replace(&stops, true).unwrap();
        assert_eq!(Spool::open(&database).unwrap().1, stops);
        let file = folder.path().join("hallpass.db.unjournaled");
        let whole = fs::read_to_string(&file).unwrap();
        let first = whole.find('\n').unwrap() + 1;
        let cut = [
            String::new(),
            whole[..first].to_owned(),
            whole[first..].to_owned(),
            whole[..whole.len() - 1].to_owned(),
        ];
        for text in
            cut.into_iter().chain([whole.replacen("agent-2", "agent-3", 1), format!("{whole}{whole}")])
        {
            fs::write(&file, &text).unwrap();
            assert!(matches!(Spool::open(&database), Err(StoreError::File { .. })), "{text:?}");
        }
        fs::write(&file, &whole).unwrap();
        spool.replace(&[], true).unwrap();
        assert!(!file.exists() && Spool::open(&database).unwrap().1.is_empty());
    }

    #[test]
    fn the_longest_ends_leave_stops_their_half() {
        let at = Timestamp::from_seconds(1_795_000_000);
        let token = crate::domain::id::TokenId::new(at, &[255; 10]);
        let target = crate::domain::revocation::Target::Token(token);
        let mut end = waiting(1);
        end.stop.target = target.clone();
        end.stop.reason = "ended by its holder".to_owned();
        end.event.reason = Some(end.stop.reason.clone());
        end.event.agent = Some("a".repeat(64).parse().unwrap());
        end.event.owner = Some("o".repeat(64).parse().unwrap());
        end.event.request = Some(crate::domain::id::RequestId::new(at, &[255; 10]));
        end.event.peer = Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap());
        end.event.target = Some(target);
        end.ended = true;
        let line = serde_json::to_string(&end).unwrap().len();
        assert!(line < 2048 && MAX_ENDS * 2048 <= RESERVE / 4, "{line}");
    }
}
