//! The bundle of a trust domain, as the SPIFFE Workload API of this machine has it.
//!
//! The API would rather stream what changes. It is asked instead, as a file is read: when a proof comes and
//! what is held is two seconds old. So a bundle that was rotated, a socket that is gone and one that is back
//! take the one way that every source of keys takes, with its bounds on time, staleness and load.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spiffe::transport::Endpoint;
use spiffe::{TrustDomain, WorkloadApiClient};

use crate::domain::id::IssuerName;

/// Why the Workload API gave no bundle.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkloadApiError {
    #[error("the Workload API: {0}")]
    Failed(#[from] spiffe::WorkloadApiError),
    #[error("the Workload API has no bundle of this trust domain")]
    NoBundle,
}

/// The bundle document of `domain` alone, whatever others the API knows.
pub(super) async fn bundle(endpoint: &Endpoint, domain: &IssuerName) -> Result<Vec<u8>, WorkloadApiError> {
    let domain = TrustDomain::new(domain.as_str()).map_err(|_| WorkloadApiError::NoBundle)?;
    let client = WorkloadApiClient::connect(endpoint.clone()).await?;
    let (x509, jwt) = tokio::try_join!(client.fetch_x509_bundles(), client.fetch_jwt_bundles())?;
    let mut keys: Vec<Value> = Vec::new();
    if let Some(bundle) = x509.get(&domain) {
        let authority = |certificate: &spiffe::Certificate| json!({"use": "x509-svid", "x5c": [STANDARD.encode(certificate.as_bytes())]});
        keys.extend(bundle.authorities().iter().map(authority));
    }
    if let Some(bundle) = jwt.get(&domain) {
        for authority in bundle.jwt_authorities() {
            let Ok(Value::Object(mut key)) = serde_json::from_slice(authority.jwk_json()) else { continue };
            key.insert("use".to_owned(), "jwt-svid".into());
            key.insert("kid".to_owned(), authority.key_id().into());
            keys.push(key.into());
        }
    }
    if keys.is_empty() {
        return Err(WorkloadApiError::NoBundle);
    }
    serde_json::to_vec(&json!({ "keys": keys })).map_err(|_| WorkloadApiError::NoBundle)
}
