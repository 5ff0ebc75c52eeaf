//! TLS of a listener: TLS 1.3 and 1.2, HTTP/2 and HTTP/1.1, from files that may be renewed while it serves.
//!
//! [`Tls`] holds what a listener serves with. A [`Watch`] looks at the files again and again; a pair that
//! cannot be used never takes the place of one that can. [`ClientChain`] is what a client showed of itself:
//! **possession of a key and nothing more** (see [`ClientChain`] before you use it).
//!
//! Sessions are not resumed and there is no early data: each connection proves its key anew and meets the
//! clients' rules of now, and no request can be replayed. A client keeps its connection instead.
//!
//! `config` reads the files with [`Material`] to tell mistakes, `app` opens and watches, the listener
//! shakes hands.

mod client;
mod material;
mod metrics;
#[cfg(test)]
mod tests;
mod watch;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::domain::time::{Clock, Timestamp};
use crate::http::settings::TlsSettings;

pub use crate::http::client_chain::ClientChain;
pub use material::{Material, Part, Unusable};
pub use metrics::register as register_metrics;
pub use watch::{Prepared, Watch};

/// Without a whole message from the client, a handshake is ended.
pub(super) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// For a whole handshake. Long, for when thousands begin at once, most of them wait for this machine.
const LONGEST: Duration = Duration::from_secs(60);
/// How long before its end a certificate is called old.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// What one listener serves TLS with.
#[derive(Debug)]
pub struct Tls {
    /// The table of the configuration, for people: `server.tls`.
    name: &'static str,
    settings: ArcSwap<TlsSettings>,
    clock: Clock,
    serving: ArcSwap<Serving>,
    /// Why the files as they are now cannot be used.
    problem: ArcSwapOption<String>,
}

#[derive(Debug)]
struct Serving {
    config: Arc<ServerConfig>,
    /// The certificate is good until then.
    until: Timestamp,
    /// Whether it is for the host by which clients call the listener.
    covers: bool,
    /// Why clients refuse it by whatever name.
    unfit: Option<&'static str>,
}

/// A connection that never came to speak.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(
        "no whole message came for {HANDSHAKE_PATIENCE:?}, or the handshake took longer than {LONGEST:?}"
    )]
    Slow,
    #[error(transparent)]
    Failed(#[from] std::io::Error),
}

impl Tls {
    /// Reads the files of `settings`. Blocks.
    ///
    /// # Errors
    /// When a file cannot be used, the key is of another certificate, or the certificate is not good now.
    pub fn open(
        name: &'static str,
        settings: TlsSettings,
        clock: Clock,
    ) -> Result<(Arc<Self>, Watch), Unusable> {
        let files = material::Files::read(&settings)?;
        let serving = Serving::of(&files, &settings, &clock)?;
        let tls = Arc::new(Self {
            name,
            settings: ArcSwap::from_pointee(settings),
            clock,
            serving: ArcSwap::from_pointee(serving),
            problem: ArcSwapOption::empty(),
        });
        tls.tell();
        let watch = Watch::new(Arc::clone(&tls), files.fingerprint());
        Ok((tls, watch))
    }

    /// The listener, and when the certificate that it serves with ends.
    pub fn expiry(&self) -> (&'static str, Timestamp) {
        let listener = if self.name == "admin.tls" { "admin" } else { "public" };
        (listener, self.serving.load().until)
    }

    /// What is wrong, for operators; the log says which file.
    pub fn degraded(&self) -> Option<String> {
        let name = self.name;
        let until = self.serving.load().until;
        if until < self.clock.now() {
            return Some(format!("tls: the certificate of {name} ended at {until}"));
        }
        let problem = self.problem.load();
        problem.as_ref().map(|_| {
            format!("tls: the files of {name} cannot be used, so those read before serve; the log says why")
        })
    }

    /// Shakes hands on `stream`, for as long as whole messages come: `quiet` says for how long none was answered. The
    /// chain is `None` where the client sent none.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        quiet: impl Fn() -> Duration,
    ) -> Result<(TlsStream<S>, Option<ClientChain>), HandshakeError> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.serving.load().config));
        let mut accepting = pin!(acceptor.accept(stream));
        let begun = Instant::now();
        let stream = loop {
            let wait = HANDSHAKE_PATIENCE.saturating_sub(quiet());
            tokio::select! {
                // What has arrived is read before anybody is called slow.
                biased;
                done = &mut accepting => break done?,
                () = tokio::time::sleep(wait) => {}
            }
            if quiet() >= HANDSHAKE_PATIENCE || begun.elapsed() >= LONGEST {
                return Err(HandshakeError::Slow);
            }
        };
        let chain = ClientChain::of(stream.get_ref().1);
        Ok((stream, chain))
    }

    /// Serves with `files` from the next handshake on; connections that are open stay as they are.
    fn take(&self, files: &material::Files) -> Result<(), Unusable> {
        self.serving.store(Arc::new(Serving::of(files, &self.settings.load(), &self.clock)?));
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let (serving, settings) = (self.serving.load(), self.settings.load());
        tracing::info!(tls = self.name, until = %serving.until, "a certificate serves");
        if serving.until < self.clock.now() + SOON {
            tracing::warn!(tls = self.name, until = %serving.until, "the certificate ends within a week: renew it");
        }
        if let Some(host) = settings.called.as_ref().filter(|_| !serving.covers) {
            tracing::warn!(
                tls = self.name,
                host,
                "the certificate is for other hosts; clients that call this one refuse it"
            );
        }
        if let Some(why) = serving.unfit {
            let file = settings.cert_file.display();
            tracing::warn!(tls = self.name, %file, "the file {why}: hallpass and many other clients refuse it");
        }
        if material::is_open_to_all(&settings.key_file) {
            let file = settings.key_file.display();
            tracing::warn!(tls = self.name, %file, "every user of this machine can read the key; chmod 600 it");
        }
    }
}

impl Serving {
    fn of(files: &material::Files, settings: &TlsSettings, clock: &Clock) -> Result<Self, Unusable> {
        let material = Material::of(files, settings)?;
        material.check_time(settings, clock.now())?;
        let covers = settings.called.as_ref().is_none_or(|host| material.covers(host));
        let (until, unfit) = (material.until(), material.unfit());
        Ok(Self { until, covers, unfit, config: material.into_config(settings, clock)? })
    }
}
