//! The folder of agent files, as bytes: what is in it, what does not belong there, and its hash.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::{Fault, Mistakes, nearest, read_bytes};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::digest::{Digest, Hashing};
use crate::domain::id::AgentId;
use crate::registry::look::{Look, names};
use crate::registry::reading::{Reading, Readings};

/// More agents than this in one folder are a mistake.
pub const MAX_AGENTS: usize = 50_000;

const EXTENSION: &str = "toml";

/// Agent files that together hold more than this are a mistake: 5 KiB for each of the most agents.
const MAX_BYTES: usize = 256 << 20;

/// The folder as it was read once.
pub(super) struct Snapshot {
    dir: PathBuf,
    /// Taken before the first file was read.
    look: Look,
    /// Agent files by name.
    files: Vec<(String, Content)>,
    /// What else is wrong, by the path it is about.
    faults: BTreeMap<PathBuf, Fault>,
    revision: Digest,
}

/// What was found in one agent file.
pub(super) enum Content {
    /// The bytes of the file that was read before.
    Known(Arc<Reading>),
    New(Vec<u8>, Digest),
    Bad(Fault),
}

impl Snapshot {
    /// Keeps the bytes of those files alone that are not `known`.
    pub(super) fn read(dir: &Path, known: &Readings) -> Self {
        Self::read_at_most(dir, known, MAX_AGENTS, MAX_BYTES)
    }

    pub(super) fn read_at_most(dir: &Path, known: &Readings, most: usize, most_bytes: usize) -> Self {
        let look = Look::at(dir);
        let mut snapshot = Self {
            dir: dir.to_path_buf(),
            look,
            files: Vec::new(),
            faults: BTreeMap::new(),
            revision: Hashing::default().finish(),
        };
        match names(dir) {
            Ok(names) => {
                let agents = names.iter().filter(|name| name.to_str().is_some_and(is_agent)).count();
                if agents > most {
                    let problem = format!("holds {agents} agents, over the maximum of {most}");
                    let fault = Fault::new(problem, "take out those that are not used any more");
                    snapshot.faults.insert(dir.to_path_buf(), fault);
                } else {
                    snapshot.take_all(names, known, most_bytes);
                }
            }
            Err(error) => {
                let fault = if error.kind() == io::ErrorKind::NotFound {
                    Fault::new("there is no such folder", "make it, or correct registry.path")
                } else {
                    Fault::new(
                        format!("cannot be listed: {error}"),
                        "make it a folder that hallpass may read",
                    )
                };
                snapshot.faults.insert(dir.to_path_buf(), fault);
            }
        }
        snapshot
    }

    fn take_all(&mut self, names: Vec<OsString>, known: &Readings, most_bytes: usize) {
        let (mut revision, mut bytes_read) = (Hashing::default(), 0);
        for name in names {
            let path = self.dir.join(&name);
            let Some(name) = name.to_str() else {
                let fault = Fault::new("the file's name is not UTF-8", "name it <agent id>.toml");
                self.faults.insert(path, fault);
                continue;
            };
            match kind(name) {
                Kind::Agent => {
                    revision.frame(name.as_bytes());
                    let content = match read_bytes(&path) {
                        Ok(bytes) => {
                            revision.frame(&bytes);
                            bytes_read += bytes.len();
                            let digest = Digest::of(&bytes);
                            match known.known(&self.dir, stem(name), digest) {
                                Some(known) => Content::Known(Arc::clone(known)),
                                None => Content::New(bytes, digest),
                            }
                        }
                        Err(fault) => Content::Bad(fault),
                    };
                    self.files.push((name.to_owned(), content));
                }
                Kind::Ignored => {}
                Kind::Stranger => drop(self.faults.insert(path.clone(), stranger(name, &path))),
            }
            if bytes_read > most_bytes {
                let problem = format!("its agent files together are over {} MiB", most_bytes >> 20);
                let fault =
                    Fault::new(problem, "take out agents that are not used any more, or shorten them");
                self.faults.insert(self.dir.clone(), fault);
                break;
            }
        }
        self.revision = revision.finish();
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn look(&self) -> &Look {
        &self.look
    }

    /// Whether it could be listed and holds no agent file.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.faults.is_empty()
    }

