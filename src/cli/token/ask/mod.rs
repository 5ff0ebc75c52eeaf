//! The whole call of an agent: find the proof, ask the broker, wait where waiting helps.

mod issued;
mod named;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::{Answer, Client, is_bearer_token};
use crate::cli::listener::Listener;
use crate::cli::token::identity::Identity;
use crate::cli::token::narrow::Parameters;
use crate::cli::token::patience::patiently;
use crate::cli::token::proof::Proof;
use crate::cli::token::source::{PROJECTED, ProofArgs, Source, SvidKind};
use crate::cli::token::{assertion, dpop, github, workload_api};
use crate::cli::{Failure, Host, Outcome, moment};
pub use issued::{Issued, Scheme};
use named::Named;

const TOKEN_ENDPOINT: &str = "/oauth/token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SVID_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The broker's public listener, for agents' commands.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// The broker's public listener
    #[arg(
        long,
        value_name = "URL",
        env = "HALLPASS_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8700"
    )]
    pub url: BrokerUrl,
}

/// How to get a token, whatever is asked for.
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// Say on standard error which proof is used, and from `git-credential` why git gets nothing
    #[arg(short, long)]
    pub(in crate::cli) verbose: bool,
    /// How long to go on asking a broker that is not reached or says to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = timeout)]
    timeout: Duration,
    /// Hand down a part of the token in this file: the parent's, whose file lists this agent in
    /// may_delegate_to (RFC 8693)
    #[arg(long, value_name = "FILE")]
    parent_token_file: Option<PathBuf>,
    #[command(flatten)]
    proof: ProofArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

fn timeout(text: &str) -> Result<Duration, &'static str> {
    match moment::duration(text)? {
        Duration::ZERO => Err("nobody answers in no time"),
        timeout => Ok(timeout),
    }
}

/// Gets tokens for this workload, and ends them.
pub struct Asker {
    client: Client,
    source: Source,
    audience: Option<String>,
    /// Which of several the Workload API is asked for.
    spiffe_id: Option<spiffe::SpiffeId>,
    /// The file of the token that is handed down.
    parent: Option<PathBuf>,
    /// What the tokens are to be bound to.
    dpop: Option<Ed25519KeyPair>,
    patience: Duration,
}

impl Asker {
    /// # Errors
    /// When there is no proof, or TLS cannot be set up. Nothing has been asked yet.
    pub fn new(args: &AskArgs, host: &mut Host<'_>) -> Outcome<Self> {
        let source = Source::find(&args.proof, Path::new(PROJECTED), host)?;
        if args.verbose {
            host.note(&format!("proof: {source}"));
        }
        let client = Client::over(args.broker.url.clone(), Listener::Public, host.way()?)?;
        let parent = args.parent_token_file.clone();
        let ProofArgs { audience, spiffe_id, .. } = &args.proof;
        let (audience, spiffe_id) = (audience.clone(), spiffe_id.clone());
        Ok(Self { client, source, audience, spiffe_id, parent, dpop: None, patience: args.timeout })
    }

    /// The same, whose tokens are bound to `key`, if there is one.
    pub fn bound_to(self, key: Option<Ed25519KeyPair>) -> Self {
        Self { dpop: key, ..self }
    }

    pub fn scheme(&self) -> Scheme {
        if self.dpop.is_some() { Scheme::Dpop } else { Scheme::Bearer }
    }

    /// Where the proof comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The broker's address.
    pub fn broker(&self) -> &BrokerUrl {
        self.client.base()
    }

