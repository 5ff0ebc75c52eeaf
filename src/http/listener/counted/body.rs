//! The bodies of requests and answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

use super::Underway;
use crate::http::listener::activity::Activity;

/// The body of a request.
pub(in crate::http::listener) struct Asked {
    pub(in crate::http::listener) body: Incoming,
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
        let underway = &self.underway;
        underway.tally.taken_from_buffers();
        if let Some(Ok(frame)) = &polled
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
            self.underway.tally.seat.note_progress();
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Err(full) = self.underway.tally.hand(frame.data_ref().map_or(0, Bytes::len))
        {
            return Poll::Ready(Some(Err(axum::Error::new(full))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
