//! The folder of agent files, as bytes: what is in it, what does not belong there, and its hash.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::document::{Fault, Mistakes, decode, nearest, read_bytes};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::digest::Digest;
use crate::domain::id::AgentId;

/// More agents than this in one folder are a mistake.
pub const MAX_AGENTS: usize = 10_000;

const EXTENSION: &str = "toml";

/// The folder as it was read once.
pub(super) struct Snapshot {
    dir: PathBuf,
    /// Agent files by name.
    files: BTreeMap<String, Result<Vec<u8>, Fault>>,
    /// What else is wrong, by the path it is about.
    faults: BTreeMap<PathBuf, Fault>,
}

impl Snapshot {
    pub(super) fn read(dir: &Path) -> Self {
        Self::read_at_most(dir, MAX_AGENTS)
    }

    pub(super) fn read_at_most(dir: &Path, most: usize) -> Self {
        let mut snapshot = Self { dir: dir.to_path_buf(), files: BTreeMap::new(), faults: BTreeMap::new() };
        match names(dir) {
            Ok(names) => {
                let agents = names.iter().filter(|name| name.to_str().is_some_and(is_agent)).count();
                if agents > most {
                    let problem = format!("holds {agents} agents, over the maximum of {most}");
                    let fault = Fault::new(problem, "take out those that are not used any more");
                    snapshot.faults.insert(dir.to_path_buf(), fault);
                } else {
                    names.into_iter().for_each(|name| snapshot.take(name));
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

    fn take(&mut self, name: std::ffi::OsString) {
        let path = self.dir.join(&name);
        let Some(name) = name.to_str() else {
            let fault = Fault::new("the file's name is not UTF-8", "name it <agent id>.toml");
            self.faults.insert(path, fault);
            return;
        };
        match kind(name) {
            Kind::Agent => {
                self.files.insert(name.to_owned(), read_bytes(&path));
            }
            Kind::Ignored => {}
            Kind::Stranger => {
                let extension = name.rsplit_once('.').map(|(_, extension)| extension);
                let near = extension.is_some_and(|extension| nearest(extension, [EXTENSION]).is_some());
                let fault = if near {
                    Fault::new("agent files end in .toml", "rename it to <agent id>.toml")
                } else if path.is_dir() {
                    let remedy = "move its agents up, and the folder elsewhere";
                    Fault::new("is a folder, and agents are not looked for in it", remedy)
                } else {
                    Fault::new("is not an agent file", "rename it to <agent id>.toml, or move it elsewhere")
                };
                self.faults.insert(path, fault);
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it could be listed and holds no agent file.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.faults.is_empty()
    }

    /// That no agent file is left of those that were there.
    pub(super) fn fallen_empty(&self) -> Diagnostic {
        fallen_empty(&self.dir)
    }

    /// What is wrong with the folder as such.
    pub(super) fn report(&self, mistakes: &Mistakes) {
        for (path, fault) in &self.faults {
            mistakes.push(fault.at(path.clone()));
        }
    }

    /// The path, id and text of every file that can be read; the others go to `mistakes`, and so do names
    /// that are no ids.
    pub(super) fn agents(
        &self,
        mistakes: &Mistakes,
    ) -> impl Iterator<Item = (PathBuf, Option<AgentId>, String)> {
        self.files.iter().filter_map(|(name, bytes)| {
            let path = self.dir.join(name);
            let id = name.strip_suffix(".toml").unwrap_or(name).parse::<AgentId>();
            if let Err(error) = &id {
                let fault = Fault::new(error.to_string(), "rename the file: its name is the agent's id");
                mistakes.push(fault.at(path.clone()));
            }
            match bytes.clone().and_then(decode) {
                Ok(text) => Some((path, id.ok(), text)),
                Err(fault) => {
                    mistakes.push(fault.at(path));
                    None
                }
            }
        })
    }

    /// `sha256:<hex>` over the name, length and bytes of every agent file.
    pub(super) fn revision(&self) -> String {
        format!("sha256:{}", self.hash(false))
    }

    /// A hash that also tells one unreadable folder from another.
    pub(super) fn fingerprint(&self) -> Digest {
        self.hash(true)
    }

    fn hash(&self, faults: bool) -> Digest {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut frame = |part: &[u8]| {
            frames.push((part.len() as u64).to_be_bytes().to_vec());
            frames.push(part.to_vec());
        };
        for (name, bytes) in &self.files {
            frame(name.as_bytes());
            match bytes {
                Ok(bytes) => frame(bytes),
                Err(fault) if faults => frame(fault.problem.as_bytes()),
                Err(_) => {}
            }
        }
        for (path, fault) in self.faults.iter().filter(|_| faults) {
            frame(path.as_os_str().as_encoded_bytes());
            frame(fault.problem.as_bytes());
        }
        Digest::of_parts(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// That no agent file is left in `dir`, where some were read before.
pub fn fallen_empty(dir: &Path) -> Diagnostic {
    let remedy = "mount it again; if no agent should be registered any more, restart the broker";
    Fault::new("holds no agent file any more; is its volume mounted?", remedy).at(dir.to_path_buf())
}

fn names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
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

/// What tells, without reading any file, that the folder is likely as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look(Result<Vec<(std::ffi::OsString, Option<Stat>)>, io::ErrorKind>);

/// Inode, size, and when content or name last changed, in nanoseconds; a forged mtime hides nothing.
type Stat = (u64, u64, i64, i64);

impl Look {
    pub(super) fn at(dir: &Path) -> Self {
        let stat =
            |metadata: Metadata| (metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec());
        let files = |names: Vec<std::ffi::OsString>| {
            let stat_of = |name: &std::ffi::OsString| fs::metadata(dir.join(name)).ok().map(stat);
            names.into_iter().map(|name| (name.clone(), stat_of(&name))).collect()
        };
        Self(names(dir).map(files).map_err(|error| error.kind()))
    }
}
