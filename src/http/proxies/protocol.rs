//! The PROXY protocol, versions 1 and 2, of a connection from a trusted proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the second version begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the longest header of the first version, with its end of line.
const LONGEST_V1: usize = 107;
/// Bytes of the longest header of the second version that is taken; its addresses take 36.
pub(in crate::http) const LONGEST: usize = 16 + 1024;

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Announced {
    /// The header is not whole yet.
    More,
    /// So many bytes, and whom the proxy speaks for; `None` where it speaks for itself, as a health check does.
    Caller { length: usize, caller: Option<IpAddr> },
    /// Anything else.
    Nothing,
}

/// Reads the first bytes of a connection.
pub(in crate::http) fn read(bytes: &[u8]) -> Announced {
    let begins = |with: &[u8]| {
        let length = with.len().min(bytes.len());
        bytes[..length] == with[..length]
    };
    if begins(SIGNATURE) {
        return if bytes.len() < 16 { Announced::More } else { version_2(bytes) };
    }
    if !begins(b"PROXY ") {
        return Announced::Nothing;
    }
    let head = &bytes[..bytes.len().min(LONGEST_V1)];
    match head.windows(2).position(|end| end == b"\r\n") {
        Some(end) => version_1(&bytes[..end])
            .map_or(Announced::Nothing, |caller| Announced::Caller { length: end + 2, caller }),
        None if bytes.len() >= LONGEST_V1 => Announced::Nothing,
        None => Announced::More,
    }
}

fn version_1(line: &[u8]) -> Option<Option<IpAddr>> {
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, to, from_port, to_port] => {
            let (source, to): (IpAddr, IpAddr) = (source.parse().ok()?, to.parse().ok()?);
            let _ports: (u16, u16) = (from_port.parse().ok()?, to_port.parse().ok()?);
            let v4 = *family == "TCP4";
            (source.is_ipv4() == v4 && to.is_ipv4() == v4).then_some(Some(source.to_canonical()))
        }
        _ => None,
    }
}

/// `bytes` has at least the 16 that every header has.
fn version_2(bytes: &[u8]) -> Announced {
    let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if bytes[12] >> 4 != 2 || length > LONGEST {
        return Announced::Nothing;
    }
    if bytes.len() < length {
        return Announced::More;
    }
    let addresses = &bytes[16..length];
    let caller = match (bytes[12] & 0xf, bytes[13]) {
        // LOCAL: the proxy itself.
        (0, _) => None,
        (1, 0x11) if addresses.len() >= 12 => {
            let [a, b, c, d] = [addresses[0], addresses[1], addresses[2], addresses[3]];
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        (1, 0x21) if addresses.len() >= 36 => {
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            Some(IpAddr::V6(Ipv6Addr::from(source)).to_canonical())
        }
        // PROXY over something that has no address of ours.
        (1, 0x00) => None,
        _ => return Announced::Nothing,
    };
    Announced::Caller { length, caller }
}
