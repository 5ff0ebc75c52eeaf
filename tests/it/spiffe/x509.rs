//! X.509-SVIDs as client certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};

use super::World;
use super::world::{AGENT, Chain, Domain, ask, ask_patiently, authority_params, leaf_params, uri};
use crate::support::broker::{BOTH, Backend, TestApp, decode};

#[tokio::test]
async fn a_certificate_gets_a_token_that_is_bound_to_it() {
    for backend in BOTH {
        let world = World::new(backend).await;
        let chain = world.acme.svid(AGENT);
        let client = chain.client(&world.servers);
        for more in [&[][..], &[("client_id", AGENT)], &[("scope", "payments:read")]] {
            let answer = ask(&world.app, &client, more).await;
            let token = answer.token();
            assert_eq!(answer.json()["token_type"], "Bearer");
            let claims = decode(&token);
            assert_eq!(claims["cnf"]["x5t#S256"], chain.thumbprint(), "{claims}");
            assert_eq!(claims["workload"], format!("acme.internal|{AGENT}"));
            let told = world.introspect(&token).await;
            assert_eq!((&told["active"], &told["cnf"]), (&true.into(), &claims["cnf"]));
        }
        let event = &world.app.events("kind=token.issued").await[0];
        assert_eq!(event["cnf"]["x5t#S256"], chain.thumbprint());
        // The kill switch knows the trust domain by its name.
        let token = ask(&world.app, &client, &[]).await.token();
        world.app.revoke("issuer:acme.internal").await;
        assert!(world.introspect(&token).await["active"] == false);
        assert_eq!(ask(&world.app, &client, &[]).await.reason(), "revoked");
        world.app.finish().await;
    }
}

#[tokio::test]
async fn a_chain_may_have_an_intermediate_of_the_same_domain() {
    let world = World::new(Backend::Memory).await;
    let nameless = || {
        let mut params = authority_params("acme.internal");
        params.subject_alt_names.clear();
        params
    };
    for intermediate in [authority_params("acme.internal"), nameless()] {
        let chain = world.acme.by_intermediate(intermediate, leaf_params(AGENT));
        ask(&world.app, &chain.client(&world.servers), &[]).await.token();
    }
    let no_signer = || {
        let mut params = nameless();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    };
    let of_a_workload = || {
        let mut params = nameless();
        params.subject_alt_names = vec![uri("spiffe://acme.internal/ca")];
        params
    };
    for intermediate in [authority_params("other.internal"), no_signer(), of_a_workload()] {
        let chain = world.acme.by_intermediate(intermediate, leaf_params(AGENT));
        let answer = ask(&world.app, &chain.client(&world.servers), &[]).await;
        assert_eq!((answer.status, answer.reason()), (401, "signature_invalid".into()));
    }
    world.app.finish().await;
}

#[tokio::test]
async fn an_authority_of_a_bundle_is_one_that_may_sign() {
    let world = World::new(Backend::Memory).await;
    let mut before = world.acme.svid(AGENT).client(&world.servers);
    // Without key usage, a key may be used for anything (RFC 5280 §4.2.1.3).
    for (sequence, usages, vouches) in [
        (8, vec![KeyUsagePurpose::KeyCertSign], true),
        (9, vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign], false),
        (10, vec![], true),
    ] {
        let mut params = authority_params("acme.internal");
        params.key_usages = usages;
        let domain = Domain::with("acme.internal", params);
        world.put_bundle("acme.internal", &domain.bundle(sequence));
        world.app.hands.push(3);
        let client = domain.svid(AGENT).client(&world.servers);
        if vouches {
            ask_patiently(&world.app, &client).await.token();
            before = client;
            continue;
        }
        // Once the bundle is the one in force, what it replaced vouches for nobody.
        while ask(&world.app, &before, &[]).await.status == 200 {
            world.app.hands.push(3);
        }
        assert_eq!(ask(&world.app, &client, &[]).await.reason(), "signature_invalid");
    }
    world.app.finish().await;
}

