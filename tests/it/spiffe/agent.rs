//! A SPIRE agent's Workload API: a real gRPC server on a real socket, that can misbehave.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use futures_util::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::IsCa;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use super::world::{Domain, leaf_params};

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct X509Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes, tag = "2")]
    chain: Vec<u8>,
    #[prost(bytes, tag = "3")]
    key: Vec<u8>,
    #[prost(bytes, tag = "4")]
    bundle: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<X509Svid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct X509BundlesResponse {
    #[prost(map = "string, bytes", tag = "2")]
    bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtBundlesResponse {
    #[prost(map = "string, bytes", tag = "1")]
    bundles: HashMap<String, Vec<u8>>,
}

/// What the agent does with the next call.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Good,
    /// No registration entry fits the caller.
    Denies,
    Hangs,
    /// An SVID that is none, and a bundle that is none.
    Babbles,
    /// Bundles without the domain that is asked for.
    Forgets,
}

/// What the agent knows.
#[derive(Clone)]
pub(super) struct Knowledge {
    pub(super) mood: Mood,
    /// Signs an SVID of the ID that is asked for, or of the first of these.
    pub(super) ids: Vec<String>,
    pub(super) domains: Vec<Arc<Domain>>,
}

pub(super) struct Agent {
    folder: TempDir,
    pub(super) knows: Arc<Mutex<Knowledge>>,
    serving: Option<JoinHandle<()>>,
}

