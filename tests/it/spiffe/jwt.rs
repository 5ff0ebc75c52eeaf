//! JWT-SVIDs, as client authentication and as subject token.

use serde_json::{Value, json};

use super::World;
use super::world::{AGENT, ask};
use crate::support::broker::{AUDIENCE, Backend, decode};
use crate::support::signer::Signer;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn claims(world: &World) -> Value {
    let now = world.app.hands.now().seconds();
    json!({"sub": AGENT, "aud": [AUDIENCE], "iat": now, "exp": now + 300})
}

impl World {
    /// The answer to a JWT-SVID as client authentication.
    async fn authenticate(&self, svid: &str, more: &[(&str, &str)]) -> (u16, String) {
        let mut form = vec![("client_assertion_type", TYPE), ("client_assertion", svid)];
        form.extend_from_slice(more);
        let answer = ask(&self.app, &self.servers.http(None), &form).await;
        let reason = if answer.status == 200 {
            decode(&answer.token())["workload"].to_string()
        } else {
            answer.reason()
        };
        (answer.status, reason)
    }

    /// The answer to the same as a subject token.
    async fn exchange(&self, svid: &str) -> (u16, String) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", EXCHANGE)
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            .append_pair("subject_token", svid)
            .finish();
        let url = format!("{}/oauth/token", self.app.public.replace("http://", "https://"));
        let request = self.servers.http(None).post(url).body(body);
        let answer = self.app.send(request.header("content-type", "application/x-www-form-urlencoded")).await;
        if answer.status == 200 {
            self.app.note_released(&answer.token());
        }
        (answer.status, answer.reason())
    }
}

#[tokio::test]
async fn a_jwt_svid_gets_a_token_as_often_as_it_is_sent() {
    let world = World::new(Backend::Memory).await;
    let mut once = claims(&world);
    once["jti"] = json!("the same");
    let svid = world.acme.jwt.token(&once);
    for _ in 0..3 {
        assert_eq!(world.authenticate(&svid, &[]).await, (200, format!("\"acme.internal|{AGENT}\"")));
    }
    assert_eq!(world.authenticate(&svid, &[("client_id", AGENT)]).await.0, 200);
    assert_eq!(world.authenticate(&svid, &[("client_id", "x")]).await, (400, "parameter_invalid".into()));
    assert_eq!(world.exchange(&svid).await.0, 200);
    // The audience as a string; an issuer's name that this broker does not know says nothing.
    for change in [("aud", json!(AUDIENCE)), ("iss", json!("https://spire.acme.internal"))] {
        let mut claims = claims(&world);
        claims[change.0] = change.1;
        let svid = world.acme.jwt.token(&claims);
        assert_eq!((world.authenticate(&svid, &[]).await.0, world.exchange(&svid).await.0), (200, 200));
    }
    world.app.finish().await;
}

/// A token that says it is of a configured issuer is that issuer's to judge: what it refuses is not tried as an SVID.
#[tokio::test]
async fn an_issuers_token_is_no_svid_for_what_it_lacks() {
    let world = World::new(Backend::Memory).await;
    // SPIRE's own OIDC provider signs with the keys of its bundle.
    let set = world.app.send(world.app.http().get(world.app.issuer.jwks_url())).await.json();
    let mut bundle = world.acme.bundle(8);
    bundle["keys"][1] = set["keys"][0].clone();
    bundle["keys"][1]["use"] = json!("jwt-svid");
    world.put_bundle("acme.internal", &bundle);
    world.app.hands.push(3);
    let mut claims = claims(&world);
    claims["iss"] = json!(world.app.issuer.url());
    claims.as_object_mut().unwrap().remove("iat");
    let token = world.app.issuer.token(claims);
    assert_eq!(world.exchange(&token).await, (400, "claim_missing".into()));
    // The same key does vouch for an SVID, where it is asked as one.
    assert_eq!(world.authenticate(&token, &[]).await.0, 200);
    world.app.finish().await;
}

