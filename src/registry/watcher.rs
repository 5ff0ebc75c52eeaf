//! Tells when the folder of agent files has changed and come to rest.
//!
//! There is no inotify: it is silent on network file systems and on the links that Kubernetes swaps in a
//! mounted folder. A look costs one `stat` a file; files are read only when a look differs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::diagnostic::Diagnostic;
use crate::domain::digest::Digest;
use crate::registry::folder::Snapshot;
use crate::registry::look::Look;
use crate::registry::reading::Readings;
use crate::registry::{Registry, Rules, Seen};

/// Polled about once a second by whoever serves a registry.
pub struct Watcher {
    dir: PathBuf,
    rules: Rules,
    look: Look,
    /// Of the revision that was accepted last.
    readings: Arc<Readings>,
    /// The content that was last accepted or rejected; none where the folder is past it already.
    judged: Option<Digest>,
    /// Whether the revision that serves has an agent.
    populated: bool,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Nothing changed since the content was judged.
    Settled,
    /// Read the files at the next look even if it is the same: either the folder just changed and may still
    /// be half-written, or it was just read, and a write within the same tick of the file system's clock
    /// would look like no change.
    Unsettled,
}

impl Watcher {
    /// Watches `dir` from the revision `served` on. What the folder became since that was read is told as any
    /// other change. Blocks.
    pub fn new(dir: impl Into<PathBuf>, rules: Rules, served: &Registry) -> Self {
        let dir = dir.into();
        let readings =
            if served.readings.are_by(&rules) { Arc::clone(&served.readings) } else { Arc::default() };
        let (look, judged) = match &served.seen {
            Some(Seen { look, content }) => (look.clone(), Some(*content)),
            None => (Look::at(&dir), None),
        };
        let populated = served.agents().len() > 0;
        Self { dir, rules, look, readings, judged, populated, state: State::Unsettled }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the folder became, once: a new revision or why it is refused. `None` while nothing changed or
    /// something is still changing. Content that comes back after a refusal is told again. Blocks.
    pub fn changed(&mut self) -> Option<Result<Registry, Vec<Diagnostic>>> {
        let look = Look::at(&self.dir);
        if look != self.look {
            self.look = look;
            self.state = State::Unsettled;
            return None;
        }
        if self.state == State::Settled {
            return None;
        }
        let snapshot = Snapshot::read(&self.dir, &self.readings);
        if Look::at(&self.dir) != look {
            return None;
        }
        let content = Some(snapshot.fingerprint());
        if content == self.judged {
            self.state = State::Settled;
            return None;
        }
        self.judged = content;
        // An unmounted volume looks like a folder from which every agent was taken.
        if self.populated && snapshot.is_empty() {
            return Some(Err(vec![snapshot.fallen_empty()]));
        }
        let judged = self.rules.judge(snapshot);
        if let Ok(registry) = &judged {
            self.populated = registry.agents().len() > 0;
            self.readings = Arc::clone(&registry.readings);
        }
        Some(judged)
    }
}
