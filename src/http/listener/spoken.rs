//! The stream that HTTP reads and writes, above TLS.
//!
//! HTTP/1.1 answers what it cannot read by itself, with a status and no body. Those answers are replaced on their way
//! out by answers of the listener's own form, with a request id.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt;

use super::activity::Activity;
use super::counted::Tally;
use crate::domain::reason::Reason;
use crate::http::call::{Peer, Unserved};

/// The stream of one connection, above TLS.
pub(super) struct Spoken<S> {
    stream: S,
    peer: IpAddr,
    router: Router,
    tally: Arc<Tally>,
    activity: Arc<Activity>,
    /// What is written instead of what HTTP wrote.
    instead: Bytes,
}

impl<S> Spoken<S> {
    pub(super) fn new(
        stream: S,
        peer: IpAddr,
        router: &Router,
        tally: &Arc<Tally>,
        activity: &Arc<Activity>,
    ) -> Self {
        let (router, tally, activity) = (router.clone(), Arc::clone(tally), Arc::clone(activity));
        Self { stream, peer, router, tally, activity, instead: Bytes::new() }
    }
}

impl<S: AsyncWrite + Unpin> Spoken<S> {
    /// Writes what was put instead.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead = self.instead.split_off(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether `bytes` were replaced.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        let Some((reason, date)) = own_answer(bytes) else { return false };
        let Some(instead) = answer(&self.router, self.peer, reason, date) else { return false };
        self.instead = instead;
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spoken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before && !self.tally.has_requests() {
            self.activity.note_bytes();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spoken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        if self.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Why HTTP answered by itself, and the date that it gave, where `bytes` are such an answer and nothing else. An answer
/// of a handler is none: it has a request id, and a piece of a body never has a head's form.
fn own_answer(bytes: &[u8]) -> Option<(Reason, &str)> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?.strip_suffix(b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(rest).ok()?.split("\r\n");
    let reason = match lines.next()?.get(..2)? {
        "00" => Reason::RequestMalformed,
        "14" | "31" => Reason::HeadTooLarge,
        _ => return None,
    };
    let mut date = "";
    for line in lines {
        match line.split_once(": ")? {
            ("date", value) => date = value,
            ("connection", "close") | ("content-length", "0") => {}
            _ => return None,
        }
    }
    Some((reason, date))
}

/// What the listener answers for `reason`, as the last answer of a connection of HTTP/1.1.
fn answer(router: &Router, peer: IpAddr, reason: Reason, date: &str) -> Option<Bytes> {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Unserved(reason));
    // No handler is asked, so nothing is waited for.
    let (head, body) = router.clone().oneshot(request).now_or_never()?.ok()?.into_parts();
    let body = body.collect().now_or_never()?.ok()?.to_bytes();
    let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\n", head.status).into_bytes();
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "content-length") {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\ndate: {date}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_http_itself_is_replaced() {
        let own = |bytes: &str| own_answer(bytes.as_bytes()).map(|(reason, _)| reason);
        let tail = "connection: close\r\ncontent-length: 0\r\ndate: Sun, 29 Nov 2026 08:00:00 GMT\r\n\r\n";
        let too_large = format!("HTTP/1.1 431 Request Header Fields Too Large\r\n{tail}");
        assert_eq!(own(&too_large), Some(Reason::HeadTooLarge));
        assert_eq!(own(&format!("HTTP/1.1 400 Bad Request\r\n{tail}")), Some(Reason::RequestMalformed));
        for other in [
            format!("HTTP/1.1 404 Not Found\r\n{tail}"),
            format!("HTTP/1.1 400 Bad Request\r\nx-request-id: req_1\r\n{tail}"),
            format!("{too_large}more"),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\n".to_owned(),
            "HTTP/1.1 400 ".to_owned(),
            String::new(),
        ] {
            assert_eq!(own(&other), None, "{other}");
        }
    }
}