/// One leaf a case, with what is wrong with it.
fn hostile_leaves() -> Vec<(&'static str, rcgen::CertificateParams, &'static str)> {
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf_params(AGENT);
        change(&mut params);
        params
    };
    let named = |names: Vec<SanType>| with(&|params| params.subject_alt_names = names.clone());
    let called = |id: &str| named(vec![uri(id)]);
    let dns = SanType::DnsName("acme.internal".try_into().unwrap());
    vec![
        ("two URIs", named(vec![uri(AGENT), uri("spiffe://acme.internal/agents/b")]), "proof_malformed"),
        ("the same URI twice", named(vec![uri(AGENT), uri(AGENT)]), "proof_malformed"),
        ("another URI beside", named(vec![uri(AGENT), uri("https://acme.internal")]), "proof_malformed"),
        ("DNS alone", named(vec![dns]), "proof_malformed"),
        ("no name", named(vec![]), "proof_malformed"),
        ("no path", called("spiffe://acme.internal"), "proof_malformed"),
        ("a slash at the end", called(&format!("{AGENT}/")), "proof_malformed"),
        ("upper case", called("spiffe://ACME.internal/agents/payments-refactorer"), "proof_malformed"),
        ("dots", called("spiffe://acme.internal/agents/x/../payments-refactorer"), "proof_malformed"),
        ("percent", called("spiffe://acme.internal/agents/payments%2drefactorer"), "proof_malformed"),
        ("a port", called("spiffe://acme.internal:443/agents/payments-refactorer"), "proof_malformed"),
        ("https", called("https://acme.internal/agents/payments-refactorer"), "proof_malformed"),
        (
            "an authority",
            with(&|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            "proof_malformed",
        ),
        ("no key usage", with(&|p| p.key_usages.clear()), "proof_malformed"),
        ("keyCertSign", with(&|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)), "proof_malformed"),
        ("cRLSign", with(&|p| p.key_usages.push(KeyUsagePurpose::CrlSign)), "proof_malformed"),
        (
            "encipherment alone",
            with(&|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            "proof_malformed",
        ),
        (
            "a server's",
            with(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "signature_invalid",
        ),
        ("expired", with(&|p| p.not_after = rcgen::date_time_ymd(2024, 1, 1)), "expired"),
        ("of tomorrow", with(&|p| p.not_before = rcgen::date_time_ymd(2089, 1, 1)), "not_yet_valid"),
        ("an unknown domain", called("spiffe://acme.example/agents/payments-refactorer"), "issuer_unknown"),
        (
            "another domain's name",
            called("spiffe://other.internal/agents/payments-refactorer"),
            "signature_invalid",
        ),
    ]
}

#[tokio::test]
async fn no_other_certificate_is_an_svid() {
    let world = World::new(Backend::Memory).await;
    let mut wrong = Vec::new();
    for (what, params, reason) in hostile_leaves() {
        let answer = ask(&world.app, &world.acme.leaf(params).client(&world.servers), &[]).await;
        if (answer.status, answer.reason().as_str()) != (401, reason) {
            wrong.push(format!("{what}: {} {}", answer.status, answer.text));
        }
        assert!(!answer.text.contains("payments-refactorer"), "{what}: {}", answer.text);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What nobody can read without its extension does not come past the handshake.
    let mut params = leaf_params(AGENT);
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    params.custom_extensions = vec![unknown];
    let client = world.acme.leaf(params).client(&world.servers);
    assert!(client.post(world.url("/oauth/token")).send().await.is_err());
    // An agent of another domain that nobody registered, and one of this domain.
    for chain in [
        world.other.svid("spiffe://other.internal/agents/payments-refactorer"),
        world.acme.svid("spiffe://acme.internal/agents/payments-refactorer-2"),
        world.acme.svid("spiffe://acme.internal/agents/Payments-refactorer"),
    ] {
        assert_eq!(ask(&world.app, &chain.client(&world.servers), &[]).await.reason(), "no_agent");
    }
    world.app.finish().await;
}

#[tokio::test]
async fn two_trust_domains_never_vouch_for_each_other() {
    let world = World::new(Backend::Memory).await;
    // A stranger whose authority has the same name, and none.
    let stranger = Domain::new("acme.internal");
    let chains = [world.other.svid(AGENT), stranger.svid(AGENT)];
    for chain in chains {
        let answer = ask(&world.app, &chain.client(&world.servers), &[]).await;
        assert_eq!((answer.status, answer.reason()), (401, "signature_invalid".into()));
    }
    // Nor with the other's bundle put under this one's name: its authority says whose it is.
    world.put_bundle("acme.internal", &world.other.bundle(8));
    world.app.hands.push(3);
    let answer = ask(&world.app, &world.other.svid(AGENT).client(&world.servers), &[]).await;
    assert_eq!(answer.reason(), "signature_invalid");
    world.app.finish().await;
}

#[tokio::test]
async fn a_certificate_and_a_client_id_are_of_one_workload() {
    let world = World::new(Backend::Memory).await;
    let client = world.acme.svid(AGENT).client(&world.servers);
    for id in ["payments-refactorer", "spiffe://acme.internal/agents/other", "spiffe://acme.internal"] {
        let answer = ask(&world.app, &client, &[("client_id", id)]).await;
        assert_eq!(answer.reason(), "parameter_invalid", "{id}");
    }
    // A type without an assertion is a mistake, and no certificate's.
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    let answer = ask(&world.app, &client, &[("client_assertion_type", kind)]).await;
    assert_eq!(answer.reason(), "parameter_missing");
    // Nor is a certificate a subject token.
    let answer = ask(&world.app, &client, &[("subject_token", "x")]).await;
    assert_eq!(answer.reason(), "parameter_invalid");
    // One who shows none is told what there is.
    let answer = ask(&world.app, &world.servers.http(None), &[]).await;
    assert_eq!(answer.reason(), "parameter_missing");
    assert!(answer.text.contains("X.509-SVID"), "{}", answer.text);
    world.app.finish().await;
}

#[tokio::test]
async fn a_token_ends_with_its_certificate_and_so_does_the_connection() {
    let world = World::new(Backend::Memory).await;
    let now = world.app.hands.now().seconds();
    let mut params = leaf_params(AGENT);
    params.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((now + 120).unsigned_abs());
    let chain = world.acme.leaf(params);
    let client = chain.client(&world.servers);
    let answer = ask(&world.app, &client, &[]).await;
    let claims = decode(&answer.token());
    let (exp, lives) = (claims["exp"].as_i64().unwrap(), answer.json()["expires_in"].as_i64().unwrap());
    assert!(exp <= now + 121 && lives <= 121, "{claims}");
    // The connection stays open, and its certificate does not stay good.
    world.app.hands.push(130);
    let answer = ask(&world.app, &client, &[]).await;
    assert_eq!((answer.status, answer.reason()), (401, "expired".into()));
    world.app.finish().await;
}

#[tokio::test]
async fn a_demand_for_bound_tokens_is_met_by_a_certificate() {
    let demanding = format!("require = \"sender-constrained\"\n{}", super::agent());
    let world = World::with(Backend::Memory, &demanding).await;
    let client = world.acme.svid(AGENT).client(&world.servers);
    ask(&world.app, &client, &[]).await.token();
    // A certificate that is not the proof binds nothing.
    let request = client
        .post(format!("{}/oauth/token", world.app.public.replace("http://", "https://")))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={}",
            world.app.proof()
        ));
    assert_eq!(world.app.send(request).await.reason(), "sender_constraint_required");
    // And of two keys it is not guessed which was meant.
    let request = client
        .post(format!("{}/oauth/token", world.app.public.replace("http://", "https://")))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("dpop", "a.b.c")
        .body("grant_type=client_credentials");
    assert_eq!(world.app.send(request).await.reason(), "dpop_proof_invalid");
    world.app.finish().await;
}

