//! Limit: events on their way to the log pass the limiter, which may stop them.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::Instant,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{
    buffer::Buffer,
    limiter::{EVERY, Limiter},
};

/// The most bytes of a left-out line that are quoted in the line that tells of it.
const EXAMPLE_BYTES: usize = 120;

/// The limiter, where events pass.
pub(super) struct Limit {
    limiter: Arc<Limiter>,
    /// Is told when there will be something to tell.
    buffer: Arc<Buffer>,
    limited: Level,
}

impl Limit {
    pub(super) fn new(limiter: Arc<Limiter>, buffer: Arc<Buffer>, limited: Level) -> Limit {
        Limit { limiter, buffer, limited }
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > self.limited {
            return true;
        }
        let example = || {
            let mut example = Example::default();
            event.record(&mut example);
            example.0
        };
        let (kind, now) = (metadata.callsite(), Instant::now());
        let is_admitted = self.limiter.admit(kind, *metadata.level(), now, example);
        if !is_admitted {
            self.buffer.summarise_at(now + EVERY);
        }
        is_admitted
    }
}

/// The beginning of an event's text.
#[derive(Default)]
struct Example(String);

impl Visit for Example {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A text that ends early is what is wanted.
            write!(Head(&mut self.0), "{value:?}").ok();
        }
    }
}

/// Takes so much and no more.
struct Head<'a>(&'a mut String);

impl Write for Head<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = EXAMPLE_BYTES.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.extend(text[..end].chars().map(|char| if char.is_control() { ' ' } else { char }));
        if end < text.len() {
            self.0.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_one_short_line() {
        let mut text = String::new();
        let long = format!("a\nb\u{1b}{}", "é".repeat(500));
        Head(&mut text).write_str(&long).unwrap_err();
        assert!(text.starts_with("a b é") && text.ends_with("é…"), "{text}");
        assert!(text.len() <= EXAMPLE_BYTES + '…'.len_utf8());
    }
}
