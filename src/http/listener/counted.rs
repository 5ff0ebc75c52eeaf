//! A connection's bytes, requests and answers, counted on its [`Seat`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::room::{CONNECTION, Full, Seat};
use super::{MAX_BODY, MAX_HEAD, WINDOW};

/// What a request holds beside its head and body, until it is answered. Measured.
const REQUEST: usize = 8 * 1024;
/// What one header takes beside its own bytes.
const HEADER: usize = 96;
/// What is read into buffers without being counted: it is part of [`CONNECTION`].
const FREE: usize = 8 * 1024;

/// What a connection's parts count together.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) seat: Seat,
    /// Bytes that arrived since a head was whole or a piece of a body was taken: they are in buffers.
    arrived: AtomicUsize,
    /// The most that ever were, as buffers do not shrink; counted beyond [`FREE`].
    most: AtomicUsize,
    shaking_hands: AtomicBool,
    requests: AtomicUsize,
    unsent: Mutex<Unsent>,
}

/// Pieces of answers that are in buffers, as their client does not take them. The last of a stream's pieces may wait
/// there when its handler is long done.
#[derive(Debug, Default)]
struct Unsent {
    /// Bytes of answers that HTTP has not let go of: see [`Piece`].
    waiting: usize,
    /// Bytes that went on from there since all below was flushed, to TLS or to the socket; at most [`BELOW`].
    below: usize,
    /// Bytes that are counted for both.
    held: usize,
}

impl Unsent {
    /// What is to be counted of it.
    fn countable(&self) -> usize {
        (self.waiting + self.below).saturating_sub(FREE_ANSWERS)
    }
}

impl Tally {
    pub(super) fn new(seat: Seat, shaking_hands: bool) -> Arc<Self> {
        let (arrived, requests, unsent) = Default::default();
        let (most, shaking_hands) = (AtomicUsize::new(FREE), AtomicBool::new(shaking_hands));
        Arc::new(Self { seat, arrived, most, shaking_hands, requests, unsent })
    }

    pub(super) fn shook_hands(&self) {
        self.shaking_hands.store(false, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.seat.note_progress();
    }

    fn read(&self, bytes: usize) -> Result<(), Full> {
        if self.shaking_hands.load(Ordering::Relaxed) {
            self.seat.note_progress();
        }
        // No more than this can be in the buffers of HTTP/1.1 or HTTP/2.
        let arrived = self.arrived.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let arrived = arrived.min(MAX_HEAD + WINDOW as usize);
        let most = self.most.load(Ordering::Relaxed);
        if arrived > most {
            self.seat.hold(arrived - most)?;
            self.most.store(arrived, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A piece of an answer goes into the buffers.
    fn hand(&self, bytes: usize) -> Result<(), Full> {
        let mut unsent = self.unsent();
        let more = (unsent.countable() + bytes).saturating_sub(unsent.held);
        if more > 0 {
            self.seat.hold(more)?;
            unsent.held += more;
        }
        unsent.waiting += bytes;
        Ok(())
    }

    /// HTTP has let go of a piece of an answer: it was written, or its stream was reset.
    fn let_go(&self, bytes: usize) {
        let mut unsent = self.unsent();
        unsent.waiting -= bytes;
        unsent.below = (unsent.below + bytes).min(BELOW);
    }

    /// Nothing is left in the buffers below HTTP. Pieces that wait for their stream's window stay counted.
    fn flushed(&self) {
        let mut unsent = self.unsent();
        unsent.below = 0;
        let less = unsent.held.saturating_sub(unsent.countable());
        if less > 0 {
            unsent.held -= less;
            self.seat.release(less);
        }
    }

    /// No code can panic while it holds the lock.
    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken_from_buffers(&self) {
        self.arrived.store(0, Ordering::Relaxed);
    }
}

/// The stream of one connection, below TLS.
pub(super) struct Metered {
    pub(super) stream: TcpStream,
    pub(super) tally: Arc<Tally>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.tally.read(buffer.filled().len() - before).map_err(io::Error::other))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // TLS comes here only when it has written all that it had, and so does HTTP.
        self.tally.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One request from its head until HTTP has let go of the last piece of its answer.
pub(super) struct Underway {
    tally: Arc<Tally>,
    /// Bytes that are counted for it.
    held: AtomicUsize,
    /// It is whole, and the broker works at it.
    ours: AtomicBool,
}

impl Underway {
    /// Counts the head of a request. What is there for one small request is part of [`CONNECTION`].
    pub(super) fn begin<B>(tally: &Arc<Tally>, request: &hyper::Request<B>) -> Result<Arc<Self>, Full> {
        tally.seat.note_progress();
        tally.taken_from_buffers();
        let names = request.headers().iter();
        let headers: usize = names.map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum();
        let others = tally.requests.fetch_add(1, Ordering::Relaxed);
        let underway =
            Self { tally: Arc::clone(tally), held: AtomicUsize::new(0), ours: AtomicBool::new(false) };
        let own = if others == 0 { 0 } else { REQUEST };
        underway.hold(own + headers.saturating_sub(2 * 1024))?;
        Ok(Arc::new(underway))
    }

    /// A request for which there was no memory, and which is refused at once.
    pub(super) fn uncounted(tally: &Arc<Tally>) -> Arc<Self> {
        tally.requests.fetch_add(1, Ordering::Relaxed);
        let (held, ours) = Default::default();
        Arc::new(Self { tally: Arc::clone(tally), held, ours })
    }

    fn hold(&self, bytes: usize) -> Result<(), Full> {
        if bytes > 0 {
            self.tally.seat.hold(bytes)?;
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Its body is whole.
    pub(super) fn is_whole(&self) {
        if !self.ours.swap(true, Ordering::Relaxed) {
            self.tally.seat.begin_ours();
        }
    }

    /// Its answer has begun: the client is to take it.
    pub(super) fn is_answered(&self) {
        if self.ours.swap(false, Ordering::Relaxed) {
            self.tally.seat.end_ours();
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.is_answered();
        self.tally.requests.fetch_sub(1, Ordering::Relaxed);
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 {
            self.tally.seat.release(held);
        }
    }
}

/// The body of a request.
pub(super) struct Asked {
    pub(super) body: Incoming,
    /// Bytes of it that were taken from the buffers.
    pub(super) taken: usize,
    pub(super) underway: Arc<Underway>,
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
pub(super) struct Answered {
    pub(super) body: Body,
    pub(super) underway: Arc<Underway>,
    pub(super) note: Arc<super::activity::Activity>,
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

/// The most that TLS buffers, or HTTP/1.1 copies behind a head.
const BELOW: usize = 64 * 1024;
/// Answers that wait in buffers without being counted: they are part of [`CONNECTION`].
const FREE_ANSWERS: usize = 4 * 1024;

const _: () = assert!(CONNECTION > FREE + REQUEST + FREE_ANSWERS);
