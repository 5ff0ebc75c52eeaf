//! `hallpass whoami`: what is said of the proof and of the token, and that the token is neither shown nor left.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn jwt(claims: &serde_json::Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part("{\"alg\":\"ES256\"}"), part(&claims.to_string()), part("canary"))
}

fn machine() -> Machine {
    let mut machine = Machine::new();
    let proof = serde_json::json!({"iss": "https://ci.acme.internal", "sub": "repo:acme/payments\u{1b}[2J",
        "aud": ["https://hallpass.acme.internal"], "exp": NOW + 300, "repository_id": "456789"});
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", jwt(&proof).into());
    machine
}

fn token() -> String {
    jwt(
        &serde_json::json!({"iss": "https://hallpass.acme.internal", "sub": "agent:planner", "client_id": "refactorer",
        "owner": "team-payments", "scope": "payments:read", "exp": NOW + 600, "iat": NOW, "jti": "t",
        "act": {"sub": "agent:refactorer"}}),
    )
}

fn issuing() -> Canned {
    let answer = serde_json::json!({"access_token": token(), "token_type": "Bearer", "expires_in": 600,
        "scope": "payments:read", "authorization_details": [{"type": "git_repository", "identifier": "payments",
        "locations": ["https://github.com/acme/payments"], "actions": ["read"], "refs": ["refs/heads/agent/*"]}]});
    Canned::new(move |seen| ok(if seen.line.contains("revoke") { String::new() } else { answer.to_string() }))
}

#[test]
fn both_sides_are_told_and_the_token_is_ended() {
    let (broker, machine) = (issuing(), machine());
    let ran = machine.run(&["whoami", "--url", &broker.url]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        format!(
            "\
this workload says that it is
  proof       the identity token in HALLPASS_IDENTITY_TOKEN
  issuer      https://ci.acme.internal
  subject     repo:acme/payments\\u{{1b}}[2J
  audience    https://hallpass.acme.internal
  good until  2026-11-23T09:35:00.000Z

the broker at {} knows it as the agent refactorer
  owner     team-payments
  scope     payments:read
  acts for  agent:planner
  lives     600 s, until 2026-11-23T09:40:00.000Z
  bound to  nothing: whoever has the token can use it
  opens     read on refs/heads/agent/* in https://github.com/acme/payments
",
            broker.url
        )
    );
    assert_eq!(broker.lines(), ["POST /oauth/token", "POST /oauth/revoke"]);
    assert_eq!(broker.seen()[1].form()["token"], token(), "what was asked for to look is not left behind");
}

#[test]
fn json_has_every_claim_and_no_credential() {
    let (broker, machine) = (issuing(), machine());
    let ran = machine.run(&["whoami", "--json", "--url", &broker.url]);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["proof"]["claims"]["repository_id"], "456789");
    assert_eq!(
        (&told["token"]["client_id"], &told["token"]["expires_in"]),
        (&"refactorer".into(), &600.into())
    );
    let proof = machine.env["HALLPASS_IDENTITY_TOKEN"].to_str().unwrap().to_owned();
    for credential in [token(), proof] {
        for part in credential.split('.') {
            assert!(!ran.out.contains(part) && !ran.err.contains(part), "{}", ran.out);
        }
    }
}

#[test]
fn a_refused_workload_sees_who_it_said_it_was() {
    let refusal = r#"{"error":"invalid_request","reason":"no_agent","request_id":"01933b1e-0000-7000-8000-000000000000"}"#;
    for (json, due) in [(false, "subject     repo:acme/payments"), (true, "\"token\":null")] {
        let broker = Canned::new(move |_| (400, vec![], refusal.into()));
        let args = ["whoami", "--url", &broker.url, "--json"];
        let ran = machine().run(&args[..if json { 4 } else { 3 }]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.out.contains(due), "{}", ran.out);
        assert!(ran.err.contains("reason: no_agent"), "{}", ran.err);
        assert_eq!(broker.lines(), ["POST /oauth/token"]);
    }
}

#[test]
fn a_key_is_shown_by_its_public_half() {
    let own = Arc::new(Mutex::new(String::new()));
    let name = own.clone();
    let broker = Canned::new(move |seen| match seen.line.starts_with("GET") {
        true => ok(format!(r#"{{"issuer":"{}"}}"#, name.lock().unwrap())),
        false => (400, vec![], r#"{"reason":"signature_invalid"}"#.into()),
    });
    own.lock().unwrap().clone_from(&broker.url);
    let machine = Machine::new();
    let path = machine.path("agent.key").to_str().unwrap().to_owned();
    let made: serde_json::Value =
        serde_json::from_str(&machine.run(&["keygen", "--json", "--out", &path]).out).unwrap();
    let ran = machine.run(&["whoami", "--url", &broker.url, "--key-file", &path, "--agent", "refactorer"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let x = made["key"]["x"].as_str().unwrap();
    assert!(ran.out.contains(&format!("key    Ed25519 {x}")), "{}", ran.out);
}
