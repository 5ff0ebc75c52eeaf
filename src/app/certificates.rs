//! What the listeners serve TLS with.

use std::sync::Arc;

use anyhow::Context;

use crate::config::Config;
use crate::domain::time::Clock;
use crate::http::settings::TlsSettings;
use crate::http::tls::{Tls, Watch};

/// TLS of each listener that has it.
pub(super) struct Certificates {
    pub(super) public: Option<Arc<Tls>>,
    pub(super) admin: Option<Arc<Tls>>,
    pub(super) watches: Vec<Watch>,
}

impl Certificates {
    pub(super) fn all(&self) -> Arc<[Arc<Tls>]> {
        self.public.iter().chain(&self.admin).cloned().collect()
    }
}

pub(super) fn open(config: &Config, clock: &Clock) -> anyhow::Result<Certificates> {
    let mut watches = Vec::new();
    let mut open = |name: &'static str, settings: &Option<TlsSettings>| -> anyhow::Result<_> {
        let Some(settings) = settings else { return Ok(None) };
        let (tls, watch) = Tls::open(name, settings.clone(), clock.clone()).context(name)?;
        watches.push(watch);
        Ok(Some(tls))
    };
    let (public, admin) = (open("server.tls", &config.server.tls)?, open("admin.tls", &config.admin.tls)?);
    Ok(Certificates { public, admin, watches })
}
