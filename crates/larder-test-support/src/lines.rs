//! Lines: what a process says, line by line as it arrives.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

/// What was said so far. Nothing is forgotten; dropping it leaves its thread to read on until the other
/// end is closed, so that nobody who still writes is held up.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Lines {
    /// Reads `pipe` in a thread of its own until it ends, or says what is not UTF-8.
    pub fn of(pipe: impl Read + Send + 'static) -> Lines {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Lines { lines, reading: Some(reading) }
    }

    /// Whether such a line was said.
    pub fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| is_it(line))
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The text once the other end is closed, for which it waits.
    pub fn all(&mut self) -> String {
        if let Some(reading) = self.reading.take() {
            reading.join().expect("reading lines does not panic");
        }
        self.text()
    }
}
