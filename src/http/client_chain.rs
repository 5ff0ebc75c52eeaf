//! What a client showed of itself in TLS, to this listener or to a trusted proxy: nothing in it is verified.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use crate::domain::confirmation::Thumbprint;
use crate::domain::digest::Digest;

/// The certificates that the client of this connection sent, its own first; in each request's extensions, and
/// missing where it sent none. A trusted proxy may have been shown them instead (`server.client_certificate_header`).
///
/// # Danger
/// The client has shown that it holds the private key of the first certificate, and **nothing else is known**.
/// Unless the listener has `client_ca_files`, any key pair with any text in its certificate comes this far:
/// self-signed, expired, of any issuer, in anybody's name. Whoever reads a name in it must first verify the
/// path to a root that may vouch for that name, and every validity, at the time of the request.
#[derive(Debug, Clone)]
pub struct ClientChain(pub Arc<[CertificateDer<'static>]>);

impl ClientChain {
    pub(super) fn of(connection: &ServerConnection) -> Option<Self> {
        let chain = connection.peer_certificates().filter(|chain| !chain.is_empty())?;
        Some(Self(chain.into()))
    }

    /// Of the client's own certificate (RFC 8705 §3.1), whose key it has shown to hold.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.first().map(|own| Thumbprint(Digest::of(own)))
    }
}
