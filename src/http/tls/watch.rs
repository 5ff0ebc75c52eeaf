//! Files that change while a listener serves.

use std::sync::Arc;

use super::material::Files;
use super::{Tls, Unusable};
use crate::domain::digest::Digest;

/// Looks at the files of one [`Tls`]. They are compared by what is in them, so that links which are turned to
/// other files (as Kubernetes does) and clocks of file systems do not matter.
#[derive(Debug)]
pub struct Watch {
    tls: Arc<Tls>,
    /// What serves.
    serving: Digest,
    /// What was there at the last look, where it could be read.
    seen: Option<Digest>,
}

impl Watch {
    pub(super) fn new(tls: Arc<Tls>, serving: Digest) -> Self {
        Self { tls, serving, seen: Some(serving) }
    }

    /// Takes over files that changed and then stayed for one look, since two files are never written at
    /// once. Blocks; to be called again and again.
    pub fn look(&mut self) {
        let files = Files::read(&self.tls.settings);
        let now = files.as_ref().ok().map(Files::fingerprint);
        let settled = now == self.seen;
        self.seen = now;
        if now == Some(self.serving) {
            self.well();
        } else if settled {
            match files.and_then(|files| self.tls.take(&files)) {
                Ok(()) => {
                    self.serving = now.unwrap_or(self.serving);
                    self.well();
                }
                Err(problem) => self.ill(&problem),
            }
        }
    }

    fn well(&self) {
        if self.tls.problem.swap(None).is_some() {
            tracing::info!(tls = self.tls.name, "the files can be used again");
        }
    }

    fn ill(&self, problem: &Unusable) {
        let problem = problem.to_string();
        let told = self.tls.problem.swap(Some(Arc::new(problem.clone())));
        if told.is_none_or(|told| *told != problem) {
            tracing::error!(tls = self.tls.name, %problem, "the files read before go on serving");
        }
    }
}
