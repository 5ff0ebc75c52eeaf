//! Where the proof of this workload's identity is.
//!
//! Flags come before the environment. The first place that is named is the proof: when it cannot be
//! read the command fails, instead of proving to be somebody else by the next one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::key_file::{self, Readers};
use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::AgentId;

const IDENTITY_TOKEN_FILE: &str = "HALLPASS_IDENTITY_TOKEN_FILE";
const IDENTITY_TOKEN: &str = "HALLPASS_IDENTITY_TOKEN";
const KEY_FILE: &str = "HALLPASS_KEY_FILE";
const AGENT: &str = "HALLPASS_AGENT";

#[derive(Debug, clap::Args)]
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
}

/// What proves an identity to the broker.
pub enum Proof {
    /// The subject token of an exchange (RFC 8693 §2.1).
    IdentityToken(SecretString),
    /// A key that signs a client assertion (RFC 7523 §2.2).
    Key { agent: AgentId, key: Box<Ed25519KeyPair> },
}

/// # Errors
/// When nothing is named, listing where it looked, or when what is named is not a proof.
pub fn find(args: &ProofArgs, host: &mut Host<'_>) -> Outcome<Proof> {
    if let Some(file) = &args.identity_token_file {
        return identity_token_in(file, host);
    }
    if let Some(file) = &args.key_file {
        return registered_key(file, args, host);
    }
    // `--agent` says that the proof is a key, so an identity token that lies about is not taken.
    if args.agent.is_none() {
        if let Some(file) = host.env(IDENTITY_TOKEN_FILE) {
            return identity_token_in(Path::new(&file), host);
        }
        if let Some(token) = host.env(IDENTITY_TOKEN) {
            let token =
                token.into_string().map_err(|_| Failure::failed("HALLPASS_IDENTITY_TOKEN is not text"))?;
            return identity_token(token.trim().into(), IDENTITY_TOKEN);
        }
    }
    match host.env(KEY_FILE) {
        Some(file) => registered_key(Path::new(&file), args, host),
        None => Err(nothing_found(args, host)),
    }
}

fn identity_token_in(file: &Path, host: &mut Host<'_>) -> Outcome<Proof> {
    identity_token(key_file::read(file, Readers::Anyone, host)?, &file.display().to_string())
}

/// A look that catches the wrong file here, where it can be named; the broker does the checking.
fn identity_token(token: SecretString, place: &str) -> Outcome<Proof> {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let part = |part: &str| !part.is_empty() && part.bytes().all(base64url);
    let text = token.expose_secret();
    if text.split('.').count() == 3 && text.split('.').all(part) {
        return Ok(Proof::IdentityToken(token));
    }
    Err(Failure::failed(format!("{place} does not hold one JWT (three base64url parts with dots between)"))
        .remedy("give the OIDC token alone, without JSON, quotes or `Bearer` around it"))
}

fn registered_key(file: &Path, args: &ProofArgs, host: &mut Host<'_>) -> Outcome<Proof> {
    let agent = match (&args.agent, host.env(AGENT)) {
        (Some(agent), _) => agent.clone(),
        (None, Some(name)) => agent_named(&name)?,
        (None, None) => {
            return Err(Failure::usage("a key proves nothing without the agent that it is registered for")
                .remedy("name the agent with --agent or HALLPASS_AGENT"));
        }
    };
    let pem = key_file::read(file, Readers::Owner, host)?;
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("{} is not an Ed25519 key in PKCS#8 PEM: {why}", file.display()))
            .remedy("make one with `hallpass keygen`, and register its public half")
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|e| unusable(&e))?;
    // OpenSSL writes PKCS#8 without the public half; the broker finds out if it is not the registered one.
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|e| unusable(&e))?;
    Ok(Proof::Key { agent, key: Box::new(key) })
}

fn agent_named(name: &OsString) -> Outcome<AgentId> {
    let name = name.to_string_lossy();
    name.parse().map_err(|error| Failure::usage(format!("HALLPASS_AGENT: {error}")))
}

fn nothing_found(args: &ProofArgs, host: &Host<'_>) -> Failure {
    let variable = |name: &str| match (host.env)(name) {
        None => "not set",
        Some(value) if value.is_empty() => "set, but empty",
        Some(_) => "passed over, for --agent asks for a key",
    };
    let flag = if args.agent.is_some() { "not given, though --agent is" } else { "not given" };
    Failure::failed("found no proof of this workload's identity; looked, in this order, for")
        .fact("--identity-token-file", "not given")
        .fact("--key-file", flag)
        .fact(IDENTITY_TOKEN_FILE, variable(IDENTITY_TOKEN_FILE))
        .fact(IDENTITY_TOKEN, variable(IDENTITY_TOKEN))
        .fact(KEY_FILE, variable(KEY_FILE))
        .remedy("give one of them; `hallpass token --help` shows how")
}
