//! What is no delegation.

use serde_json::json;

use super::{ACCESS_TOKEN, EXCHANGE, JWT, World};
use crate::dpop::{self, Holder};
use crate::support::broker::{Backend, decode};
use crate::support::signer::Signer;

#[tokio::test]
async fn only_a_good_token_of_this_broker_is_handed_down() {
    let world = World::new(Backend::Memory).await;
    let parent = world.app.issue().await;
    let (head, signature) = parent.rsplit_once('.').unwrap();
    let mut forged = decode(&parent);
    forged["sub"] = json!("agent:test-runner");
    let forged = Signer::es256("x").token(&forged);
    let tampered = {
        let (header, _) = head.split_once('.').unwrap();
        let mut claims = decode(&parent);
        claims["scope"] = json!("everything");
        format!("{header}.{}.{signature}", crate::support::signer::base64url(claims.to_string()))
    };
    let proof = world.app.proof();
    for (what, token) in [
        ("another's signature", forged),
        ("other claims", tampered),
        ("no signature", format!("{head}.")),
        ("an OIDC token", proof.clone()),
        ("no token", "x".to_owned()),
        ("control characters", "x\u{1}".to_owned()),
    ] {
        let answer = world.hand(&token, "1001", &[]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "parent_invalid"), "{what}");
        // Whom nobody registered learns nothing of the token.
        assert_eq!(world.hand(&token, "4711", &[]).await.reason(), "no_agent", "{what}");
    }
    // The reverse: an access token is no proof of anybody.
    assert_eq!(world.app.exchange(&parent, &[]).await.reason(), "proof_malformed");
    let answer = world
        .post(&[
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("subject_token", &parent),
            ("actor_token_type", JWT),
            ("actor_token", &parent),
        ])
        .await;
    assert_eq!(answer.reason(), "proof_malformed");
    // And an expired one is worth nothing.
    world.app.hands.push(601);
    assert_eq!(world.hand(&parent, "1001", &[]).await.reason(), "parent_invalid");
    world.app.finish().await;
}

#[tokio::test]
async fn who_is_to_have_it_is_proven_once_and_by_itself() {
    let world = World::new(Backend::Memory).await;
    let parent = world.app.issue().await;
    let proof = world.proof("1001");
    let base = [("grant_type", EXCHANGE), ("subject_token_type", ACCESS_TOKEN), ("subject_token", &parent)];
    let with = |more: &[(&'static str, &str)]| {
        let mut form: Vec<(&str, String)> =
            base.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        form
    };
    let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    for (form, reason) in [
        // Bearing the parent's token alone is nobody's proof.
        (with(&[]), "parameter_missing"),
        (with(&[("actor_token", &proof)]), "parameter_missing"),
        (with(&[("actor_token", &proof), ("actor_token_type", ACCESS_TOKEN)]), "parameter_invalid"),
        (
            with(&[
                ("actor_token", &proof),
                ("actor_token_type", JWT),
                ("client_assertion", &proof),
                ("client_assertion_type", assertion_type),
            ]),
            "parameter_invalid",
        ),
        (with(&[("actor_token", "x"), ("actor_token_type", JWT)]), "proof_malformed"),
        (
            with(&[("actor_token", &proof), ("actor_token_type", JWT), ("assertion", &proof)]),
            "parameter_invalid",
        ),
    ] {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(world.post(&form).await.reason(), reason, "{form:?}");
    }
    // An actor without a token to hand down is a contradiction.
    let answer = world.app.exchange(&proof, &[("actor_token", &proof), ("actor_token_type", JWT)]).await;
    assert_eq!(answer.reason(), "parameter_invalid");
    world.app.finish().await;
}

#[tokio::test]
async fn only_those_who_are_listed_and_not_too_many_in_a_row() {
    let world = World::new(Backend::Memory).await;
    let parent = world.app.issue().await;
    // Registered, and not listed by the parent; the parent itself.
    assert_eq!(world.hand(&parent, "1002", &[]).await.reason(), "delegation_not_registered");
    assert_eq!(world.hand(&parent, "456789", &[]).await.reason(), "delegation_not_registered");
    let second = world.hand(&parent, "1001", &[]).await.token();
    let third = world.hand(&second, "1002", &[]).await.token();
    let answer = world.hand(&third, "1003", &[]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "delegation_too_deep"));
    assert!(answer.text.contains("max_delegation_depth is 2"), "{}", answer.text);
    let refused = &world.app.events("kind=token.refused").await[0];
    assert_eq!((&refused["reason"], &refused["agent"]), (&json!("delegation_too_deep"), &json!("deep")));
    world.app.finish().await;
}

