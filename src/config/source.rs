//! Where a configuration came from, to read it again and to see that it changed.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{Checked, check_after, environment};
use crate::document::read_bytes;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;
use crate::registry::Registry;

/// The file, and the variables that override it as they were at the start: those of a running process do not change.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    variables: Vec<(String, Zeroizing<String>)>,
    /// What the file held when it was read.
    digest: Option<Digest>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source {
    pub(super) fn new(path: &Path, variables: &[(String, String)], text: Option<&str>) -> Self {
        let ours = variables.iter().filter(|(name, _)| environment::matters(name));
        Self {
            path: path.to_path_buf(),
            variables: ours.map(|(name, value)| (name.clone(), Zeroizing::new(value.clone()))).collect(),
            digest: text.map(|text| Digest::of(text.as_bytes())),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file held when it was read.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What it holds now; `None` where it cannot be read. Blocks.
    pub fn look(&self) -> Option<Digest> {
        read_bytes(&self.path).ok().map(|bytes| Digest::of(&bytes))
    }

    /// Reads and checks everything again, at `now`. Agents of `before` whose files have not changed are shared with it.
    /// Blocks.
    ///
    /// # Errors
    /// As [`check`](crate::config::check), and certificates that cannot be served with now.
    pub fn check(&self, now: Timestamp, before: &Registry) -> Result<Checked, Vec<Diagnostic>> {
        let variables = self.variables.iter().map(|(name, value)| (name.clone(), value.to_string()));
        let checked = check_after(before, &self.path, variables)?;
        let mistakes = checked.config.certificates_at(now);
        if mistakes.is_empty() { Ok(checked) } else { Err(mistakes) }
    }
}
