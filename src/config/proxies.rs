//! `server.trusted_proxies`, and what is believed of them.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::document::{Field, Mistakes, Table};
use crate::http::proxies::{CertificateHeader, Forwarding, Proxies};

pub(super) fn read(section: &Table<'_>, mistakes: &Mistakes) -> Option<Proxies> {
    let trusted = section.key("trusted_proxies", "[\"10.0.0.0/8\"]");
    let forwarded = section.key("forwarded", "\"x-forwarded-for\"");
    let certificate = section.key("client_certificate_header", "\"client-cert\"");
    if trusted.is_empty_list() {
        for field in [&forwarded, &certificate] {
            if field.is_present() {
                let remedy = "name the proxies' addresses in trusted_proxies, or take it out";
                mistakes.add(field.place(), "has no meaning without server.trusted_proxies", remedy);
            }
        }
    }
    let certificate_place = certificate.place().clone();
    let trusted = networks(trusted, mistakes);
    let forwarded = forwarded.or(Forwarding::default(), |field| field.parse());
    let certificate =
        if certificate.is_present() { Some(certificate.parse::<CertificateHeader>()?.value) } else { None };
    let forwarded = forwarded?.value;
    if certificate.is_some() && forwarded == Forwarding::ProxyProtocol {
        // Such a proxy passes its callers' own headers on.
        let remedy = "keep one of the two";
        mistakes.add(&certificate_place, "a proxy that speaks the PROXY protocol writes no headers", remedy);
    }
    Some(Proxies { trusted: trusted?, forwarded, certificate })
}

fn networks(field: Field<'_>, mistakes: &Mistakes) -> Option<Vec<IpNet>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let networks = field.list::<Network>()?.value;
    for network in networks.iter().filter(|network| network.value.0.prefix_len() == 0) {
        let remedy = "name the addresses of the proxies alone";
        mistakes.add(&network.place, "is every address, so that callers could write their own", remedy);
    }
    Some(networks.into_iter().map(|network| network.value.0).collect())
}

/// A network, or one address.
#[derive(PartialEq)]
struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = network.map_err(|_| "is not an address or a network such as 10.0.0.0/8")?;
        if network.trunc() != network {
            return Err("has bits behind its prefix, such as 10.0.0.1/8");
        }
        Ok(Self(network))
    }
}

impl FromStr for Forwarding {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            "proxy-protocol" => Ok(Self::ProxyProtocol),
            _ => Err("is not one of x-forwarded-for, forwarded and proxy-protocol"),
        }
    }
}

impl FromStr for CertificateHeader {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "client-cert" => Ok(Self::ClientCert),
            "x-forwarded-client-cert" => Ok(Self::Envoy),
            "x-ssl-client-cert" => Ok(Self::XSslClientCert),
            _ => Err("is not one of client-cert, x-forwarded-client-cert and x-ssl-client-cert"),
        }
    }
}
