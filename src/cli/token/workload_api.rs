//! SVIDs of this workload, from the SPIFFE Workload API: the socket of a SPIRE agent on this machine.

use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::SecretString;
use spiffe::transport::Endpoint;
use spiffe::{SpiffeId, WorkloadApiClient, WorkloadApiError};

use crate::cli::certificate::Certificate;
use crate::cli::token::proof::Proof;
use crate::cli::{Failure, Outcome};

/// What names the socket (SPIFFE Workload Endpoint §4): `unix:///run/spire/sockets/agent.sock`, `tcp://127.0.0.1:8081`.
pub const ENDPOINT_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";

/// A socket of this machine answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A JWT-SVID made out to `audience` alone: of the workload `id`, or without one the first that the API has for it.
///
/// # Errors
/// When the API is not there, is not on this machine, or has no identity for this process.
pub async fn jwt_svid(endpoint: &str, audience: &str, id: Option<&SpiffeId>) -> Outcome<Proof> {
    let asked = async |client: WorkloadApiClient| client.fetch_jwt_token([audience], id).await;
    Ok(Proof::JwtSvid(SecretString::from(answer(endpoint, asked).await?)))
}

/// An X.509-SVID and its key: of the workload `id`, or without one the first that the API has for it.
///
/// # Errors
/// As [`jwt_svid`].
pub async fn x509_svid(endpoint: &str, id: Option<&SpiffeId>) -> Outcome<Proof> {
    let asked = async |client: WorkloadApiClient| {
        let svids = client.fetch_all_x509_svids().await?;
        let svid = svids.into_iter().find(|svid| id.is_none_or(|id| svid.spiffe_id() == id));
        svid.ok_or(WorkloadApiError::NoIdentityIssued)
    };
    let svid = answer(endpoint, asked).await?;
    let chain = svid.cert_chain().iter().map(|certificate| certificate.as_bytes().to_vec().into()).collect();
    let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()).into();
    Ok(Proof::Certificate(Certificate { chain, key }))
}

async fn answer<T>(
    endpoint: &str,
    ask: impl AsyncFnOnce(WorkloadApiClient) -> Result<T, WorkloadApiError>,
) -> Outcome<T> {
    if let Ok(Endpoint::Tcp { host, .. }) = Endpoint::parse(endpoint)
        && !host.is_loopback()
    {
        // Whoever is on the way could read the SVID and its key, or give another's: it is not encrypted.
        return Err(Failure::usage(format!("the Workload API at {endpoint} is not on this machine"))
            .remedy("name a unix socket, or tcp on a loopback address"));
    }
    let asked = async { ask(WorkloadApiClient::connect_to(endpoint).await?).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(svid)) => Ok(svid),
        Ok(Err(error)) => Err(failure(endpoint, &error)),
        Err(_) => Err(Failure::failed(format!("the Workload API at {endpoint} did not answer within 5 s"))
            .passing(Duration::ZERO)),
    }
}

fn failure(endpoint: &str, error: &WorkloadApiError) -> Failure {
    let said = |what: &dyn std::fmt::Display| {
        Failure::failed(format!("the Workload API at {endpoint} gave no identity: {what}"))
    };
    match error {
        WorkloadApiError::Endpoint(problem) => Failure::usage(format!("{endpoint} is no endpoint: {problem}"))
            .remedy("write unix:///run/spire/sockets/agent.sock, or tcp://127.0.0.1:8081"),
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => said(error).remedy(
            "register an entry whose selectors fit this process (spire-server entry create), or name one with --spiffe-id",
        ),
        // A SPIRE agent that is being restarted is back in a moment.
        WorkloadApiError::Transport(_) => said(&deepest(error))
            .passing(Duration::ZERO)
            .remedy("is a SPIRE agent running here, and may this user open its socket?"),
        _ => said(error),
    }
}

/// The cause at the bottom: «transport error» alone helps nobody.
fn deepest(error: &WorkloadApiError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
