//! Post id: an integer as it comes in a path, in the one form that is used as a key.

use std::fmt;

/// Longer ones are refused before anything is done with them.
const MAX_DIGITS: usize = 4300;

/// A decimal integer of any size, without leading zeros: `+1`, `01` and `1` are the same post and
/// must be the same cache entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostId(String);

/// Why a text is no post id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPostId {
    NotAnInteger,
    TooManyDigits,
}

impl PostId {
    pub(crate) fn parse(text: &str) -> Result<PostId, NoPostId> {
        let text = text.trim();
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'-') => ("-", &text[1..]),
            Some(b'+') => ("", &text[1..]),
            _ => ("", text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoPostId::NotAnInteger);
        }
        if digits.len() > MAX_DIGITS {
            return Err(NoPostId::TooManyDigits);
        }
        Ok(PostId(match digits.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => format!("{sign}{digits}"),
        }))
    }

    /// The number, if it is one a database could hold.
    pub(crate) fn number(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_is_one_id() {
        for (text, id) in [
            ("1", "1"),
            ("+1", "1"),
            ("01", "1"),
            (" 1 ", "1"),
            ("-1", "-1"),
            ("-0", "0"),
            ("000", "0"),
            ("99999999999999999999", "99999999999999999999"),
        ] {
            assert_eq!(PostId::parse(text).map(|id| id.to_string()).as_deref(), Ok(id), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        for text in ["", " ", "abc", "1.5", "1e3", "+", "-", "--1", "1 2", "0x1", "١", "/1"] {
            assert_eq!(PostId::parse(text), Err(NoPostId::NotAnInteger), "{text:?}");
        }
        assert_eq!(PostId::parse(&"9".repeat(4301)), Err(NoPostId::TooManyDigits));
    }

    #[test]
    fn an_id_beyond_64_bits_is_no_number_a_database_holds() {
        assert_eq!(PostId::parse("9223372036854775807").unwrap().number(), Some(i64::MAX));
        assert_eq!(PostId::parse("9223372036854775808").unwrap().number(), None);
    }
}
