//! A broker with agents of registered keys, and the calls that such an agent makes.

use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, Answer, Backend, Hands, PAYMENTS, TestApp, configuration};
use crate::support::signer::Signer;

pub(super) const AGENT: &str = "payments-refactorer";
pub(super) const OTHER: &str = "ledger-reader";
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An agent that is known by keys alone.
const LEDGER_READER: &str = r#"purpose = "Reads the ledger."
owner = "team-ledger"
[[endpoint]]
name = "ledger"
url = "https://ledger.staging.acme.internal"
paths = ["/**"]
free = ["GET"]
"#;

/// A broker with two agents of registered keys, and one without.
pub(super) struct Bench {
    pub(super) app: TestApp,
    pub(super) ed25519: Signer,
    pub(super) es256: Signer,
    /// The key of [`OTHER`].
    pub(super) others: Signer,
}

impl Bench {
    pub(super) async fn start(backend: Backend) -> Self {
        Self::limited(backend, "refusals_per_minute = 0").await
    }

    /// With these `[limits]`.
    pub(super) async fn limited(backend: Backend, limits: &str) -> Self {
        Self::configured(backend, &format!("[limits]\n{limits}\n")).await
    }

    /// With these sections.
    pub(super) async fn configured(backend: Backend, sections: &str) -> Self {
        let (ed25519, es256) = (Signer::ed25519("laptop"), Signer::es256("runner"));
        let others = Signer::ed25519("other");
        let keyless = "[[identity]]\nissuer = \"ci\"\nclaims = { sub = \"keyless\" }\n";
        let agents = [
            (AGENT, format!("{PAYMENTS}{}", identities(&[&ed25519, &es256]))),
            (OTHER, format!("{LEDGER_READER}{}", identities(&[&others]))),
            ("keyless", format!("{LEDGER_READER}{keyless}")),
        ];
        let configure = |url: &str, issuer: &str| configuration(url, issuer, sections);
        let app = TestApp::made(backend, Hands::default(), configure, &agents).await;
        Self { app, ed25519, es256, others }
    }

    /// What `agent` says of itself.
    pub(super) fn claims(&self, agent: &str, jti: &str) -> Value {
        let now = self.app.hands.now().seconds();
        json!({"iss": agent, "sub": agent, "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": jti})
    }

    /// A good assertion.
    pub(super) fn assertion(&self, jti: &str) -> String {
        self.ed25519.token(&self.claims(AGENT, jti))
    }

    pub(super) async fn token(&self, assertion: &str) -> Answer {
        present(&self.app, assertion, &[]).await
    }

    /// Refused as a client that did not prove itself.
    pub(super) async fn refused(&self, assertion: &str, reason: &str) {
        let answer = self.token(assertion).await;
        assert_eq!(outcome(&answer), format!("401 invalid_client {reason}"));
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    }
}

pub(super) fn identities(signers: &[&Signer]) -> String {
    let member = |(name, value): (&String, &Value)| format!("{name} = {value}");
    let key = |signer: &&Signer| {
        let members: Vec<String> = signer.public_jwk().as_object().unwrap().iter().map(member).collect();
        format!("[[identity]]\nkey = {{ {} }}\n", members.join(", "))
    };
    signers.iter().map(key).collect()
}

pub(super) async fn present(app: &TestApp, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    form.extend_from_slice(more);
    let answer = app.post_form("/oauth/token", &form, None).await;
    if answer.status == 200 {
        app.note_released(&answer.token());
    }
    answer
}

pub(super) fn outcome(answer: &Answer) -> String {
    let body = answer.json();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", answer.status, text("error"), text("reason"))
}
