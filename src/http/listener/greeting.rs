//! The first bytes of a connection, before TLS and HTTP.

use std::io;
use std::net::IpAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::http::proxies::protocol::{self, Announced};

/// The record type of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client seems to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Tls,
    Http,
    /// Neither, or nothing at all.
    Other,
}

/// Waits for the first byte and leaves it where it is.
pub(super) async fn speaks(stream: &TcpStream) -> io::Result<Speaks> {
    let mut first = [0];
    let length = stream.peek(&mut first).await?;
    Ok(match first[0] {
        _ if length == 0 => Speaks::Other,
        TLS_HANDSHAKE => Speaks::Tls,
        // A method, which is a token (RFC 9110 §9.1), and in use always of letters.
        byte if byte.is_ascii_alphabetic() => Speaks::Http,
        _ => Speaks::Other,
    })
}

/// Takes what has arrived, so that closing ends the connection and does not reset it.
pub(super) fn swallow(stream: &TcpStream) {
    let mut arrived = [0; 16 * 1024];
    let _ended = stream.try_read(&mut arrived);
}

/// Reads the header of the PROXY protocol and not a byte more: whom the proxy speaks for, if for anybody else.
///
/// # Errors
/// When the connection does not begin with one.
pub(super) async fn announced(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut read = Vec::new();
    let mut next = [0; protocol::LONGEST];
    loop {
        let length = stream.peek(&mut next).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = read.len();
        read.extend_from_slice(&next[..length]);
        let (length, end) = match protocol::read(&read) {
            Announced::More => (read.len(), None),
            Announced::Caller { length, caller } => (length, Some(caller)),
            Announced::Nothing => return Err(io::Error::other("it has no header of the PROXY protocol")),
        };
        read.truncate(length);
        stream.read_exact(&mut next[..length - before]).await?;
        if let Some(caller) = end {
            return Ok(caller);
        }
    }
}
