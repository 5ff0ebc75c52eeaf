//! Connections to Redis. A lost one is never replaced unseen: each has a number, and whoever holds trust
//! holds it for one number. While there is none, calls fail at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use secrecy::ExposeSecret;
use tokio::sync::Notify;

use crate::domain::pem;
use crate::revocation::RevocationError;
use crate::revocation::settings::Backend;

/// TCP, TLS, authentication and a first PING together.
const CONNECT: Duration = Duration::from_millis(250);
/// Any answer but that of a blocking read or a refill.
pub(super) const RESPONSE: Duration = Duration::from_millis(200);
/// Between attempts to connect, doubled after each failure.
pub(super) const RETRY: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(500)];
/// An idle connection is tried this often, so that the first agent after a pause need not find it dead.
const PROBE: Duration = Duration::from_millis(500);

/// One connection, from its making to its loss.
pub(super) struct Session {
    pub(super) number: u64,
    connection: MultiplexedConnection,
}

impl Session {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

pub(super) struct Link {
    client: Client,
    tls: bool,
    session: ArcSwapOption<Session>,
    /// The number of the last session; they begin at 1.
    sessions: AtomicU64,
    /// Why there is no session.
    trouble: Mutex<String>,
    wake: Notify,
}

impl Link {
    pub(super) async fn new(backend: &Backend) -> Result<Self, RevocationError> {
        let Backend::Redis { url, username, password, ca_file } = backend else {
            return Err(RevocationError::Settings("the revocation store is not a Redis".into()));
        };
        let tls = url.scheme() == "rediss";
        let mut handshake = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name()
            .set_db(database(url)?);
        if let Some(username) = username {
            handshake = handshake.set_username(username);
        }
        if let Some(password) = password {
            handshake = handshake.set_password(password.expose_secret());
        }
        let info = url
            .clone()
            .into_connection_info()
            .map_err(|err| RevocationError::Settings(format!("the URL of Redis: {}", err.category())))?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(handshake);
        let client = match ca_file {
            Some(_) if !tls => return Err(settings("a ca_file needs a rediss:// URL")),
            Some(path) => {
                let roots = tokio::fs::read(path)
                    .await
                    .map_err(|err| settings(&format!("cannot read {}: {err}", path.display())))?;
                let roots = pem::certificates(&roots)
                    .map_err(|error| settings(&format!("{} {error}", path.display())))?;
                // As its library reads it, whatever an editor put around the lines.
                let roots: String =
                    roots.iter().map(|root| pem::section("CERTIFICATE", root).to_string()).collect();
                let roots = roots.into_bytes();
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(roots) })
            }
            None => Client::open(info),
        };
        let client = client.map_err(|err| settings(&format!("the connection to Redis: {err}")))?;
        Ok(Self {
            client,
            tls,
            session: ArcSwapOption::empty(),
            sessions: AtomicU64::new(0),
            trouble: Mutex::new("not connected yet".into()),
            wake: Notify::new(),
        })
    }

    /// The current session, or at once why there is none.
    pub(super) fn session(&self) -> Result<Arc<Session>, RevocationError> {
        self.session.load_full().ok_or_else(|| RevocationError::Unreachable(self.trouble()))
    }

    pub(super) fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Gives up `session`, if it is still the current one, and lets the keeper make another.
    pub(super) fn lost(&self, session: &Arc<Session>, why: String) {
        let current = self.session.load();
        if current.as_ref().is_some_and(|current| current.number == session.number) {
            self.note(why);
            self.session.compare_and_swap(&current, None);
            self.wake.notify_one();
        }
    }

    /// A connection of its own, whose answers may take `response`.
    pub(super) async fn open(&self, response: Duration) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(response));
        let client = self.client.clone();
        let opening = async move {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok(connection)
        };
        let opened = if self.tls {
            // The client reads the system's roots from disk at every connection.
            let runtime = tokio::runtime::Handle::current();
            let task = tokio::task::spawn_blocking(move || runtime.block_on(opening));
            task.await.map_err(|_| "the connection attempt was broken off".to_owned())?
        } else {
            tokio::time::timeout(CONNECT, opening).await.map_err(|_| "no answer in time".to_owned())?
        };
        opened.map_err(|err| refusal(&err))
    }

    /// One attempt to have a session.
    pub(super) async fn establish(&self) -> bool {
        match self.open(RESPONSE).await {
            Ok(connection) => {
                let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
                self.session.store(Some(Arc::new(Session { number, connection })));
                true
            }
            Err(why) => {
                self.note(why);
                false
            }
        }
    }

    /// Makes a new session whenever there is none, for ever.
    pub(super) async fn keep(&self) {
        let mut pause = RETRY[0];
        loop {
            match self.session.load_full() {
                None if self.establish().await => pause = RETRY[0],
                None => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY[1]);
                }
                Some(session) => {
                    let idle = tokio::time::timeout(PROBE, self.wake.notified()).await.is_err();
                    if idle && let Err(err) = redis::cmd("PING").exec_async(&mut session.connection()).await {
                        self.lost(&session, err.to_string());
                    }
                }
            }
        }
    }
}

fn settings(text: &str) -> RevocationError {
    RevocationError::Settings(text.to_owned())
}

/// The database number of the URL's path. What the client would read out of the rest of a URL is refused:
/// a fragment can turn the verification of certificates off, and credentials have settings of their own.
fn database(url: &url::Url) -> Result<i64, RevocationError> {
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(settings("the URL of Redis must be redis://HOST or rediss://HOST"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(settings("the URL of Redis must not hold credentials; they have keys of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(settings("the URL of Redis must end after the database number"));
    }
    match url.path().trim_start_matches('/') {
        "" => Ok(0),
        number => number.parse().ok().filter(|n| (0..=65_535).contains(n)).ok_or_else(|| {
            settings("the path of the URL of Redis must be a database number, such as redis://HOST/0")
        }),
    }
}

/// Why a connection was not made. A server may repeat the command that it refuses, and that is the one
/// with the password: so of its answer only the code is told.
fn refusal(err: &RedisError) -> String {
    match err.kind() {
        ErrorKind::AuthenticationFailed => "Redis refused the user name or the password".into(),
        ErrorKind::Io if err.is_timeout() => "no answer in time".into(),
        ErrorKind::Io => err.to_string(),
        _ => format!("Redis refused the connection: {}", err.code().unwrap_or_else(|| err.category())),
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addr = match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                format!("{host}:{port}")
            }
            _ => String::new(),
        };
        f.debug_struct("Link").field("addr", &addr).field("tls", &self.tls).finish_non_exhaustive()
    }
}
