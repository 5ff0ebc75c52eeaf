//! `[store]`, after `config` has checked it.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::domain::client_certificate::ClientFiles;

#[derive(Debug, Clone)]
pub enum StoreSettings {
    Sqlite {
        /// The database file of `sqlite://PATH`.
        path: PathBuf,
    },
    Postgres(Box<PostgresSettings>),
}

impl StoreSettings {
    /// The store in this database file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite { path: path.into() }
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
            Self::Postgres(settings) => settings.name(),
        }
    }
}

/// What `postgres://` and the keys beside it say.
#[derive(Clone)]
pub struct PostgresSettings {
    pub servers: Servers,
    pub database: String,
    /// The role of PostgreSQL that hallpass signs in as.
    pub username: String,
    pub password: Option<SecretString>,
    /// None: the connection has no TLS.
    pub tls: Option<PostgresTls>,
    /// The folder of stops that wait for the store.
    pub spool: PathBuf,
}

impl PostgresSettings {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        let servers = match &self.servers {
            Servers::Tcp(addresses) => {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            Servers::Unix { folder, .. } => folder.display().to_string(),
        };
        format!("the database {} at {servers}", self.database)
    }
}

/// Where PostgreSQL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// Tried in this order until one takes writes; at least one.
    Tcp(Vec<Address>),
    /// A folder with PostgreSQL's unix socket, whose name holds the port.
    Unix { folder: PathBuf, port: u16 },
}

/// A name or an IP address without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// What TLS shows and believes, with `sslmode=verify-full`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresTls {
    /// The roots to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// What is shown to a server that asks for a certificate.
    pub client: Option<ClientFiles>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("servers", &self.servers)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("spool", &self.spool)
            .finish()
    }
}

/// What to do where the database is gone and files that were made beside it are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It was lost: refuse to open the store.
    #[default]
    Refuse,
    /// The operator gave it up: make a new one.
    MakeAnew,
}
