//! Amount: what may be written after `--ttl`, `--memory`, `--min-rate` and the flags that want a number.
//!
//! The parsers' own words ("expected number at 0", "number would be zero for non-zero type") do not say what
//! would be right.

use std::{fmt, num::NonZeroUsize, time::Duration};

use bytesize::ByteSize;
use larder::http::policy::text::value::shown;
pub use larder::http::policy::text::value::{duration, size};

/// How much of a whole: so many bytes, or so much in a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// A size.
    Bytes(ByteSize),
    /// Above 0, and 100 at most.
    Percent(f64),
}

impl Portion {
    /// In bytes.
    pub fn of(self, whole: ByteSize) -> ByteSize {
        match self {
            Portion::Bytes(size) => size,
            Portion::Percent(percent) => {
                ByteSize::b((whole.as_u64() as f64 * percent / 100.0) as u64)
            }
        }
    }
}

/// As it would be written.
impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Portion::Bytes(size) => f.write_str(&shown(*size)),
            Portion::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A size, or a share in percent.
pub fn portion(text: &str) -> Result<Portion, String> {
    let wanted = "say a size or a share: 64MiB, 20%";
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim_end().parse().ok();
            let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
            percent
                .map(Portion::Percent)
                .ok_or_else(|| "a share is more than 0%, and 100% at most".to_owned())
        }
        None => size(text).map(Portion::Bytes).map_err(|_| wanted.to_owned()),
    }
}

/// A length of time that is long enough to look at anything over it.
pub fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        period if period >= Duration::from_secs(1) => Ok(period),
        _ => Err("say 1s or more".to_owned()),
    }
}

/// How many, and not none.
pub fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "say a whole number from 1 on".to_owned())
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    #[test]
    fn an_amount_is_taken_with_its_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(period("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(size("2MiB"), Ok(ByteSize::mib(2)));
        assert_eq!(size("4096"), Ok(ByteSize::b(4096)));
        assert_eq!(count("2").map(NonZeroUsize::get), Ok(2));
    }

    #[test]
    fn a_portion_is_a_size_or_a_share_and_written_as_it_is_read() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("20%", 20 << 20), ("0.5%", 1 << 19), ("100%", 100 << 20)]
        {
            let portion = portion(text).unwrap();
            assert_eq!(portion.to_string(), text);
            assert_eq!(portion.of(ByteSize::mib(100)).as_u64(), bytes, "{text}");
        }
        for text in ["", "%", "0%", "-5%", "101%", "NaN%", "much", "20 percent"] {
            assert!(portion(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_an_amount_that_is_none_the_form_that_is_wanted_is_said() {
        for text in ["", "5", "much", "5x", "-5s", "5 minuets", "99999999999999999999s", "NaN s"] {
            let words = duration(text).expect_err(text);
            assert!(words.contains("90s"), "{text}: {words}");
        }
        for text in ["0s", "999ms"] {
            assert!(period(text).expect_err(text).contains("1s or more"), "{text}");
        }
        for text in ["", "much", "-1", "256Mio", "NaN"] {
            let words = size(text).expect_err(text);
            assert!(words.contains("64MiB"), "{text}: {words}");
        }
        for text in ["", "0", "-1", "few", "1.5", "99999999999999999999"] {
            let words = count(text).expect_err(text);
            assert!(words.contains("from 1 on"), "{text}: {words}");
        }
    }
}