    /// Who the proof says that this workload is, with new tries while waiting helps.
    ///
    /// # Errors
    /// When the proof cannot be read, or nobody answers in time.
    pub async fn identity(&self, host: &mut Host<'_>) -> Outcome<Identity> {
        patiently(self.patience, host, async |host: &mut Host<'_>| {
            let broker = Named { client: &self.client, issuer: OnceCell::new() };
            Ok(Identity::of(&self.prove(&broker, host).await?))
        })
        .await
    }

    /// A token for what is `asked`, with new tries while waiting helps.
    ///
    /// # Errors
    /// Refused when the broker says no; failed when the proof cannot be read or nobody answers in time.
    pub async fn ask(&self, asked: &Parameters, host: &mut Host<'_>) -> Outcome<Answer> {
        patiently(self.patience, host, async |host: &mut Host<'_>| self.ask_once(asked, host).await).await
    }

    /// One try.
    ///
    /// # Errors
    /// As [`Asker::ask`].
    pub async fn ask_once(&self, asked: &Parameters, host: &mut Host<'_>) -> Outcome<Answer> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let parent = self.parent.as_deref().map(parent_token).transpose()?;
        if let Some(parent) = &parent {
            form.append_pair("grant_type", TOKEN_EXCHANGE);
            form.append_pair("subject_token_type", ACCESS_TOKEN);
            form.append_pair("subject_token", parent.expose_secret());
        }
        let broker = Named { client: &self.client, issuer: OnceCell::new() };
        let proof = self.prove(&broker, host).await?;
        if parent.is_none() && !matches!(proof, Proof::IdentityToken(_)) {
            form.append_pair("grant_type", "client_credentials");
        }
        let mut showing = None;
        match proof {
            Proof::IdentityToken(token) if parent.is_some() => {
                form.append_pair("actor_token_type", TOKEN_TYPE_JWT);
                form.append_pair("actor_token", token.expose_secret());
            }
            Proof::IdentityToken(token) => {
                form.append_pair("grant_type", TOKEN_EXCHANGE);
                form.append_pair("subject_token_type", TOKEN_TYPE_JWT);
                form.append_pair("subject_token", token.expose_secret());
            }
            Proof::JwtSvid(svid) => {
                form.append_pair("client_assertion_type", SVID_TYPE);
                form.append_pair("client_assertion", svid.expose_secret());
            }
            Proof::Key { agent, key } => {
                let issuer = broker.issuer().await?;
                let assertion = assertion::sign(&key, &agent, issuer, host.clock.now(), &host.random);
                let assertion = assertion.map_err(|error| Failure::failed(error.to_string()))?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &assertion);
            }
            Proof::Certificate(certificate) => showing = Some(self.client.showing(&certificate)?),
        }
        form.extend_pairs(asked);
        let client = showing.as_ref().unwrap_or(&self.client);
        let answer = match &self.dpop {
            None => client.post_form(TOKEN_ENDPOINT, form.finish()).await?,
            Some(key) => ask_bound(client, broker.issuer().await?, key, form.finish(), host).await?,
        };
        answer.success()
    }

    async fn prove(&self, broker: &Named<'_>, host: &mut Host<'_>) -> Outcome<Proof> {
        match &self.source {
            Source::GitHub { url, bearer } => {
                github::fetch(&self.client, url, bearer, self.audience(broker).await?).await
            }
            Source::WorkloadApi { endpoint, kind: SvidKind::Jwt, .. } => {
                workload_api::jwt_svid(endpoint, self.audience(broker).await?, self.spiffe_id.as_ref()).await
            }
            Source::WorkloadApi { endpoint, kind: SvidKind::X509, .. } => {
                workload_api::x509_svid(endpoint, self.spiffe_id.as_ref()).await
            }
            source => {
                let read = source.read(host)?;
                read.ok_or_else(|| Failure::failed(format!("{source} cannot be read")))
            }
        }
    }

    /// Whom a proof that is made for this call is made out to.
    async fn audience<'a>(&'a self, broker: &'a Named<'_>) -> Outcome<&'a str> {
        match &self.audience {
            Some(audience) => Ok(audience),
            None => broker.issuer().await,
        }
    }

    /// Ends a token of ours (RFC 7009): holding it is enough.
    ///
    /// # Errors
    /// When the broker did not say that it is dead.
    pub async fn end(&self, token: &SecretString) -> Outcome {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token.expose_secret());
        self.client.post_form("/oauth/revoke", form.finish()).await?.success().map(drop)
    }
}

/// Once more where the broker wants a nonce: the rest of the request was not looked at then.
async fn ask_bound(
    client: &Client,
    issuer: &str,
    key: &Ed25519KeyPair,
    form: String,
    host: &Host<'_>,
) -> Outcome<Answer> {
    let endpoint = format!("{}{TOKEN_ENDPOINT}", issuer.trim_end_matches('/'));
    let ask = async |nonce: Option<&str>| {
        let proof = dpop::sign(key, &endpoint, nonce, host.clock.now(), &host.random);
        let proof = proof.map_err(|error| Failure::failed(error.to_string()))?;
        client.post_form_with_dpop(TOKEN_ENDPOINT, form.clone(), &proof).await
    };
    let answer = ask(None).await?;
    match answer.demands_nonce() {
        Some(nonce) => ask(Some(nonce)).await,
        None => Ok(answer),
    }
}

/// Read anew for each token: whoever runs the parent keeps it fresh.
fn parent_token(file: &Path) -> Outcome<SecretString> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
    let token = text.trim();
    if !is_bearer_token(token) {
        return Err(Failure::failed(format!("{} holds no token", file.display()))
            .remedy("name a file with the parent's token alone, such as its HALLPASS_TOKEN_FILE"));
    }
    Ok(token.into())
}
