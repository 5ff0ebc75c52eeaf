//! Where the proof of this workload's identity is.
//!
//! What a person named comes before what a platform provides. The first place that is there is the proof:
//! when it cannot be read the command fails, instead of proving to be somebody else by the next one.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::cli::certificate::Certificate;
use crate::cli::key_file::{self, Readers};
use crate::cli::token::github::{self, RequestUrl};
use crate::cli::token::proof::{Proof, ed25519, identity_token};
use crate::cli::token::workload_api::ENDPOINT_SOCKET;
use crate::cli::{Failure, Host, Outcome};
use crate::document::wrong_value;
use crate::domain::id::{AgentId, InvalidName};

pub const IDENTITY_TOKEN_FILE: &str = "HALLPASS_IDENTITY_TOKEN_FILE";
/// GitLab's `id_tokens:` takes any name; this is the one that hallpass looks at.
pub const IDENTITY_TOKEN: &str = "HALLPASS_IDENTITY_TOKEN";
pub const KEY_FILE: &str = "HALLPASS_KEY_FILE";
pub const AGENT: &str = "HALLPASS_AGENT";
/// Where a pod's projected service-account token is expected (`examples/kubernetes-pod.yaml`).
pub const PROJECTED: &str = "/var/run/secrets/hallpass/token";

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Proof of identity")]
pub struct ProofArgs {
    /// A file with this workload's OIDC token [env: HALLPASS_IDENTITY_TOKEN_FILE]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "agent"])]
    identity_token_file: Option<PathBuf>,
    /// A file with this agent's registered key [env: HALLPASS_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The agent that the key is registered for [env: HALLPASS_AGENT]
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// A file with this workload's X.509-SVID in PEM, its intermediates after it: the client certificate of TLS
    #[arg(long, value_name = "FILE", requires = "svid_key_file",
        conflicts_with_all = ["identity_token_file", "key_file", "agent", "spiffe_socket", "spiffe_id", "x509_svid"])]
    svid_file: Option<PathBuf>,
    /// The private key of --svid-file in PEM
    #[arg(long, value_name = "FILE", requires = "svid_file")]
    svid_key_file: Option<PathBuf>,
    /// The SPIFFE Workload API's socket: unix:///run/spire/sockets/agent.sock [env: SPIFFE_ENDPOINT_SOCKET]
    #[arg(long, value_name = "ENDPOINT", conflicts_with_all = ["identity_token_file", "key_file", "agent"])]
    spiffe_socket: Option<String>,
    /// Which identity to ask of the Workload API for, where it has several [default: the first]
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id,
        conflicts_with_all = ["identity_token_file", "key_file", "agent"])]
    pub spiffe_id: Option<spiffe::SpiffeId>,
    /// Ask the Workload API for an X.509-SVID instead of a JWT-SVID, and show it in TLS
    #[arg(long, conflicts_with_all = ["identity_token_file", "key_file", "agent"])]
    x509_svid: bool,
    /// Whom GitHub Actions or the Workload API makes its token out to [default: the broker's own name, from its metadata]
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,
}

fn spiffe_id(text: &str) -> Result<spiffe::SpiffeId, String> {
    // Ours is the stricter one, and says what is wrong.
    text.parse::<crate::domain::spiffe::SpiffeId>().map_err(|error| format!("it {error}"))?;
    spiffe::SpiffeId::new(text).map_err(|error| error.to_string())
}

