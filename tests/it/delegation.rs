//! Delegation: an agent's token handed down to sub-agents, and everything that must not come of it.

mod attacks;
mod kill;
mod live;

use serde_json::{Value, json};

use crate::support::broker::{Answer, BOTH, Backend, Hands, PAYMENTS, TestApp, configuration, decode};

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A sub-agent known by its repository id, that may do a part of what its parent may, under another name.
pub(crate) fn sub_agent(repository: &str, owner: &str, more: &str) -> String {
    format!(
        r#"purpose = "Runs the tests of the payments service."
owner = "{owner}"
{more}
[[identity]]
issuer = "ci"
claims = {{ repository_id = "{repository}" }}
[[repository]]
name = "code"
url = "https://github.com/acme/payments"
environment = "staging"
refs = ["refs/heads/agent/tests-*"]
free = ["read", "push"]
[[endpoint]]
name = "results"
url = "https://results.acme.internal"
paths = ["/**"]
free = ["POST"]
"#
    )
}

struct World {
    app: TestApp,
}

impl World {
    async fn new(backend: Backend) -> Self {
        Self::with(backend, "", "max_delegation_depth = 2").await
    }

    /// `payments-refactorer` → `test-runner` → `reporter` → `deep`; each may hand on to the next.
    async fn with(backend: Backend, parent: &str, guardrails: &str) -> Self {
        let agents = [
            ("payments-refactorer", format!("may_delegate_to = [\"test-runner\"]\n{parent}{PAYMENTS}")),
            ("test-runner", sub_agent("1001", "team-qa", "may_delegate_to = [\"reporter\"]")),
            ("reporter", sub_agent("1002", "team-reports", "may_delegate_to = [\"deep\"]")),
            ("deep", sub_agent("1003", "team-reports", "")),
        ];
        let configure = |url: &str, issuer: &str| {
            configuration(url, issuer, "").replace("[guardrails]", &format!("[guardrails]\n{guardrails}"))
        };
        Self { app: TestApp::made(backend, Hands::default(), configure, &agents).await }
    }

    /// A proof of the sub-agent of this repository.
    fn proof(&self, repository: &str) -> String {
        let mut claims = self.app.claims();
        claims["repository_id"] = json!(repository);
        claims["sub"] = json!(format!("repo:acme/tools-{repository}:ref:refs/heads/main"));
        self.app.issuer.token(claims)
    }

    /// Hands `parent` down to the sub-agent of `repository`.
    async fn hand(&self, parent: &str, repository: &str, more: &[(&str, &str)]) -> Answer {
        let proof = self.proof(repository);
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("subject_token", parent),
            ("actor_token_type", JWT),
            ("actor_token", proof.as_str()),
        ];
        form.extend_from_slice(more);
        self.post(&form).await
    }

    async fn post(&self, form: &[(&str, &str)]) -> Answer {
        let answer = self.app.post_form("/oauth/token", form, None).await;
        if answer.status == 200 {
            self.app.note_released(&answer.token());
        }
        answer
    }
}

#[tokio::test]
async fn a_token_is_handed_down_narrower() {
    for backend in BOTH {
        let world = World::new(backend).await;
        let parent = world.app.issue().await;
        let answer = world.hand(&parent, "1001", &[]).await;
        let (claims, above) = (decode(&answer.token()), decode(&parent));
        // RFC 8693 §4.1: who it is for stays, who acts is said.
        assert_eq!(claims["sub"], "agent:payments-refactorer");
        assert_eq!(claims["act"], json!({"sub": "agent:test-runner"}));
        assert_eq!((&claims["client_id"], &claims["owner"]), (&json!("test-runner"), &json!("team-qa")));
        assert_eq!(claims["parents"][0]["jti"], above["jti"]);
        assert!(claims["exp"].as_i64() <= above["exp"].as_i64());
        // Its own names, the common refs; nothing of what only one of them has.
        assert_eq!(claims["scope"], "code:read code:push");
        assert_eq!(claims["authorization_details"][0]["refs"], json!(["refs/heads/agent/tests-*"]));
        assert_eq!(claims["aud"], json!(["https://github.com"]));

        let told = world.app.introspect(&answer.token()).await;
        assert_eq!((&told["active"], &told["act"]), (&json!(true), &claims["act"]));
        let event = &world.app.events("kind=token.issued").await[0];
        assert_eq!(event["parent"], above["jti"]);
        assert_eq!((&event["agent"], &event["owner"]), (&json!("test-runner"), &json!("team-qa")));
        assert!(event["detail"].as_str().unwrap().contains("payments-refactorer → test-runner"), "{event}");

        // On to a third, whose chain says both.
        let third = world.hand(&answer.token(), "1002", &[("scope", "code:read")]).await;
        let third = decode(&third.token());
        let chain = json!({"sub": "agent:reporter", "act": {"sub": "agent:test-runner"}});
        assert_eq!((&third["sub"], &third["act"]), (&json!("agent:payments-refactorer"), &chain));
        assert_eq!(third["parents"].as_array().unwrap().len(), 2);

        // A parent's token may serve several.
        assert_eq!(world.hand(&parent, "1001", &[]).await.status, 200);
        world.app.finish().await;
    }
}

