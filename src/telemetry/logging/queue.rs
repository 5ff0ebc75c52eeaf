//! The queue between those who log and the one thread that writes.
//!
//! Whoever reads the log may be slow or stand still, and a write to its pipe then waits. So nobody but the
//! writer's own thread ever writes. A line that finds the queue full is dropped and counted, and the next line that is
//! written says how many were.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait. A burst of 10,000 calls fits.
const CAPACITY: usize = 4 << 20;
/// How long the end of the program waits for the last lines to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Puts lines into the queue. Never waits for the reader of the log.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    /// Something to write has come, or all has been written.
    changed: Condvar,
    dropped: Arc<AtomicU64>,
    capacity: usize,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    /// The writer has taken lines that are not written yet.
    writing: bool,
}

impl Queue {
    /// Starts the thread that writes to `to`. `say` words the line that tells how many were dropped.
    pub(super) fn start(
        to: impl Write + Send + 'static,
        say: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        Self::with_capacity(CAPACITY, to, say)
    }

    fn with_capacity(
        capacity: usize,
        to: impl Write + Send + 'static,
        say: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, changed, dropped) = Default::default();
        let queue = Self(Arc::new(Shared { lines, changed, dropped, capacity }));
        let shared = Arc::clone(&queue.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_for_ever(to, say))?;
        Ok(queue)
    }

    /// Counts the lines that were dropped since the start of the program.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.dropped)
    }

    /// Waits until all lines are written, but no longer than a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + FAREWELL;
        let mut lines = self.0.lock();
        while lines.writing || !lines.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            lines = self.0.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    /// No code can panic while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self, mut to: impl Write, say: impl Fn(u64) -> Vec<u8>) {
        let mut batch = Vec::new();
        let mut told = 0;
        loop {
            let mut lines = self.lock();
            lines.writing = false;
            self.changed.notify_all();
            while lines.waiting.is_empty() {
                lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
            }
            batch.clear();
            std::mem::swap(&mut batch, &mut lines.waiting);
            lines.writing = true;
            drop(lines);
            // A log that cannot be written, on a full disk or to a reader that is gone, must not end anything.
            let _ = to.write_all(&batch);
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told {
                let _ = to.write_all(&say(dropped - told));
                told = dropped;
            }
        }
    }
}

impl Write for Queue {
    /// Takes a whole line or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        if lines.waiting.len() + line.len() > self.0.capacity {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            lines.waiting.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes nothing until it is told to.
    struct Stalled(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_what_was_dropped_is_said() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (go, wait) = mpsc::channel();
        let say = |count| format!("dropped {count}\n").into_bytes();
        let mut queue = Queue::with_capacity(100, Stalled(wait, Arc::clone(&written)), say).unwrap();
        let begun = Instant::now();
        for _ in 0..1000 {
            queue.write_all(b"0123456789\n").unwrap();
        }
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        let dropped = queue.dropped().load(Ordering::Relaxed);
        assert!((980..1000).contains(&dropped), "{dropped}");
        queue.flush();
        assert!(begun.elapsed() < FAREWELL * 2, "the end waits for no reader: {:?}", begun.elapsed());
        drop(go);
        queue.flush();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.contains(&format!("dropped {dropped}\n")), "{text}");
        assert!(text.starts_with("0123456789\n"), "{text}");
    }
}
