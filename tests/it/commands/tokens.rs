//! `hallpass token`: every place a proof can be in, every form a token is printed in.

use serde_json::{Value, json};

use super::program::{Place, Ran};
use crate::support::broker::decode;
use crate::support::issuer::Issuer;

const AUDIENCE: &str = "https://hallpass.acme.internal";
const KEY: &[&str] = &["token", "--key-file", "night-shift.key", "--agent", "night-shift"];

/// A broker that knows `ci-job` by an issuer of this test, and `night-shift` by its key.
async fn served() -> (Place, Issuer) {
    let issuer = Issuer::start().await;
    let mut place = Place::new();
    let url = issuer.url();
    let section = format!("\n[[issuer]]\nname = \"ci\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\n");
    place.append("config/hallpass.toml", &section);
    let agent = "purpose = \"Builds.\"\nowner = \"team-ci\"\n[[identity]]\nissuer = \"ci\"\n\
        claims = { sub = \"repo:acme/payments\" }\n[[endpoint]]\nname = \"packages\"\n\
        url = \"https://packages.acme.internal\"\npaths = [\"/**\"]\nfree = [\"GET\"]\n";
    place.write("config/agents/ci-job.toml", agent);
    place.register("night-shift");
    place.serve();
    (place, issuer)
}

#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn proof(issuer: &Issuer, subject: &str) -> String {
    issuer.token(issuer.claims(now(), AUDIENCE, subject))
}

fn client_id(ran: Ran) -> Value {
    decode(ran.done().trim())["client_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_found_where_the_platform_puts_it() {
    let (place, issuer) = served().await;
    place.write("proof.jwt", &format!("{}\n", proof(&issuer, "repo:acme/payments")));
    place.write("wrong.jwt", &proof(&issuer, "repo:evil/payments"));
    let text = proof(&issuer, "repo:acme/payments");
    let (by_file, by_text) =
        (("HALLPASS_IDENTITY_TOKEN_FILE", "proof.jwt"), ("HALLPASS_IDENTITY_TOKEN", text.as_str()));
    let (wrong, nothing) =
        (("HALLPASS_IDENTITY_TOKEN_FILE", "wrong.jwt"), ("HALLPASS_IDENTITY_TOKEN_FILE", ""));
    let (key, agent) = (("HALLPASS_KEY_FILE", "night-shift.key"), ("HALLPASS_AGENT", "night-shift"));
    let flag = &["token", "--identity-token-file", "proof.jwt"][..];
    let token = &["token"][..];
    for (args, environment, expected) in [
        (flag, &[][..], "ci-job"),
        (flag, &[wrong, key, agent], "ci-job"),
        (token, &[by_file], "ci-job"),
        (token, &[by_text], "ci-job"),
        (token, &[nothing, by_text], "ci-job"),
        (token, &[by_file, key, agent], "ci-job"),
        (KEY, &[by_file], "night-shift"),
        (token, &[key, agent], "night-shift"),
        (&["token", "--agent", "night-shift"], &[by_file, key], "night-shift"),
    ] {
        assert_eq!(client_id(place.run_with(args, environment)), expected, "{args:?} {environment:?}");
    }
    // A proof that is refused is never replaced by the next one.
    let refused = place.run_with(&["token"], &[wrong, by_text, key, agent]).ended(3);
    assert!(refused.contains("reason: no_agent"), "{refused}");
    let missing = ("HALLPASS_IDENTITY_TOKEN_FILE", "nowhere.jwt");
    let failed = place.run_with(&["token"], &[missing, by_text]).ended(1);
    assert!(failed.contains("cannot read nowhere.jwt"), "{failed}");
    let usage = place.run_with(&["token"], &[key]).ended(2);
    assert!(usage.contains("--agent or HALLPASS_AGENT"), "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_printed_as_it_is_used() {
    let (place, _issuer) = served().await;
    let token = |more: &[&str]| place.run(&[KEY, more].concat());
    let plain = token(&["--format", "token"]).done();
    assert_eq!(plain.lines().count(), 1);
    assert_eq!(decode(plain.trim())["client_id"], "night-shift");
    let answer = token(&["--format", "json"]).json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(answer["scope"], "handbook:read handbook:push");
    let header = token(&["--format", "header"]).done();
    assert!(header.starts_with("Authorization: Bearer eyJ") && header.lines().count() == 1, "{header}");
    let env = token(&["--format", "env", "--ttl", "1m"]).done();
    let lines: Vec<(&str, &str)> = env.lines().map(|line| line.split_once('=').unwrap()).collect();
    let [("HALLPASS_TOKEN", token_of_env), ("HALLPASS_TOKEN_EXPIRES_AT", expires)] = lines[..] else {
        panic!("{env}");
    };
    let claimed = decode(token_of_env)["exp"].as_i64().unwrap();
    assert!((claimed..=claimed + 5).contains(&expires.parse().unwrap()), "{expires}, not {claimed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_narrows_the_token() {
    let (place, _issuer) = served().await;
    place.write(
        "narrow.json",
        r#"[{"type": "git_repository", "identifier": "handbook", "actions": ["read"]}]"#,
    );
    for narrow in [
        &["--scope", "handbook:read"][..],
        &["--authorization-details", "@narrow.json"],
        &["--resource", "https://github.com", "--scope", "handbook:read", "--ttl", "60"],
    ] {
        let claims = decode(place.run(&[KEY, narrow].concat()).done().trim());
        assert_eq!(claims["scope"], "handbook:read", "{narrow:?}");
    }
    for (beyond, reason, words) in [
        (&["--scope", "handbook:read wiki:read"][..], "scope_not_registered", "wiki:read"),
        (&["--scope", "handbook:merge"], "approval_required", "team-night"),
        (&["--resource", "https://gitlab.com"], "target_not_registered", "https://gitlab.com"),
    ] {
        let refused = place.run(&[KEY, beyond].concat()).ended(3);
        for said in [&format!("  reason: {reason}\n"), words, "  request_id: ", "  remedy: "] {
            assert!(refused.contains(said), "{said} is not in\n{refused}");
        }
    }
    let usage = place.run(&[KEY, &["--authorization-details", "{}"]].concat()).ended(2);
    assert!(usage.contains("not a JSON array"), "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_found_is_revoked_whole() {
    let (place, _issuer) = served().await;
    let found = place.run(KEY).done().trim().to_owned();
    let jti = decode(&found)["jti"].as_str().unwrap().to_owned();
    let ran = place.run(&["revoke", &format!("token:{found}"), "--reason", "seen in a build log"]);
    assert!(!ran.err.contains(&found[..40]), "{}", ran.err);
    let said = ran.done();
    assert!(said.starts_with(&format!("token:{jti} is stopped\n")) && !said.contains(&found[..40]), "{said}");
    let stops = place.run(&["revocations", "--json"]).json();
    assert_eq!(stops["revocations"][0]["target"], format!("token:{jti}"));
}
