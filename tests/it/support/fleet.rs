//! Several brokers of one installation in this process. They share a store, which one SQLite cannot give to several
//! programs, and a Redis; each has its own name, folder and clock.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hallpass::store::settings::{Address, PostgresSettings, Servers};
use hallpass::store::{Reader, Store, StoreSettings};

use crate::support::broker::{Backend, Hands, PAYMENTS, TestApp, client, configuration};
use crate::support::issuer::Issuer;
use crate::support::postgres::PostgresServer;

/// What the brokers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One opening of an SQLite store, within this process.
    OneSqlite,
    /// A database, which each of them opens.
    Postgres,
}

const SQLITE: &str = "url = \"sqlite://hallpass.db\"\n";

/// The configuration on a database of PostgreSQL.
fn on_postgres(text: &str, database: &str, key: &str) -> String {
    let (url, user) = (PostgresServer::shared().url(database), PostgresServer::USER);
    let store = format!(
        "url = \"{url}\"\nusername = \"{user}\"\npassword_file = \"postgres-password\"\nspool = \"spool\"\n\
         key_encryption_key_file = \"{key}\"\n"
    );
    text.replacen(SQLITE, &store, 1)
}

/// The files that it names.
fn prepare_postgres(folder: &Path) {
    secret(&folder.join("postgres-password"), PostgresServer::PASSWORD);
    secret(&folder.join("hallpass.db.key"), &"a7".repeat(32));
}

fn secret(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}

impl TestApp {
    /// The first of several: [`TestApp::beside`] starts the others.
    pub(crate) async fn first_of_several(hands: Hands) -> Self {
        Self::first_on(Kind::OneSqlite, hands).await
    }

    /// The same, on a store of this kind.
    pub(crate) async fn first_on(kind: Kind, hands: Hands) -> Self {
        let agents = [("payments-refactorer", PAYMENTS.to_owned())];
        let database = (kind == Kind::Postgres).then(|| PostgresServer::shared().database());
        let configure = |url: &str, issuer: &str| {
            let text = configuration(url, issuer, "");
            database.as_ref().map_or(text.clone(), |database| on_postgres(&text, database, "hallpass.db.key"))
        };
        let prepare = |folder: &Path| {
            if kind == Kind::Postgres {
                prepare_postgres(folder);
            }
        };
        let mut first = Self::unstarted(Backend::Redis, hands, configure, &agents, prepare).await;
        if kind == Kind::OneSqlite {
            let settings = StoreSettings::sqlite(first.file("hallpass.db"));
            first.shared = Some(Store::open(&settings).await.expect("a store"));
        }
        first.database = database;
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
        let text = configuration(&format!("redis://127.0.0.1:{port}"), issuer.url(), "");
        let text = text.replacen("broker-a", name, 1);
        let key = self.file("hallpass.db.key");
        let text = match &self.database {
            Some(database) => on_postgres(&text, database, &key.display().to_string()),
            None => text.replacen(SQLITE, &format!("{SQLITE}key_encryption_key_file = {key:?}\n"), 1),
        };
        if self.database.is_some() {
            prepare_postgres(folder.path());
        }
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
            database: self.database.clone(),
            app: None,
            http: client(),
            released: std::sync::Mutex::default(),
        };
        other.boot().await;
        other
    }

    /// Names `database` in the configuration of a broker that is stopped; its key-encryption key stays.
    pub(crate) fn turn_to_postgres(&mut self, database: String) {
        let file = self.file("hallpass.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, on_postgres(&text, &database, "hallpass.db.key")).unwrap();
        secret(&self.file("postgres-password"), PostgresServer::PASSWORD);
        self.database = Some(database);
    }

    pub(crate) fn dump(&self, file: &Path) {
        PostgresServer::shared().dump(self.database.as_ref().unwrap(), file);
    }

    /// Puts a dump into an empty database, and names that in the configuration.
    pub(crate) fn restore_dump(&mut self, dump: &Path) {
        let database = PostgresServer::shared().restore(dump);
        let file = self.file("hallpass.toml");
        let text = fs::read_to_string(&file).unwrap();
        let old = self.database.replace(database.clone()).unwrap();
        fs::write(&file, text.replacen(&format!("/{old}\""), &format!("/{database}\""), 1)).unwrap();
    }

    /// Takes the store away from every broker.
    pub(crate) fn lose_store(&self) {
        match &self.database {
            None => fs::rename(self.file("hallpass.db"), self.file("elsewhere.db")).unwrap(),
            Some(database) => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname =";
                let statements =
                    format!("alter database {database} allow_connections false; {end} '{database}'");
                PostgresServer::shared().sql("postgres", &statements);
            }
        }
    }

    pub(crate) fn give_store_back(&self) {
        match &self.database {
            None => fs::rename(self.file("elsewhere.db"), self.file("hallpass.db")).unwrap(),
            Some(database) => {
                let statement = format!("alter database {database} allow_connections true");
                PostgresServer::shared().sql("postgres", &statement);
            }
        }
    }

    /// # Panics
    /// Where the log is not what it was.
    pub(super) fn verify_log(&self) {
        let settings = match &self.database {
            None => StoreSettings::sqlite(self.file("hallpass.db")),
            Some(database) => StoreSettings::Postgres(Box::new(PostgresSettings {
                servers: Servers::Tcp(vec![Address {
                    host: "127.0.0.1".to_owned(),
                    port: PostgresServer::shared().port,
                }]),
                database: database.clone(),
                username: PostgresServer::USER.to_owned(),
                password: Some(PostgresServer::PASSWORD.into()),
                tls: None,
                spool: self.file("spool"),
            })),
        };
        // Blocking, which a thread of a runtime must not be.
        std::thread::scope(|scope| {
            let verify = || Reader::open_store(&settings).unwrap().verify(None, &mut |_, _| {});
            scope.spawn(verify).join().unwrap().expect("an unbroken log")
        });
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
