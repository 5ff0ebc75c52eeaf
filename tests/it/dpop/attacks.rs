//! Proofs that are none: each check of RFC 9449 §4.3, replay, and what must not be seen anywhere.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use super::*;

/// A change of a good proof's header and claims, and a word that the refusal must name it by.
type Attack = (&'static str, fn(&mut Value, &mut Value), &'static str);

/// By the numbers of RFC 9449 §4.3. Item 1 is `two_proofs_are_none`, items 6 and 2 also `spoiled`,
/// item 10 the nonces' test; item 12 is of resource servers.
const ATTACKS: &[Attack] = &[
    // 3: all required claims.
    ("no jti", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti")), "jti"),
    ("jti is empty", |_, claims| claims["jti"] = json!(""), "jti"),
    ("jti is a number", |_, claims| claims["jti"] = json!(7), "jti"),
    ("jti is endless", |_, claims| claims["jti"] = json!("j".repeat(257)), "jti"),
    ("no htm", |_, claims| drop(claims.as_object_mut().unwrap().remove("htm")), "htm"),
    ("no htu", |_, claims| drop(claims.as_object_mut().unwrap().remove("htu")), "htu"),
    ("no iat", |_, claims| drop(claims.as_object_mut().unwrap().remove("iat")), "iat"),
    // 4: typ.
    ("no typ", |header, _| drop(header.as_object_mut().unwrap().remove("typ")), "typ"),
    ("typ of an identity token", |header, _| header["typ"] = json!("JWT"), "typ"),
    ("typ of an access token", |header, _| header["typ"] = json!("at+jwt"), "typ"),
    ("typ is a list", |header, _| header["typ"] = json!(["dpop+jwt"]), "typ"),
    // 5: alg.
    ("none", |header, _| header["alg"] = json!("none"), "alg"),
    ("none in capitals", |header, _| header["alg"] = json!("NONE"), "alg"),
    ("symmetric", |header, _| header["alg"] = json!("HS256"), "alg"),
    ("no alg", |header, _| drop(header.as_object_mut().unwrap().remove("alg")), "alg"),
    ("alg of another key", |header, _| header["alg"] = json!("RS256"), "alg"),
    ("alg of another curve", |header, _| header["alg"] = json!("ES384"), "alg"),
    ("alg of another in jwk", |header, _| header["jwk"]["alg"] = json!("ES384"), "jwk"),
    // 6: the signature is of the key in jwk.
    ("another's key", |header, _| header["jwk"] = Signer::es256("other").public_jwk(), "signature"),
    // 7: no private key; and a key at all.
    ("a private key", |header, _| header["jwk"]["d"] = json!("AAAA"), "private"),
    ("a private member of RSA", |header, _| header["jwk"]["dp"] = json!("AAAA"), "private"),
    ("a private member that is null", |header, _| header["jwk"]["d"] = Value::Null, "private"),
    ("a symmetric key", |header, _| header["jwk"] = json!({"kty": "oct", "k": "c2VjcmV0"}), "symmetric"),
    ("no jwk", |header, _| drop(header.as_object_mut().unwrap().remove("jwk")), "jwk"),
    ("jwk is a text", |header, _| header["jwk"] = json!(header["jwk"].to_string()), "jwk"),
    ("jwk is empty", |header, _| header["jwk"] = json!({}), "jwk"),
    ("jwk of another type", |header, _| header["jwk"]["kty"] = json!("OKP"), "jwk"),
    ("jwk for encryption", |header, _| header["jwk"]["use"] = json!("enc"), "jwk"),
    ("jwk for nothing", |header, _| header["jwk"]["key_ops"] = json!([]), "jwk"),
    ("jwk with a number", |header, _| header["jwk"]["x"] = json!(7), "jwk"),
    ("a point off the curve", |header, _| header["jwk"]["x"] = json!("A".repeat(43)), "signature"),
    ("an extension", |header, _| header["crit"] = json!(["x"]), "extension"),
    ("an unencoded payload", |header, _| header["b64"] = json!(false), "b64"),
    // 8: htm.
    ("another method", |_, claims| claims["htm"] = json!("GET"), "htm"),
    ("the method in lower case", |_, claims| claims["htm"] = json!("post"), "htm"),
    ("several methods", |_, claims| claims["htm"] = json!(["POST"]), "htm"),
    // 9: htu.
    ("another endpoint", |_, claims| claims["htu"] = json!("https://hallpass.test/oauth/revoke"), "htu"),
    ("another server", |_, claims| claims["htu"] = json!("https://evil.example/oauth/token"), "htu"),
    ("another scheme", |_, claims| claims["htu"] = json!("http://hallpass.test/oauth/token"), "htu"),
    ("another port", |_, claims| claims["htu"] = json!("https://hallpass.test:8700/oauth/token"), "htu"),
    ("a user in htu", |_, claims| claims["htu"] = json!("https://a@hallpass.test/oauth/token"), "htu"),
    ("several endpoints", |_, claims| claims["htu"] = json!([ENDPOINT]), "htu"),
    // 11: iat. (The RFC's item on nonces is 10.)
    ("made long ago", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 62), "iat"),
    ("made ahead", |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 30), "iat"),
    ("iat is a text", |_, claims| claims["iat"] = json!(claims["iat"].to_string()), "iat"),
    ("iat is null", |_, claims| claims["iat"] = Value::Null, "iat"),
    ("iat is negative", |_, claims| claims["iat"] = json!(-1), "iat"),
    ("expired", |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 30), "exp"),
    ("not valid yet", |_, claims| claims["nbf"] = json!(claims["iat"].as_i64().unwrap() + 30), "nbf"),
    // One reading.
    ("a twin of htu", |_, claims| claims["HTU"] = json!("https://evil.example/"), "case"),
    ("a twin of jwk", |header, _| header["JWK"] = json!({}), "case"),
];

