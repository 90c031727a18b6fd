//! Loops: one event loop a core, each on a thread of its own.
//!
//! A connection lives on one loop from its first byte to its last. What it asks for on the way (the
//! connection to the origin, a fetch that others share) starts on the same loop, so that nothing
//! wakes another core where one core does it all. (tokio's runtime of many threads, with one of them, takes
//! 1.5 % more for a hit and the same for a pass; with more, a pass wakes others on its way.)

use std::{io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Event loops. Dropping them ends them, and every task on them: stop what runs there before.
#[derive(Debug)]
pub struct Loops {
    handles: Vec<Handle>,
    threads: Vec<thread::JoinHandle<()>>,
    end: CancellationToken,
}

impl Loops {
    /// Starts so many.
    ///
    /// # Errors
    ///
    /// What the system says: no thread, or no file descriptor, is left.
    pub fn start(count: NonZeroUsize) -> io::Result<Loops> {
        let end = CancellationToken::new();
        let mut loops = Loops { handles: Vec::new(), threads: Vec::new(), end };
        for number in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            loops.handles.push(runtime.handle().clone());
            let end = loops.end.clone();
            let thread = thread::Builder::new().name(format!("larder-loop-{number}"));
            loops.threads.push(thread.spawn(move || run(runtime, &end))?);
        }
        Ok(loops)
    }

    /// Where tasks can be started, one for each loop.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

fn run(runtime: Runtime, end: &CancellationToken) {
    runtime.block_on(end.cancelled());
    // The lookup of a name may hang for long, and its result is not needed any more.
    runtime.shutdown_background();
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.end.cancel();
        for thread in self.threads.drain(..) {
            // A panic of a task ends the task only.
            thread.join().ok();
        }
    }
}
