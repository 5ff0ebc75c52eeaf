//! `hallpass.toml` and the environment → [`Config`].
//!
//! [`Config::load`] gives settings that were all checked, or every mistake at once; nothing unknown, empty or
//! contradictory passes. [`check`] reads the agent files under the same configuration too, so that one run
//! tells everything. `docs/CONFIGURATION.md` is the manual; a test holds it to the keys read here.
//!
//! `app` loads, `cli` checks. No layer below knows where a setting came from.

mod environment;
mod files;
mod issuer;
mod limits;
mod outbound;
mod proxies;
mod restart;
mod server;
mod source;
mod storage;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod trust_domain;
mod weak;

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::broker::settings::Limits;
use crate::document::{Document, ENVIRONMENT, Mistakes, Table, read_text};
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::domain::guardrails::Guardrails;
use crate::domain::id::{BrokerName, IssuerName};
use crate::domain::platform::Platform;
use crate::http::settings::{AdminSettings, PublicLimits, ResourceServer, ServerSettings, TlsSettings};
use crate::identity::settings::{IssuerSettings, TrustDomainSettings};
use crate::outbound::Way;
use crate::registry::{Registry, Rules};
use crate::revocation::settings::RevocationSettings;
use crate::store::settings::StoreSettings;
use crate::telemetry::LogFilter;
use crate::token::settings::TokenSettings;

pub use environment::COMMAND_LINE_VARIABLES;
pub use source::Source;

/// Everything that `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub store: StoreSettings,
    pub key_encryption_key: KeyEncryptionKeySource,
    pub revocation: RevocationSettings,
    /// How often this broker drills the kill switch by itself.
    pub drill_every: Option<Duration>,
    pub token: TokenSettings,
    /// Whether each DPoP proof must bring a nonce of this broker.
    pub dpop_nonce: bool,
    /// Whether a client assertion may name the issuer alone as its audience.
    pub strict_assertion_audience: bool,
    /// The folder of agent files.
    pub registry_path: PathBuf,
    pub guardrails: Guardrails,
    pub limits: Limits,
    pub public_limits: PublicLimits,
    pub resource_servers: Vec<ResourceServer>,
    pub issuers: Vec<IssuerSettings>,
    pub trust_domains: Vec<TrustDomainSettings>,
    pub broker_name: BrokerName,
    /// How much is logged.
    pub log: LogFilter,
    /// Which way issuers are asked.
    pub way: Way,
}

/// Where the key that seals the signing keys comes from.
#[derive(Debug, Clone)]
pub enum KeyEncryptionKeySource {
    /// `store.key_encryption_key_file`, readable when it was checked.
    File(PathBuf),
    /// `HALLPASS_STORE__KEY_ENCRYPTION_KEY`.
    Text(SecretString),
    /// Beside the database, made (0600) at the first start.
    DefaultFile(PathBuf),
}

/// A configuration and the agents registered under it.
#[derive(Debug)]
pub struct Checked {
    pub config: Config,
    pub registry: Registry,
    /// To read it again.
    pub source: Source,
    /// What in any of the files is weaker than it need be, by file and line.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads `path` and what `environment` overrides. Blocks; opens the files that the configuration names.
    ///
    /// # Errors
    /// Every mistake, by file and line; those of a variable are of the file `environment`.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mistakes = Mistakes::default();
        let draft = Draft::read(path, environment, &mistakes);
        match draft.config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes.into_sorted()),
        }
    }

    /// Everybody who may vouch for a workload: the issuers, and then the trust domains.
    pub fn vouchers(&self) -> impl Iterator<Item = &IssuerName> {
        let issuers = self.issuers.iter().map(|issuer| &issuer.name);
        issuers.chain(self.trust_domains.iter().map(|domain| &domain.name))
    }

    /// What agent files are held to.
    pub fn rules(&self) -> Rules {
        Rules {
            guardrails: self.guardrails.clone(),
            issuers: Some(self.issuers.iter().map(|issuer| (issuer.name.clone(), issuer.kind)).collect()),
            trust_domains: Some(self.trust_domains.iter().map(|domain| domain.name.clone()).collect()),
            tokens_per_minute: self.limits.tokens_per_minute,
        }
    }
}