#[tokio::test]
async fn each_check_of_a_proof_is_made() {
    let app = TestApp::with(Backend::Memory, "[limits]\nrefusals_per_minute = 0").await;
    let holder = Holder::new();
    let mut wrong = Vec::new();
    for (name, spoil, word) in ATTACKS {
        let (mut header, mut claims) = (holder.header(), claims(&app));
        spoil(&mut header, &mut claims);
        let answer = exchange(&app, &[&holder.sign(&header, &claims)], &[]).await;
        let told = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
        if refused(&answer) != is(400, "invalid_dpop_proof", "dpop_proof_invalid") || !told.contains(word) {
            wrong.push(format!("{name}: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(app.events("kind=token.issued").await.is_empty());
    let events = app.events("kind=token.refused&agent=payments-refactorer").await;
    assert_eq!(events.len(), ATTACKS.len(), "each is an event of the agent");
    // The same holder, unspoiled; and with what names or brings another key, which is neither fetched nor used.
    exchange(&app, &[&holder.proof(&app)], &[]).await.token();
    for (name, value) in [
        ("jku", json!("http://169.254.169.254/")),
        ("x5u", json!("http://169.254.169.254/")),
        ("x5c", json!([])),
    ] {
        let (mut header, claims) = (holder.header(), claims(&app));
        header[name] = value;
        let token = exchange(&app, &[&holder.sign(&header, &claims)], &[]).await.token();
        assert_eq!(decode(&token)["cnf"]["jkt"], holder.thumbprint(), "{name}");
    }
    app.finish().await;
}

/// Texts that are no proof, whatever their parts say.
#[tokio::test]
async fn a_spoiled_text_is_no_proof() {
    let app = TestApp::start(Backend::Memory).await;
    let good = Holder::new().proof(&app);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let header = signed.split('.').next().unwrap();
    let spoiled = [
        String::new(),
        "a.b.c".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{good}."),
        format!("{good}={good}"),
        format!("{good}, {good}"),
        format!("DPoP {good}"),
        format!("\"{good}\""),
        format!("{header}.e30.{signature}"),
        format!("{signed}.{}", base64url([0; 64])),
        "é".to_owned(),
        "a".repeat(9 * 1024),
    ];
    for text in &spoiled {
        let answer = exchange(&app, &[text], &[]).await;
        assert_eq!(refused(&answer), is(400, "invalid_dpop_proof", "dpop_proof_invalid"), "{text}");
    }
    // More than any head may have does not reach the endpoint.
    assert_eq!(exchange(&app, &[&"a".repeat(40 * 1024)], &[]).await.status, 431);
    app.finish().await;
}

#[tokio::test]
async fn two_proofs_are_none() {
    let app = TestApp::start(Backend::Memory).await;
    let (one, other) = (Holder::new().proof(&app), Holder::new().proof(&app));
    for proofs in [[one.as_str(), one.as_str()], [one.as_str(), other.as_str()], [one.as_str(), ""]] {
        let answer = exchange(&app, &proofs, &[]).await;
        assert_eq!(refused(&answer), is(400, "invalid_dpop_proof", "dpop_proof_invalid"));
    }
    exchange(&app, &[&one], &[]).await.token();
    app.finish().await;
}

#[tokio::test]
async fn a_proof_is_good_once() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let holder = Holder::new();
        let proof = holder.proof(&app);
        let proofs = [proof.as_str()];
        // At the same time, so that one could slip through between look and record.
        let (a, b, c) = tokio::join!(
            exchange(&app, &proofs, &[]),
            exchange(&app, &proofs, &[]),
            exchange(&app, &proofs, &[])
        );
        let (issued, replayed): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(|it| it.status == 200);
        assert_eq!((issued.len(), replayed.len()), (1, 2), "{backend:?}");
        for answer in &replayed {
            assert_eq!(refused(answer), is(400, "invalid_dpop_proof", "dpop_replayed"));
        }
        // The same claims signed again are the same proof; those of another key are not.
        let claims = decode(&proof);
        let again = holder.sign(&holder.header(), &claims);
        assert_eq!(exchange(&app, &[&again], &[]).await.reason(), "dpop_replayed");
        let other = Holder::new();
        exchange(&app, &[&other.sign(&other.header(), &claims)], &[]).await.token();
        // Until it is too old to be one at all, with no gap between.
        app.hands.push(45);
        assert_eq!(exchange(&app, &[&proof], &[]).await.reason(), "dpop_replayed");
        app.hands.push(20);
        assert_eq!(exchange(&app, &[&proof], &[]).await.reason(), "dpop_proof_invalid");
        app.finish().await;
    }
}

/// A proof is not lost to a refusal that says nothing of it.
#[tokio::test]
async fn a_refusal_uses_no_proof_up() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let proof = Holder::new().proof(&app);
        assert_eq!(exchange(&app, &[&proof], &[("scope", "nope:x")]).await.reason(), "scope_not_registered");
        let stop = app.revoke("agent:payments-refactorer").await;
        assert_eq!(exchange(&app, &[&proof], &[]).await.reason(), "revoked");
        app.lift(&stop).await;
        exchange(&app, &[&proof], &[]).await.token();
        assert_eq!(exchange(&app, &[&proof], &[]).await.reason(), "dpop_replayed");
        app.finish().await;
    }
}

