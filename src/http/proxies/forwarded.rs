//! One address, as `X-Forwarded-For` and `Forwarded` (RFC 7239 §6) write it.

use std::net::{IpAddr, SocketAddr};

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

/// The `for` of one element; none where it is missing, hidden, given twice, or the element is not well formed.
pub(super) fn element(text: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(address(value)?).is_some() {
            return None;
        }
        let after = after.trim();
        if after.is_empty() {
            return found;
        }
        rest = after.strip_prefix(';')?;
    }
}

/// A token or a quoted string without escapes, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        return (!value.contains('\\')).then_some((value, rest));
    }
    let end = text.find(';').unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    let value = value.trim_end();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!value.is_empty() && value.bytes().all(token)).then_some((value, rest))
}
