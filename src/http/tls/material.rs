//! The files of a listener's TLS, read and judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::client::AnyCertificate;
use crate::domain::digest::Digest;
use crate::domain::pem;
use crate::domain::time::{Clock, Timestamp};
use crate::files::{self, Unreadable};
use crate::http::settings::{ClientCertificates, TlsSettings};

/// More than any chain, key or bundle.
const MAX_BYTES: usize = 1 << 20;

/// Which file of a [`TlsSettings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    ClientCa,
}

/// A file that TLS cannot be served with. Holds no byte of the file.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", path.display())]
pub struct Unusable {
    pub part: Part,
    pub path: PathBuf,
    pub problem: String,
}

/// The files as they were at one moment.
pub(super) struct Files {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    client_cas: Vec<Zeroizing<Vec<u8>>>,
}

/// A certificate with its chain, its key, and the roots of client certificates.
pub struct Material {
    certified: CertifiedKey,
    roots: Option<RootCertStore>,
    from: Timestamp,
    until: Timestamp,
}

impl Files {
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, Unusable> {
        let client_cas = settings.clients.ca_files().iter().map(|path| bytes(path, Part::ClientCa));
        Ok(Self {
            certificate: bytes(&settings.cert_file, Part::Certificate)?,
            key: bytes(&settings.key_file, Part::Key)?,
            client_cas: client_cas.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn fingerprint(&self) -> Digest {
        let files = [&self.certificate, &self.key].into_iter().chain(&self.client_cas);
        let digests: Vec<Digest> = files.map(|file| Digest::of(file)).collect();
        Digest::of_parts(&digests.iter().map(|digest| &digest.0[..]).collect::<Vec<_>>())
    }
}

impl Material {
    /// Reads the files of `settings` as they are now. Blocks.
    ///
    /// # Errors
    /// When one cannot be read or is not what it should be, or the key is of another certificate.
    pub fn read(settings: &TlsSettings) -> Result<Self, Unusable> {
        Self::of(&Files::read(settings)?, settings)
    }

    pub(super) fn of(files: &Files, settings: &TlsSettings) -> Result<Self, Unusable> {
        let of_certificate = |problem: String| unusable(Part::Certificate, &settings.cert_file, problem);
        let of_key = |problem: String| unusable(Part::Key, &settings.key_file, problem);
        let chain = pem::certificates(&files.certificate);
        let chain = chain.map_err(|error| of_certificate(error.to_string()))?;
        let (from, until) = chain
            .first()
            .ok_or("holds no certificate".to_owned())
            .and_then(validity)
            .map_err(of_certificate)?;
        let key = pem::private_key(&files.key).map_err(|error| of_key(error.to_string()))?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                of_key(format!("is not the key of the certificate in {}", settings.cert_file.display()))
            }
            _ => of_key("is not a key of RSA (2048 bits or more), ECDSA P-256, P-384 or Ed25519".to_owned()),
        })?;
        Ok(Self { certified, roots: roots(files, settings)?, from, until })
    }

    /// The end of the certificate's validity.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// # Errors
    /// When the certificate is not good yet or not good any more.
    pub fn check_time(&self, settings: &TlsSettings, now: Timestamp) -> Result<(), Unusable> {
        let problem = if now < self.from {
            format!("holds a certificate that begins at {}", self.from)
        } else if now > self.until {
            format!("holds a certificate that ended at {}", self.until)
        } else {
            return Ok(());
        };
        Err(unusable(Part::Certificate, &settings.cert_file, problem))
    }