/// Where a proof comes from. It is read anew for each request: platforms replace the file, and the
/// token of a job that runs for hours expires.
pub enum Source {
    File { file: PathBuf, named_by: &'static str },
    Text(SecretString),
    GitHub { url: RequestUrl, bearer: SecretString },
    Svid { chain: PathBuf, key: PathBuf },
    WorkloadApi { endpoint: String, named_by: &'static str, kind: SvidKind },
    Key { agent: AgentId, file: PathBuf, named_by: &'static str },
}

/// What the Workload API is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SvidKind {
    Jwt,
    X509,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, named_by } => {
                write!(f, "the identity token in {} ({named_by})", file.display())
            }
            Self::Text(_) => write!(f, "the identity token in {IDENTITY_TOKEN}"),
            Self::GitHub { url, .. } => write!(f, "an identity token of GitHub Actions, from {url}"),
            Self::Svid { chain, .. } => write!(f, "the X.509-SVID in {} (--svid-file)", chain.display()),
            Self::WorkloadApi { endpoint, named_by, kind } => {
                let kind = match kind {
                    SvidKind::Jwt => "a JWT-SVID",
                    SvidKind::X509 => "an X.509-SVID",
                };
                write!(f, "{kind} of the SPIFFE Workload API at {endpoint} ({named_by})")
            }
            Self::Key { agent, file, named_by } => {
                write!(f, "the key in {} ({named_by}), registered for {agent}", file.display())
            }
        }
    }
}

impl Source {
    /// The first place there is. `projected` is [`PROJECTED`], unless a test says otherwise.
    ///
    /// # Errors
    /// When there is none, listing where it looked, or when what names one makes no sense.
    pub fn find(args: &ProofArgs, projected: &Path, host: &Host<'_>) -> Outcome<Self> {
        if let Some(file) = &args.identity_token_file {
            return Ok(Self::File { file: file.clone(), named_by: "--identity-token-file" });
        }
        if let Some(file) = &args.key_file {
            return Ok(Self::Key { agent: agent(args, host)?, file: file.clone(), named_by: "--key-file" });
        }
        if let (Some(chain), Some(key)) = (&args.svid_file, &args.svid_key_file) {
            return Ok(Self::Svid { chain: chain.clone(), key: key.clone() });
        }
        let kind = if args.x509_svid { SvidKind::X509 } else { SvidKind::Jwt };
        if let Some(endpoint) = &args.spiffe_socket {
            return Ok(Self::WorkloadApi { endpoint: endpoint.clone(), named_by: "--spiffe-socket", kind });
        }
        // They name an identity that no other proof is of.
        if args.spiffe_id.is_some() || args.x509_svid {
            let endpoint = text(ENDPOINT_SOCKET, host)?.ok_or_else(|| {
                let flag = if args.x509_svid { "--x509-svid" } else { "--spiffe-id" };
                Failure::usage(format!("{flag} asks the SPIFFE Workload API, and no socket is named"))
                    .remedy("give --spiffe-socket or SPIFFE_ENDPOINT_SOCKET")
            })?;
            return Ok(Self::WorkloadApi { endpoint, named_by: ENDPOINT_SOCKET, kind });
        }
        // `--agent` says that the proof is a key, so an identity token that lies about is not taken.
        if args.agent.is_none()
            && let Some(found) = identity_token_of(projected, host)?
        {
            return Ok(found);
        }
        match host.env(KEY_FILE) {
            Some(file) => Ok(Self::Key { agent: agent(args, host)?, file: file.into(), named_by: KEY_FILE }),
            None => Err(nothing_found(args, projected, host)),
        }
    }

    /// Reads a file or a key. GitHub's token is fetched by [`github::fetch`] instead, an SVID of the Workload
    /// API by [`workload_api`](crate::cli::token::workload_api).
    ///
    /// # Errors
    /// When what is there is not a proof.
    pub fn read(&self, host: &mut Host<'_>) -> Outcome<Option<Proof>> {
        Ok(Some(match self {
            Self::File { file, .. } => {
                identity_token(key_file::read(file, Readers::Anyone, host)?, &file.display().to_string())?
            }
            Self::Text(token) => identity_token(token.clone(), IDENTITY_TOKEN)?,
            Self::Key { agent, file, .. } => {
                let key =
                    ed25519(file, "make one with `hallpass keygen`, and register its public half", host)?;
                Proof::Key { agent: agent.clone(), key: Box::new(key) }
            }
            Self::Svid { chain, key } => Proof::Certificate(Certificate::read(chain, key, host)?),
            Self::GitHub { .. } | Self::WorkloadApi { .. } => return Ok(None),
        }))
    }
}

