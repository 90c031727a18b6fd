//! Buffer: the lines that wait for standard error, and the thread that writes them.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::Level;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::limit::Limiter;

/// The most bytes of lines that may wait to be written.
const ROOM: usize = 1 << 20;
/// A longer line is cut.
const LINE_BYTES: usize = 8 << 10;
/// How long to wait where standard error does not block and takes nothing now.
const BREATHER: Duration = Duration::from_millis(10);

/// Lines on their way out.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Held while a line is copied, and never while one is written.
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// What was taken last is being written.
    is_writing: bool,
    /// Lost since that was told last.
    lost: u64,
    /// When to tell what the limiter left out; none where that is nothing.
    summary_at: Option<Instant>,
}

impl Waiting {
    /// Adds a line, or what there is room for. False if there is none.
    fn push(&mut self, line: &[u8]) -> bool {
        if self.lines.len() + line.len().min(LINE_BYTES) > ROOM {
            return false;
        }
        if line.len() <= LINE_BYTES {
            self.lines.extend_from_slice(line);
        } else {
            self.lines.extend_from_slice(&line[..LINE_BYTES]);
            let more = line.len() - LINE_BYTES;
            self.lines.extend_from_slice(format!("… {more} bytes more\n").as_bytes());
        }
        true
    }

    fn say(&mut self, level: Level, text: &str) {
        let mut line = String::new();
        // A string takes all.
        SystemTime.format_time(&mut Writer::new(&mut line)).ok();
        line.push_str(&format!(" {level:>5} {text}\n"));
        self.push(line.as_bytes());
    }
}

impl Buffer {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        let is_first = waiting.lines.is_empty();
        if !waiting.push(line) {
            waiting.lost += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        if is_first {
            self.changed.notify_all();
        }
    }

    /// At `at` there will be something to tell, if there is not earlier.
    pub(super) fn summarise_at(&self, at: Instant) {
        let mut waiting = self.waiting();
        if waiting.summary_at.is_none() {
            waiting.summary_at = Some(at);
            drop(waiting);
            self.changed.notify_all();
        }
    }

    /// Tells now what was to be told later.
    pub(super) fn end(&self, limiter: &Limiter) {
        tell(&mut self.waiting(), limiter);
        self.changed.notify_all();
    }

    /// All lines that were lost so far, because nobody read those before them.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn wait_until_written(&self, within: Duration) {
        let is_unwritten = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let waited = self.changed.wait_timeout_while(self.waiting(), within, is_unwritten);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes lines as they come, for ever.
    pub(super) fn write_to(&self, out: &mut dyn Write, limiter: &Limiter) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch, limiter);
            if write_all(out, &batch).is_err() {
                // Nobody is there to read them: whoever scrapes the metrics is told.
                let lines = count_lines(&batch);
                self.lost.fetch_add(lines, Ordering::Relaxed);
            }
            batch.clear();
        }
    }

    /// Waits for lines, and brings all there are.
    fn take(&self, batch: &mut Vec<u8>, limiter: &Limiter) {
        let mut waiting = self.waiting();
        waiting.is_writing = false;
        self.changed.notify_all();
        loop {
            let now = Instant::now();
            if waiting.summary_at.is_some_and(|at| at <= now) {
                tell(&mut waiting, limiter);
            }
            if !waiting.lines.is_empty() {
                break;
            }
            waiting = match waiting.summary_at {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let waited = self.changed.wait_timeout(waiting, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        mem::swap(batch, &mut waiting.lines);
        waiting.is_writing = true;
        if mem::take(&mut waiting.lost) > 0 {
            let lost = self.lost();
            waiting.say(
                Level::WARN,
                &format!("lost {lost} log lines so far: they are not read fast enough"),
            );
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(waiting: &mut Waiting, limiter: &Limiter) {
    waiting.summary_at = None;
    for (level, text) in limiter.take_summaries() {
        waiting.say(level, &text);
    }
}

/// Whoever started this process may have made its standard error one that does not block.
fn write_all(out: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BREATHER),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// What the formatter writes a line into: all of it at once.
pub(super) struct LineWriter(pub(super) Arc<Buffer>);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes one write for each word it gets, and gives each back.
    struct Slow {
        may: Receiver<io::Result<()>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may.recv().map_err(io::Error::other)??;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Arc<Buffer>, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (buffer, limiter) = (Arc::new(Buffer::default()), Limiter::default());
        let ((let_go, may), (written, writes)) = (channel(), channel());
        let shared = Arc::clone(&buffer);
        thread::spawn(move || shared.write_to(&mut Slow { may, written }, &limiter));
        (buffer, let_go, writes)
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_not_read_and_what_is_lost_is_counted_and_told() {
        let (buffer, let_go, writes) = slow();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..3000 {
            buffer.push(&line);
        }
        let lost = buffer.lost();
        assert!((900..2000).contains(&lost), "{lost}");
        // In how many writes, depends on when the writer's thread came to the first.
        let mut text = String::new();
        while !text.contains(&format!(" WARN lost {lost} log lines so far")) {
            let_go.send(Ok(())).unwrap();
            let written = writes.recv_timeout(Duration::from_secs(60)).unwrap();
            text.push_str(str::from_utf8(&written).unwrap());
        }
        let whole = text.lines().filter(|text| text.len() == 999).count();
        assert_eq!(whole as u64 + lost, 3000);
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written_and_no_longer_than_it_may() {
        let (buffer, let_go, writes) = slow();
        buffer.push(b"a\n");
        let began = Instant::now();
        buffer.wait_until_written(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
        let_go.send(Ok(())).unwrap();
        buffer.wait_until_written(Duration::from_secs(60));
        assert_eq!(writes.try_recv().unwrap(), b"a\n");
    }

    #[test]
    fn a_log_without_a_reader_is_counted_and_one_that_does_not_block_is_waited_for() {
        let (buffer, let_go, writes) = slow();
        buffer.push(b"a\nb\n");
        let_go.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        buffer.wait_until_written(Duration::from_secs(60));
        assert_eq!(buffer.lost(), 2);
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
            let_go.send(Err(kind.into())).unwrap();
        }
        let_go.send(Ok(())).unwrap();
        buffer.push(b"c\n");
        assert_eq!(writes.recv().unwrap(), b"c\n");
        assert_eq!(buffer.lost(), 2);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let buffer = Buffer::default();
        buffer.push(&[b"x".repeat(LINE_BYTES + 10), b"\n".to_vec()].concat());
        let text = String::from_utf8(buffer.waiting().lines.clone()).unwrap();
        assert!(text.ends_with("x… 11 bytes more\n"), "{}", &text[LINE_BYTES - 5..]);
    }
}