impl Agent {
    pub(super) fn start(ids: &[&str], domains: &[Arc<Domain>]) -> Self {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let knows = Knowledge { mood: Mood::Good, ids, domains: domains.to_vec() };
        let mut agent =
            Self { folder: tempfile::tempdir().unwrap(), knows: Arc::new(Mutex::new(knows)), serving: None };
        agent.serve();
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(super) fn is(&self, mood: Mood) {
        self.knows.lock().unwrap().mood = mood;
    }

    pub(super) fn serve(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let knows = Arc::clone(&self.knows);
        self.serving = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(router(Arc::clone(&knows)));
                tokio::spawn(async move {
                    let server =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http2_only();
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
    }

    /// The agent is killed: its socket is gone.
    pub(super) fn dies(&mut self) {
        self.serving.take().unwrap().abort();
        std::fs::remove_file(self.socket()).unwrap();
    }
}

/// Behind the header that keeps the API from being called by a server-side request forgery (Workload Endpoint §7).
async fn behave(knows: &Mutex<Knowledge>, marked: bool) -> Result<Knowledge, Status> {
    if !marked {
        return Err(Status::invalid_argument("security header missing from request"));
    }
    let knows = knows.lock().unwrap().clone();
    match knows.mood {
        Mood::Denies => Err(Status::permission_denied("no identity issued")),
        Mood::Hangs => std::future::pending().await,
        Mood::Good | Mood::Babbles | Mood::Forgets => Ok(knows),
    }
}

fn is_marked<T>(request: &tonic::Request<T>) -> bool {
    request.metadata().get("workload.spiffe.io").is_some_and(|value| value == "true")
}

fn svids(knows: &Knowledge, request: &JwtSvidRequest) -> Result<JwtSvidResponse, Status> {
    if knows.mood == Mood::Babbles {
        let svid = JwtSvid { spiffe_id: "x".into(), svid: "no JWT".into() };
        return Ok(JwtSvidResponse { svids: vec![svid] });
    }
    let asked = Some(&request.spiffe_id).filter(|id| !id.is_empty());
    let id = asked.or(knows.ids.first()).filter(|id| knows.ids.contains(id));
    let id = id.ok_or_else(|| Status::permission_denied("no identity issued"))?;
    let domain = knows.domains.iter().find(|domain| id.contains(domain.name)).unwrap();
    let now = crate::support::broker::Hands::default().now().seconds();
    let claims = json!({"sub": id, "aud": request.audience, "iat": now, "exp": now + 300});
    let svid = JwtSvid { spiffe_id: id.clone(), svid: domain.jwt.token(&claims) };
    Ok(JwtSvidResponse { svids: vec![svid] })
}

/// One for each of its identities.
fn certificates(knows: &Knowledge) -> X509SvidResponse {
    let svid = |id: &String| {
        let domain = knows.domains.iter().find(|domain| id.contains(domain.name)).unwrap();
        let mut params = leaf_params(id);
        params.is_ca = IsCa::ExplicitNoCa;
        let chain = domain.leaf(params);
        let certificates = chain.certificates.iter().flat_map(|certificate| certificate.to_vec());
        X509Svid {
            spiffe_id: id.clone(),
            chain: if knows.mood == Mood::Babbles { b"none".to_vec() } else { certificates.collect() },
            key: chain.key,
            bundle: domain.authority_der(),
        }
    };
    X509SvidResponse { svids: knows.ids.iter().map(svid).collect() }
}

fn bundles(knows: &Knowledge, of: impl Fn(&Domain) -> Vec<u8>) -> HashMap<String, Vec<u8>> {
    let known = knows.domains.iter().filter(|_| knows.mood != Mood::Forgets);
    let entry = |domain: &Arc<Domain>| {
        let bytes = if knows.mood == Mood::Babbles { b"no bundle".to_vec() } else { of(domain) };
        (format!("spiffe://{}", domain.name), bytes)
    };
    known.map(entry).collect()
}

fn router(knows: Arc<Mutex<Knowledge>>) -> Router {
    let (jwt, svids_of, x509, keys) = (Arc::clone(&knows), Arc::clone(&knows), Arc::clone(&knows), knows);
    let fetch_x509_svid = move |request: Request<Body>| async move {
        let answer = tower::service_fn(move |request: tonic::Request<Nothing>| {
            let knows = Arc::clone(&svids_of);
            async move {
                let knows = behave(&knows, is_marked(&request)).await?;
                Ok::<_, Status>(Response::new(stream::iter([Ok(certificates(&knows))])))
            }
        });
        let codec = ProstCodec::<X509SvidResponse, Nothing>::default();
        tonic::server::Grpc::new(codec).server_streaming(answer, request).await.map(Body::new)
    };
    let fetch_jwt_svid = move |request: Request<Body>| async move {
        let answer = tower::service_fn(move |request: tonic::Request<JwtSvidRequest>| {
            let knows = Arc::clone(&jwt);
            async move {
                let knows = behave(&knows, is_marked(&request)).await?;
                svids(&knows, request.get_ref()).map(Response::new)
            }
        });
        let codec = ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
        tonic::server::Grpc::new(codec).unary(answer, request).await.map(Body::new)
    };
    let fetch_x509_bundles = move |request: Request<Body>| async move {
        let answer = tower::service_fn(move |request: tonic::Request<Nothing>| {
            let knows = Arc::clone(&x509);
            async move {
                let knows = behave(&knows, is_marked(&request)).await?;
                let bundles = bundles(&knows, Domain::authority_der);
                Ok::<_, Status>(Response::new(stream::iter([Ok(X509BundlesResponse { bundles })])))
            }
        });
        let codec = ProstCodec::<X509BundlesResponse, Nothing>::default();
        tonic::server::Grpc::new(codec).server_streaming(answer, request).await.map(Body::new)
    };
    let fetch_jwt_bundles = move |request: Request<Body>| async move {
        let answer = tower::service_fn(move |request: tonic::Request<Nothing>| {
            let knows = Arc::clone(&keys);
            async move {
                let knows = behave(&knows, is_marked(&request)).await?;
                let jwks = |domain: &Domain| json!({"keys": [domain.jwt_jwk()]}).to_string().into_bytes();
                let bundles = bundles(&knows, jwks);
                Ok::<_, Status>(Response::new(stream::iter([Ok(JwtBundlesResponse { bundles })])))
            }
        });
        let codec = ProstCodec::<JwtBundlesResponse, Nothing>::default();
        tonic::server::Grpc::new(codec).server_streaming(answer, request).await.map(Body::new)
    };
    Router::new()
        .route("/SpiffeWorkloadAPI/FetchJWTSVID", post(fetch_jwt_svid))
        .route("/SpiffeWorkloadAPI/FetchX509SVID", post(fetch_x509_svid))
        .route("/SpiffeWorkloadAPI/FetchX509Bundles", post(fetch_x509_bundles))
        .route("/SpiffeWorkloadAPI/FetchJWTBundles", post(fetch_jwt_bundles))
}
