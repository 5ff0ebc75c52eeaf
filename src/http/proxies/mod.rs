//! What proxies in front of the public listener say of their callers: address and client certificate.
//!
//! Only what comes from a configured address is believed; from any other address the headers are as if they were not
//! there. Of a list of addresses the right-most that is not a trusted proxy is the caller: whatever stands left of it
//! was written by the caller.

mod certificate;
mod forwarded;
pub(in crate::http) mod protocol;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

/// The proxies that are believed, and what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Vec<IpNet>,
    pub forwarded: Forwarding,
    pub certificate: Option<CertificateHeader>,
}

/// Where a trusted proxy writes its caller's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// The PROXY protocol, version 1 or 2, before anything else on the connection.
    ProxyProtocol,
}

/// Where a trusted proxy writes its caller's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateHeader {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// `X-Forwarded-Client-Cert`, as Envoy writes it.
    Envoy,
    /// `X-SSL-Client-Cert`, in base64 of DER as HAProxy writes it or in URL-encoded PEM as nginx does, and
    /// `X-SSL-Client-Chain`, in base64 of one DER certificate behind the other.
    XSslClientCert,
}

impl Proxies {
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }

    /// Whether a connection from `peer` begins with the PROXY protocol.
    pub fn announces(&self, peer: IpAddr) -> bool {
        self.forwarded == Forwarding::ProxyProtocol && self.trusts(peer)
    }

    /// Who sent a request with `headers` over a connection from `peer`.
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match self.forwarded {
            _ if !self.trusts(peer) => peer,
            Forwarding::ProxyProtocol => peer,
            Forwarding::XForwardedFor => {
                self.walk(peer, pieces(headers, "x-forwarded-for").map(forwarded::address))
            }
            Forwarding::Forwarded => self.walk(peer, pieces(headers, "forwarded").map(forwarded::element)),
        }
    }

    /// The first of `addresses` that is no trusted proxy, or the last that a trusted proxy vouches for.
    fn walk(&self, peer: IpAddr, addresses: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut caller = peer;
        for address in addresses {
            let Some(address) = address else { return caller };
            caller = address.to_canonical();
            if !self.trusts(caller) {
                return caller;
            }
        }
        caller
    }

    /// The certificates that a trusted proxy at `peer` was shown, the client's own first.
    pub fn chain(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Vec<CertificateDer<'static>>> {
        let header = self.certificate.filter(|_| self.trusts(peer))?;
        certificate::read(header, headers)
    }
}

/// The pieces of a list header, the last of all first. A comma within quotes parts them too, and what then is no
/// address ends the walk.
fn pieces<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    // A value that is no text gives one piece that is no address.
    values.into_iter().rev().flat_map(|value| value.to_str().unwrap_or("?").rsplit(',').map(str::trim))
}
