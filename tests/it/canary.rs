//! Law 7: a secret that a caller sends, or that the broker keeps, is written nowhere. Each canary below
//! goes in through one place of its own; then everything that came out is searched for all of them.

mod hunt;

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use self::hunt::Hunt;
use crate::support::process::{Plan, Process, eventually, read};
use crate::support::redis::{Options, RedisServer};
use crate::support::signer::{Signer, base64url};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REDIS_PASSWORD: &str = "canary-redis-password";
const SIGNING_KEY: &str = include_str!("../vectors/keys/rsa-2048.test-only.pem");

/// Every parameter of the token endpoint, known or not, as a name and as a value.
async fn parameters(hunt: &mut Hunt) {
    let known = ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "assertion"];
    let more = ["client_assertion", "client_assertion_type", "client_id", "scope", "authorization_details"];
    let rest = ["resource", "audience", "requested_ttl", "client_secret", "actor_token", "password", "code"];
    for name in known.into_iter().chain(more).chain(rest) {
        let canary = hunt.canary(name);
        let good = [("grant_type", TOKEN_EXCHANGE), ("subject_token_type", JWT), ("subject_token", "a.b.c")];
        let mut form: Vec<(&str, &str)> = good.into_iter().filter(|(known, _)| *known != name).collect();
        form.push((name, &canary));
        hunt.refused(&form).await;
        hunt.refused(&[(name, &canary)]).await;
        hunt.refused(&[&form[..], &[(name, &canary)]].concat()).await;
        let grants = [JWT_BEARER, "client_credentials"];
        for grant in grants {
            hunt.refused(&[("grant_type", grant), ("assertion", "a.b.c"), (name, &canary)]).await;
        }
    }
    let name = hunt.canary("parametername");
    hunt.refused(&[(&name, "x")]).await;
    hunt.refused(&[(&name, "x"), (&name, "y")]).await;
}

/// Every part of a proof, good or bad, and the whole of it.
async fn proofs(hunt: &mut Hunt) {
    let good = hunt.broker.proof();
    let stranger = Signer::es256("ci-1");
    let mut proofs = Vec::new();
    for member in ["kid", "typ", "alg", "cty", "crit", "jku", "x5u", "unknown"] {
        let canary = hunt.canary(&format!("header{member}"));
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "ci-1"});
        header[member] = if member == "crit" { json!([canary]) } else { json!(canary) };
        proofs.push(hunt.broker.signer.compact(
            "ES256",
            header.to_string(),
            hunt.broker.claims().to_string(),
        ));
    }
    for claim in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "ref", "repository_id", "unmatched"] {
        let canary = hunt.canary(&format!("claim{claim}"));
        let mut claims = hunt.broker.claims();
        claims[claim] = json!(canary);
        // As an agent's proof it is refused, or matches nobody's registration.
        claims["ref"] = json!(canary);
        // The subject of a proof that is verified is no secret: it is the workload's name in the events.
        if claim != "sub" {
            proofs.push(hunt.broker.signer.token(&claims));
        }
        claims[canary.as_str()] = json!({"nested": [canary]});
        proofs.push(stranger.token(&claims));
    }
    let canary = hunt.canary("signature");
    let (signed, _) = good.rsplit_once('.').unwrap();
    proofs.push(format!("{signed}.{}", base64url(&canary)));
    proofs.push(format!("{signed}.{canary}"));
    for shape in ["text", "half"] {
        let canary = hunt.canary(&format!("malformed{shape}"));
        proofs.push(if shape == "text" { canary } else { format!("{canary}.{canary}.{canary}") });
    }
    let canary = hunt.canary("json");
    proofs.push(format!(
        "{}.{}.{}",
        base64url(format!("{{\"alg\":{canary}")),
        base64url("{}"),
        base64url("x")
    ));
    for proof in &proofs {
        hunt.secret("a bad proof", proof);
        for form in [&exchanged(proof)[..], &[("grant_type", JWT_BEARER), ("assertion", proof)]] {
            let (status, text) = hunt.form("/oauth/token", form, None).await;
            if status == 200 {
                // A header member that means nothing does no harm either. The one answer that holds a token.
                hunt.answers.pop();
                let answer: Value = serde_json::from_str(&text).unwrap();
                hunt.secret("access token", answer["access_token"].as_str().unwrap());
            }
        }
        let client = [("grant_type", "client_credentials"), ("client_assertion_type", ASSERTION)];
        hunt.refused(&[&client[..], &[("client_assertion", proof)]].concat()).await;
    }
}

