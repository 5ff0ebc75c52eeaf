//! What a client reads first: RFC 8414 metadata, the same where OpenID Connect looks for it, and the JWK set (RFC 7517).
//! All say what is served.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde::Serialize;

use super::token::{CLIENT_CREDENTIALS, JWT_BEARER, TOKEN_EXCHANGE};
use crate::domain::permission::ResourceKind;
use crate::http::Gate;
use crate::http::public::{AUTHORIZATION_PATH, TOKEN_PATH};
use crate::identity::settings::ProofAlgorithm;

/// RFC 8414 §2.
#[derive(Serialize)]
struct Metadata {
    issuer: String,
    /// Refuses everybody. SDKs of Python, TypeScript and Rust read no metadata without it.
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    grant_types_supported: [&'static str; 3],
    /// Nobody can log in, so no response type (RFC 8414 §2 requires the member).
    response_types_supported: [&'static str; 0],
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// RFC 8705 §3.3: those that were had with an X.509-SVID.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
    /// RFC 9449 §5.1.
    dpop_signing_alg_values_supported: Vec<&'static str>,
    /// RFC 9396 §10.
    authorization_details_types_supported: [&'static str; 2],
    /// What access tokens are signed with; ours.
    access_token_signing_alg_values_supported: Vec<&'static str>,
}

/// OpenID Connect Discovery 1.0 §3, for libraries that verify tokens and look nowhere else.
#[derive(Serialize)]
struct OpenIdConfiguration {
    #[serde(flatten)]
    metadata: Metadata,
    /// An agent has one name, whoever asks.
    subject_types_supported: [&'static str; 1],
    /// Required there. There are no ID tokens; whoever verifies by this document verifies access tokens.
    id_token_signing_alg_values_supported: Vec<&'static str>,
}

pub(super) async fn metadata(State(gate): State<Gate>) -> impl IntoResponse {
    (CACHED, Json(describe(&gate)))
}

pub(super) async fn openid_configuration(State(gate): State<Gate>) -> impl IntoResponse {
    let configuration = OpenIdConfiguration {
        metadata: describe(&gate),
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: gate.broker.signing_algorithms(),
    };
    (CACHED, Json(configuration))
}

const CACHED: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "public, max-age=300")];

fn describe(gate: &Gate) -> Metadata {
    let issuer = gate.broker.issuer();
    let at = |path: &str| format!("{issuer}{path}");
    // A certificate can only be shown where this listener itself ends TLS.
    let (spiffe, mtls) = (gate.broker.knows_trust_domains(), gate.asks_certificates);
    Metadata {
        issuer: issuer.to_owned(),
        authorization_endpoint: at(AUTHORIZATION_PATH),
        token_endpoint: at(TOKEN_PATH),
        jwks_uri: at("/.well-known/jwks.json"),
        introspection_endpoint: at("/oauth/introspect"),
        revocation_endpoint: at("/oauth/revoke"),
        grant_types_supported: [TOKEN_EXCHANGE, CLIENT_CREDENTIALS, JWT_BEARER],
        response_types_supported: [],
        token_endpoint_auth_methods_supported: auth_methods(spiffe, mtls),
        token_endpoint_auth_signing_alg_values_supported: ["EdDSA", "Ed25519", "ES256", "ES384"],
        introspection_endpoint_auth_methods_supported: ["client_secret_basic", "Bearer"],
        revocation_endpoint_auth_methods_supported: ["none"],
        tls_client_certificate_bound_access_tokens: spiffe && mtls,
        dpop_signing_alg_values_supported: ProofAlgorithm::ALL.iter().map(|alg| alg.as_str()).collect(),
        authorization_details_types_supported: [
            ResourceKind::GitRepository.as_str(),
            ResourceKind::HttpEndpoint.as_str(),
        ],
        access_token_signing_alg_values_supported: gate.broker.signing_algorithms(),
    }
}

/// With the names of draft-ietf-oauth-spiffe-client-auth for SVIDs.
fn auth_methods(spiffe: bool, mtls: bool) -> Vec<&'static str> {
    let mut methods = vec!["private_key_jwt", "none"];
    if spiffe {
        methods.push("spiffe_jwt");
    }
    if spiffe && mtls {
        methods.push("spiffe_x509");
    }
    methods
}

pub(super) async fn jwks(State(gate): State<Gate>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, gate.broker.jwks().to_string())
}