    /// Why clients refuse the certificate as a server's, whoever signed it. OpenSSL takes one of a CA, and rustls does
    /// not.
    pub fn unfit(&self) -> Option<&'static str> {
        const OTHER_USES: &str =
            "is a certificate for other uses than a server's (extended key usage without serverAuth)";
        let parsed = ParsedCertificate::try_from(self.certified.cert.first()?).ok()?;
        let second = u64::try_from(self.from.seconds()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(second));
        // Of what is wrong with a certificate itself, rustls tells before it looks for who signed it.
        match verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], at, &[]) {
            Err(Error::InvalidCertificate(CertificateError::Other(other)))
                if other.0.to_string() == "CaUsedAsEndEntity" =>
            {
                Some(
                    "is the certificate of a certificate authority (CA:TRUE), which signs others and is no server's",
                )
            }
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => Some(OTHER_USES),
            _ => None,
        }
    }

    /// Whether the certificate is for `host`, a name or an IP address.
    pub fn covers(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host.trim_matches(['[', ']'])) else { return false };
        let certificate = self.certified.cert.first().map(ParsedCertificate::try_from);
        certificate
            .is_some_and(|parsed| parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok()))
    }

    pub(super) fn into_config(
        self,
        settings: &TlsSettings,
        clock: &Clock,
    ) -> Result<Arc<ServerConfig>, Unusable> {
        let provider = provider();
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder =
            ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(Time(clock.clone())))
                .with_protocol_versions(&versions)
                .expect("ring has suites for both versions");
        let builder = match (&settings.clients, self.roots) {
            (ClientCertificates::NotAsked, _) => builder.with_no_client_auth(),
            (ClientCertificates::Any, _) => {
                builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(provider)))
            }
            (ClientCertificates::SignedBy(files), roots) => {
                let roots = Arc::new(roots.unwrap_or_else(RootCertStore::empty));
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let file = files.first().unwrap_or(&settings.cert_file);
                builder.with_client_cert_verifier(verifier.map_err(|error| {
                    unusable(Part::ClientCa, file, format!("cannot vouch for clients: {error}"))
                })?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would carry a client certificate past its end or past a change of the files.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Whether any user of this machine may read `path`.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    files::mode(path).is_ok_and(|mode| mode & 0o007 != 0)
}

/// The broker's own clock, so that TLS and tokens agree on what is over.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(part: Part, path: &Path, problem: String) -> Unusable {
    Unusable { part, path: path.to_owned(), problem }
}

fn bytes(path: &Path, part: Part) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    files::read_regular(path, MAX_BYTES).map_err(|error| {
        let problem = match error {
            Unreadable::NotAFile => "is not a regular file".to_owned(),
            Unreadable::TooLarge(most) => format!("is over {most} bytes"),
            error => format!("cannot be read: {error}"),
        };
        unusable(part, path, problem)
    })
}

fn roots(files: &Files, settings: &TlsSettings) -> Result<Option<RootCertStore>, Unusable> {
    if files.client_cas.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for (text, path) in files.client_cas.iter().zip(settings.clients.ca_files()) {
        let refuse = |problem: String| unusable(Part::ClientCa, path, problem);
        for root in pem::certificates(text).map_err(|error| refuse(error.to_string()))? {
            roots
                .add(root)
                .map_err(|error| refuse(format!("holds a certificate that is not one: {error}")))?;
        }
    }
    Ok(Some(roots))
}

/// From when until when `certificate` is good. rustls tells it only as the reason of a refusal, and of an end
/// entity it asks the time before anything else: so it is verified at the first and at the last second.
fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let wrong = |error: Error| match &error {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == "UnsupportedCertVersion" =>
        {
            "holds a certificate of a version of X.509 before 3, which no client takes".to_owned()
        }
        _ => format!("holds a certificate that is not one: {error}"),
    };
    let parsed = ParsedCertificate::try_from(certificate).map_err(wrong)?;
    let verify_at = |second: u64| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(second));
        verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], at, &[])
    };
    let timestamp = |at: UnixTime| Timestamp::from_seconds(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
    let from = match verify_at(0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => not_before,
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    match verify_at(u64::MAX) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok((timestamp(from), timestamp(not_after)))
        }
        Err(error) => Err(wrong(error)),
        Ok(()) => Err("holds a certificate without an end".to_owned()),
    }
}