fn exchanged(proof: &str) -> [(&'static str, &str); 3] {
    [("grant_type", TOKEN_EXCHANGE), ("subject_token_type", JWT), ("subject_token", proof)]
}

/// A matched agent is told what was wrong with what it asked for, in its own answer and nowhere else.
async fn a_matched_agent(hunt: &mut Hunt) {
    let proof = hunt.broker.proof();
    hunt.secret("a good proof", &proof);
    for name in ["scope", "resource", "audience", "authorization_details", "requested_ttl"] {
        for known in [true, false] {
            let canary = hunt.canary(&format!("ofagent{name}"));
            let details = json!([{"type": "git_repository", "identifier": if known { "payments" } else { &canary },
                "refs": [canary]}]);
            let value = if name == "authorization_details" { details.to_string() } else { canary };
            let form = [&exchanged(&proof)[..], &[(name, value.as_str())]].concat();
            let (status, text) = hunt.form("/oauth/token", &form, None).await;
            assert_eq!(status, 400, "{text}");
            if name != "requested_ttl" {
                // This answer may repeat it; the log and the events may not.
                hunt.answers.pop();
            }
        }
    }
}

/// Credentials, good and bad, on both listeners.
async fn credentials(hunt: &mut Hunt) {
    let (public, admin) = (hunt.broker.public.clone(), hunt.broker.admin.clone());
    let http = hunt.broker.http.clone();
    let mut headers: Vec<(&str, String)> = Vec::new();
    let bearer = hunt.canary("bearer");
    let (user, password) = (hunt.canary("basic user"), hunt.canary("basic password"));
    let (malformed, scheme) = (hunt.canary("malformed"), hunt.canary("scheme"));
    headers.push(("authorization", format!("Bearer {bearer}")));
    headers.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
    headers.push(("authorization", format!("Basic {malformed}")));
    headers.push(("authorization", format!("Basic {}", STANDARD.encode(&malformed))));
    headers.push(("authorization", malformed.clone()));
    headers.push(("authorization", format!("{scheme} x")));
    for name in
        ["cookie", "user-agent", "x-request-id", "referer", "x-forwarded-for", "traceparent", "x-api-key"]
    {
        headers.push((name, hunt.canary(name)));
    }
    for path in ["/v1/agents", "/v1/audit/events", "/metrics", "/nowhere"] {
        for (name, value) in &headers {
            hunt.send(http.get(format!("{admin}{path}")).header(*name, value)).await;
        }
    }
    for path in ["/oauth/introspect", "/oauth/token", "/oauth/revoke", "/readyz", "/nowhere"] {
        for (name, value) in &headers {
            let request = http.post(format!("{public}{path}")).header(*name, value).body("token=x");
            hunt.send(request.header("content-type", "application/x-www-form-urlencoded")).await;
        }
    }
    let kind = hunt.canary("content-type");
    hunt.send(http.post(format!("{public}/oauth/token")).header("content-type", &kind).body("x")).await;
    let token = hunt.canary("a token that is none");
    let operator = hunt.broker.operator.clone();
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        for form in
            [[("token", token.as_str()), ("x", "y")], [("token", &token), ("token_type_hint", &token)]]
        {
            hunt.form(path, &form, Some(&operator)).await;
        }
        hunt.form(path, &[(&token, &token)], Some(&operator)).await;
    }
}