fn identity_token_of(projected: &Path, host: &Host<'_>) -> Outcome<Option<Source>> {
    if let Some(file) = host.env(IDENTITY_TOKEN_FILE) {
        return Ok(Some(Source::File { file: file.into(), named_by: IDENTITY_TOKEN_FILE }));
    }
    if let Some(token) = text(IDENTITY_TOKEN, host)? {
        return Ok(Some(Source::Text(token.trim().into())));
    }
    if let (Some(url), Some(bearer)) = (text(github::REQUEST_URL, host)?, text(github::REQUEST_TOKEN, host)?)
    {
        return Ok(Some(Source::GitHub { url: url.parse()?, bearer: bearer.into() }));
    }
    // A file that is there and cannot be looked at is this workload's too: reading it says why.
    if projected.try_exists().unwrap_or(true) {
        return Ok(Some(Source::File { file: projected.to_owned(), named_by: "a projected token" }));
    }
    let endpoint = text(ENDPOINT_SOCKET, host)?;
    let kind = SvidKind::Jwt;
    Ok(endpoint.map(|endpoint| Source::WorkloadApi { endpoint, named_by: ENDPOINT_SOCKET, kind }))
}

fn text(name: &'static str, host: &Host<'_>) -> Outcome<Option<String>> {
    let value = host.env(name).map(OsString::into_string).transpose();
    value.map_err(|_| Failure::failed(format!("{name} is not text")))
}

fn agent(args: &ProofArgs, host: &Host<'_>) -> Outcome<AgentId> {
    match (&args.agent, host.env(AGENT)) {
        (Some(agent), _) => Ok(agent.clone()),
        (None, Some(name)) => {
            let name = name.to_string_lossy();
            name.parse().map_err(|error: InvalidName| {
                Failure::usage(format!("{AGENT}: {}", wrong_value(&name, &error.to_string())))
            })
        }
        (None, None) => {
            Err(Failure::usage("a key proves nothing without the agent that it is registered for")
                .remedy("name the agent with --agent or HALLPASS_AGENT"))
        }
    }
}

fn nothing_found(args: &ProofArgs, projected: &Path, host: &Host<'_>) -> Failure {
    const PASSED_OVER: &str = "passed over, for --agent asks for a key";
    let variable = |name: &str| match (host.env)(name) {
        None => "not set",
        Some(value) if value.is_empty() => "set, but empty",
        Some(_) if args.agent.is_some() => PASSED_OVER,
        Some(_) => "set",
    };
    let flag = if args.agent.is_some() { "not given, though --agent is" } else { "not given" };
    let github = format!(
        "{} {}, {} {}",
        github::REQUEST_URL,
        variable(github::REQUEST_URL),
        github::REQUEST_TOKEN,
        variable(github::REQUEST_TOKEN)
    );
    let file = if args.agent.is_some() { PASSED_OVER } else { "not there" };
    Failure::failed("found no proof of this workload's identity; looked, in this order, for")
        .fact("--identity-token-file", "not given")
        .fact("--key-file", flag)
        .fact("--svid-file", "not given")
        .fact(IDENTITY_TOKEN_FILE, variable(IDENTITY_TOKEN_FILE))
        .fact(IDENTITY_TOKEN, variable(IDENTITY_TOKEN))
        .fact("GitHub Actions", github)
        .fact("a projected token", format!("{} {file}", projected.display()))
        .fact(ENDPOINT_SOCKET, variable(ENDPOINT_SOCKET))
        .fact(KEY_FILE, variable(KEY_FILE))
        .remedy(remedy(host))
}

/// On a platform that could have given one, what its job has to say.
fn remedy(host: &Host<'_>) -> &'static str {
    if host.env("GITHUB_ACTIONS").is_some() {
        "give the job `permissions: id-token: write`; examples/github-actions.yml shows a whole one"
    } else if host.env("GITLAB_CI").is_some() {
        "give the job `id_tokens:` with HALLPASS_IDENTITY_TOKEN; examples/gitlab-ci.yml shows a whole one"
    } else if host.env("KUBERNETES_SERVICE_HOST").is_some() {
        "mount a projected service-account token there; examples/kubernetes-pod.yaml shows a whole pod"
    } else {
        "give one of them; `hallpass token --help` shows how"
    }
}

#[cfg(test)]
mod tests;
