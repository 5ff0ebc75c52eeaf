//! `hallpass token` with an X.509-SVID, from files and from the Workload API.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::process::Command;

use super::World;
use super::agent::{Agent, Mood};
use super::world::{AGENT, Chain, authority_params, leaf_params};
use crate::support::broker::{Backend, decode};
use crate::support::command::{Ran, hallpass, ran};

/// `hallpass` with these words, against the TLS listener of the world's broker.
fn command(world: &World, folder: &Path, args: &[&str]) -> Command {
    let roots = folder.join("roots.pem");
    fs::write(&roots, world.servers.pem()).unwrap();
    let mut command = hallpass(&world.app, args);
    command.env("HALLPASS_URL", world.url("")).env("SSL_CERT_FILE", roots);
    command
}

async fn token(world: &World, folder: &Path, more: &[&str]) -> Ran {
    let args = [&["token", "-v", "--format", "token", "--timeout", "6s"], more].concat();
    let ran = ran(command(world, folder, &args)).await;
    if ran.code == Some(0) {
        world.app.note_released(ran.out.trim());
    }
    ran
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Writes a chain as spiffe-helper does.
fn put(folder: &Path, chain: &Chain) -> [String; 2] {
    let [svid, key] = ["svid.pem", "svid_key.pem"].map(|name| folder.join(name));
    let certificates = chain.certificates.iter().map(|certificate| pem("CERTIFICATE", certificate));
    fs::write(&svid, certificates.collect::<String>()).unwrap();
    fs::write(&key, pem("PRIVATE KEY", &chain.key)).unwrap();
    [svid, key].map(|path| path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_certificate_in_files_gets_a_token_that_is_bound_to_it() {
    let world = World::with(
        Backend::Memory,
        &super::agent().replacen("purpose", "require = \"sender-constrained\"\npurpose", 1),
    )
    .await;
    let folder = TempDir::new().unwrap();
    let between = authority_params("acme.internal");
    let chains = [world.acme.svid(AGENT), world.acme.by_intermediate(between, leaf_params(AGENT))];
    // Read anew each time, for its platform replaces it.
    for chain in &chains {
        let [svid, key] = put(folder.path(), chain);
        let ran = token(&world, folder.path(), &["--svid-file", &svid, "--svid-key-file", &key]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let claims = decode(ran.out.trim());
        assert_eq!(claims["cnf"]["x5t#S256"], chain.thumbprint());
        assert_eq!(claims["workload"], format!("acme.internal|{AGENT}"));
        assert!(ran.err.contains(&format!("proof: the X.509-SVID in {svid}")), "{}", ran.err);
    }
    // Keys as OpenSSL writes them too: SEC 1 and PKCS#1 stand in PKCS#8 behind its head.
    let rsa = KeyPair::from_pem(include_str!("../../vectors/keys/rsa-2048.test-only.pem")).unwrap();
    let rsa = world.acme.leaf_of(&rsa, leaf_params(AGENT));
    for (chain, label, head) in [(&chains[0], "EC PRIVATE KEY", 29), (&rsa, "RSA PRIVATE KEY", 26)] {
        let [svid, key] = put(folder.path(), chain);
        fs::write(&key, pem(label, &chain.key[head..])).unwrap();
        let ran = token(&world, folder.path(), &["--svid-file", &svid, "--svid-key-file", &key]).await;
        assert_eq!(ran.code, Some(0), "{label}: {ran:?}");
        assert_eq!(decode(ran.out.trim())["cnf"]["x5t#S256"], chain.thumbprint());
    }
    // `run` renews with it, and ends its token, for which no certificate is asked.
    let [svid, key] = put(folder.path(), &chains[0]);
    let proof = ["--svid-file", &svid, "--svid-key-file", &key];
    let show = ["--", "sh", "-c", "cat \"$HALLPASS_TOKEN_FILE\""];
    let done = ran(command(&world, folder.path(), &[&["run"], &proof[..], &show[..]].concat())).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    world.app.note_released(done.out.trim());
    assert_eq!(world.introspect(done.out.trim()).await["active"], false);
    world.app.finish().await;
}

#[tokio::test]
async fn files_that_are_no_svid_are_named() {
    let world = World::new(Backend::Memory).await;
    let folder = TempDir::new().unwrap();
    let [svid, key] = put(folder.path(), &world.acme.svid(AGENT));
    let proof =
        |svid: &str, key: &str| ["--svid-file", svid, "--svid-key-file", key].map(str::to_owned).to_vec();
    let of = |args: Vec<String>| {
        let (world, folder) = (&world, folder.path());
        async move { token(world, folder, &args.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let [_, others] = put(&other, &world.acme.svid(AGENT));
    for (args, code, says) in [
        (proof(&key, &key), 1, format!("{key} holds no certificate in PEM")),
        (proof(&svid, &svid), 1, format!("{svid} holds no private key in PEM")),
        (proof("/nowhere/svid.pem", &key), 1, "cannot read /nowhere/svid.pem".to_owned()),
        (proof(&svid, &others), 1, "the X.509-SVID cannot be shown".to_owned()),
        (proof(&svid, &key)[..2].to_vec(), 2, "--svid-key-file".to_owned()),
        (
            [proof(&svid, &key), vec!["--spiffe-id".into(), AGENT.into()]].concat(),
            2,
            "cannot be used".to_owned(),
        ),
        (
            [proof(&svid, &key), vec!["--url".into(), world.app.public.clone()]].concat(),
            2,
            "a certificate is shown in TLS".to_owned(),
        ),
    ] {
        let ran = of(args).await;
        assert!(ran.code == Some(code) && ran.err.contains(&says), "{says}: {ran:?}");
        assert!(ran.out.is_empty() && !ran.err.contains("panicked"), "{ran:?}");
    }
    // A stranger's certificate is refused by the broker, in its own words.
    let [svid, key] = put(folder.path(), &world.other.svid(AGENT));
    let ran = of(proof(&svid, &key)).await;
    assert!(ran.code == Some(3) && ran.err.contains("signature_invalid"), "{ran:?}");
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_api_gives_a_certificate_too() {
    let world = World::new(Backend::Memory).await;
    let folder = TempDir::new().unwrap();
    let second = "spiffe://acme.internal/agents/second";
    let mut agent = Agent::start(&[AGENT, second], &[Arc::clone(&world.acme)]);
    let endpoint = agent.endpoint();
    let asked = ["--x509-svid", "--spiffe-socket", &endpoint];
    for more in [&[][..], &["--spiffe-id", AGENT]] {
        let got = token(&world, folder.path(), &[&asked[..], more].concat()).await;
        assert_eq!(got.code, Some(0), "{got:?}");
        assert!(decode(got.out.trim())["cnf"]["x5t#S256"].is_string());
        assert!(got.err.contains("an X.509-SVID of the SPIFFE Workload API at unix://"), "{}", got.err);
    }
    let got = token(&world, folder.path(), &[&asked[..], &["--spiffe-id", second]].concat()).await;
    assert!(got.code == Some(3) && got.err.contains("no_agent"), "{got:?}");
    let third = "spiffe://acme.internal/agents/third";
    let got = token(&world, folder.path(), &[&asked[..], &["--spiffe-id", third]].concat()).await;
    assert!(got.code == Some(1) && got.err.contains("spire-server entry create"), "{got:?}");
    for (mood, says) in [
        (Mood::Denies, "spire-server entry create"),
        (Mood::Babbles, "gave no identity"),
        (Mood::Hangs, "did not answer within 5 s"),
    ] {
        agent.is(mood);
        let failed = token(&world, folder.path(), &asked).await;
        assert!(failed.code == Some(1) && failed.out.is_empty(), "{failed:?}");
        assert!(failed.err.contains(says), "{says}: {failed:?}");
    }
    agent.dies();
    // Without a socket nothing else is taken for the proof.
    let args = ["token", "--format", "token", "--x509-svid"];
    let mut command = command(&world, folder.path(), &args);
    command.env("HALLPASS_IDENTITY_TOKEN", world.app.proof());
    let done = ran(command).await;
    assert!(done.code == Some(2) && done.err.contains("no socket is named"), "{done:?}");
    world.app.finish().await;
}
