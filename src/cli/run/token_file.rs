//! The file that a command reads its token from: private, replaced whole, gone at the end.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::cli::{Failure, Host, Outcome};
use crate::files;

/// A file named `token` in a folder of its own (0700), both removed on drop.
///
/// The folder is in memory where the machine has such a place, so that no token reaches a disk.
#[derive(Debug)]
pub struct TokenFile {
    folder: PathBuf,
}

impl TokenFile {
    /// Makes the folder: in `XDG_RUNTIME_DIR`, else in `/dev/shm`, else in `TMPDIR` or `/tmp`.
    ///
    /// # Errors
    /// When none of them takes a new folder.
    pub fn create(host: &Host<'_>) -> Outcome<Self> {
        let random = host.random.bytes::<8>().map_err(|error| Failure::failed(error.to_string()))?;
        let name = format!("hallpass-{:016x}", u64::from_be_bytes(random));
        let places = [host.env("XDG_RUNTIME_DIR").map(PathBuf::from), Some("/dev/shm".into())];
        let last = host.env("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let absolute = places.into_iter().flatten().filter(|place| place.is_absolute());
        let mut why = None;
        for place in absolute.chain([last]) {
            let folder = place.join(&name);
            // Never one that is there already: in a shared place somebody else may have made it.
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { folder }),
                Err(error) => why = Some(format!("{}: {error}", folder.display())),
            }
        }
        Err(Failure::failed(format!("cannot make a folder for the token: {}", why.unwrap_or_default()))
            .remedy("set XDG_RUNTIME_DIR or TMPDIR to a folder that can be written"))
    }

    /// Where the command finds its token.
    pub fn path(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// Puts `token` in the place of the one before. A reader sees one of them, whole, at any moment.
    ///
    /// # Errors
    /// When it cannot be written; the one before is still there then.
    pub fn replace(&self, token: &SecretString) -> Outcome {
        let replaced = files::replace(&self.path(), token.expose_secret().as_bytes());
        replaced.map_err(|error| Failure::failed(format!("cannot write {}: {error}", self.path().display())))
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Nothing is left to do about a folder that has gone, or that the machine will not remove.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
