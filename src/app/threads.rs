//! The threads of the broker: some for the kill switch, others for the public.
//!
//! The admin listener, the kill switch, what follows it and the upkeep have a runtime of their own. Whatever public
//! callers keep busy, a stop finds a thread of its own, and the system shares the processors between them.

use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

/// One more than the reads of operators that run at once, so that a stop never waits for them.
const ADMIN_WORKERS: usize = 3;
/// Threads of one runtime for what blocks: files, names of hosts, reads of the store.
const BLOCKING: usize = 32;

/// Both runtimes. Dropping them waits for nothing.
#[derive(Debug)]
pub(super) struct Threads {
    admin: Option<Runtime>,
    public: Option<Runtime>,
}

impl Threads {
    pub(super) fn start() -> std::io::Result<Self> {
        let processors = available_parallelism().map_or(2, usize::from);
        let start = |name: &str, workers| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers).max_blocking_threads(BLOCKING).thread_name(name).enable_all();
            builder.build().map(Some)
        };
        Ok(Self { admin: start("admin", ADMIN_WORKERS)?, public: start("public", processors)? })
    }

    pub(super) fn admin(&self) -> &Handle {
        handle(self.admin.as_ref())
    }

    pub(super) fn public(&self) -> &Handle {
        handle(self.public.as_ref())
    }
}

fn handle(runtime: Option<&Runtime>) -> &Handle {
    runtime.expect("taken by `drop` alone").handle()
}

impl Drop for Threads {
    fn drop(&mut self) {
        // In the background, for whoever drops it may be a task of another runtime, which must not block.
        for runtime in [self.public.take(), self.admin.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}
