//! Files that change while a listener serves.

use std::sync::Arc;

use super::material::Files;
use super::{Serving, Tls, Unusable};
use crate::domain::digest::Digest;
use crate::http::settings::TlsSettings;

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

/// Files that were read and can be served with.
#[derive(Debug)]
pub struct Prepared {
    settings: TlsSettings,
    serving: Serving,
    fingerprint: Digest,
}

impl Watch {
    pub(super) fn new(tls: Arc<Tls>, serving: Digest) -> Self {
        Self { tls, serving, seen: Some(serving) }
    }

    /// Takes over files that changed and then stayed for one look, since two files are never written at
    /// once. Blocks; to be called again and again.
    pub fn look(&mut self) {
        let files = Files::read(&self.tls.settings.load());
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

    /// Reads the files of `settings`, to serve with them instead. Blocks.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn prepare(&self, settings: TlsSettings) -> Result<Prepared, Unusable> {
        let files = Files::read(&settings)?;
        let serving = Serving::of(&files, &settings, &self.tls.clock)?;
        Ok(Prepared { settings, serving, fingerprint: files.fingerprint() })
    }

    /// Serves with what was prepared from the next handshake on.
    pub fn serve(&mut self, prepared: Prepared) {
        let is_new =
            prepared.fingerprint != self.serving || *self.tls.settings.load_full() != prepared.settings;
        self.tls.settings.store(Arc::new(prepared.settings));
        self.tls.serving.store(Arc::new(prepared.serving));
        (self.serving, self.seen) = (prepared.fingerprint, Some(prepared.fingerprint));
        self.well();
        if is_new {
            self.tls.tell();
        }
    }

    /// The table of the configuration that it is of: `server.tls` or `admin.tls`.
    pub fn name(&self) -> &'static str {
        self.tls.name
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
