//! The queue of a backend's writer: one thread that writes for everybody.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::batch::{Batch, Job};
use crate::store::error::StoreError;
use crate::store::write::{Write, Written};

/// Writes that may wait in memory; more are answered with [`StoreError::Busy`].
pub(in crate::store) const QUEUE: usize = 4096;

/// How long closing the store waits for a disk or a server that stalls.
const CLOSING: Duration = Duration::from_secs(5);

/// At most so many writes share a commit, so that the first of them does not wait for a crowd.
pub(in crate::store) const MAX_BATCH: usize = 256;

pub(in crate::store) enum Message {
    Write(Box<Task>),
    /// Learn what others have written.
    Refresh(Reply),
    Close,
}

/// To whom a write is answered.
pub(in crate::store) type Reply = oneshot::Sender<Result<Written, StoreError>>;

/// One write that waits: done within a batch, and answered once the batch is durable or is not.
pub(in crate::store) struct Task {
    job: Option<Job>,
    /// What a test does with the connection of the writer.
    #[cfg(test)]
    raw: Option<RawJob>,
    written: Option<Written>,
    reply: Reply,
}

#[cfg(test)]
pub(in crate::store) type RawJob = Box<dyn FnOnce(&dyn std::any::Any) -> Result<(), StoreError> + Send>;

impl Task {
    pub(in crate::store) fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        #[cfg(test)]
        if let Some(work) = self.raw.take() {
            work(batch.connection())?;
            self.written = Some(Written::Done);
        }
        if let Some(job) = self.job.take() {
            self.written = Some(batch.run(job)?);
        }
        Ok(())
    }

    pub(in crate::store) fn settle(self, committed: Result<(), StoreError>) {
        // Whoever asked may have gone away; the event stays.
        let _ = self.reply.send(committed.and_then(|()| self.written.ok_or(StoreError::Closed)));
    }
}

#[derive(Debug)]
pub(in crate::store) struct Queue {
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the thread that writes until `Close`, or until nobody can ask any more.
    pub(in crate::store) fn start(
        writer: impl FnOnce(&Receiver<Message>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (sender, waiting) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer(&waiting))
            .map_err(StoreError::unavailable)?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a write and waits until it is durable. Once queued it is done, whether or not the caller
    /// still waits.
    pub(in crate::store) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.run(Job::of(write)).await
    }

    pub(in crate::store) async fn run(&self, job: Job) -> Result<Written, StoreError> {
        self.ask(|reply| {
            Message::Write(Box::new(Task {
                job: Some(job),
                #[cfg(test)]
                raw: None,
                written: None,
                reply,
            }))
        })
        .await
    }

    #[cfg(test)]
    pub(in crate::store) async fn run_raw(&self, raw: RawJob) -> Result<Written, StoreError> {
        self.ask(|reply| Message::Write(Box::new(Task { job: None, raw: Some(raw), written: None, reply })))
            .await
    }

    /// Waits until the writer has learnt what others had written when this was asked.
    pub(in crate::store) async fn refresh(&self) -> Result<(), StoreError> {
        self.ask(Message::Refresh).await.map(drop)
    }

    async fn ask(&self, message: impl FnOnce(Reply) -> Message) -> Result<Written, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(message(reply)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes every write that was queued and ends the thread. Calls fail from then on.
    pub(in crate::store) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let sender = self.sender.clone();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // On a thread of its own: the end of a runtime would wait for one of the runtime's.
        let closing = std::thread::Builder::new().name("journal-close".to_owned()).spawn(move || {
            // Waits for a place in a full queue; an error means that the thread has ended already.
            let _ = sender.send(Message::Close);
            // Nobody waits for it any more where the disk has stalled for too long.
            let _ = done.send(thread.is_none_or(|thread| thread.join().is_ok()));
        });
        match closing.map(|_| tokio::time::timeout(CLOSING, closed)) {
            Ok(closed) => match closed.await {
                Ok(Ok(true)) => {}
                Ok(_) => tracing::error!("the journal's thread ended in a panic"),
                Err(_) => tracing::error!(
                    "the store stalls: it is given up without its last writes; nothing that was confirmed is lost"
                ),
            },
            Err(error) => tracing::error!(%error, "the store is not closed in order"),
        }
    }
}
