//! `hallpass keygen`: a key pair by which an agent is registered.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::cli::key_file::write_new;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::key::PublicKey;

#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// Where the private key goes, readable by you alone; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "agent.key")]
    out: PathBuf,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

/// What stands before the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410 §7). This is the form
/// without the public half: OpenSSL 3.0 and what builds on it read no other from here, for ring's own
/// document tags the public half explicitly, where RFC 5958 tags it implicitly.
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// # Errors
/// When the file exists or cannot be written.
pub fn run(args: &KeygenArgs, host: &mut Host<'_>) -> Outcome {
    let (pem, public) = pair(host)?;
    write_new(&args.out, &pem)?;
    if args.json {
        let made = serde_json::json!({ "key_file": args.out, "key": public });
        writeln!(host.out, "{made}")?;
    } else {
        let PublicKey { kty, crv, x, .. } = &public;
        // After an empty line, for the file that it goes into may not end its last one.
        writeln!(host.out, "\n[[identity]]\nkey = {{ kty = \"{kty}\", crv = \"{crv}\", x = \"{x}\" }}")?;
    }
    host.note(&format!(
        "wrote the private key to {}; it stays with the agent, the lines above go into the agent's file",
        args.out.display()
    ));
    Ok(())
}

/// A new key: its private half as PEM, and its public half.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn pair(host: &Host<'_>) -> Outcome<(Zeroizing<String>, PublicKey)> {
    let no_key = |_| Failure::failed("the operating system gave no random bytes");
    let seed = Zeroizing::new(host.random.bytes::<32>().map_err(no_key)?);
    let key = Ed25519KeyPair::from_seed_unchecked(&*seed)
        .map_err(|error| Failure::failed(format!("the new key cannot be used: {error}")))?;
    let document = Zeroizing::new([&PKCS8_ED25519[..], &*seed].concat());
    Ok((pem(&document), public_key(&key)))
}

/// The public half as the agent's file has it (RFC 8037 §2).
pub fn public_key(key: &Ed25519KeyPair) -> PublicKey {
    PublicKey {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: URL_SAFE_NO_PAD.encode(key.public_key().as_ref()),
        y: None,
    }
}

/// A PKCS#8 key as PEM (RFC 7468 §10).
fn pem(pkcs8: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(pkcs8));
    let mut text = Zeroizing::new(String::with_capacity(body.len() * 2 + 64));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}
