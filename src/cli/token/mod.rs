//! `hallpass token`: proves an identity to the broker, and prints the token in the form its user needs.

pub mod assertion;
pub mod proof;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::{Answer, Client, is_bearer_token, wait};
use crate::cli::show::json_line;
use crate::cli::{Failure, Host, Outcome, moment};
use proof::{Proof, ProofArgs};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub const AFTER_HELP: &str = "\
The proof is the first of these that is given; a proof that fails is never replaced by the next:
  1. --identity-token-file FILE       an OIDC token, as a platform mounts it
  2. --key-file FILE with --agent ID  a registered key (hallpass keygen)
  3. HALLPASS_IDENTITY_TOKEN_FILE     as 1
  4. HALLPASS_IDENTITY_TOKEN          the OIDC token itself
  5. HALLPASS_KEY_FILE                as 2; the agent from --agent or HALLPASS_AGENT

Formats:
  token   the token and a newline (the default, where standard output is not a terminal)
  json    the broker's whole answer
  env     HALLPASS_TOKEN=… and HALLPASS_TOKEN_EXPIRES_AT=… (Unix seconds)
  header  Authorization: Bearer …

Examples:
  hallpass token --identity-token-file /var/run/secrets/tokens/hallpass --scope payments:read
  hallpass token --key-file agent.key --agent payments-refactorer --ttl 5m --format json
  curl -H \"$(hallpass token --format header)\" https://ledger.staging.acme.internal/v1/entries/7
  hallpass token --format env >> \"$GITHUB_ENV\"
  hallpass token --authorization-details @narrow.json --resource https://github.com";

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

impl BrokerArgs {
    pub const NAMED_BY: &str = "--url or HALLPASS_URL";
}

#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(flatten)]
    narrow: NarrowArgs,
    /// The form to print the token in
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    proof: ProofArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What to ask for. Nothing asked is everything that is free.
#[derive(Debug, clap::Args)]
struct NarrowArgs {
    /// Permissions such as payments:read; give it again, or several in quotes
    #[arg(long, value_name = "NAME:ACTION")]
    scope: Vec<String>,
    /// Only what is registered at this origin (RFC 8707)
    #[arg(long, value_name = "ORIGIN")]
    resource: Option<String>,
    /// A JSON array (RFC 9396), or @FILE that holds one
    #[arg(long, value_name = "JSON|@FILE")]
    authorization_details: Option<String>,
    /// A shorter life than the broker would give: 5m, or seconds
    #[arg(long, value_name = "DURATION", value_parser = moment::lifetime)]
    ttl: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Token,
    Json,
    Env,
    Header,
}

/// A successful answer (RFC 8693 §2.2.1), as far as it is printed in parts. It borrows the answer's
/// bytes, which are wiped when they are let go.
#[derive(Deserialize)]
struct Issued<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u32,
}

/// # Errors
/// Usage without `--format` on a terminal, failed without a proof, refused when the broker says no.
pub fn run(args: &TokenArgs, host: &mut Host<'_>) -> Outcome {
    if args.format.is_none() && host.terminal {
        return Err(Failure::usage("a token on a terminal stays in its scrollback, so none was asked for")
            .remedy(
                "send it to a program or a file, or say which --format to print: token, json, env or header",
            ));
    }
    let asked = args.narrow.parameters()?;
    let proof = proof::find(&args.proof, host)?;
    let client = Client::new(args.broker.url.clone(), BrokerArgs::NAMED_BY)?;
    let answer = wait(async {
        let mut form = with_proof(proof, &client, host).await?;
        form.extend_pairs(&asked);
        client.post_form("/oauth/token", form.finish()).await?.success()
    })?;
    print(&answer, args.format.unwrap_or(Format::Token), host)
}

impl NarrowArgs {
    fn parameters(&self) -> Outcome<Vec<(&'static str, String)>> {
        let mut asked = Vec::new();
        if !self.scope.is_empty() {
            asked.push(("scope", self.scope.join(" ")));
        }
        asked.extend(self.resource.clone().map(|resource| ("resource", resource)));
        asked.extend(self.ttl.map(|ttl| ("requested_ttl", ttl.as_secs().to_string())));
        if let Some(given) = &self.authorization_details {
            asked.push(("authorization_details", authorization_details(given)?));
        }
        Ok(asked)
    }
}

fn authorization_details(given: &str) -> Outcome<String> {
    let text = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some(file) => std::fs::read_to_string(PathBuf::from(file))
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", Path::new(file).display())))?,
    };
    match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("--authorization-details is not a JSON array: {error}"))
            .remedy(r#"write [{"type":"git_repository","identifier":"payments","actions":["read"]}]"#)),
    }
}

async fn with_proof<'f>(
    proof: Proof,
    client: &Client,
    host: &Host<'_>,
) -> Outcome<form_urlencoded::Serializer<'f, String>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match proof {
        Proof::IdentityToken(token) => {
            form.append_pair("grant_type", TOKEN_EXCHANGE);
            form.append_pair("subject_token_type", TOKEN_TYPE_JWT);
            form.append_pair("subject_token", token.expose_secret());
        }
        Proof::Key { agent, key } => {
            let issuer = issuer(client).await?;
            let assertion = assertion::sign(&key, &agent, &issuer, host.clock.now(), &host.random);
            let assertion = assertion.map_err(|error| Failure::failed(error.to_string()))?;
            form.append_pair("grant_type", "client_credentials");
            form.append_pair("client_assertion_type", ASSERTION_TYPE);
            form.append_pair("client_assertion", &assertion);
        }
    }
    Ok(form)
}

/// The broker's own name, from its metadata (RFC 8414 §3): the audience of an assertion.
///
/// It must be of the origin that was asked. Otherwise whoever answers there could have an assertion
/// made out to another broker, and use it there.
async fn issuer(client: &Client) -> Outcome<String> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
    }
    let answer = client.get("/.well-known/oauth-authorization-server", &[]).await?.success()?;
    let Metadata { issuer } = answer.json()?;
    match issuer.parse() {
        Ok(url) if client.base().is_origin_of(&url) => Ok(issuer),
        _ => Err(Failure::failed(format!("the broker at {} calls itself {issuer}", client.base())).remedy(
            "give the broker's own name with --url or HALLPASS_URL; nothing was signed for another one",
        )),
    }
}

fn print(answer: &Answer, format: Format, host: &mut Host<'_>) -> Outcome {
    let issued: Issued<'_> = answer.json()?;
    // What is printed below goes into headers and environment files, where another character could
    // start a line of its own.
    if !issued.token_type.eq_ignore_ascii_case("bearer") || !is_bearer_token(issued.access_token) {
        return Err(answer.foreign("it holds no bearer token"));
    }
    let token = issued.access_token;
    let text = Zeroizing::new(match format {
        Format::Token => format!("{token}\n"),
        Format::Json => format!("{}\n", json_line(answer.text()?.trim(), host.terminal)),
        Format::Header => format!("Authorization: Bearer {token}\n"),
        Format::Env => {
            let expires = host.clock.now().seconds().saturating_add(i64::from(issued.expires_in));
            format!("HALLPASS_TOKEN={token}\nHALLPASS_TOKEN_EXPIRES_AT={expires}\n")
        }
    });
    Ok(host.out.write_all(text.as_bytes())?)
}