/// With Redis a restart forgets no proof.
#[tokio::test]
async fn a_proof_stays_used_across_a_restart() {
    let mut app = TestApp::start(Backend::Redis).await;
    let proof = Holder::new().proof(&app);
    exchange(&app, &[&proof], &[]).await.token();
    app.shutdown().await;
    app.boot().await;
    assert_eq!(exchange(&app, &[&proof], &[]).await.reason(), "dpop_replayed");
    app.finish().await;
}

/// Where nobody can tell whether it was used, there is no token.
#[tokio::test]
async fn a_proof_that_cannot_be_recorded_gives_no_token() {
    let mut app = TestApp::start(Backend::Redis).await;
    drop(app.redis.take());
    let answer = exchange(&app, &[&Holder::new().proof(&app)], &[]).await;
    assert_eq!(refused(&answer), is(503, "temporarily_unavailable", "revocation_unavailable"));
    assert!(app.events("kind=token.issued").await.is_empty());
    app.finish().await;
}

/// What brokers in this process wrote to their log.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    /// From now on, of every test: one of a thread alone loses the lines that another thread was first to come to.
    fn everything() -> Self {
        static LOG: OnceLock<Captured> = OnceLock::new();
        let log = LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let ours = Targets::new().with_target("hallpass", LevelFilter::TRACE);
            let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
            let subscriber = tracing_subscriber::registry().with(layer.with_filter(ours));
            tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
            tracing::callsite::rebuild_interest_cache();
            log
        });
        log.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn no_proof_and_no_word_of_one_is_written_anywhere() {
    let log = Captured::everything();
    let app = TestApp::with(Backend::Memory, "[token]\ndpop_nonce = true").await;
    let holder = Holder::new();
    let canary = "canary-dp0p";
    let mut seen = String::new();
    let mut requests = Vec::new();
    let mut proofs = vec![canary.to_owned(), format!("{canary}.{canary}.{canary}")];
    for member in ["jti", "htm", "htu", "iat", "nonce", "exp"] {
        proofs.push(holder.proof_with(&app, member, canary));
    }
    let nonce = exchange(&app, &[&holder.proof(&app)], &[]).await.header("dpop-nonce").to_owned();
    let mut good = claims(&app);
    good["nonce"] = json!(nonce);
    good["jti"] = json!(canary);
    proofs.push(holder.sign(&holder.header(), &good));
    // And once more, as a replay.
    proofs.push(holder.sign(&holder.header(), &good));
    for proof in &proofs {
        let answer = exchange(&app, &[proof], &[]).await;
        requests.push(answer.header("x-request-id").to_owned());
        if answer.status != 200 {
            seen += &answer.text;
        }
    }
    assert_eq!(app.events("kind=token.issued").await.len(), 1, "one of them was good");
    seen += &app.events("").await.iter().map(Value::to_string).collect::<String>();
    seen += &app.admin_get("/metrics").await.text;
    app.finish().await;
    let log = log.text();
    assert!(requests.iter().all(|request| log.contains(request)), "the log was caught");
    seen += &log;
    for proof in proofs.iter().filter(|proof| proof.len() > canary.len()) {
        let signature = proof.rsplit_once('.').unwrap().1;
        assert!(!seen.contains(proof.as_str()) && !seen.contains(signature));
    }
    assert!(!seen.contains(canary), "{seen}");
    assert!(!seen.contains(&nonce));
}