#[tokio::test]
async fn a_sub_agent_may_call_for_itself() {
    let world = World::new(Backend::Memory).await;
    let keyed = hallpass_keys();
    let file = world.app.file("agents/test-runner.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[[identity]]\nkey = {}\n", keyed.0)).unwrap();
    world.app.hands.push(5);
    let parent = world.app.issue().await;
    for _ in 0..200 {
        let form = |assertion: &str| {
            [
                ("grant_type", EXCHANGE.to_owned()),
                ("subject_token_type", ACCESS_TOKEN.to_owned()),
                ("subject_token", parent.clone()),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
                ),
                ("client_assertion", assertion.to_owned()),
            ]
        };
        let assertion = assertion(&world.app, &keyed.1);
        let form = form(&assertion);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = world.post(&form).await;
        if answer.status == 200 {
            assert_eq!(decode(&answer.token())["client_id"], "test-runner");
            // The assertion was used up.
            assert_eq!(world.post(&form).await.reason(), "replayed");
            return world.app.finish().await;
        }
        // The agent files are looked at once a second.
        assert_eq!(answer.reason(), "signature_invalid");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the key was never taken over");
}

fn hallpass_keys() -> (String, crate::support::signer::Signer) {
    let signer = crate::support::signer::Signer::ed25519("k");
    let jwk = signer.public_jwk();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    (format!("{{ kty = \"OKP\", crv = \"Ed25519\", x = \"{}\" }}", text("x")), signer)
}

fn assertion(app: &TestApp, signer: &crate::support::signer::Signer) -> String {
    let now = app.hands.now().seconds();
    let jti = uuid::Uuid::from_u64_pair(now as u64, rand()).to_string();
    let claims: Value = json!({"iss": "test-runner", "sub": "test-runner", "aud": crate::support::broker::AUDIENCE,
        "iat": now, "exp": now + 60, "jti": jti});
    signer.token(&claims)
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    ring::rand::SecureRandom::fill(&crate::support::signer::random(), &mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_hands_down_what_a_file_holds() {
    let world = World::new(Backend::Memory).await;
    let file = world.app.file("parent.token");
    let parent = world.app.issue().await;
    std::fs::write(&file, format!("{parent}\n")).unwrap();
    let run = async |more: &[&str]| {
        let all =
            [&["token", "--format", "token", "--parent-token-file", file.to_str().unwrap()], more].concat();
        let mut command = crate::support::command::hallpass(&world.app, &all);
        command.env("HALLPASS_IDENTITY_TOKEN", world.proof("1001"));
        crate::support::command::ran(command).await
    };
    let ran = run(&["--scope", "code:read"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    world.app.note_released(ran.out.trim());
    let claims = decode(ran.out.trim());
    assert_eq!((&claims["client_id"], &claims["scope"]), (&json!("test-runner"), &json!("code:read")));
    let ran = run(&["--scope", "results:POST"]).await;
    assert!(ran.code == Some(3) && ran.err.contains("beyond_parent"), "{ran:?}");
    // What is no token goes nowhere, and is not repeated.
    std::fs::write(&file, "two words").unwrap();
    let ran = run(&[]).await;
    assert!(
        ran.code == Some(1) && ran.err.contains("HALLPASS_TOKEN_FILE") && !ran.err.contains("two words"),
        "{ran:?}"
    );
    world.app.finish().await;
}
