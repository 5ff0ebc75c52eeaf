use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::domain::random::Random;
use crate::domain::time::{Clock, Timestamp};

/// What is found with these variables, in the words of `-v`.
fn found(args: &ProofArgs, projected: &Path, variables: &[(&str, &str)]) -> Outcome<String> {
    let variables: HashMap<&str, OsString> =
        variables.iter().map(|(name, value)| (*name, value.into())).collect();
    #[expect(clippy::disallowed_methods, reason = "a test owns its machine")]
    let random = Random::new(ring::rand::SystemRandom::new());
    let host = Host {
        clock: Clock::new(|| Timestamp::from_seconds(0)),
        random,
        env: &|name| variables.get(name).cloned(),
        input: &mut std::io::empty(),
        out: &mut Vec::new(),
        err: &mut Vec::new(),
        terminal: false,
    };
    Source::find(args, projected, &host).map(|source| source.to_string())
}

#[test]
fn an_identity_that_was_named_is_proven_by_no_other_proof() {
    let args = ProofArgs {
        spiffe_id: Some(spiffe_id("spiffe://acme.internal/agents/a").unwrap()),
        ..ProofArgs::default()
    };
    let none = Path::new("/nowhere/token");
    let other = (IDENTITY_TOKEN, "a.b.c");
    let socket = found(&args, none, &[other, (ENDPOINT_SOCKET, "unix:///run/agent.sock")]).unwrap();
    assert!(socket.contains("unix:///run/agent.sock"), "{socket}");
    let failure = found(&args, none, &[other]).unwrap_err();
    assert!(failure.message().contains("no socket is named"), "{}", failure.message());
}

#[test]
fn every_place_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("token");
    fs::write(&there, "a.b.c").unwrap();
    let mut variables = vec![
        (IDENTITY_TOKEN_FILE, "/run/a"),
        (IDENTITY_TOKEN, "a.b.c"),
        (github::REQUEST_URL, "https://runner.example/x"),
        (github::REQUEST_TOKEN, "t"),
        (KEY_FILE, "/run/key"),
        (AGENT, "refactorer"),
    ];
    let args = ProofArgs::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(found(&args, &there, &variables).unwrap());
        let gone = if variables.len() == 4 { 2 } else { 1 };
        variables.drain(..gone);
    }
    let projected = format!("the identity token in {} (a projected token)", there.display());
    assert_eq!(
        seen,
        [
            "the identity token in /run/a (HALLPASS_IDENTITY_TOKEN_FILE)",
            "the identity token in HALLPASS_IDENTITY_TOKEN",
            "an identity token of GitHub Actions, from runner.example",
            projected.as_str(),
        ]
    );
    variables = vec![(KEY_FILE, "/run/key"), (AGENT, "refactorer")];
    let key = "the key in /run/key (HALLPASS_KEY_FILE), registered for refactorer";
    assert_eq!(found(&args, &folder.path().join("none"), &variables).unwrap(), key);
    let named = ProofArgs { agent: Some("other".parse().unwrap()), ..ProofArgs::default() };
    let other = "the key in /run/key (HALLPASS_KEY_FILE), registered for other";
    assert_eq!(found(&named, &there, &variables).unwrap(), other, "--agent asks for a key");
}

#[test]
fn half_a_runner_is_none_and_a_file_that_cannot_be_looked_at_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let args = ProofArgs::default();
    for half in [[(github::REQUEST_URL, "https://runner.example/x")], [(github::REQUEST_TOKEN, "t")]] {
        assert!(found(&args, &none, &half).is_err());
    }
    // A name that leads in a circle cannot be looked at; that it is there says whose it is.
    let circle = folder.path().join("circle");
    symlink(&circle, &circle).unwrap();
    assert!(found(&args, &circle, &[]).unwrap().contains("a projected token"));
}
