//! Tokens as each platform documents them, from an issuer of the test, through a whole broker: the one that
//! is meant gets a token, and what a stranger could come by gets none.

mod azure;
mod clusters;
mod github;
mod gitlab;
mod google;
mod kubernetes;
mod serve;

use std::fs;

use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, Answer, Backend, TestApp, decode};
use crate::support::issuer::Issuer;
use crate::support::signer::Signer;

/// A broker that trusts one issuer of a kind, and an agent known by one rule.
struct World {
    app: TestApp,
    platform: Issuer,
    /// A good token's claims, without its dates.
    claims: Value,
}

/// What is done to a good token, and the reason that is answered.
type Hostile = (&'static str, fn(&mut Value), &'static str);

const NO_AGENT: &str = "no_agent";

impl World {
    async fn start(kind: &str, rule: &str, claims: Value) -> Self {
        let platform = Issuer::with_signers(vec![Signer::rs256("platform-1")]).await;
        let url = platform.url();
        let more = format!(
            "[[issuer]]\nname = \"it\"\nkind = \"{kind}\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\""
        );
        let mut app = TestApp::with(Backend::Memory, &more).await;
        app.shutdown().await;
        fs::write(app.file("agents/agent.toml"), agent("it", rule)).unwrap();
        app.boot().await;
        Self { app, platform, claims }
    }

    /// A good token's claims.
    fn fresh(&self) -> Value {
        let now = self.app.hands.now().seconds();
        let mut claims = self.claims.clone();
        let dates = json!({
            "iss": self.platform.url(), "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300
        });
        claims.as_object_mut().unwrap().extend(dates.as_object().unwrap().clone());
        claims
    }

    /// What the broker says that it would do with these claims.
    async fn dry_run(&self, claims: &Value) -> Value {
        let question = json!({"identity": {"issuer": "it", "claims": claims}});
        self.app.admin_post("/v1/explain", &question).await.json()
    }

    async fn exchange(&self, claims: Value) -> Answer {
        self.app.exchange(&self.platform.token(claims), &[]).await
    }

    /// The good token is the agent's; each hostile one is nobody's, for its own reason.
    async fn hold(self, hostile: &[Hostile]) {
        assert!(hostile.len() >= 8);
        let good = self.exchange(self.fresh()).await;
        assert_eq!(decode(&good.token())["sub"], "agent:agent");
        let dry = self.dry_run(&self.fresh()).await;
        assert_eq!((&dry["outcome"], &dry["agent"]), (&json!("granted"), &json!("agent")), "{dry}");
        for (what, change, reason) in hostile {
            let mut claims = self.fresh();
            change(&mut claims);
            if *reason == NO_AGENT {
                let dry = self.dry_run(&claims).await;
                assert_eq!(
                    (&dry["refusal"]["reason"], &dry["agent"]),
                    (&json!(NO_AGENT), &Value::Null),
                    "{what}: {dry}"
                );
            }
            assert_ne!(claims, self.fresh(), "{what} changes nothing");
            let answer = self.exchange(claims).await;
            assert_eq!((answer.status, answer.reason().as_str()), (400, *reason), "{what}: {}", answer.text);
            assert!(answer.json().get("access_token").is_none(), "{what}");
        }
        self.hold_whatever_the_claims().await;
        // What was refused has not spoiled what is good.
        self.exchange(self.fresh()).await.token();
        self.app.finish().await;
    }

    /// A claim twice, a stranger's key, and another issuer's word for it.
    async fn hold_whatever_the_claims(&self) {
        let text = self.fresh().to_string();
        let twice = format!("{},\"sub\":\"twice\"}}", text.strip_suffix('}').unwrap());
        let stranger = Signer::es256("platform-1").token(&self.fresh());
        let elsewhere = self.app.issuer.token(self.fresh());
        for (what, token, reasons) in [
            ("a claim twice", self.platform.token_over(&twice), ["proof_malformed"; 2]),
            ("a stranger's key", stranger, ["algorithm_not_allowed"; 2]),
            ("another issuer's key", elsewhere, ["algorithm_not_allowed", "key_unknown"]),
        ] {
            let answer = self.app.exchange(&token, &[]).await;
            assert_eq!(answer.status, 400, "{what}: {}", answer.text);
            assert!(reasons.contains(&answer.reason().as_str()), "{what}: {}", answer.text);
        }
        // The same claims, of an issuer that is trusted for another agent.
        let mut claims = self.fresh();
        claims["iss"] = json!(self.app.issuer.url());
        let answer = self.app.exchange(&self.app.issuer.token(claims), &[]).await;
        if answer.status == 200 {
            assert_ne!(decode(&answer.token())["sub"], "agent:agent");
        }
    }
}

fn agent(issuer: &str, rule: &str) -> String {
    format!(
        "purpose = 'Reads code.'\nowner = 'team-a'\n[[identity]]\nissuer = '{issuer}'\nclaims = {rule}\n\
         [[repository]]\nname = 'code'\nurl = 'https://code.test/acme/code'\nfree = ['read']\n"
    )
}
