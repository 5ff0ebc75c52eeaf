//! The bodies of requests and answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

use super::Underway;
use crate::http::listener::MAX_BODY;
use crate::http::listener::activity::Activity;

/// The body of a request.
pub(in crate::http::listener) struct Asked {
    pub(in crate::http::listener) body: Incoming,
    /// Bytes of it that were taken from the buffers.
    pub(in crate::http::listener) taken: usize,
    pub(in crate::http::listener) underway: Arc<Underway>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &polled {
            self.taken += frame.data_ref().map_or(0, Bytes::len);
        }
        let underway = &self.underway;
        underway.tally.taken_from_buffers();
        if let Some(Ok(frame)) = &polled
            && self.taken <= MAX_BODY
            && let Err(full) = underway.hold(frame.data_ref().map_or(0, Bytes::len))
        {
            return Poll::Ready(Some(Err(axum::Error::new(full))));
        }
        if polled.is_none() || self.body.is_end_stream() {
            underway.is_whole();
        }
        Poll::Ready(polled.map(|frame| frame.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. It is asked for its next piece when there is room for it, so a client that does not
/// read is seen here.
pub(in crate::http::listener) struct Answered {
    pub(in crate::http::listener) body: Body,
    pub(in crate::http::listener) underway: Arc<Underway>,
    pub(in crate::http::listener) note: Arc<Activity>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.note.note();
            self.underway.tally.seat.note_taken();
        }
        let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
        Poll::Ready(Some(match self.underway.tally.hand(frame.data_ref().map_or(0, Bytes::len)) {
            Ok(()) => Ok(frame.map_data(|bytes| Piece::counted(bytes, &self.underway))),
            Err(full) => Err(axum::Error::new(full)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer, whose request is counted until HTTP drops the piece. HTTP/2 keeps it for as long as the client
/// gives its stream no window, however much of other streams is sent meanwhile.
struct Piece {
    bytes: Bytes,
    underway: Arc<Underway>,
}

impl Piece {
    /// The same `bytes`, which say when they are dropped.
    fn counted(bytes: Bytes, underway: &Arc<Underway>) -> Bytes {
        Bytes::from_owner(Self { bytes, underway: Arc::clone(underway) })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.underway.tally.let_go(self.bytes.len());
    }
}