/// Reads the configuration and every agent file, offline. Agent files are held to whatever could be read
/// of the configuration, even where other parts of it are wrong.
///
/// # Errors
/// Every mistake of every file, by file and line.
pub fn check(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Checked, Vec<Diagnostic>> {
    check_into(Mistakes::default(), path, environment, None)
}

/// As [`check`], beside a broker that serves `before`: agents whose files have not changed are shared with it.
fn check_after(
    before: &Registry,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Checked, Vec<Diagnostic>> {
    check_into(Mistakes::default(), path, environment, Some(before))
}

/// As [`check`], without opening the files that the configuration names, such as secrets and certificates: they are not on a
/// machine of CI. No broker starts with what comes of it.
///
/// # Errors
/// As [`check`].
pub fn check_without_files(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Checked, Vec<Diagnostic>> {
    check_into(Mistakes::without_files(), path, environment, None)
}

/// Reads the agent files alone, under whatever could be read of the configuration.
///
/// # Errors
/// Every mistake of theirs, and that the configuration cannot be read or is not TOML.
pub fn check_agents(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Registry, Vec<Diagnostic>> {
    let draft = Draft::read(path, environment, &Mistakes::without_files());
    let mistakes = Mistakes::default();
    let text = read_text(path, &mistakes);
    Document::parse(path, text.as_deref().unwrap_or_default(), &mistakes);
    let registry = draft.registry_path.map(|dir| draft.rules.load(&dir));
    match registry {
        Some(Ok(registry)) if mistakes.is_empty() => Ok(registry),
        registry => {
            registry.and_then(Result::err).into_iter().flatten().for_each(|mistake| mistakes.push(mistake));
            Err(mistakes.into_sorted())
        }
    }
}

fn check_into(
    mistakes: Mistakes,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    before: Option<&Registry>,
) -> Result<Checked, Vec<Diagnostic>> {
    let draft = Draft::read(path, environment, &mistakes);
    let load = |dir: PathBuf| match before {
        Some(before) => draft.rules.load_after(before, &dir),
        None => draft.rules.load(&dir),
    };
    let registry = draft.registry_path.map(load);
    match (draft.config, registry) {
        (Some(config), Some(Ok(registry))) if mistakes.is_empty() => {
            let mut warnings = mistakes.into_warnings();
            warnings.extend_from_slice(registry.warnings());
            warnings.sort();
            Ok(Checked { config, registry, source: draft.source, warnings })
        }
        (_, registry) => {
            registry.and_then(Result::err).into_iter().flatten().for_each(|mistake| mistakes.push(mistake));
            Err(mistakes.into_sorted())
        }
    }
}

/// Where a listener is, and the certificate file that it serves TLS with.
#[derive(Debug, Clone)]
pub struct ListensAt {
    pub address: SocketAddr,
    pub cert_file: Option<PathBuf>,
}

/// Where a broker listens, and the file of its local operator's key, as far as each can be read.
#[derive(Debug, Clone)]
pub struct Doors {
    pub public: Option<ListensAt>,
    pub admin: Option<ListensAt>,
    pub local_key_file: Option<PathBuf>,
}

/// Where the listeners of this configuration are; `None` where it cannot be read. Other parts of it may be wrong. Blocks.
pub fn doors(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Option<Doors> {
    let mistakes = Mistakes::default();
    let text = read_text(path, &mistakes)?;
    let (variables, _) = environment::read(environment);
    let document = Document::parse(path, &text, &mistakes).with_environment(variables);
    let listeners = server::read(&document.root(&mistakes), &mistakes);
    let at =
        |address, tls: Option<TlsSettings>| ListensAt { address, cert_file: tls.map(|tls| tls.cert_file) };
    let (admin, local_key_file) = listeners
        .admin
        .map_or((None, None), |admin| (Some(at(admin.listen, admin.tls)), admin.local_key_file));
    Some(Doors {
        public: listeners.server.map(|server| at(server.listen, server.tls)),
        admin,
        local_key_file,
    })
}

/// What could be read.
struct Draft {
    /// None where a part is missing or wrong.
    config: Option<Config>,
    registry_path: Option<PathBuf>,
    rules: Rules,
    source: Source,
    /// The keys that a file may have, `issuer[].name` for those of a list.
    #[cfg(test)]
    known: BTreeSet<String>,
}

impl Draft {
    fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        mistakes: &Mistakes,
    ) -> Self {
        let text = read_text(path, mistakes);
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let source = Source::new(path, &environment, text.as_deref());
        let (variables, proxies) = environment::read(environment);
        let document = Document::parse(path, text.as_deref().unwrap_or_default(), mistakes)
            .with_environment(variables.clone());
        let whole = text.is_some() && document.is_whole();
        // What is missing from half a file may just be in the other half.
        let unreliable = Mistakes::default();
        let draft = Self::of(&document, &proxies, if whole { mistakes } else { &unreliable });
        let mut draft = Self { source, ..draft };
        if !whole {
            draft.rules.issuers = None;
            draft.rules.trust_domains = None;
        }
        if text.is_none() {
            draft.registry_path = None;
        }
        let of_environment = |mistake: &Diagnostic| mistake.file == Path::new(ENVIRONMENT);
        unreliable
            .into_sorted()
            .into_iter()
            .filter(of_environment)
            .for_each(|mistake| mistakes.push(mistake));
        environment::report_unknown(&variables, &document.known_variables(), mistakes);
        draft
    }

    /// `proxies` are the variables that tell of proxies.
    fn of(document: &Document<'_>, proxies: &[(String, String)], mistakes: &Mistakes) -> Self {
        let root = document.root(mistakes);
        let listeners = server::read(&root, mistakes);
        let (store, key_encryption_key) = storage::store(&root, mistakes);
        let (revocation, drill_every) = storage::revocation(&root, store.as_ref(), mistakes);
        let guardrails = limits::guardrails(&root, mistakes);
        let token = token::read(&root, guardrails.max_ttl, mistakes);
        let (limits, public_limits) = limits::limits(&root, mistakes);
        let way = outbound::read(&root, proxies, mistakes);
        let public_url = listeners.server.as_ref().map(|server| server.public_url.as_str());
        let issuers = issuer::read(&root, public_url, mistakes);
        let trust_domains = trust_domain::read(&root, &issuers.settings, mistakes);
        let registry_path = registry_path(&root, mistakes);
        let guardrails = Guardrails { ttl: token.ttl.unwrap_or(guardrails.max_ttl), ..guardrails };
        let rules = Rules {
            guardrails: guardrails.clone(),
            issuers: issuers.names.clone(),
            trust_domains: trust_domains.names.clone(),
            tokens_per_minute: limits.as_ref().and_then(|limits| limits.tokens_per_minute),
        };
        let config = (|| {
            Some(Config {
                server: listeners.server?,
                admin: listeners.admin?,
                store: store?,
                key_encryption_key: key_encryption_key?,
                revocation: revocation?,
                drill_every: drill_every?,
                token: token.settings?,
                dpop_nonce: token.dpop_nonce?,
                strict_assertion_audience: token.strict_assertion_audience?,
                registry_path: registry_path.clone()?,
                guardrails,
                limits: limits?,
                public_limits: public_limits?,
                resource_servers: listeners.resource_servers,
                issuers: issuers.settings,
                trust_domains: trust_domains.settings,
                broker_name: listeners.broker_name?,
                log: listeners.log?,
                way: way?,
            })
        })();
        Self {
            config,
            registry_path,
            rules,
            source: Source::new(Path::new(""), &[], None),
            #[cfg(test)]
            known: document.known(),
        }
    }
}

fn registry_path(root: &Table<'_>, mistakes: &Mistakes) -> Option<PathBuf> {
    let path = root.section("registry").key("path", "\"agents\"");
    let path = path.or("agents".to_owned(), |field| field.text())?;
    Some(files::named(&path.value, &path.place, mistakes)?.value)
}

/// The names of `[[issuer]]` and whose they are, where each could be read.
type IssuerNames = Option<BTreeMap<IssuerName, Platform>>;
