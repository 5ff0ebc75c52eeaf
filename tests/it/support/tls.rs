//! A certificate authority of the tests, and clients of every kind.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::broker::install_providers;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a root of the tests");
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for `name`, good from 2020 until the end of `until`'s first day.
    pub(crate) fn pair_until(&self, name: &str, until: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn pair(&self, name: &str) -> Pair {
        self.pair_until(name, 2090)
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A client that trusts this authority, with a certificate of its own where `pair` is given.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
        pair: Option<&Pair>,
    ) -> ClientConfig {
        install_providers();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_auth_cert(vec![pair.der()], pair.key_der()).unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A client of HTTP that trusts this authority.
    #[expect(clippy::disallowed_methods, reason = "the tests' own client")]
    pub(crate) fn http(&self, pair: Option<&Pair>) -> reqwest::Client {
        let config = self.client(rustls::ALL_VERSIONS, &["h2", "http/1.1"], pair);
        reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
    }
}

impl Pair {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub(crate) fn self_signed(name: &str, until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }
}

/// `tls.pem` and `tls.key` in a folder, as an operator would renew them.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn of(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put(pair);
        files
    }

    pub(crate) fn put(&self, pair: &Pair) {
        fs::write(self.cert(), pair.certificate.pem()).unwrap();
        fs::write(self.key(), pair.key.serialize_pem()).unwrap();
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.0.path().join("tls.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("tls.key")
    }

    /// The lines of `hallpass.toml` for the listener `section`.
    pub(crate) fn section(&self, section: &str) -> String {
        format!(
            "[{section}.tls]\ncert_file = '{}'\nkey_file = '{}'\n",
            self.cert().display(),
            self.key().display()
        )
    }
}

/// A handshake by hand with `address`, as a client that calls it 127.0.0.1.
pub(crate) async fn connect(address: &str, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
