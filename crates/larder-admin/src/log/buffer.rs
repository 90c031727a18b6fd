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

use super::limiter::{EVERY, Limiter};

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

    /// The same for a line of our own.
    fn say(&mut self, level: Level, text: &str) -> bool {
        let mut line = String::new();
        // A string takes all.
        SystemTime.format_time(&mut Writer::new(&mut line)).ok();
        line.push_str(&format!(" {level:>5} {text}\n"));
        self.push(line.as_bytes())
    }

    /// Whether there is room for any line.
    fn has_room(&self) -> bool {
        self.lines.len() + LINE_BYTES <= ROOM
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
        let mut waiting = self.waiting();
        waiting.summary_at = None;
        // Nothing is told later: what there is no room for is lost.
        while let Some((level, text)) = limiter.take_summary() {
            if !waiting.say(level, &text) {
                waiting.lost += 1;
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// All lines that were lost so far, because those before them were not read.
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
            // The rest is not read either: the metrics tell how much was lost.
            let lines = count_lines(write(out, &batch));
            self.lost.fetch_add(lines, Ordering::Relaxed);
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
                tell(&mut waiting, limiter, now);
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

/// What was left out is told, or goes on being counted until there is room to tell it.
fn tell(waiting: &mut Waiting, limiter: &Limiter, now: Instant) {
    waiting.summary_at = None;
    while waiting.has_room() {
        let Some((level, text)) = limiter.take_summary() else { return };
        waiting.say(level, &text);
    }
    waiting.summary_at = Some(now + EVERY);
}

/// Writes all that can be written; returns what cannot. Whoever started this process may have made its
/// standard error one that does not block.
fn write<'a>(out: &mut dyn Write, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => break,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BREATHER),
            Err(_) => break,
        }
    }
    bytes
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

    use super::{
        super::limiter::tests::{ONE, admitted},
        *,
    };

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

    /// Takes so many bytes, one at a time.
    struct Short(Vec<u8>, usize);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            self.0.write(&bytes[..1])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_written_before_a_fault_is_not_lost() {
        let mut out = Short(Vec::new(), 3);
        let lost = write(&mut out, b"a\nbc\nd\n");
        assert_eq!((&*out.0, lost), (&b"a\nb"[..], &b"c\nd\n"[..]));
        assert_eq!(count_lines(lost), 2);
    }

    #[test]
    fn what_there_is_no_room_to_tell_is_told_later_or_counted_as_lost() {
        let (buffer, limiter) = (Buffer::default(), Limiter::default());
        let now = Instant::now();
        admitted(&limiter, &ONE, 10, now);
        admitted(&limiter, &ONE, 3, now);
        let filling = [b"x".repeat(LINE_BYTES - 1), b"\n".to_vec()].concat();
        while buffer.lost() == 0 {
            buffer.push(&filling);
        }
        tell(&mut buffer.waiting(), &limiter, now);
        assert_eq!(buffer.waiting().summary_at, Some(now + EVERY));
        admitted(&limiter, &ONE, 1, now);
        buffer.waiting().summary_at = Some(now);
        buffer.take(&mut Vec::new(), &limiter);
        let after = String::from_utf8(buffer.waiting().lines.clone()).unwrap();
        assert!(after.contains("lost 1 log lines so far"), "{after}");
        tell(&mut buffer.waiting(), &limiter, now);
        let after = String::from_utf8(buffer.waiting().lines.clone()).unwrap();
        assert!(after.contains("left out 4 lines like"), "{after}");
        // At the end there is no later.
        while buffer.lost() == 1 {
            buffer.push(&filling);
        }
        while buffer.lost() == 2 {
            buffer.push(b"x\n");
        }
        admitted(&limiter, &ONE, 1, now);
        buffer.end(&limiter);
        assert_eq!(buffer.lost(), 4);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let buffer = Buffer::default();
        buffer.push(&[b"x".repeat(LINE_BYTES + 10), b"\n".to_vec()].concat());
        let text = String::from_utf8(buffer.waiting().lines.clone()).unwrap();
        assert!(text.ends_with("x… 11 bytes more\n"), "{}", &text[LINE_BYTES - 5..]);
    }
}
