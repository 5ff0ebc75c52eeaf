//! How the vectors were made. Run `cargo test --test it regenerate_vectors -- --ignored` after a change
//! here; it needs the `openssl` command, for the keys that ring refuses to sign with.

mod claims;
mod form;
mod keys;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Parameter, Vector, Verdict, folder, keys as keys_folder};
use crate::support::signer::{Signer, base64url, der};

const NOW: i64 = 1_795_000_000;
const US: &str = "https://hallpass.acme.test";
const ACME: &str = "https://issuer.acme.test";
const BETA: &str = "https://issuer.beta.test";
const GAMMA: &str = "https://issuer.gamma.test/tenant/7";
const SUBJECT: &str = "repo:acme/payments:ref:refs/heads/main";
const AGENT: &str = "payments-refactorer";

/// Everything that signs or is signed against.
struct Keys {
    rsa: Signer,
    pinned: Signer,
    es256: Signer,
    es384: Signer,
    ed25519: Signer,
    shared_acme: Signer,
    shared_beta: Signer,
    gamma: Signer,
    registered: Signer,
    stranger: Signer,
}

impl Keys {
    fn load() -> Self {
        let load = |file: &str, kid: &str, alg: &str| Signer::of_pkcs8(kid, alg, &der(&pem(file)));
        Self {
            rsa: load("rsa-2048", "acme-rsa", "RS256"),
            pinned: load("rsa-2048", "acme-rsa-pinned", "RS256"),
            es256: load("es256", "acme-es256", "ES256"),
            es384: load("es384", "acme-es384", "ES384"),
            ed25519: load("ed25519", "acme-ed25519", "EdDSA"),
            shared_acme: load("shared-acme", "shared", "ES256"),
            shared_beta: load("shared-beta", "shared", "ES256"),
            gamma: load("gamma", "gamma", "ES256"),
            registered: load("registered", "registered", "ES256"),
            stranger: load("stranger", "stranger", "EdDSA"),
        }
    }

    fn of_alg(&self, alg: &str) -> &Signer {
        match alg {
            "ES256" => &self.es256,
            "ES384" => &self.es384,
            "EdDSA" => &self.ed25519,
            _ => &self.rsa,
        }
    }

    /// Claims in this very text, signed properly by acme.
    fn acme_text(&self, claims: &str) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "acme-es256"});
        self.es256.compact("ES256", header.to_string(), claims)
    }

    /// A header in this very text, signed properly by acme over good claims.
    fn acme_header(&self, header: &str) -> String {
        self.es256.compact("ES256", header, claims(&[]).to_string())
    }
}

/// Good claims of acme, with these put in; `null` takes one out.
fn claims(changes: &[(&str, Value)]) -> Value {
    let mut claims =
        json!({"iss": ACME, "sub": SUBJECT, "aud": US, "iat": NOW, "nbf": NOW, "exp": NOW + 300});
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        } else {
            claims[*name] = value.clone();
        }
    }
    claims
}

fn accepted(name: &str, workload: &str, credential: String, why: &str) -> Vector {
    Vector {
        name: name.to_owned(),
        why: why.to_owned(),
        parameter: Parameter::SubjectToken,
        credential,
        pad_to: None,
        now: NOW,
        verdict: Verdict::Accept,
        reason: None,
        workload: Some(workload.to_owned()),
    }
}

fn refused(name: &str, reason: &str, credential: String, why: &str) -> Vector {
    Vector {
        verdict: Verdict::Refuse,
        reason: Some(reason.to_owned()),
        workload: None,
        ..accepted(name, "", credential, why)
    }
}

fn pem(file: &str) -> String {
    std::fs::read_to_string(keys_folder().join(format!("{file}.test-only.pem"))).unwrap()
}

/// What `openssl ARGS KEY` writes, given `input`.
fn openssl(args: &[&str], key: &str, input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(args)
        .arg(keys_folder().join(format!("{key}.test-only.pem")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the openssl command");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn modulus_of_weak_key() -> Vec<u8> {
    let line = String::from_utf8(openssl(&["rsa", "-noout", "-modulus", "-in"], "rsa-1024", &[])).unwrap();
    let digits = line.trim().trim_start_matches("Modulus=").to_owned();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// acme's set holds what a real one may, and what must be ignored in it.
fn acme_jwks(keys: &Keys) -> Value {
    let with = |mut jwk: Value, changes: Value| {
        jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        jwk
    };
    let rsa = || keys.rsa.public_jwk();
    json!({"keys": [
        keys.rsa.published_jwk(),
        with(keys.pinned.published_jwk(), json!({"alg": "RS256"})),
        keys.es256.published_jwk(),
        keys.es384.published_jwk(),
        with(keys.ed25519.published_jwk(), json!({"alg": "EdDSA"})),
        keys.shared_acme.published_jwk(),
        with(rsa(), json!({"kid": "acme-enc", "use": "enc"})),
        with(rsa(), json!({"kid": "acme-e-one", "e": "AQ"})),
        with(rsa(), json!({"kid": "acme-weak", "n": base64url(modulus_of_weak_key())})),
        with(keys.stranger.public_jwk(), json!({"kid": "acme-leaked", "d": base64url([7; 32])})),
        {"kty": "oct", "kid": "acme-oct", "k": base64url("a secret that everyone can read")},
        {"kty": "AKP", "kid": "acme-future", "alg": "ML-DSA-44", "pub": "AAAA"},
    ]})
}

fn broker_json(keys: &Keys) -> Value {
    let every = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    json!({
        "our_issuer": US,
        "issuers": [
            {"name": "acme", "url": ACME, "audience": US, "algorithms": every,
             "max_age_seconds": 3600, "leeway_seconds": 30, "jwks_file": "acme.jwks.json"},
            {"name": "beta", "url": BETA, "audience": "hallpass-at-beta", "algorithms": ["ES256"],
             "max_age_seconds": 3600, "leeway_seconds": 30, "jwks_file": "beta.jwks.json"},
            {"name": "gamma", "url": GAMMA, "audience": US, "algorithms": ["ES256"],
             "max_age_seconds": null, "leeway_seconds": 0, "jwks_file": "gamma.jwks.json"},
        ],
        "agent": AGENT,
        "agent_keys": [keys.registered.public_jwk()],
    })
}

#[test]
#[ignore = "rewrites tests/vectors with new signatures"]
fn regenerate_vectors() {
    let keys = Keys::load();
    let write = |path: std::path::PathBuf, value: &Value| {
        std::fs::write(path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
    };
    for (file, value) in [
        ("broker", broker_json(&keys)),
        ("acme.jwks", acme_jwks(&keys)),
        ("beta.jwks", json!({"keys": [keys.shared_beta.published_jwk(), keys.rsa.published_jwk()]})),
        ("gamma.jwks", json!({"keys": [keys.gamma.public_jwk()]})),
    ] {
        write(keys_folder().join(format!("{file}.json")), &value);
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let vectors = [
        claims::good(&keys),
        claims::dates(&keys),
        claims::names(&keys),
        claims::assertions(&keys),
        keys::algorithms(&keys),
        keys::signatures(&keys),
        keys::choice(&keys),
        form::compact(&keys),
        form::json(&keys),
        form::headers(&keys),
    ];
    for vector in vectors.iter().flatten() {
        let path = folder().join(format!("{}.json", vector.name));
        assert!(!path.exists(), "two vectors are called {}", vector.name);
        write(path, &serde_json::to_value(vector).unwrap());
    }
}
