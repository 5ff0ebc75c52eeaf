//! Several brokers of one installation in this process. They share a store, which one SQLite cannot give to several
//! programs, and a Redis; each has its own name, folder and clock.

use std::fs;
use std::path::Path;

use hallpass::store::{Store, StoreSettings};

use crate::support::broker::{Backend, Hands, PAYMENTS, TestApp, client, configuration};
use crate::support::issuer::Issuer;

impl TestApp {
    /// The first of several: [`TestApp::beside`] starts the others.
    pub(crate) async fn first_of_several(hands: Hands) -> Self {
        let agents = [("payments-refactorer", PAYMENTS.to_owned())];
        let configure = |url: &str, issuer: &str| configuration(url, issuer, "");
        let mut first = Self::unstarted(Backend::Redis, hands, configure, &agents, |_| {}).await;
        let settings = StoreSettings::sqlite(first.file("hallpass.db"));
        first.shared = Some(Store::open(&settings).await.expect("a store"));
        first.boot().await;
        first
    }

    pub(crate) fn shared_store(&self) -> Store {
        self.shared.clone().expect("the first of several")
    }

    /// Another broker on the store of this one, and on the Redis at `port`.
    pub(crate) async fn beside(&self, name: &str, hands: Hands, port: u16) -> Self {
        self.beside_after(name, hands, port, |_| {}).await
    }

    /// The same, after `prepare` of its folder.
    pub(crate) async fn beside_after(
        &self,
        name: &str,
        hands: Hands,
        port: u16,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let issuer = Issuer::start().await;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agents")).unwrap();
        fs::write(folder.path().join("agents/payments-refactorer.toml"), PAYMENTS).unwrap();
        let keys = format!("key_encryption_key_file = {:?}\n", self.file("hallpass.db.key"));
        let url = "url = \"sqlite://hallpass.db\"\n";
        let text = configuration(&format!("redis://127.0.0.1:{port}"), issuer.url(), "")
            .replacen("broker-a", name, 1)
            .replacen(url, &format!("{url}{keys}"), 1);
        fs::write(folder.path().join("hallpass.toml"), text).unwrap();
        prepare(folder.path());
        let mut other = Self {
            issuer,
            redis: None,
            hands,
            public: String::new(),
            admin: String::new(),
            operator: String::new(),
            folder,
            shared: self.shared.clone(),
            app: None,
            http: client(),
            released: std::sync::Mutex::default(),
        };
        other.boot().await;
        other
    }

    /// The events of what was released until now are lost with the store that was replaced.
    pub(crate) fn forget_releases(&self) {
        self.released.lock().unwrap().clear();
    }

    /// Ends one that others go on beside, and holds it to law 6.
    pub(crate) async fn leave(mut self) {
        self.every_release_has_its_event().await;
        self.shutdown().await;
    }
}
