//! Client certificates in headers. A header that is given twice or cannot be read gives none.

use std::borrow::Cow;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use url::form_urlencoded;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::CertificateHeader;
use crate::domain::pem;

/// Longer than any chain in use.
const MAX_CHAIN: usize = 10;

type Chain = Vec<CertificateDer<'static>>;

/// The client's own certificate, and after it those that lead to its root.
pub(super) fn read(header: CertificateHeader, headers: &HeaderMap) -> Option<Chain> {
    let chain = match header {
        CertificateHeader::ClientCert => rfc9440(headers)?,
        CertificateHeader::Envoy => envoy(only(headers, "x-forwarded-client-cert")?)?,
        CertificateHeader::XSslClientCert => x_ssl_client_cert(headers)?,
    };
    let whole =
        |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    (!chain.is_empty() && chain.len() <= MAX_CHAIN && chain.iter().all(whole)).then_some(chain)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok()).flatten()
}

fn rfc9440(headers: &HeaderMap) -> Option<Chain> {
    let mut chain = vec![byte_sequence(only(headers, "client-cert")?)?];
    if headers.contains_key("client-cert-chain") {
        // A list may be spread over several lines (RFC 8941 §4.2).
        for value in headers.get_all("client-cert-chain") {
            for item in value.to_str().ok()?.split(',') {
                chain.push(byte_sequence(item.trim())?);
            }
        }
    }
    Some(chain)
}

/// `:base64:` (RFC 8941 §3.3.5).
fn byte_sequence(text: &str) -> Option<CertificateDer<'static>> {
    let inner = text.trim().strip_prefix(':')?.strip_suffix(':')?;
    Some(STANDARD.decode(inner).ok()?.into())
}

/// `Chain`, or else `Cert`, of the one element. Of several it is not known which proxy was shown which.
fn envoy(text: &str) -> Option<Chain> {
    let (mut cert, mut chain) = (None, None);
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = envoy_value(after)?;
        match name.trim().to_ascii_lowercase().as_str() {
            "cert" if cert.replace(value.clone()).is_some() => return None,
            "chain" if chain.replace(value).is_some() => return None,
            _ => {}
        }
        let after = after.trim();
        if after.is_empty() {
            break;
        }
        // Not a comma: that begins another element.
        rest = after.strip_prefix(';')?;
    }
    let own = url_encoded_pem(&cert?)?;
    let chain = chain.map_or(Some(own.clone()), |chain| url_encoded_pem(&chain))?;
    (own.first() == chain.first()).then_some(chain)
}

/// A value in quotes, with `\"` for a quote, or one without; and what follows it.
fn envoy_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

/// A `+` is part of base64, and not a blank.
fn url_encoded_pem(text: &str) -> Option<Chain> {
    let text = format!("v={}", text.replace('+', "%2B"));
    let (_, decoded): (_, Cow<'_, str>) = form_urlencoded::parse(text.as_bytes()).next()?;
    pem::certificates(decoded.as_bytes()).ok()
}

fn x_ssl_client_cert(headers: &HeaderMap) -> Option<Chain> {
    let text = only(headers, "x-ssl-client-cert")?.trim();
    if text.starts_with("-----BEGIN") {
        return url_encoded_pem(text).filter(|own| own.len() == 1);
    }
    let mut chain: Chain = vec![STANDARD.decode(text).ok()?.into()];
    if headers.contains_key("x-ssl-client-chain") {
        let ders = STANDARD.decode(only(headers, "x-ssl-client-chain")?.trim()).ok()?;
        let mut rest = ders.as_slice();
        while !rest.is_empty() {
            let (after, _) = X509Certificate::from_der(rest).ok()?;
            chain.push(rest[..rest.len() - after.len()].to_vec().into());
            rest = after;
        }
    }
    Some(chain)
}
