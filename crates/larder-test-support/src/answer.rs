//! Answer: an HTTP/1.1 answer that has arrived whole, and what its head says.

use crate::cache_status;

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As it came, with its blank line.
    pub head: String,
    /// What was in the frames, not the frames.
    pub body: Vec<u8>,
}

impl Answer {
    /// The three digits of its status line.
    #[track_caller]
    pub fn status(&self) -> u16 {
        status(&self.head)
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The body.
    ///
    /// # Panics
    ///
    /// Where that is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The head and the body, each byte as the character of the same number.
    pub fn into_text(self) -> (String, String) {
        let body = lossless(&self.body);
        (self.head, body)
    }

    /// What the cache says it did, as [`cache_status::handling`] has it.
    ///
    /// # Panics
    ///
    /// Where it says nothing.
    #[track_caller]
    pub fn handling(&self) -> &str {
        let status = self.field("cache-status").unwrap_or_else(|| panic!("{}", self.head));
        cache_status::handling(status)
    }
}

/// The three digits of a status line.
///
/// # Panics
///
/// Where there is none.
#[track_caller]
pub fn status(answer: &str) -> u16 {
    let digits = answer.split(' ').nth(1).unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no status: {answer:?}"))
}

/// The first value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Each byte as the character of the same number.
pub fn lossless(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
