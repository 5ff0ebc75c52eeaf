//! Agent files → [`Registry`].
//!
//! An agent is one file, `<folder>/<id>.toml`. [`Rules::load`] reads the folder whole: either every file is
//! right and an immutable revision comes out, or every mistake of every file does. [`Registry::find`] says
//! which agent a verified identity is. [`Watcher`] tells when the folder changed.
//!
//! `app` loads and watches, `broker` finds, `config` checks the same folder offline. Everything here blocks;
//! none of it needs a runtime.

mod agent_file;
mod clash;
mod folder;
mod identity_rule;
mod index;
mod look;
mod platforms;
mod reading;
mod resource;
mod spiffe_rule;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use crate::document::{Document, Mistakes, Place, decode, nearest};
use crate::domain::agent::Agent;
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::domain::digest::Digest;
use crate::domain::guardrails::Guardrails;
use crate::domain::id::{AgentId, IssuerName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::platform::Platform;

pub use folder::{MAX_AGENTS, fallen_empty};
pub use index::Found;
pub use watcher::Watcher;

use folder::{AgentFileFound, Content, Snapshot};
use index::Index;
use look::Look;
use reading::{Reading, Readings};

/// What agent files are held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub guardrails: Guardrails,
    /// The issuers that identity rules may name, and whose claims theirs are; `None` where they are not
    /// known, and so not judged.
    pub issuers: Option<BTreeMap<IssuerName, Platform>>,
    /// The trust domains that a `spiffe` rule may be of; `None` where they are not known, and so not judged.
    pub trust_domains: Option<Vec<IssuerName>>,
    /// `limits.tokens_per_minute`; an agent's own file may set less.
    pub tokens_per_minute: Option<NonZeroU32>,
}

impl Rules {
    fn platform(&self, issuer: &IssuerName) -> Option<Platform> {
        self.issuers.as_ref()?.get(issuer).copied()
    }

    /// Reads every agent file in `dir`.
    ///
    /// # Errors
    /// Every mistake of every file, by file and line.
    pub fn load(&self, dir: &Path) -> Result<Registry, Vec<Diagnostic>> {
        self.judge(Snapshot::read(dir, &Readings::default()))
    }

    /// The same. The agents of `before` whose files have not changed are shared with it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_after(&self, before: &Registry, dir: &Path) -> Result<Registry, Vec<Diagnostic>> {
        match before.readings.are_by(self) {
            true => self.judge(Snapshot::read(dir, &before.readings)),
            false => self.load(dir),
        }
    }

    fn judge(&self, snapshot: Snapshot) -> Result<Registry, Vec<Diagnostic>> {
        let mistakes = Mistakes::default();
        snapshot.report(&mistakes);
        if snapshot.is_empty() {
            let place = Place { file: snapshot.dir().into(), line: None, key: String::new() };
            let remedy = "write <agent id>.toml for each agent, or mount the volume that holds them";
            mistakes.warn(&place, "holds no agent file, so nobody gets a token", remedy);
        }
        let mut warnings = mistakes.take_warnings();
        let seen = Seen { look: snapshot.look().clone(), content: snapshot.fingerprint() };
        let (dir, revision) = (snapshot.dir().to_path_buf(), snapshot.revision());
        let (mut ids, mut files) = (BTreeSet::new(), Vec::new());
        for found in snapshot.into_files() {
            let id = found.id(&mistakes);
            ids.extend(id.clone());
            files.extend(self.read(id, found, &mistakes));
        }
        unknown_delegates(&files, &ids, &mistakes);
        clash::report(&files.iter().flat_map(|file| file.said.rules()).collect::<Vec<_>>(), &mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes.into_sorted());
        }
        warnings.extend(files.iter().flat_map(|file| file.warnings.iter().cloned()));
        warnings.sort();
        warnings.dedup();
        let registry =
            Registry::new(files.iter().filter_map(|file| file.said.agent.clone()).collect(), revision.into());
        let readings = Arc::new(Readings::new(dir, self.clone(), files));
        Ok(Registry { warnings, readings, seen: Some(seen), ..registry })
    }

    /// None where nothing can be read of the file.
    fn read(&self, id: Option<AgentId>, found: AgentFileFound, mistakes: &Mistakes) -> Option<Arc<Reading>> {
        let (text, digest) = match found.content {
            Content::Known(reading) => return Some(reading),
            Content::New(bytes, digest) => (decode(bytes), digest),
            Content::Bad(fault) => (Err(fault), Digest::of(&[])),
        };
        let text = text.map_err(|fault| mistakes.push(fault.at(found.path.clone()))).ok()?;
        let document = Document::parse(&found.path, &text, mistakes);
        let ignored = Mistakes::default();
        let told = if document.is_whole() { mistakes } else { &ignored };
        let said = agent_file::read(&document, id, self, told);
        Some(Arc::new(Reading { digest, said, warnings: mistakes.take_warnings() }))
    }
}

/// A file that does not say who its agent is counts as one that is there: its own mistakes are told.
fn unknown_delegates(files: &[Arc<Reading>], known: &BTreeSet<AgentId>, mistakes: &Mistakes) {
    let delegates = files.iter().flat_map(|file| &file.said.delegates);
    for delegate in delegates.filter(|delegate| !known.contains(&delegate.value)) {
        let remedy = match nearest(delegate.value.as_str(), known.iter().map(AgentId::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("register it as {}.toml, or take it out", delegate.value),
        };
        mistakes.add(&delegate.place, format!("no agent `{}` is registered", delegate.value), remedy);
    }
}

fn most_of_a_kind(agent: &Agent) -> usize {
    let keys = agent.keys();
    let of_kind = |curve: &str| keys.iter().filter(|key| key.crv == curve).count();
    keys.iter().map(|key| of_kind(&key.crv)).max().unwrap_or_default()
}

/// One immutable revision of the registered agents.
#[derive(Debug)]
pub struct Registry {
    /// By id.
    agents: Vec<Arc<Agent>>,
    index: Index,
    revision: Arc<str>,
    most_keys: usize,
    warnings: Vec<Warning>,
    readings: Arc<Readings>,
    /// None where it was not read from a folder.
    seen: Option<Seen>,
}

/// The folder as it was when a revision was read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    look: Look,
    content: Digest,
}

impl Registry {
    fn new(mut agents: Vec<Arc<Agent>>, revision: Arc<str>) -> Self {
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        let index = Index::new(&agents);
        let most_keys = agents.iter().map(|agent| most_of_a_kind(agent)).max().unwrap_or_default().max(1);
        Self {
            agents,
            index,
            revision,
            most_keys,
            warnings: Vec::new(),
            readings: Arc::default(),
            seen: None,
        }
    }

    /// `sha256:<hex>` over the name, length and bytes of every agent file, in the order of their names.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// The most keys of one kind that any agent is registered with; at least one.
    pub fn most_keys(&self) -> usize {
        self.most_keys
    }

    /// What in the agent files is weaker than it need be, by file and line.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        let at = self.agents.binary_search_by(|agent| agent.id.cmp(id)).ok()?;
        self.agents.get(at)
    }

    /// Every agent, by id.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Arc<Agent>> {
        self.agents.iter()
    }

    /// The agents whose identity rules match. The cost follows the number of claims, not of agents.
    pub fn find(&self, identity: &VerifiedIdentity) -> Found<'_> {
        self.index.find(identity, &self.agents)
    }
}
