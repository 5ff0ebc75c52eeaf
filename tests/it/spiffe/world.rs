//! A trust domain of the tests: its authority, its JWT key, its bundle, and the SVIDs it gives out.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::{Value, json};

use crate::support::broker::{Answer, TestApp};
use crate::support::signer::Signer;
use crate::support::tls::Authority;

pub(super) const AGENT: &str = "spiffe://acme.internal/agents/payments-refactorer";

pub(super) struct Domain {
    pub(super) name: &'static str,
    authority: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    pub(super) jwt: Signer,
}

/// A certificate chain, the leaf first, and the leaf's key.
pub(super) struct Chain {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: Vec<u8>,
}

/// The names of an authority or a leaf.
pub(super) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(super) fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "a trust domain's authority");
    params.subject_alt_names = vec![uri(&format!("spiffe://{name}"))];
    params
}

/// What a good leaf says.
pub(super) fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(id)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    params
}

impl Domain {
    pub(super) fn new(name: &'static str) -> Self {
        Self::with(name, authority_params(name))
    }

    pub(super) fn with(name: &'static str, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { name, authority: Issuer::new(params, key), certificate, jwt: Signer::es256("svid-key") }
    }

    pub(super) fn leaf(&self, params: CertificateParams) -> Chain {
        self.leaf_of(&KeyPair::generate().unwrap(), params)
    }

    pub(super) fn leaf_of(&self, key: &KeyPair, params: CertificateParams) -> Chain {
        let certificate = params.signed_by(key, &self.authority).unwrap();
        Chain { certificates: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// A good X.509-SVID.
    pub(super) fn svid(&self, id: &str) -> Chain {
        self.leaf(leaf_params(id))
    }

    /// A leaf by an intermediate of these, which this domain's authority signed.
    pub(super) fn by_intermediate(&self, intermediate: CertificateParams, leaf: CertificateParams) -> Chain {
        let key = KeyPair::generate().unwrap();
        let between = intermediate.signed_by(&key, &self.authority).unwrap();
        let issuer = Issuer::new(intermediate, key);
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        Chain {
            certificates: vec![certificate.der().clone(), between.der().clone()],
            key: key.serialize_der(),
        }
    }

    pub(super) fn authority_der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    fn authority_jwk(&self) -> Value {
        let mut jwk = Signer::es256("unused").public_jwk();
        jwk["use"] = json!("x509-svid");
        jwk["x5c"] = json!([STANDARD.encode(self.certificate.der())]);
        jwk
    }

    pub(super) fn jwt_jwk(&self) -> Value {
        let mut jwk = self.jwt.public_jwk();
        jwk["use"] = json!("jwt-svid");
        jwk["kid"] = json!(self.jwt.kid);
        jwk
    }

    pub(super) fn bundle(&self, sequence: u64) -> Value {
        json!({
            "keys": [self.authority_jwk(), self.jwt_jwk()],
            "spiffe_sequence": sequence, "spiffe_refresh_hint": 300,
        })
    }
}

impl Chain {
    /// What a token that is bound to it says (RFC 8705 §3.1).
    pub(super) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &self.certificates[0]))
    }

    /// A client that shows these certificates to a server of `servers`.
    pub(super) fn client(&self, servers: &Authority) -> reqwest::Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(servers.der()).unwrap();
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        // Shows the certificate whatever it is; a client that looked at it first would refuse some.
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let certified = CertifiedKey::new(self.certificates.clone(), key);
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        #[expect(clippy::disallowed_methods, reason = "the tests' own client")]
        reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
    }
}

/// The same until a source of keys that was failing has been asked again beside the calls: while it is known to
/// fail, no caller waits for it. A fetch that hangs is given up after five seconds, and another begins then.
pub(super) async fn ask_patiently(app: &TestApp, client: &reqwest::Client) -> Answer {
    for _ in 0..150 {
        let answer = ask(app, client, &[]).await;
        if !matches!(answer.reason().as_str(), "issuer_unavailable" | "signature_invalid") {
            return answer;
        }
        app.hands.push(3);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the keys were never had again");
}

/// `client_credentials` over a connection of `client`, with these parameters besides.
pub(super) async fn ask(app: &TestApp, client: &reqwest::Client, more: &[(&str, &str)]) -> Answer {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials").extend_pairs(more);
    let request = client
        .post(format!("{}/oauth/token", app.public.replace("http://", "https://")))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish());
    let answer = app.send(request).await;
    if answer.status == 200 {
        app.note_released(&answer.token());
    }
    answer
}
