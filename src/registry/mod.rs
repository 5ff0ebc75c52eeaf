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
mod platforms;
mod resource;
mod spiffe_rule;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use crate::document::{Document, Located, Mistakes, Place, nearest};
use crate::domain::agent::Agent;
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::domain::guardrails::Guardrails;
use crate::domain::id::{AgentId, IssuerName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::platform::Platform;

pub use folder::{MAX_AGENTS, fallen_empty};
pub use index::Found;
pub use watcher::Watcher;

use folder::Snapshot;
use index::Index;

/// What agent files are held to.
#[derive(Debug, Clone)]
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
        self.judge(&Snapshot::read(dir))
    }

    fn judge(&self, snapshot: &Snapshot) -> Result<Registry, Vec<Diagnostic>> {
        let mistakes = Mistakes::default();
        snapshot.report(&mistakes);
        let mut agents = Vec::new();
        let (mut identities, mut delegates, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (path, id, text) in snapshot.agents(&mistakes) {
            ids.extend(id.clone());
            let document = Document::parse(&path, &text, &mistakes);
            let ignored = Mistakes::default();
            let read =
                agent_file::read(&document, id, self, if document.is_whole() { &mistakes } else { &ignored });
            agents.extend(read.agent.map(Arc::new));
            identities.extend(read.identities);
            delegates.extend(read.delegates);
        }
        unknown_delegates(&delegates, &ids, &mistakes);
        clash::report(&identities, &mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes.into_sorted());
        }
        if snapshot.is_empty() {
            let place = Place { file: snapshot.dir().into(), line: None, key: String::new() };
            let remedy = "write <agent id>.toml for each agent, or mount the volume that holds them";
            mistakes.warn(&place, "holds no agent file, so nobody gets a token", remedy);
        }
        let registry = Registry::new(agents, snapshot.revision().into());
        Ok(Registry { warnings: mistakes.into_warnings(), ..registry })
    }
}

/// A file that does not say who its agent is counts as one that is there: its own mistakes are told.
fn unknown_delegates(delegates: &[Located<AgentId>], known: &BTreeSet<AgentId>, mistakes: &Mistakes) {
    for delegate in delegates.iter().filter(|delegate| !known.contains(&delegate.value)) {
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
}

impl Registry {
    fn new(mut agents: Vec<Arc<Agent>>, revision: Arc<str>) -> Self {
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        let index = Index::new(&agents);
        let most_keys = agents.iter().map(|agent| most_of_a_kind(agent)).max().unwrap_or_default().max(1);
        Self { agents, index, revision, most_keys, warnings: Vec::new() }
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
