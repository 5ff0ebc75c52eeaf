//! Connections to Redis. A lost one is never replaced unseen: each has a number, and whoever holds trust
//! holds it for one number. While there is none, calls fail at once.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::waits::{Waits, late};
use super::words::{self, WRITE_PLAIN};
use crate::domain::client_certificate::{ClientFiles, client_pair};
use crate::domain::pem;
use crate::revocation::RevocationError;
use crate::revocation::settings::{Backend, RevocationSettings};

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
    pub(super) waits: Waits,
    session: ArcSwapOption<Session>,
    /// The number of the last session; they begin at 1.
    sessions: AtomicU64,
    /// Why there is no session.
    trouble: Mutex<String>,
    wake: Notify,
}

impl Link {
    pub(super) async fn new(settings: &RevocationSettings) -> Result<Self, RevocationError> {
        let Backend::Redis { url, username, password, ca_file, client } = &settings.backend else {
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
        let client = if tls {
            Client::build_with_tls(info, certificates(ca_file.as_deref(), client.as_ref()).await?)
        } else if ca_file.is_some() || client.is_some() {
            return Err(refused("certificates need a rediss:// URL"));
        } else {
            Client::open(info)
        };
        let client = client.map_err(|err| refused(&format!("the connection to Redis: {err}")))?;
        Ok(Self {
            client,
            tls,
            waits: Waits::of(settings.max_staleness),
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
            .set_connection_timeout(Some(self.waits.connect))
            .set_response_timeout(Some(response));
        let client = self.client.clone();
        let opening = async move {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok::<_, RedisError>(connection)
        };
        let opened = if self.tls {
            // The client reads the system's roots from disk at every connection.
            let runtime = tokio::runtime::Handle::current();
            let task = tokio::task::spawn_blocking(move || runtime.block_on(opening));
            task.await.map_err(|_| "the connection attempt was broken off".to_owned())?
        } else {
            let connect = self.waits.connect;
            tokio::time::timeout(connect, opening).await.map_err(|_| late(connect))?
        };
        let err = match opened {
            Ok(connection) => return Ok(connection),
            Err(err) => err,
        };
        // Redis reads the greeting of TLS as half a line, and waits for the rest of it.
        if self.tls && err.is_timeout() && self.speaks_plain().await {
            return Err(WRITE_PLAIN.to_owned());
        }
        Err(words::why(&err, self.waits.connect))
    }

    /// Whether what was asked for TLS answers a PING without it. Nothing else is sent.
    async fn speaks_plain(&self) -> bool {
        let ConnectionAddr::TcpTls { host, port, .. } = self.client.get_connection_info().addr() else {
            return false;
        };
        let asked = async {
            let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.write_all(b"PING\r\n").await?;
            stream.read_u8().await
        };
        // `+PONG`, or `-NOAUTH` and the like.
        let answer = tokio::time::timeout(self.waits.response, asked).await;
        matches!(answer, Ok(Ok(b'+' | b'-')))
    }

    /// One attempt to have a session.
    pub(super) async fn establish(&self) -> bool {
        match self.open(self.waits.response).await {
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
                        self.lost(&session, words::why(&err, self.waits.response));
                    }
                }
            }
        }
    }
}

/// What is trusted besides the system's roots, and what is shown to a Redis that asks for a certificate.
async fn certificates(
    roots: Option<&Path>,
    client: Option<&ClientFiles>,
) -> Result<TlsCertificates, RevocationError> {
    let read = async |path: &Path| {
        let read = tokio::fs::read(path).await;
        read.map_err(|err| refused(&format!("cannot read {}: {err}", path.display())))
    };
    let root_cert = match roots {
        Some(path) => {
            let roots = pem::certificates(&read(path).await?)
                .map_err(|error| refused(&format!("{} {error}", path.display())))?;
            Some(sections(&roots))
        }
        None => None,
    };
    let client_tls = match client {
        Some(ClientFiles { cert, key }) => {
            let (cert, key) = (read(cert).await?, Zeroizing::new(read(key).await?));
            let (chain, key) = client_pair(&cert, &key).map_err(|why| refused(&why))?;
            let label = match &key {
                PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
                PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
                _ => "PRIVATE KEY",
            };
            let client_key = pem::section(label, key.secret_der()).as_bytes().to_vec();
            Some(ClientTlsConfig { client_cert: sections(&chain), client_key })
        }
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

/// As Redis's library reads them, whatever an editor put around the lines.
fn sections(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let sections = certificates.iter().map(|der| pem::section("CERTIFICATE", der).to_string());
    sections.collect::<String>().into_bytes()
}

fn refused(text: &str) -> RevocationError {
    RevocationError::Settings(text.to_owned())
}

/// The database number of the URL's path. What the client would read out of the rest of a URL is refused:
/// a fragment can turn the verification of certificates off, and credentials have settings of their own.
fn database(url: &url::Url) -> Result<i64, RevocationError> {
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(refused("the URL of Redis must be redis://HOST or rediss://HOST"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("the URL of Redis must not hold credentials; they have keys of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("the URL of Redis must end after the database number"));
    }
    match url.path().trim_start_matches('/') {
        "" => Ok(0),
        number => number.parse().ok().filter(|n| (0..=65_535).contains(n)).ok_or_else(|| {
            refused("the path of the URL of Redis must be a database number, such as redis://HOST/0")
        }),
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
