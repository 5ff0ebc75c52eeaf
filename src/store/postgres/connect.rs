//! Connections to PostgreSQL: which servers are tried, for how long, and what holds for a session.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, Socket};

use super::connect_error::{ConnectError, Failure};
use super::tls::{Tls, TlsStream, client_config};
use crate::store::settings::{Address, PostgresSettings, Servers};

/// One address of a server takes this long to answer to TCP, or is dead.
const CONNECT: Duration = Duration::from_secs(2);
/// A server with all its addresses, with TLS and the password.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A connection over which nothing comes back for so long is dead, whether it waits for an answer or is idle.
const DEAD_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;

/// The oldest major version that hallpass is tested with.
const OLDEST: u32 = 14;

/// What holds for each statement of a session, whatever the server or the role says. A commit is durable when it returns
/// (`synchronous_commit`), and a statement ends, so that one that hangs does not hold the log. A lock is waited for longer than
/// its holder may be idle. The server gives up a machine
/// that is gone, also in the middle of a message, which no timeout of a statement ends.
const SESSION: &str = "-c statement_timeout=10s -c lock_timeout=7s -c idle_in_transaction_session_timeout=5s \
                       -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10s \
                       -c synchronous_commit=on -c default_transaction_isolation=read\\ committed -c TimeZone=UTC";

/// What carries a client's queries; somebody must poll it.
pub(in crate::store) type PostgresConnection = Connection<Socket, TlsStream>;

/// The first server that takes writes, in the order of the settings.
///
/// # Errors
/// Why each of them would not do.
pub(in crate::store) async fn connect(
    settings: &PostgresSettings,
) -> Result<(Client, PostgresConnection), ConnectError> {
    let tls = tls(settings).await.map_err(ConnectError::settings)?;
    let servers = match &settings.servers {
        Servers::Unix { folder, port } => vec![Server::Unix(folder, *port)],
        Servers::Tcp(addresses) => addresses.iter().map(Server::Tcp).collect(),
    };
    let mut attempts = Vec::new();
    for server in servers {
        let attempt = timeout(ATTEMPT, server.connect(settings, &tls)).await;
        match attempt.unwrap_or(Err(Failure::Late(ATTEMPT.as_millis()))) {
            Ok(connected) => return Ok(connected),
            Err(failure) => attempts.push((server.name(), failure)),
        }
    }
    Err(ConnectError { attempts })
}

/// Reading the system's roots takes milliseconds of disk; certificates that were renewed are read at each connection.
async fn tls(settings: &PostgresSettings) -> Result<Tls, String> {
    let Some(files) = settings.tls.clone() else { return Ok(Tls(None)) };
    let read = tokio::task::spawn_blocking(move || client_config(&files)).await;
    let config = read.map_err(|_| "the attempt was broken off".to_owned())??;
    Ok(Tls(Some(Arc::new(config))))
}

enum Server<'s> {
    Tcp(&'s Address),
    Unix(&'s Path, u16),
}

impl Server<'_> {
    fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(folder, port) => folder.join(format!(".s.PGSQL.{port}")).display().to_string(),
        }
    }

    async fn connect(
        &self,
        settings: &PostgresSettings,
        tls: &Tls,
    ) -> Result<(Client, PostgresConnection), Failure> {
        let mut config = config(settings);
        let address = match self {
            Self::Unix(folder, port) => {
                config.host_path(folder).port(*port);
                return try_one(&config, tls).await;
            }
            Self::Tcp(address) => address,
        };
        config.host(&address.host).port(address.port);
        let mut failure = Failure::UnknownHost("there is none".to_owned());
        for ip in resolve(address).await? {
            match try_one(config.clone().hostaddr(ip), tls).await {
                // The next address may be reached; what a server refuses, it refuses under each of its addresses.
                Err(unreachable @ (Failure::Unreachable(_) | Failure::Late(_))) => failure = unreachable,
                answered => return answered,
            }
        }
        Err(failure)
    }
}

async fn resolve(address: &Address) -> Result<Vec<IpAddr>, Failure> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let found = found.map_err(|error| Failure::UnknownHost(error.to_string()))?;
    Ok(found.map(|address| address.ip()).collect())
}

fn config(settings: &PostgresSettings) -> Config {
    let mut config = Config::new();
    config
        .user(&settings.username)
        .dbname(&settings.database)
        .application_name("hallpass")
        .options(SESSION)
        .ssl_mode(if settings.tls.is_some() { SslMode::Require } else { SslMode::Disable })
        .connect_timeout(CONNECT)
        .tcp_user_timeout(DEAD_AFTER)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    if let Some(password) = &settings.password {
        config.password(password.expose_secret());
    }
    config
}

async fn try_one(config: &Config, tls: &Tls) -> Result<(Client, PostgresConnection), Failure> {
    let (client, connection) = config.connect(tls.clone()).await.map_err(|error| Failure::of(&error))?;
    match unfit(|name| connection.parameter(name)) {
        None => Ok((client, connection)),
        Some(failure) => Err(failure),
    }
}

/// Why a server that let us in would not do, by what it reports of itself.
pub(super) fn unfit<'p>(parameter: impl Fn(&str) -> Option<&'p str>) -> Option<Failure> {
    let version = parameter("server_version").unwrap_or_default();
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    if major.parse::<u32>().is_ok_and(|major| major < OLDEST) {
        return Some(Failure::TooOld(version.to_owned()));
    }
    let encoding = parameter("server_encoding").unwrap_or_default();
    if encoding != "UTF8" {
        return Some(Failure::NotUtf8(encoding.to_owned()));
    }
    if parameter("in_hot_standby") == Some("on") {
        return Some(Failure::Standby);
    }
    (parameter("default_transaction_read_only") == Some("on")).then_some(Failure::ReadOnly)
}
