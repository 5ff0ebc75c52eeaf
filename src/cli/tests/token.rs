//! `hallpass token`: which proof is sent, and how the token comes out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;

const PROOF: &str = "aGVhZA.Y2FuYXJ5.c2ln";
const ISSUED: &str = r#"{"access_token":"eyJ0.eyJ.c2ln-_","issued_token_type":"urn:ietf:params:oauth:token-type:access_token",
"token_type":"Bearer","expires_in":600,"scope":"payments:read","authorization_details":[]}"#;

/// A broker that issues to anyone, and calls itself by its address.
fn issuing() -> Canned {
    let own = Arc::new(Mutex::new(String::new()));
    let name = own.clone();
    let broker = Canned::new(move |seen| match seen.line.starts_with("GET") {
        true => ok(format!(r#"{{"issuer":"{}"}}"#, name.lock().unwrap())),
        false => ok(ISSUED),
    });
    own.lock().unwrap().clone_from(&broker.url);
    broker
}

fn keygen(machine: &Machine, name: &str) -> (String, Vec<u8>) {
    let path = machine.path(name).to_str().unwrap().to_owned();
    let ran = machine.run(&["keygen", "--json", "--out", &path]);
    let made: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    (path, URL_SAFE_NO_PAD.decode(made["key"]["x"].as_str().unwrap()).unwrap())
}

#[test]
fn an_identity_token_is_exchanged_for_what_was_asked() {
    let broker = issuing();
    let machine = Machine::new();
    let file = machine.file("token", &format!("\n{PROOF}\n"));
    let details = r#"[{"type":"git_repository","identifier":"payments"}]"#;
    let details_file = format!("@{}", machine.file("details.json", details));
    let ran = machine.run(&[
        "token",
        "--url",
        &broker.url,
        "--identity-token-file",
        &file,
        "--scope",
        "payments:read",
        "--scope",
        "payments:push ledger:GET",
        "--resource",
        "https://github.com",
        "--ttl",
        "5m",
        "--authorization-details",
        &details_file,
    ]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "eyJ0.eyJ.c2ln-_\n", ""));
    assert_eq!(broker.lines(), ["POST /oauth/token"]);
    let sent = broker.seen()[0].form();
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", PROOF),
        ("scope", "payments:read payments:push ledger:GET"),
        ("resource", "https://github.com"),
        ("requested_ttl", "300"),
        ("authorization_details", details),
    ];
    assert_eq!(sent, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_registered_key_signs_one_short_assertion_for_this_broker() {
    let broker = issuing();
    let machine = Machine::new();
    let (key, public) = keygen(&machine, "agent.key");
    let args = ["token", "--url", &broker.url, "--key-file", &key, "--agent", "refactorer"];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let ran = machine.run(&args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let sent = broker.seen().last().unwrap().form();
        assert_eq!(sent["grant_type"], "client_credentials");
        assert_eq!(sent["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!(sent.len(), 3);
        let (signed, signature) = sent["client_assertion"].rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(signed.as_bytes(), &signature).unwrap();
        let part = |text: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        let (head, claims) = signed.split_once('.').unwrap();
        assert_eq!(part(head), serde_json::json!({"alg": "EdDSA", "typ": "JWT"}));
        let mut claims = part(claims);
        ids.push(claims.as_object_mut().unwrap().remove("jti").unwrap());
        assert_eq!(
            claims,
            serde_json::json!({"iss": "refactorer", "sub": "refactorer", "aud": broker.url,
                "iat": NOW, "exp": NOW + 60})
        );
    }
    assert_ne!(ids[0], ids[1], "an assertion is used once");
}

#[test]
fn nothing_is_signed_for_a_broker_of_another_name() {
    let machine = Machine::new();
    let (key, _) = keygen(&machine, "agent.key");
    for name in ["https://hallpass.acme.internal", "http://127.0.0.1:1", "", "nonsense"] {
        let broker = Canned::new(move |_| ok(format!(r#"{{"issuer":"{name}"}}"#)));
        let ran = machine.run(&["token", "--url", &broker.url, "--key-file", &key, "--agent", "a"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("calls itself"), "{}", ran.err);
        assert_eq!(broker.lines(), ["GET /.well-known/oauth-authorization-server"]);
    }
}

#[test]
fn proofs_are_taken_in_the_documented_order() {
    let broker = issuing();
    let mut machine = Machine::new();
    let (key, _) = keygen(&machine, "agent.key");
    let by_flag = machine.file("by-flag", "a.by.flag");
    let by_file = machine.file("by-file", "a.by.file");
    machine.env.insert("HALLPASS_KEY_FILE", key.clone().into());
    machine.env.insert("HALLPASS_AGENT", "refactorer".into());
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", "a.by.variable".into());
    machine.env.insert("HALLPASS_IDENTITY_TOKEN_FILE", by_file.into());
    let proof = |machine: &Machine, args: &[&str]| {
        let ran = machine.run(&[&["token", "--url", &broker.url], args].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let form = broker.seen().last().unwrap().form();
        form.get("subject_token").cloned().unwrap_or_else(|| form["grant_type"].clone())
    };
    assert_eq!(proof(&machine, &["--identity-token-file", &by_flag]), "a.by.flag");
    assert_eq!(proof(&machine, &["--key-file", &key]), "client_credentials");
    assert_eq!(proof(&machine, &["--agent", "refactorer"]), "client_credentials", "--agent asks for a key");
    assert_eq!(proof(&machine, &[]), "a.by.file");
    machine.env.insert("HALLPASS_IDENTITY_TOKEN_FILE", "".into());
    assert_eq!(proof(&machine, &[]), "a.by.variable");
    machine.env.remove("HALLPASS_IDENTITY_TOKEN");
    assert_eq!(proof(&machine, &[]), "client_credentials");
}

#[test]
fn a_proof_that_fails_is_not_replaced_by_the_next() {
    let broker = issuing();
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    for file in
        ["/nowhere".to_owned(), machine.file("json", r#"{"value":"a.b.c"}"#), machine.file("empty", "")]
    {
        machine.env.insert("HALLPASS_IDENTITY_TOKEN_FILE", file.into());
        let ran = machine.run(&["token", "--url", &broker.url]);
        assert_eq!(ran.code, 1, "{}", ran.err);
    }
    assert!(broker.seen().is_empty());
}

#[test]
fn without_a_proof_it_lists_where_it_looked() {
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", "".into());
    let ran = machine.run(&["token"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "\
error: found no proof of this workload's identity; looked, in this order, for
  --identity-token-file: not given
  --key-file: not given
  --svid-file: not given
  HALLPASS_IDENTITY_TOKEN_FILE: not set
  HALLPASS_IDENTITY_TOKEN: set, but empty
  GitHub Actions: ACTIONS_ID_TOKEN_REQUEST_URL not set, ACTIONS_ID_TOKEN_REQUEST_TOKEN not set
  a projected token: /var/run/secrets/hallpass/token not there
  SPIFFE_ENDPOINT_SOCKET: not set
  HALLPASS_KEY_FILE: not set
  remedy: give one of them; `hallpass token --help` shows how
"
    );
}

#[test]
fn a_key_needs_its_agent_and_to_be_a_key() {
    let broker = issuing();
    let machine = Machine::new();
    let (key, _) = keygen(&machine, "agent.key");
    let ran = machine.run(&["token", "--url", &broker.url, "--key-file", &key]);
    assert!(ran.code == 2 && ran.err.contains("HALLPASS_AGENT"), "{}", ran.err);
    // A name that cannot be one is repeated, with what does not show in it.
    let mut odd = Machine::new();
    odd.env.insert("HALLPASS_AGENT", "pay\u{200b}ments".into());
    let ran = odd.run(&["token", "--url", &broker.url, "--key-file", &key]);
    let told = "HALLPASS_AGENT: \"pay\\u{200b}ments\": an agent id must be 1 to 64 of a-z";
    assert!(ran.code == 2 && ran.err.contains(told), "{}", ran.err);
    let p256 = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for text in ["canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----", &p256] {
        let file = machine.file("odd.key", text);
        let ran = machine.run(&["token", "--url", &broker.url, "--key-file", &file, "--agent", "a"]);
        assert!(ran.code == 1 && ran.err.contains("hallpass keygen"), "{}", ran.err);
        assert!(!ran.err.contains("canary") && !ran.err.contains("Y2FuYXJ5"));
    }
    assert!(broker.seen().is_empty());
}

#[test]
fn a_terminal_gets_a_token_only_when_a_format_was_said() {
    let broker = issuing();
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    machine.terminal = true;
    let ran = machine.run(&["token", "--url", &broker.url]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--format"), "{}", ran.err);
    assert!(broker.seen().is_empty(), "a token that nobody will see is not asked for");
    let ran = machine.run(&["token", "--url", &broker.url, "--format", "token"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "eyJ0.eyJ.c2ln-_\n"));
}

#[test]
fn every_format_is_ready_for_its_user() {
    let broker = issuing();
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    let out = |format| machine.run(&["token", "--url", &broker.url, "--format", format]).out;
    assert_eq!(out("token"), "eyJ0.eyJ.c2ln-_\n");
    assert_eq!(out("header"), "Authorization: Bearer eyJ0.eyJ.c2ln-_\n");
    let expires = NOW + 600;
    assert_eq!(out("env"), format!("HALLPASS_TOKEN=eyJ0.eyJ.c2ln-_\nHALLPASS_TOKEN_EXPIRES_AT={expires}\n"));
    let json: serde_json::Value = serde_json::from_str(&out("json")).unwrap();
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(ISSUED).unwrap());
}

#[test]
fn a_token_that_could_start_a_line_of_its_own_is_not_printed() {
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    for (token, kind) in [("a\\nX: y", "Bearer"), ("$(id)", "Bearer"), ("", "Bearer"), ("a.b.c", "DPoP")] {
        let broker = Canned::new(move |_| {
            ok(format!(r#"{{"access_token":"{token}","token_type":"{kind}","expires_in":1}}"#))
        });
        for format in ["token", "env", "header", "json"] {
            let ran = machine.run(&["token", "--url", &broker.url, "--format", format]);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{token} {kind} {format}");
        }
    }
}

/// A broker that answers the token endpoint with this.
fn binding(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Canned {
    Canned::new(move |seen| match seen.line.starts_with("GET") {
        true => ok(format!(r#"{{"issuer":"http://{}"}}"#, seen.host)),
        false => answer(seen),
    })
}

#[test]
fn a_token_that_should_be_bound_and_is_not_is_not_printed() {
    let broker = binding(|_| ok(ISSUED));
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    let (key, _) = keygen(&machine, "dpop.key");
    for format in ["token", "env", "header", "json"] {
        let ran = machine.run(&["token", "--url", &broker.url, "--dpop-key", &key, "--format", format]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{format}");
        assert!(ran.err.contains("it holds no DPoP token"), "{}", ran.err);
    }
}

#[test]
fn a_nonce_is_brought_once_and_another_one_is_a_refusal() {
    let refusal = r#"{"error":"use_dpop_nonce","reason":"dpop_nonce_required"}"#;
    let broker = binding(move |_| (400, vec![("dpop-nonce", "a\"nonce".into())], refusal.into()));
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    let (key, _) = keygen(&machine, "dpop.key");
    let ran = machine.run(&["token", "--url", &broker.url, "--dpop-key", &key]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
    let claims = |seen: &Seen| -> serde_json::Value {
        let payload = seen.dpop.as_ref().unwrap().split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    let seen: Vec<Seen> = broker.seen().into_iter().filter(|seen| seen.dpop.is_some()).collect();
    assert_eq!(seen.len(), 2);
    let (first, second) = (claims(&seen[0]), claims(&seen[1]));
    assert_eq!((first.get("nonce"), &second["nonce"]), (None, &"a\"nonce".into()));
    assert_eq!(second["htu"], format!("{}/oauth/token", broker.url));
    assert_ne!(first["jti"], second["jti"]);
    assert_eq!(seen[0].body, seen[1].body);
}

#[test]
fn a_refusal_says_why_and_what_to_do_and_never_the_proof() {
    let refusal = r#"{"error":"access_denied","error_description":"agent:a is stopped\u001b[2J",
        "reason":"revoked","request_id":"01933b1e-0000-7000-8000-000000000000"}"#;
    let broker = Canned::new(move |_| (400, vec![], refusal.into()));
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    let ran = machine.run(&["token", "--url", &broker.url]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert_eq!(
        ran.err,
        "\
error: agent:a is stopped\\u{1b}[2J (access_denied)
  reason: revoked
  request_id: 01933b1e-0000-7000-8000-000000000000
  remedy: stop, and ask the team that answers for the agent; asking again does not help until the stop is lifted
"
    );
    assert!(!ran.err.contains(PROOF));
}

#[test]
fn wrong_authorization_details_are_caught_before_anything_is_sent() {
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    let broker = issuing();
    for details in ["", "{}", "[", "@/nowhere", r#"[] []"#] {
        let ran = machine.run(&["token", "--url", &broker.url, "--authorization-details", details]);
        assert_eq!(ran.code, 2, "{details}: {}", ran.err);
    }
    assert!(broker.seen().is_empty());
}
