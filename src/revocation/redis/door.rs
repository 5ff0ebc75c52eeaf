//! How one server is connected to: the credentials, TLS, and how long it may take.

use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::waits::{Waits, late};
use super::words::{self, WRITE_PLAIN};
use crate::domain::client_certificate::{ClientFiles, client_pair};
use crate::domain::pem;
use crate::revocation::RevocationError;
use crate::revocation::settings::{Address, RedisSettings};

/// For servers of one kind: Redis itself, or its sentinels.
#[derive(Clone)]
pub(super) struct Door {
    tls: Option<TlsCertificates>,
    handshake: RedisConnectionInfo,
    waits: Waits,
}

impl Door {
    /// To Redis, and to its sentinels.
    pub(super) async fn both(settings: &RedisSettings, waits: Waits) -> Result<[Self; 2], RevocationError> {
        let RedisSettings { url, username, password, ca_file, client, sentinel } = settings;
        let some_tls = url.tls || sentinel.tls;
        if !some_tls && (ca_file.is_some() || client.is_some()) {
            return Err(refused("certificates need a rediss:// URL"));
        }
        let certificates =
            if some_tls { Some(certificates(ca_file.as_deref(), client.as_ref()).await?) } else { None };
        let door = |tls: bool, username, password, database| Self {
            tls: certificates.clone().filter(|_| tls),
            handshake: handshake(username, password, database),
            waits,
        };
        let doors = [
            door(url.tls, username, password, url.database),
            door(sentinel.tls, &sentinel.username, &sentinel.password, 0),
        ];
        for (door, address) in doors.iter().zip(url.addresses()) {
            door.client(address).map_err(|err| refused(&format!("the connection to Redis: {err}")))?;
        }
        Ok(doors)
    }

    fn client(&self, to: &Address) -> Result<Client, RedisError> {
        let Address { host, port } = to.clone();
        let addr = match &self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let info = addr
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(self.handshake.clone());
        match &self.tls {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    /// A connection whose answers may take `response`, or why there is none.
    pub(super) async fn open(
        &self,
        to: &Address,
        response: Duration,
    ) -> Result<MultiplexedConnection, String> {
        let connect = self.waits.connect;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect))
            .set_response_timeout(Some(response));
        let client = self.client(to).map_err(|err| words::why(&err, connect))?;
        let opening = async move {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            match redis::cmd("PING").exec_async(&mut connection).await {
                // It answers; what the user may do is asked elsewhere.
                Err(err) if err.code() != Some("NOPERM") => Err(err),
                _ => Ok(connection),
            }
        };
        let opened = if self.tls.is_some() {
            // The client reads the system's roots from disk at every connection.
            let runtime = tokio::runtime::Handle::current();
            let task = tokio::task::spawn_blocking(move || runtime.block_on(opening));
            task.await.map_err(|_| "the connection attempt was broken off".to_owned())?
        } else {
            tokio::time::timeout(connect, opening).await.map_err(|_| late(connect))?
        };
        let err = match opened {
            Ok(connection) => return Ok(connection),
            Err(err) => err,
        };
        // Redis reads the greeting of TLS as half a line, and waits for the rest of it.
        if self.tls.is_some() && err.is_timeout() && self.speaks_plain(to).await {
            return Err(WRITE_PLAIN.to_owned());
        }
        Err(words::why(&err, connect))
    }

    /// Whether what was asked for TLS answers a PING without it. Nothing else is sent.
    async fn speaks_plain(&self, to: &Address) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
            stream.write_all(b"PING\r\n").await?;
            stream.read_u8().await
        };
        // `+PONG`, or `-NOAUTH` and the like.
        let answer = tokio::time::timeout(self.waits.response, asked).await;
        matches!(answer, Ok(Ok(b'+' | b'-')))
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }
}

fn handshake(
    username: &Option<String>,
    password: &Option<SecretString>,
    database: u16,
) -> RedisConnectionInfo {
    let mut handshake = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name()
        .set_db(i64::from(database));
    if let Some(username) = username {
        handshake = handshake.set_username(username);
    }
    if let Some(password) = password {
        handshake = handshake.set_password(password.expose_secret());
    }
    handshake
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