#[tokio::test]
async fn nothing_comes_of_it_that_the_parent_has_not() {
    let world = World::new(Backend::Memory).await;
    let reading = world.app.exchange(&world.app.proof(), &[("scope", "payments:read")]).await.token();
    for (what, more) in [
        ("another action", ("scope", "code:push")),
        ("both", ("scope", "code:read code:push")),
        ("another resource", ("scope", "results:POST")),
        (
            "other refs",
            (
                "authorization_details",
                r#"[{"type":"git_repository","identifier":"code","actions":["push"],"refs":["refs/heads/agent/tests-*"]}]"#,
            ),
        ),
    ] {
        let answer = world.hand(&reading, "1001", &[more]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "beyond_parent"), "{what}");
        assert_eq!(answer.json()["error"], "invalid_scope");
    }
    // More than the child's own file registers is refused as it always is.
    assert_eq!(
        world.hand(&reading, "1001", &[("scope", "code:merge")]).await.reason(),
        "scope_not_registered"
    );
    // Nothing asked is what both have.
    let claims = decode(&world.hand(&reading, "1001", &[]).await.token());
    assert_eq!(claims["scope"], "code:read");
    // A longer life than the parent's is not had by asking for it.
    let short = world.app.exchange(&world.app.proof(), &[("requested_ttl", "60")]).await.token();
    let claims = decode(&world.hand(&short, "1001", &[("requested_ttl", "600")]).await.token());
    assert!(claims["exp"].as_i64() <= decode(&short)["exp"].as_i64(), "{claims}");
    // Where they have nothing in common there is nothing.
    let ledger = world.app.exchange(&world.app.proof(), &[("scope", "ledger:GET")]).await.token();
    assert_eq!(world.hand(&ledger, "1001", &[]).await.reason(), "beyond_parent");
    world.app.finish().await;
}

#[tokio::test]
async fn a_parent_whose_file_was_narrowed_hands_down_what_is_left() {
    let world = World::new(Backend::Memory).await;
    let parent = world.app.issue().await;
    let file = world.app.file("agents/payments-refactorer.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let until = async |reason: &str| {
        for _ in 0..200 {
            let answer = world.hand(&parent, "1001", &[("scope", "code:push")]).await;
            if answer.reason() == reason {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never {reason}");
    };
    std::fs::write(&file, text.replace(r#"free  = ["read", "push"]"#, r#"free  = ["read"]"#)).unwrap();
    until("beyond_parent").await;
    std::fs::write(&file, text.replace("may_delegate_to = [\"test-runner\"]", "")).unwrap();
    until("delegation_not_registered").await;
    std::fs::remove_file(&file).unwrap();
    until("parent_invalid").await;
    world.app.finish().await;
}

#[tokio::test]
async fn a_bound_token_is_handed_down_by_proof_of_its_key_alone() {
    let world = World::new(Backend::Memory).await;
    let (key, other) = (Holder::new(), Holder::new());
    let bound = dpop::exchange(&world.app, &[&key.proof(&world.app)], &[]).await.token();
    assert_eq!(world.hand(&bound, "1001", &[]).await.reason(), "parent_bound");
    let hand = async |holder: &Holder| {
        let proof = world.proof("1001");
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("subject_token", &bound),
            ("actor_token_type", JWT),
            ("actor_token", &proof),
        ];
        dpop::post(&world.app, &form, &[&holder.proof(&world.app)]).await
    };
    assert_eq!(hand(&other).await.reason(), "parent_bound");
    let answer = hand(&key).await;
    let (claims, above) = (decode(&answer.token()), decode(&bound));
    assert_eq!((&claims["cnf"], &answer.json()["token_type"]), (&above["cnf"], &json!("DPoP")));
    world.app.finish().await;
}