#[tokio::test]
async fn the_metadata_says_what_is_served() {
    let world = World::new(Backend::Memory).await;
    let url =
        format!("{}/.well-known/oauth-authorization-server", world.app.public.replace("http://", "https://"));
    let metadata = world.app.send(world.servers.http(None).get(url)).await.json();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
    assert!(methods.contains("spiffe_jwt") && methods.contains("spiffe_x509"), "{methods}");
    world.app.finish().await;
}

/// A broker behind a proxy that ends TLS and passes on what it was shown.
#[tokio::test]
async fn a_trusted_proxy_may_pass_a_certificate_on_and_nobody_else() {
    let acme = Domain::new("acme.internal");
    let (svid, other) = (acme.svid(AGENT), acme.svid("spiffe://acme.internal/agents/other"));
    let header = |chain: &Chain| format!(":{}:", STANDARD.encode(&chain.certificates[0]));
    for (proxies, trusted) in [("127.0.0.1", true), ("192.0.2.1", false)] {
        let keys = format!("trusted_proxies = [\"{proxies}\"]\nclient_certificate_header = \"client-cert\"");
        let more = "[[trust_domain]]\nname = \"acme.internal\"\nbundle_file = \"acme.json\"\n";
        let app = TestApp::prepared(Backend::Memory, more, |folder| {
            std::fs::write(folder.join("agents/payments-refactorer.toml"), super::agent()).unwrap();
            std::fs::write(folder.join("acme.json"), acme.bundle(7).to_string()).unwrap();
            let file = folder.join("hallpass.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replacen("[server]\n", &format!("[server]\n{keys}\n"), 1)).unwrap();
        });
        let app = app.await;
        let ask = async |shown: &[String]| {
            let form = format!(
                "grant_type=client_credentials&client_id={}",
                AGENT.replace(':', "%3A").replace('/', "%2F")
            );
            let mut request = app.http().post(format!("{}/oauth/token", app.public));
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
            for value in shown {
                request = request.header("client-cert", value);
            }
            let answer = app.send(request).await;
            if answer.status == 200 {
                app.note_released(&answer.token());
            }
            answer
        };
        let answer = ask(&[header(&svid)]).await;
        assert_eq!(answer.status == 200, trusted, "{answer:?}");
        if trusted {
            assert_eq!(decode(&answer.token())["cnf"]["x5t#S256"], svid.thumbprint());
        }
        assert_ne!(ask(&[]).await.status, 200);
        assert_ne!(ask(&[header(&svid), header(&other)]).await.status, 200, "whose is which?");
        assert_ne!(ask(&[header(&other)]).await.status, 200, "of no agent");
        app.finish().await;
    }
}

/// A proxy that shows the broker a certificate of its own speaks for callers that showed none: they are not the proxy.
#[tokio::test]
async fn the_certificate_of_a_proxy_is_none_of_its_callers() {
    let keys = "trusted_proxies = [\"127.0.0.1\"]\nclient_certificate_header = \"client-cert\"";
    for (keys, is_proxy) in [("", false), ("trusted_proxies = [\"127.0.0.1\"]", true), (keys, true)] {
        let world = World::keyed(Backend::Memory, &super::agent(), keys).await;
        let client = world.acme.svid(AGENT).client(&world.servers);
        let answer = ask(&world.app, &client, &[]).await;
        assert_eq!(answer.status != 200, is_proxy, "{answer:?}");
        world.app.finish().await;
    }
}
