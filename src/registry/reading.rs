//! What the agent files of one revision said, for the next revision to go on from.
//!
//! An agent whose file has the same bytes stays the same [`Agent`] in memory. A reload therefore costs as much time for
//! parsing, and as much memory, as there are files that changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::{Located, Place};
use crate::domain::agent::{Agent, IdentityRule};
use crate::domain::diagnostic::Warning;
use crate::domain::digest::Digest;
use crate::domain::id::AgentId;
use crate::registry::Rules;

/// What one agent file said.
#[derive(Debug)]
pub(super) struct Reading {
    /// Of the bytes of the file.
    pub(super) digest: Digest,
    pub(super) said: Said,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug)]
pub(super) struct Said {
    /// None where something that every agent must have is not there or not right.
    pub(super) agent: Option<Arc<Agent>>,
    /// The rules where there is no agent that holds them.
    pub(super) orphans: Vec<IdentityRule>,
    /// Where each rule stands.
    pub(super) places: Vec<Place>,
    /// Whom it may delegate to, as it is written.
    pub(super) delegates: Vec<Located<AgentId>>,
}

impl Said {
    /// Every identity rule of the file, with its place.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&IdentityRule, &Place)> {
        self.agent.as_ref().map_or(&self.orphans, |agent| &agent.identities).iter().zip(&self.places)
    }
}

/// The files of one good revision, and what they were held to.
#[derive(Debug, Default)]
pub(super) struct Readings {
    dir: PathBuf,
    rules: Option<Rules>,
    /// By the agent's id. Each has its agent.
    files: Vec<Arc<Reading>>,
}

impl Readings {
    pub(super) fn new(dir: PathBuf, rules: Rules, mut files: Vec<Arc<Reading>>) -> Self {
        files.sort_by(|a, b| id_of(a).cmp(&id_of(b)));
        Self { dir, rules: Some(rules), files }
    }

    /// Whether `rules` would read the same.
    pub(super) fn are_by(&self, rules: &Rules) -> bool {
        self.rules.as_ref() == Some(rules)
    }

    /// The agent that is named `id` in `dir`, if `digest` is that of its file still.
    pub(super) fn known(&self, dir: &Path, id: &str, digest: Digest) -> Option<&Arc<Reading>> {
        let at = self.files.binary_search_by(|file| id_of(file).cmp(&Some(id))).ok()?;
        self.files.get(at).filter(|file| file.digest == digest && *self.dir == *dir)
    }
}

fn id_of(file: &Arc<Reading>) -> Option<&str> {
    file.said.agent.as_ref().map(|agent| agent.id.as_str())
}