/// Paths, queries and bodies.
async fn places(hunt: &mut Hunt) {
    let http = hunt.broker.http.clone();
    let operator = hunt.broker.operator.clone();
    for base in [hunt.broker.public.clone(), hunt.broker.admin.clone()] {
        let (path, name, value) =
            (hunt.canary("path"), hunt.canary("query name"), hunt.canary("query value"));
        for place in ["/readyz", "/oauth/token", "/v1/audit/events", "/v1/revocations", "/metrics", "/x"] {
            let url = format!("{base}{place}?{name}={value}&limit={value}&agent={value}&cursor={value}");
            hunt.send(http.get(&url).bearer_auth(&operator)).await;
            hunt.send(http.post(&url).bearer_auth(&operator).body("{}")).await;
        }
        for filter in ["agent", "owner", "kind", "outcome", "token", "request", "since", "until", "limit"] {
            let url = format!("{base}/v1/audit/events?{filter}={value}");
            hunt.send(http.get(url).bearer_auth(&operator)).await;
        }
        for place in ["/", "/oauth/", "/v1/agents/", "/v1/revocations/"] {
            hunt.send(http.get(format!("{base}{place}{path}")).bearer_auth(&operator)).await;
            let lift = http.post(format!("{base}{place}{path}/lift")).bearer_auth(&operator);
            hunt.send(lift.body(json!({"reason": "x"}).to_string())).await;
        }
        let (method, head, body) = (hunt.canary("method"), hunt.canary("garbage"), hunt.canary("h2"));
        hunt.raw(&base, format!("{method} / HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        hunt.raw(&base, format!("{head}\r\n\r\n{head}").as_bytes()).await;
        hunt.raw(&base, format!("GET / HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).await;
        hunt.raw(&base, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{body}").as_bytes()).await;
        let length = format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: {head}\r\n\r\n");
        hunt.raw(&base, length.as_bytes()).await;
    }
    let admin = hunt.broker.admin.clone();
    for (place, body) in [
        ("unknown member", json!({"target": "everything", "reason": "x", "CANARY": "CANARY"})),
        ("type", json!({"target": ["CANARY"], "reason": "x"})),
        ("target", json!({"target": "CANARY", "reason": "x"})),
        ("reason", json!({"target": "everything", "reason": {"CANARY": 1}})),
        ("control", json!({"target": "everything", "reason": "CANARY\n"})),
        ("text", json!("CANARY")),
    ] {
        let canary = hunt.canary(&format!("admin{place}"));
        let text = body.to_string().replace("CANARY", &canary);
        let request = http.post(format!("{admin}/v1/revocations")).bearer_auth(&operator);
        let broken = request.try_clone().unwrap().body(text[..text.len() - 1].to_owned());
        hunt.send(broken).await;
        if place != "control" {
            let (status, text) = hunt.send(request.body(text)).await;
            assert_eq!(status, 400, "{text}");
        }
    }
}

/// What works, with good secrets: nothing of it may be written either.
async fn good_secrets(hunt: &mut Hunt) -> Vec<String> {
    let mut tokens = Vec::new();
    let operator = hunt.broker.operator.clone();
    hunt.secret("operator key", &operator);
    hunt.secret("resource server key", "ledger-key");
    for _ in 0..2 {
        let proof = hunt.broker.proof();
        hunt.secret("a good proof", &proof);
        // The one answer that holds a token.
        let answer = read(hunt.broker.request(&proof)).await;
        tokens.push(answer.token());
        hunt.secret("access token", &answer.token());
        let claims = answer.token().split('.').nth(1).unwrap().to_owned();
        hunt.secrets.push(("claims of a token".to_owned(), vec![claims]));
    }
    for bearer in [operator.as_str(), "ledger-key"] {
        let (status, text) = hunt.form("/oauth/introspect", &[("token", &tokens[0])], Some(bearer)).await;
        assert!(status == 200 && text.contains("\"active\":true"), "{text}");
    }
    let http = hunt.broker.http.clone();
    let basic = http.post(format!("{}/oauth/introspect", hunt.broker.public));
    let basic = basic.basic_auth("ledger", Some("ledger-key"));
    let basic = basic.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(hunt.send(basic.body(format!("token={}", tokens[0]))).await.0, 200);
    assert_eq!(hunt.form("/oauth/revoke", &[("token", &tokens[1])], None).await.0, 200);
    for path in ["/v1/agents", "/v1/revocations", "/v1/audit/events?limit=500", "/v1/audit/checkpoint"] {
        let request = http.get(format!("{}{path}", hunt.broker.admin)).bearer_auth(&operator);
        assert_eq!(hunt.send(request).await.0, 200);
    }
    tokens
}

/// An issuer and a Redis that are down log why, and the address of neither may hold more than it should.
async fn faults(hunt: &mut Hunt, redis: &mut RedisServer) {
    redis.kill();
    let answer = hunt.broker.exchange().await;
    hunt.secret("access token", &answer.token());
    let (database, elsewhere) = (hunt.broker.database(), hunt.broker.file("elsewhere.db"));
    fs::rename(&database, &elsewhere).unwrap();
    let proof = hunt.broker.proof();
    hunt.secret("a good proof", &proof);
    let (status, text) = hunt.form("/oauth/token", &exchanged(&proof), None).await;
    assert_eq!(status, 503, "{text}");
    let stop = json!({"target": "agent:payments-refactorer", "reason": "x"}).to_string();
    let stop = hunt.broker.http.post(format!("{}/v1/revocations", hunt.broker.admin)).body(stop);
    let operator = hunt.broker.operator.clone();
    hunt.send(stop.bearer_auth(operator)).await;
    fs::rename(&elsewhere, &database).unwrap();
    redis.restart();
    eventually("recovery", || async { hunt.broker.get("/readyz").await.status == 200 }).await;
}

fn kept_secrets(hunt: &mut Hunt) {
    let key = fs::read_to_string(hunt.broker.file("data/hallpass.db.key")).unwrap();
    hunt.secret("key-encryption key", key.trim());
    hunt.secret("Redis password", REDIS_PASSWORD);
    for line in SIGNING_KEY.lines().filter(|line| line.len() == 64) {
        hunt.secret("signing key", line);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_anywhere() {
    let acl = format!("user default off\nuser hallpass on >{REDIS_PASSWORD} ~* +@all\n");
    let mut redis = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    let mut broker = Process::prepare(Plan {
        revocation: redis.url().to_string(),
        more: "[limits]\nrefusals_per_minute = 0".to_owned(),
        log: "trace,h2=trace,hyper=trace,redis=trace,hallpass=trace",
        ..Plan::default()
    });
    let file = broker.file("hallpass.toml");
    fs::write(broker.file("redis-password"), REDIS_PASSWORD).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let login = "[revocation]\nusername = \"hallpass\"\npassword_file = \"redis-password\"\n";
    let signing = "[token]\nalgorithm = \"RS256\"\nrsa_key_file = \"rsa.pem\"\n\n[registry]\n";
    fs::write(broker.file("rsa.pem"), SIGNING_KEY).unwrap();
    fs::write(&file, text.replace("[revocation]\n", login).replace("[registry]\n", signing)).unwrap();
    broker.boot();
    let mut hunt = Hunt { broker, secrets: Vec::new(), answers: Vec::new() };
    kept_secrets(&mut hunt);
    parameters(&mut hunt).await;
    proofs(&mut hunt).await;
    a_matched_agent(&mut hunt).await;
    credentials(&mut hunt).await;
    places(&mut hunt).await;
    let tokens = good_secrets(&mut hunt).await;
    // Over HTTP/2 too, whose library logs whole frames when asked.
    let h1 = std::mem::replace(&mut hunt.broker.http, http2());
    parameters(&mut hunt).await;
    let more = good_secrets(&mut hunt).await;
    hunt.broker.http = h1;
    faults(&mut hunt, &mut redis).await;

    let metrics = hunt.broker.admin_get("/metrics").await.text;
    assert!(metrics.contains("hallpass_tokens_refused_total"), "{metrics}");
    hunt.search("/metrics", &metrics, &[]);
    for answer in &hunt.answers {
        hunt.search("an answer", answer, &[]);
    }
    // The files as they are while it runs, with every page that is in use or free again.
    let in_data = ["data/hallpass.db", "data/hallpass.db-wal", "data/hallpass.db-shm"];
    in_data.iter().for_each(|name| hunt.search_file(&hunt.broker.file(name), &[]));
    hunt.broker.holds_every(&[tokens, more].concat());
    hunt.broker.terminate();
    assert_eq!(hunt.broker.wait().code(), Some(0));
    in_data.iter().for_each(|name| hunt.search_file(&hunt.broker.file(name), &[]));
    let log = hunt.broker.log();
    assert!(log.lines().count() > 300 && log.contains("\"DEBUG\""), "the log says too little to tell");
    hunt.search("the log", &log, &[]);
    hunt.search_file(&hunt.broker.file("stdout"), &[]);
    let events: Vec<Value> =
        hunt.broker.events(None).iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    assert!(events.len() > 100);
    hunt.search("the events", &Value::from(events).to_string(), &[]);
}

#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
fn http2() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}