#[tokio::test]
async fn no_other_jwt_is_an_svid_of_the_domain() {
    let world = World::new(Backend::Memory).await;
    let now = world.app.hands.now().seconds();
    let with = |name: &str, value: Value| {
        let mut claims = claims(&world);
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        world.acme.jwt.token(&claims)
    };
    let stranger = Signer::es256("svid-key").token(&claims(&world));
    let cases = [
        ("no exp", with("exp", Value::Null), "claim_missing"),
        ("exp as text", with("exp", json!("never")), "claim_invalid"),
        ("expired", with("exp", json!(now - 31)), "claim_invalid"),
        (
            "long expired",
            {
                let mut claims = claims(&world);
                claims["iat"] = json!(now - 900);
                claims["exp"] = json!(now - 600);
                world.acme.jwt.token(&claims)
            },
            "expired",
        ),
        ("no aud", with("aud", Value::Null), "claim_missing"),
        ("another audience", with("aud", json!(["https://vault.acme.internal"])), "audience_mismatch"),
        ("two audiences", with("aud", json!([AUDIENCE, "https://vault.acme.internal"])), "audience_mismatch"),
        ("not yet", with("nbf", json!(now + 200)), "not_yet_valid"),
        (
            "another domain's ID",
            with("sub", json!("spiffe://other.internal/agents/payments-refactorer")),
            "signature_invalid",
        ),
        ("an unknown domain", with("sub", json!("spiffe://acme.example/a")), "issuer_unknown"),
        ("no workload", with("sub", json!("spiffe://acme.internal")), "claim_invalid"),
        ("no ID", with("sub", json!("payments-refactorer")), "claim_invalid"),
        ("no sub", with("sub", Value::Null), "claim_missing"),
        ("a stranger's key of the same kid", stranger, "signature_invalid"),
        ("the other domain's key", world.other.jwt.token(&claims(&world)), "signature_invalid"),
        ("an unknown kid", Signer::es256("other").token(&claims(&world)), "key_unknown"),
        ("Ed25519", Signer::ed25519("svid-key").token(&claims(&world)), "algorithm_not_allowed"),
        (
            "RS256 of an EC key's kid",
            Signer::rs256("svid-key").token(&claims(&world)),
            "algorithm_not_allowed",
        ),
        (
            "an agent that is not registered",
            with("sub", json!("spiffe://acme.internal/agents/b")),
            "no_agent",
        ),
        ("no JWT", "x".to_owned(), "proof_malformed"),
    ];
    let mut wrong = Vec::new();
    for (what, svid, reason) in &cases {
        let (status, found) = world.authenticate(svid, &[]).await;
        let expected = if *reason == "no_agent" { 400 } else { 401 };
        if (status, found.as_str()) != (expected, *reason) {
            wrong.push(format!("{what}: {status} {found}, not {reason}"));
        }
        let (status, _) = world.exchange(svid).await;
        if status != 400 {
            wrong.push(format!("{what}, as a subject token: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.app.finish().await;
}

#[tokio::test]
async fn the_keys_of_a_bundle_have_one_use_each() {
    let world = World::new(Backend::Memory).await;
    let svid = world.acme.jwt.token(&claims(&world));
    assert_eq!(world.authenticate(&svid, &[]).await.0, 200);
    // The same key for X.509-SVIDs, without a use, or without a kid, verifies no JWT.
    for (what, change) in [("x509-svid", json!("x509-svid")), ("sig", json!("sig")), ("none", Value::Null)] {
        let mut bundle = world.acme.bundle(8);
        bundle["keys"][1]["use"] = change;
        world.put_bundle("acme.internal", &bundle);
        world.app.hands.push(3);
        let (status, reason) = world.authenticate(&world.acme.jwt.token(&claims(&world)), &[]).await;
        assert_eq!((status, reason.as_str()), (401, "key_unknown"), "{what}");
    }
    world.app.finish().await;
}
