//! Why there is no connection to PostgreSQL, in words for whoever runs hallpass. None of them holds a secret, and nothing
//! of what a server said is repeated: it may be the password.

use std::error::Error as _;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};
use tokio_postgres::error::{DbError, SqlState};

/// Why no server was connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct ConnectError {
    /// Each server that was tried and why it would not do; empty where none was tried.
    pub(super) attempts: Vec<(String, Failure)>,
}

/// Why one server would not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum Failure {
    #[error("the name has no address: {0}")]
    UnknownHost(String),
    #[error("cannot connect: {0}")]
    Unreachable(String),
    #[error("no answer within {0} ms")]
    Late(u128),
    #[error("the server ended the connection: {0}")]
    Broken(String),
    #[error(
        "the server has too many connections (max_connections, or the limit of the role or the database)"
    )]
    TooManyConnections,
    #[error("the server starts up, shuts down or recovers")]
    NotNow,
    #[error("the server is a standby, which takes no writes")]
    Standby,
    #[error("the server takes no writes (default_transaction_read_only is on)")]
    ReadOnly,
    #[error("the server refused the connection with SQLSTATE {0}")]
    Refused(String),
    #[error("the certificate of the server has ended, or has yet to begin")]
    CertificateTime,
    #[error(
        "the server has no TLS: switch it on there (ssl = on), or write sslmode=disable where nobody else is on the way"
    )]
    NoTls,
    #[error("the certificate of the server is of a CA that is not trusted: name its root with store.ca_file")]
    UnknownIssuer,
    #[error("the certificate of the server is for other hosts: write in store.url a name that it holds")]
    OtherHost,
    #[error("the TLS of the server cannot be used: {0}")]
    UnusableTls(String),
    #[error("the server refused the client certificate, or asks for one: see store.client_cert_file")]
    ClientCertificate,
    #[error("PostgreSQL refused the user name or the password: see store.username and store.password_file")]
    Credentials,
    #[error("PostgreSQL asks for a password: write store.password_file, or set HALLPASS_STORE__PASSWORD")]
    NoPassword,
    #[error(
        "PostgreSQL does not let this user in from here: see pg_hba.conf, the role, and the client certificate"
    )]
    NotLetIn,
    #[error(
        "the server did not prove that it knows the password, or asks for it in a way that hallpass does not have"
    )]
    Unproven,
    #[error("there is no such database: make it, owned by the role of store.username")]
    NoDatabase,
    #[error("the role may not connect to the database: grant it CONNECT")]
    NotAllowed,
    #[error("the server is PostgreSQL {0}: hallpass needs 14 or newer")]
    TooOld(String),
    #[error("the database is encoded in {0}: make one with ENCODING 'UTF8'")]
    NotUtf8(String),
    #[error("{0}")]
    Settings(String),
}

impl Failure {
    /// Whether trying again is of no use until somebody changes the settings or the server.
    pub(in crate::store) fn is_mistake(&self) -> bool {
        match self {
            Self::UnknownHost(_)
            | Self::Unreachable(_)
            | Self::Late(_)
            | Self::Broken(_)
            | Self::TooManyConnections
            | Self::NotNow
            | Self::Standby
            | Self::ReadOnly
            | Self::Refused(_)
            | Self::CertificateTime => false,
            Self::NoTls
            | Self::UnknownIssuer
            | Self::OtherHost
            | Self::UnusableTls(_)
            | Self::ClientCertificate
            | Self::Credentials
            | Self::NoPassword
            | Self::NotLetIn
            | Self::Unproven
            | Self::NoDatabase
            | Self::NotAllowed
            | Self::TooOld(_)
            | Self::NotUtf8(_)
            | Self::Settings(_) => true,
        }
    }

    /// Of an attempt to connect. The client tells the kinds of its errors apart by their text alone.
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::of_server(refusal);
        }
        let cause = error.source();
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
            return Self::of_io(error);
        }
        match (error.to_string().as_str(), cause) {
            ("error performing TLS handshake", _) => Self::NoTls,
            ("invalid configuration", _) => Self::NoPassword,
            ("authentication error", _) => Self::Unproven,
            (text, _) => Self::Broken(text.to_owned()),
        }
    }

    fn of_server(refusal: &DbError) -> Self {
        let code = refusal.code();
        if *code == SqlState::INVALID_PASSWORD {
            Self::Credentials
        } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
            Self::NotLetIn
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            Self::NoDatabase
        } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            Self::NotAllowed
        } else if *code == SqlState::TOO_MANY_CONNECTIONS {
            Self::TooManyConnections
        } else if [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN]
            .contains(code)
        {
            Self::NotNow
        } else {
            Self::Refused(code.code().to_owned())
        }
    }

    fn of_io(error: &io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (of_tls, error.kind()) {
            (Some(error), _) => Self::of_tls(error),
            (
                None,
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe,
            ) => Self::Broken(error.to_string()),
            (None, _) => Self::Unreachable(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::OtherHost
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::CertificateTime,
                problem => Self::UnusableTls(problem.to_string()),
            },
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::DecryptError
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate,
            ) => Self::ClientCertificate,
            error => Self::UnusableTls(error.to_string()),
        }
    }
}

impl ConnectError {
    /// Of settings that name no server to try.
    pub(super) fn settings(problem: String) -> Self {
        Self { attempts: vec![(String::new(), Failure::Settings(problem))] }
    }

    /// Whether trying again is of no use until somebody changes the settings or a server: so it is for every server.
    pub(in crate::store) fn is_mistake(&self) -> bool {
        self.attempts.iter().all(|(_, failure)| failure.is_mistake())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (server, failure)) in self.attempts.iter().enumerate() {
            let and = if index == 0 { "" } else { "; " };
            match server.as_str() {
                "" => write!(f, "{and}PostgreSQL: {failure}")?,
                server => write!(f, "{and}PostgreSQL at {server}: {failure}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}
