//! Every credential of `tests/vectors/` at the endpoint of a running broker, on both revocation stores:
//! each way in gives the verdict of the file, by the name that its grant has for it.

use std::collections::BTreeMap;

use hallpass::domain::reason::Reason;
use hallpass::domain::time::Timestamp;
use hallpass::identity::settings::{IssuerSettings, KeySource};

use crate::support::broker::{Answer, BOTH, Backend, Hands, TestApp, decode};
use crate::support::issuer::Mood;
use crate::vectors::{self, Parameter, Vector, Verdict};

/// What carries a credential to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    TokenExchange,
    JwtBearer,
    ClientCredentials,
}

impl Grant {
    fn of(parameter: Parameter) -> &'static [Self] {
        match parameter {
            Parameter::SubjectToken => &[Self::TokenExchange, Self::JwtBearer],
            Parameter::ClientAssertion => &[Self::ClientCredentials],
        }
    }

    async fn present(self, app: &TestApp, credential: &str) -> Answer {
        let form: &[(&str, &str)] = match self {
            Self::TokenExchange => &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
                ("subject_token", credential),
            ],
            Self::JwtBearer => {
                &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", credential)]
            }
            Self::ClientCredentials => &[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", credential),
            ],
        };
        app.post_form("/oauth/token", form, None).await
    }

    /// Status and `error` of a refused credential (RFC 8693 §2.2.2, RFC 7521 §4.1.1 and §4.2.1).
    fn refusal(self, reason: Reason) -> (u16, &'static str) {
        match (reason, self) {
            (Reason::TooLarge, _) => (413, "invalid_request"),
            (_, Self::TokenExchange) => (400, "invalid_request"),
            (_, Self::JwtBearer) => (400, "invalid_grant"),
            (_, Self::ClientCredentials) => (401, "invalid_client"),
        }
    }
}

/// The broker that every vector is meant for, its clock standing at `now` (seconds).
async fn broker_at(now: i64, backend: Backend) -> TestApp {
    let broker = vectors::broker();
    let issuers = broker.issuers();
    let configure =
        |revocation: &str, _: &str| configuration(broker.our_issuer.as_str(), revocation, &issuers);
    let agents = [(broker.agent.as_str(), agent_file(&broker))];
    TestApp::made(backend, Hands::still(Timestamp::from_seconds(now)), configure, &agents).await
}

fn configuration(public_url: &str, revocation: &str, issuers: &[IssuerSettings]) -> String {
    let mut text = format!(
        "server = {{ listen = \"127.0.0.1:0\", public_url = {public_url:?} }}\n\
         admin = {{ listen = \"127.0.0.1:0\", local_operator_key_file = \"operator.key\" }}\n\
         store.url = \"sqlite://hallpass.db\"\nrevocation.url = {revocation:?}\n\
         registry.path = \"agents\"\nlimits.refusals_per_minute = 0\n"
    );
    for issuer in issuers {
        let KeySource::File(keys) = &issuer.keys else { panic!("{} has no jwks_file", issuer.name) };
        let algorithms: Vec<&str> = issuer.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        let max_age = issuer.max_age.map_or(0, |age| age.as_secs());
        text += &format!(
            "[[issuer]]\nname = \"{}\"\nurl = {:?}\naudience = {:?}\nalgorithms = {algorithms:?}\n\
             max_age = \"{max_age}s\"\nleeway = \"{}s\"\njwks_file = {keys:?}\n",
            issuer.name,
            issuer.url,
            issuer.audience,
            issuer.leeway.as_secs()
        );
    }
    text
}

/// One agent that is known by each workload of the vectors.
fn agent_file(broker: &vectors::Broker) -> String {
    let mut text = "purpose = \"Is known by all that is good.\"\nowner = \"team-payments\"\n".to_owned();
    for issuer in broker.issuers() {
        text += &format!(
            "[[identity]]\nissuer = \"{}\"\nclaims = {{ sub = \"repo:acme/payments:ref:refs/heads/main\" }}\n",
            issuer.name
        );
    }
    for key in &broker.agent_keys {
        let members: BTreeMap<String, String> =
            serde_json::from_value(serde_json::to_value(key).unwrap()).unwrap();
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        text += &format!("[[identity]]\nkey = {{ {} }}\n", members.join(", "));
    }
    text + "[[endpoint]]\nname = \"ledger\"\nurl = \"https://ledger.acme.test\"\npaths = [\"/**\"]\nfree = [\"GET\"]\n"
}

/// Presents a credential by `grant`, and says how the answer differs from the verdict of its file.
async fn try_out(app: &TestApp, vector: &Vector, grant: Grant) -> Option<String> {
    let credential = vector.credential();
    let answer = grant.present(app, &credential).await;
    if answer.status == 200 {
        app.note_released(&answer.token());
    }
    let expected = match vector.reason() {
        None => format!("200 {}", vector.workload.as_ref().unwrap()),
        // RFC 6749 §3.1: a parameter without a value counts as left out.
        Some(_) if credential.is_empty() => "400 invalid_request parameter_missing".to_owned(),
        Some(reason) => {
            let (status, error) = grant.refusal(reason);
            format!("{status} {error} {}", reason.as_str())
        }
    };
    let found = outcome(&answer);
    let repeated = credential.split(['.', '"', ' ']).any(|part| part.len() > 8 && answer.text.contains(part));
    let stored = answer.header("cache-control") != "no-store";
    (found != expected || repeated || stored).then(|| {
        format!("{} by {grant:?}: {found}, not {expected} ({}): {}", vector.name, vector.why, answer.text)
    })
}