    /// That no agent file is left of those that were there.
    pub(super) fn fallen_empty(&self) -> Diagnostic {
        fallen_empty(&self.dir)
    }

    /// What is wrong with the folder as such, and names that are no ids.
    pub(super) fn report(&self, mistakes: &Mistakes) {
        for (path, fault) in &self.faults {
            mistakes.push(fault.at(path.clone()));
        }
    }

    /// Every agent file, by name.
    pub(super) fn into_files(self) -> impl Iterator<Item = AgentFileFound> {
        let Self { dir, files, .. } = self;
        files.into_iter().map(move |(name, content)| AgentFileFound { path: dir.join(&name), name, content })
    }

    /// `sha256:<hex>` over the name, length and bytes of every agent file.
    pub(super) fn revision(&self) -> String {
        format!("sha256:{}", self.revision)
    }

    /// A hash that also tells one unreadable folder from another.
    pub(super) fn fingerprint(&self) -> Digest {
        let mut hashing = Hashing::default();
        hashing.update(&self.revision.0);
        for (name, content) in &self.files {
            if let Content::Bad(fault) = content {
                hashing.frame(name.as_bytes());
                hashing.frame(fault.problem.as_bytes());
            }
        }
        for (path, fault) in &self.faults {
            hashing.frame(path.as_os_str().as_encoded_bytes());
            hashing.frame(fault.problem.as_bytes());
        }
        hashing.finish()
    }
}

/// One agent file of a [`Snapshot`].
pub(super) struct AgentFileFound {
    pub(super) path: PathBuf,
    name: String,
    pub(super) content: Content,
}

impl AgentFileFound {
    /// The id that its name says; what is wrong with that goes to `mistakes`.
    pub(super) fn id(&self, mistakes: &Mistakes) -> Option<AgentId> {
        let id = stem(&self.name).parse::<AgentId>();
        if let Err(error) = &id {
            let fault = Fault::new(error.to_string(), "rename the file: its name is the agent's id");
            mistakes.push(fault.at(self.path.clone()));
        }
        if id.as_ref().is_ok_and(|id| id.as_str() == AgentId::CANARY) {
            let fault =
                Fault::new("is the name of the agent that drills of the kill switch stop", "rename the file");
            mistakes.push(fault.at(self.path.clone()));
        }
        id.ok()
    }
}

/// The name of an agent file without what it ends in: the agent's id.
fn stem(name: &str) -> &str {
    name.strip_suffix(".toml").unwrap_or(name)
}

/// What is wrong with a file that is no agent file.
fn stranger(name: &str, path: &Path) -> Fault {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    if extension.is_some_and(|extension| nearest(extension, [EXTENSION]).is_some()) {
        Fault::new("agent files end in .toml", "rename it to <agent id>.toml")
    } else if path.is_dir() {
        Fault::new(
            "is a folder, and agents are not looked for in it",
            "move its agents up, and the folder elsewhere",
        )
    } else {
        Fault::new("is not an agent file", "rename it to <agent id>.toml, or move it elsewhere")
    }
}

/// That no agent file is left in `dir`, where some were read before.
pub fn fallen_empty(dir: &Path) -> Diagnostic {
    let remedy = "mount it again; if no agent should be registered any more, restart the broker";
    Fault::new("holds no agent file any more; is its volume mounted?", remedy).at(dir.to_path_buf())
}

enum Kind {
    Agent,
    /// Hidden files (Kubernetes keeps its own in a mounted folder), editors' backups, prose, and what ext4 makes at
    /// the root of a volume.
    Ignored,
    Stranger,
}

fn is_agent(name: &str) -> bool {
    matches!(kind(name), Kind::Agent)
}

fn kind(name: &str) -> Kind {
    let backup = name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
    if name.starts_with('.') || backup || name.ends_with(".md") || name == "lost+found" {
        Kind::Ignored
    } else if name.ends_with(".toml") {
        Kind::Agent
    } else {
        Kind::Stranger
    }
}
