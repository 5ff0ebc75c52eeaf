//! SPIFFE: SVIDs of every kind of wrong, through real handshakes with a real broker.

mod agent;
mod bundles;
mod command;
mod jwt;
mod workload_api;
mod world;
mod x509;

use std::fs;
use std::sync::Arc;

use serde_json::Value;

use crate::support::broker::{Backend, PAYMENTS, TestApp};
use crate::support::tls::{Authority, Files};
use world::Domain;

/// The agent, known by its SPIFFE ID too.
pub(crate) fn agent() -> String {
    format!("{PAYMENTS}\n[[identity]]\nspiffe = \"{}\"\n", world::AGENT)
}

/// A broker with TLS that trusts `acme.internal` and `other.internal` by bundle files.
struct World {
    app: TestApp,
    servers: Authority,
    acme: Arc<Domain>,
    other: Domain,
    _files: Files,
}

impl World {
    async fn new(backend: Backend) -> Self {
        Self::with(backend, &agent()).await
    }

    async fn with(backend: Backend, agent: &str) -> Self {
        Self::keyed(backend, agent, "").await
    }

    /// With more keys of `[server]`.
    async fn keyed(backend: Backend, agent: &str, keys: &str) -> Self {
        let servers = Authority::new();
        let files = Files::of(&servers.pair("127.0.0.1"));
        let (acme, other) = (Arc::new(Domain::new("acme.internal")), Domain::new("other.internal"));
        let domains = [acme.as_ref(), &other].map(|domain| {
            format!("[[trust_domain]]\nname = \"{0}\"\nbundle_file = \"{0}.json\"\n", domain.name)
        });
        let more = format!("{}\n{}", files.section("server"), domains.concat());
        let app = TestApp::prepared(backend, &more, |folder| {
            fs::write(folder.join("agents/payments-refactorer.toml"), agent).unwrap();
            let file = folder.join("hallpass.toml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replacen("[server]\n", &format!("[server]\n{keys}\n"), 1)).unwrap();
            for domain in [acme.as_ref(), &other] {
                fs::write(folder.join(format!("{}.json", domain.name)), domain.bundle(7).to_string())
                    .unwrap();
            }
        });
        Self { app: app.await, servers, acme, other, _files: files }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.app.public.replace("http://", "https://"))
    }

    async fn introspect(&self, token: &str) -> Value {
        let request = self.servers.http(None).post(self.url("/oauth/introspect"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.bearer_auth(&self.app.operator).body(format!("token={token}"));
        self.app.send(request).await.json()
    }

    fn put_bundle(&self, name: &str, bundle: &Value) {
        fs::write(self.app.file(&format!("{name}.json")), bundle.to_string()).unwrap();
    }
}
