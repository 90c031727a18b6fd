//! Writer: lines that wait, and the thread that writes them. No request waits for either.
//!
//! The thread takes all lines there are, a few times a second, or as soon as half of the room is taken. Where the
//! place that they go to takes nothing, the room fills, and what comes after that is lost and counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write, stdout},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::{fs::OFlags, io::Errno};

use super::config::Destination;
use crate::seldom::Seldom;

/// Lines are gathered for so long: each write, and each time that the thread is woken, costs more than a line.
const GATHER: Duration = Duration::from_millis(50);
/// How long to wait where a pipe takes nothing now.
const BREATHER: Duration = Duration::from_millis(10);
/// How long a fault is not told again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// The owner's to write, and the group's to read: what is in it is nobody else's business.
const MODE: u32 = 0o640;

/// Lines on their way out.
#[derive(Debug)]
pub(super) struct Queue {
    /// Held while a line is copied, and never while one is written.
    waiting: Mutex<Waiting>,
    changed: Condvar,
    room: usize,
    pub(super) lost: AtomicU64,
    pub(super) written: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// What was taken last is being written.
    is_writing: bool,
    is_to_reopen: bool,
    /// Somebody waits for all of it to be written.
    is_hurried: bool,
}

impl Queue {
    pub(super) fn new(room: usize) -> Queue {
        Queue {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            room,
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Adds a line, or counts it as lost.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        let before = waiting.lines.len();
        let after = before + line.len();
        if after > self.room {
            drop(waiting);
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        let is_half_full = |bytes: usize| bytes >= self.room / 2;
        if before == 0 || (is_half_full(after) && !is_half_full(before)) {
            self.changed.notify_all();
        }
    }

    /// Has the file opened anew, once what waits is written to the one before.
    pub(super) fn reopen(&self) {
        self.waiting().is_to_reopen = true;
        self.changed.notify_all();
    }

    pub(super) fn wait_until_written(&self, within: Duration) {
        let mut waiting = self.waiting();
        waiting.is_hurried = true;
        self.changed.notify_all();
        let is_unwritten = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let waited = self.changed.wait_timeout_while(waiting, within, is_unwritten);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_hurried = false;
    }

    /// Writes lines as they come, for ever.
    pub(super) fn write_to(&self, mut out: Out) {
        let mut batch = Vec::new();
        let faults = Seldom::every(TELL_AGAIN);
        loop {
            let is_to_reopen = self.take(&mut batch);
            let (rest, fault) = out.write(&batch, || self.waiting().is_to_reopen);
            let lost = count_lines(rest);
            self.written.fetch_add(count_lines(&batch) - lost, Relaxed);
            let lost = lost + self.lost.fetch_add(lost, Relaxed);
            let fault = fault.or(if is_to_reopen { out.reopen().err() } else { None });
            if let Some(fault) = fault
                && faults.one_more().is_some()
            {
                tracing::warn!(
                    "cannot write the access log: {fault}; {lost} lines are lost so far"
                );
            }
            batch.clear();
        }
    }

    /// Waits for something to do, and brings all lines there are; tells whether the file is to be opened anew.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting();
        waiting.is_writing = false;
        self.changed.notify_all();
        let has_none = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_to_reopen;
        let waited = self.changed.wait_while(waiting, has_none);
        let waiting = waited.unwrap_or_else(PoisonError::into_inner);
        let may_gather = |waiting: &mut Waiting| {
            waiting.lines.len() < self.room / 2 && !waiting.is_to_reopen && !waiting.is_hurried
        };
        let waited = self.changed.wait_timeout_while(waiting, GATHER, may_gather);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        mem::swap(batch, &mut waiting.lines);
        waiting.is_writing = true;
        mem::take(&mut waiting.is_to_reopen)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Out {
    to: Destination,
    /// None of a pipe that nobody reads, or of a file that could not be opened.
    file: Option<File>,
    /// The end of the last line is missing.
    is_in_a_line: bool,
}

impl Out {
    /// A pipe without a reader is opened once there is one.
    pub(super) fn open(to: Destination) -> io::Result<Out> {
        let mut out = Out { to, file: None, is_in_a_line: false };
        match out.reopen() {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => Ok(out),
            result => result.map(|()| out),
        }
    }

    /// Where that fails, lines go on to what was open before: it is the same file, under another name.
    fn reopen(&mut self) -> io::Result<()> {
        if let Destination::File(path) = &self.to {
            self.file = Some(open(path)?);
            self.is_in_a_line = false;
        }
        Ok(())
    }

    /// Writes all that can be written; returns what cannot, and why. One that does not block, and takes nothing, is
    /// waited for until `gives_up`.
    fn write<'a>(
        &mut self,
        lines: &'a [u8],
        gives_up: impl Fn() -> bool,
    ) -> (&'a [u8], Option<io::Error>) {
        if lines.is_empty() {
            return (lines, None);
        }
        if self.file.is_none()
            && let Err(error) = self.reopen()
        {
            return (lines, Some(error));
        }
        let mut standard = stdout();
        let out: &mut dyn Write = match &mut self.file {
            Some(file) => file,
            None => &mut standard,
        };
        let mut rest = lines;
        // What was cut ends where the next begins.
        let mut begins_anew = !self.is_in_a_line;
        let fault = loop {
            if rest.is_empty() {
                break out.flush().err();
            }
            let written = if begins_anew { out.write(rest) } else { out.write(b"\n") };
            match written {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(_) if !begins_anew => begins_anew = true,
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !gives_up() => {
                    thread::sleep(BREATHER);
                }
                Err(error) => break Some(error),
            }
        };
        let done = &lines[..lines.len() - rest.len()];
        self.is_in_a_line = match done.last() {
            Some(last) => *last != b'\n',
            None => !begins_anew,
        };
        if fault.as_ref().is_some_and(|fault| fault.kind() == io::ErrorKind::BrokenPipe) {
            // Its reader is gone. There may be another one later.
            self.file = None;
        }
        (rest, fault)
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe without a reader would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn out(path: &Path) -> Out {
        Out::open(Destination::File(path.to_owned())).unwrap()
    }

    #[test]
    fn what_there_is_no_room_for_is_lost_and_counted() {
        let queue = Queue::new(8);
        for line in [b"abc\n", b"def\n", b"ghi\n"] {
            queue.push(line);
        }
        assert_eq!(queue.lost.load(Relaxed), 1);
        assert_eq!(queue.waiting().lines, b"abc\ndef\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_no_later_one_is_glued_to_a_cut_one() {
        let mut full = out(Path::new("/dev/full"));
        let (rest, fault) = full.write(b"a\nb\n", || false);
        assert_eq!(rest, b"a\nb\n");
        assert_eq!(fault.unwrap().kind(), io::ErrorKind::StorageFull);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut cut = out(&path);
        cut.write(b"a\nb", || false);
        cut.write(b"c\n", || false);
        assert_eq!(fs::read_to_string(path).unwrap(), "a\nb\nc\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_fault_at_the_start_and_is_written_once_somebody_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let mut pipe = out(&path);
        assert_eq!(pipe.write(b"a\n", || false).0, b"a\n");
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
        assert!(pipe.write(b"b\n", || false).0.is_empty());
        let mut read = [0; 8];
        assert_eq!(io::Read::read(&mut reader, &mut read).unwrap(), 2);
        assert_eq!(&read[..2], b"b\n");
        // It fills, and is given up where that is wanted.
        let much = vec![b'\n'; 1 << 20];
        assert!(!pipe.write(&much, || true).0.is_empty());
        drop(reader);
        let (rest, fault) = pipe.write(b"c\n", || true);
        assert_eq!((rest, fault.unwrap().kind()), (&b"c\n"[..], io::ErrorKind::BrokenPipe));
    }
}
