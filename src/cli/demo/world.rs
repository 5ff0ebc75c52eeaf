//! The world of the demo: a folder of its own, an issuer, one agent, a real broker on ports of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use secrecy::SecretString;
use tokio::time::Instant;

use super::issuer::Issuer;
use crate::app::{Ambient, App};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::listener::Listener;
use crate::config;
use crate::domain::time::Clock;
use crate::store::Reader;

const AGENT: &str = r#"purpose = "Refactors the payments service and opens draft pull requests."
owner   = "team-payments"
max_ttl = "10m"

[[identity]]
issuer = "ci"
claims = { repository_id = "456789", ref = "refs/heads/main" }

[[repository]]
name  = "payments"
url   = "https://github.com/acme/payments"
refs  = ["refs/heads/agent/*"]
free  = ["read", "push"]
gated = ["merge"]

[[endpoint]]
name  = "ledger"
url   = "https://ledger.staging.acme.internal"
environment = "staging"
paths = ["/v1/entries/**"]
free  = ["GET"]
"#;

pub(super) struct World {
    pub(super) folder: Folder,
    pub(super) issuer: Issuer,
    pub(super) app: App,
    pub(super) agent: Client,
    pub(super) operator: Client,
    /// Whoever guards a repository or an API.
    pub(super) verifier: Client,
    pub(super) public_url: String,
    /// When the demo began.
    pub(super) begun: Instant,
    clock: Clock,
}

/// A folder that goes when the demo ends.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "the demo's folder stays");
        }
    }
}

impl World {
    pub(super) async fn make(ambient: Ambient) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let folder = folder(&ambient)?;
        let issuer = Issuer::start(ambient.random.clone()).await?;
        let (public, admin) = (free_port()?, free_port()?);
        let public_url = format!("http://127.0.0.1:{public}");
        let path = folder.path().join("hallpass.toml");
        fs::create_dir(folder.path().join("agents"))?;
        fs::write(folder.path().join("agents/payments-refactorer.toml"), AGENT)?;
        fs::write(&path, configuration(public, admin, &issuer.url))?;
        let checked = config::check(&path, std::iter::empty()).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the demo's configuration: {}", lines.join("\n"))
        })?;
        let clock = ambient.clock.clone();
        let app = App::start(checked, ambient).await?;
        let key = fs::read_to_string(folder.path().join("operator.key")).context("operator.key")?;
        let key = SecretString::from(key.trim());
        let agent = client(&public_url, Listener::Public)?;
        let verifier = client(&public_url, Listener::Public)?.with_bearer(&key).map_err(spoken)?;
        let admin_url = format!("http://127.0.0.1:{admin}");
        let operator = client(&admin_url, Listener::Admin)?.with_bearer(&key).map_err(spoken)?;
        Ok(Self { folder, issuer, app, agent, operator, verifier, public_url, begun, clock })
    }

    /// Seconds since the epoch.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().seconds()
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("hallpass.db")
    }

    /// A copy of the log in which one byte of an event is another.
    pub(super) fn copy_with_one_byte_changed(&self) -> anyhow::Result<PathBuf> {
        let copy = self.folder.path().join("copy.db");
        Reader::open(&self.database())?.copy_to(&copy)?;
        // As one with access to the database would: the stop is made to look like something else.
        let sql = "UPDATE events SET bytes = replace(bytes, 'revocation.stopped', 'revocation.stopper')
            WHERE kind = 'revocation.stopped'";
        let changed = rusqlite::Connection::open(&copy)?.execute(sql, [])?;
        ensure!(changed == 1, "the log has {changed} stops");
        Ok(copy)
    }
}

pub(super) fn spoken(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

fn client(url: &str, listener: Listener) -> anyhow::Result<Client> {
    let base = url.parse().map_err(|error: &str| anyhow::anyhow!("{url}: {error}"))?;
    Client::new(base, listener).map_err(spoken)
}

fn configuration(public: u16, admin: u16, issuer: &str) -> String {
    format!(
        r#"[server]
listen = "127.0.0.1:{public}"
public_url = "http://127.0.0.1:{public}"

[admin]
listen = "127.0.0.1:{admin}"
local_operator_key_file = "operator.key"

[store]
url = "sqlite://hallpass.db"

[registry]
path = "agents"

[guardrails]
protected_refs = ["refs/heads/main"]

[[issuer]]
name = "ci"
url = "{issuer}"
audience = "http://127.0.0.1:{public}"
"#
    )
}

fn folder(ambient: &Ambient) -> anyhow::Result<Folder> {
    use std::os::unix::fs::DirBuilderExt;
    let random = u64::from_ne_bytes(ambient.random.bytes()?);
    let path = std::env::temp_dir().join(format!("hallpass-demo-{random:016x}"));
    fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
    Ok(Folder(path))
}

/// A port that was free a moment ago: `iss` has to be known before the broker binds it.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
