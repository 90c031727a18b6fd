//! Text: a key's, as it was given, or put together on the stack while it is short.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// Up to here what is put together needs no heap: a tuple of a word or two and a number, a UUID, any integer.
const SHORT: usize = 46;

#[derive(Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(String),
    Shared(Arc<str>),
    Short(Short),
}

/// Whole characters, the first `len` bytes.
#[derive(Clone, Copy)]
pub(super) struct Short {
    len: u8,
    bytes: [u8; SHORT],
}

impl Text<'_> {
    /// To be written to.
    pub(super) const EMPTY: Self = Text::Short(Short { len: 0, bytes: [0; SHORT] });

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
            Text::Shared(text) => text,
            Text::Short(text) => text.as_str(),
        }
    }

    pub(super) fn into_shared(self) -> Arc<str> {
        match self {
            Text::Borrowed(text) => text.into(),
            Text::Owned(text) => text.into(),
            Text::Shared(text) => text,
            Text::Short(text) => text.as_str().into(),
        }
    }

    pub(super) fn into_string(self) -> String {
        match self {
            Text::Owned(text) => text,
            text => text.as_str().to_owned(),
        }
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if let Text::Short(text) = self
            && text.push(more)
        {
            return Ok(());
        }
        match self {
            Text::Owned(text) => text.push_str(more),
            text => *text = Text::Owned([text.as_str(), more].concat()),
        }
        Ok(())
    }
}

impl Short {
    #[inline]
    fn as_str(&self) -> &str {
        let text = str::from_utf8(&self.bytes[..usize::from(self.len)]);
        text.expect("whole texts are all that is pushed")
    }

    /// False, and nothing is done, where it has no room.
    fn push(&mut self, more: &str) -> bool {
        let from = usize::from(self.len);
        let to = from + more.len();
        let (Some(room), Ok(len)) = (self.bytes.get_mut(from..to), u8::try_from(to)) else {
            return false;
        };
        room.copy_from_slice(more.as_bytes());
        self.len = len;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(pieces in proptest::collection::vec(".{0,20}", 0..8)) {
            let mut text = Text::EMPTY;
            for piece in &pieces {
                text.write_str(piece).unwrap();
            }
            let whole = pieces.concat();
            prop_assert_eq!(text.as_str(), &whole);
            prop_assert_eq!(matches!(text, Text::Short(_)), whole.len() <= SHORT);
            prop_assert_eq!(&*text.clone().into_shared(), &whole);
            prop_assert_eq!(text.into_string(), whole);
        }
    }

    #[test]
    fn what_was_given_can_be_written_to_as_well() {
        for mut text in [Text::Borrowed("a"), Text::Owned("a".into()), Text::Shared("a".into())] {
            text.write_str("b").unwrap();
            assert_eq!(text.as_str(), "ab");
        }
    }
}