/// `200 workload`, or `status error reason`.
fn outcome(answer: &Answer) -> String {
    let body = answer.json();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    match body["access_token"].as_str() {
        Some(token) => {
            format!("{} {}", answer.status, decode(token)["workload"].as_str().unwrap_or_default())
        }
        None => format!("{} {} {}", answer.status, text("error"), text("reason")),
    }
}

#[tokio::test]
async fn every_credential_meets_its_verdict_over_http() {
    for backend in BOTH {
        let mut all = vectors::all();
        // They share one `jti`, so each has a broker to itself below.
        all.retain(|vector| !is_good_assertion(vector));
        // The clock only goes forward.
        all.sort_by_key(|vector| vector.now);
        let app = broker_at(all[0].now, backend).await;
        let mut wrong = Vec::new();
        let mut good = 0;
        for vector in &all {
            app.hands.push(vector.now - app.hands.now().seconds());
            for &grant in Grant::of(vector.parameter) {
                wrong.extend(try_out(&app, vector, grant).await);
                good += usize::from(vector.verdict == Verdict::Accept);
            }
        }
        assert!(wrong.is_empty(), "{backend:?}, {} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
        // No token that nobody was given, either.
        assert_eq!(app.events("kind=token.issued").await.len(), good, "{backend:?}");
        app.finish().await;
    }
}

fn is_good_assertion(vector: &Vector) -> bool {
    vector.parameter == Parameter::ClientAssertion && vector.verdict == Verdict::Accept
}

#[tokio::test]
async fn a_good_assertion_is_used_up_by_its_use_alone() {
    let all = vectors::all();
    let good: Vec<&Vector> = all.iter().filter(|vector| is_good_assertion(vector)).collect();
    let bad: Vec<&Vector> = all
        .iter()
        .filter(|vector| vector.parameter == Parameter::ClientAssertion && !is_good_assertion(vector))
        .collect();
    assert!(good.len() > 1 && bad.len() > 5);
    for backend in BOTH {
        for first in &good {
            let app = broker_at(first.now, backend).await;
            // Those that are refused have the same `jti`, and use nothing up.
            for vector in bad.iter().chain([first]) {
                assert_eq!(try_out(&app, vector, Grant::ClientCredentials).await, None, "{backend:?}");
            }
            for vector in &good {
                let again = Grant::ClientCredentials.present(&app, &vector.credential()).await;
                assert_eq!(outcome(&again), "401 invalid_client replayed", "{backend:?} {}", vector.name);
            }
            app.finish().await;
        }
    }
}

#[tokio::test]
async fn an_issuer_without_keys_is_a_fault_of_neither_side() {
    let app = TestApp::start(Backend::Memory).await;
    app.issuer.behave(Mood::Broken);
    let proof = app.proof();
    for grant in [Grant::TokenExchange, Grant::JwtBearer] {
        let answer = grant.present(&app, &proof).await;
        assert_eq!(outcome(&answer), "503 temporarily_unavailable issuer_unavailable", "{grant:?}");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    }
    app.finish().await;
}

/// A proof is no access token, whoever signed it (RFC 8725 §3.11, §3.12).
#[tokio::test]
async fn no_credential_passes_for_a_token_of_ours() {
    let mut all = vectors::all();
    all.retain(|vector| !vector.credential().is_empty());
    let app = broker_at(all[0].now, Backend::Memory).await;
    for vector in &all {
        let credential = vector.credential();
        // RFC 7009 §2.2: ending what is no token is done already.
        let status = if credential.len() > 64 * 1024 { 413 } else { 200 };
        let form = [("token", credential.as_str())];
        let answer = app.post_form("/oauth/introspect", &form, Some(&app.operator)).await;
        assert_eq!(answer.status, status, "{}: {}", vector.name, answer.text);
        if status == 200 {
            assert_eq!(answer.text, "{\"active\":false}", "{}", vector.name);
        }
        let answer = app.post_form("/oauth/revoke", &form, None).await;
        assert_eq!(answer.status, status, "{}: {}", vector.name, answer.text);
        let answer = app
            .send(app.http().get(format!("{}/v1/agents", app.admin)).bearer_auth(printable(&credential)))
            .await;
        assert!(answer.status == 401, "{}: {}", vector.name, answer.text);
    }
    assert_eq!(app.events("kind=revocation.stopped").await.len(), 0);
    app.finish().await;
}

/// As much of it as a header can hold.
fn printable(credential: &str) -> String {
    credential.chars().filter(char::is_ascii_graphic).take(8192).collect()
}
