//! Key: the name under which an entry is stored, and how several values make one.

use std::{
    fmt::{self, Write},
    num,
    sync::Arc,
};

/// A cache key: text of any length, compared byte for byte.
///
/// Looking up by `&str` borrows and allocates nothing; only storing copies it. The bytes of a key
/// count towards the bound of the cache, so a huge key is merely refused as too large.
#[derive(Clone)]
pub struct CacheKey<'a>(Text<'a>);

#[derive(Clone)]
enum Text<'a> {
    Borrowed(&'a str),
    Owned(String),
    Shared(Arc<str>),
}

impl CacheKey<'_> {
    /// The key's text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
            Text::Shared(text) => text,
        }
    }

    /// The owned form, shared by the table, the flight and its followers.
    pub(crate) fn into_shared(self) -> Arc<str> {
        match self.0 {
            Text::Borrowed(text) => text.into(),
            Text::Owned(text) => text.into(),
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Debug for CacheKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheKey").field(&self.as_str()).finish()
    }
}

impl<'a> From<&'a str> for CacheKey<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        CacheKey(Text::Borrowed(text))
    }
}

impl<'a> From<&'a String> for CacheKey<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        CacheKey(Text::Borrowed(text))
    }
}

impl From<String> for CacheKey<'_> {
    #[inline]
    fn from(text: String) -> Self {
        CacheKey(Text::Owned(text))
    }
}

impl From<Arc<str>> for CacheKey<'_> {
    #[inline]
    fn from(text: Arc<str>) -> Self {
        CacheKey(Text::Shared(text))
    }
}

/// One value in a key that is made of several: its text, with the character `until` percent-encoded, and
/// `%` itself (with `~` in its place, where `until` is `%`). What comes out ends where `until` comes next, so no
/// two lists of values make one key.
///
/// ```
/// use larder::KeyPart;
///
/// let key = |department: &str, author: &str| format!("{}:{author}", KeyPart::new(department, ':'));
/// assert_eq!(key("physics", "curie"), "physics:curie");
/// assert_ne!(key("a:b", "c"), key("a", "b:c"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyPart<T> {
    value: T,
    until: char,
}

impl<T> KeyPart<T> {
    /// `value` as its `Display` says, up to the next `until`.
    pub fn new(value: T, until: char) -> KeyPart<T> {
        KeyPart { value, until }
    }
}

impl<T: fmt::Display> fmt::Display for KeyPart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Encoding { until: self.until, out: f }, "{}", self.value)
    }
}

struct Encoding<'a, 'f> {
    until: char,
    out: &'a mut fmt::Formatter<'f>,
}

impl Write for Encoding<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        // Were it the delimiter as well, nobody could tell which of the two it is.
        let escape = if self.until == '%' { '~' } else { '%' };
        while let Some(place) = rest.find([self.until, escape]) {
            let (plain, from) = rest.split_at(place);
            let special = from.chars().next().map_or(0, char::len_utf8);
            let (special, after) = from.split_at(special);
            self.out.write_str(plain)?;
            special.bytes().try_for_each(|byte| write!(self.out, "{escape}{byte:02X}"))?;
            rest = after;
        }
        self.out.write_str(rest)
    }
}

/// A number, which can be told from its digits even behind zeros: `{id:08}` in a key of
/// [`#[cached]`](macro@crate::cached). A text is padded with spaces, which may have been its own.
///
/// For a type of your own it is a promise: its values differ in what `{:08}` writes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` with a width cannot be told from the key: `a` comes out as `a ` does",
    label = "is it a number?",
    note = "write it without a width, as `{{id}}`"
)]
pub trait ZeroPadded {
    /// Does nothing, and compiles for a number only.
    #[inline]
    fn is_told(&self) {}
}

macro_rules! zero_padded {
    ($($number:ty)*) => {$(impl ZeroPadded for $number {})*};
}
zero_padded!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
zero_padded!(num::NonZeroU8 num::NonZeroU16 num::NonZeroU32 num::NonZeroU64 num::NonZeroU128 num::NonZeroUsize);
zero_padded!(num::NonZeroI8 num::NonZeroI16 num::NonZeroI32 num::NonZeroI64 num::NonZeroI128 num::NonZeroIsize);
impl<T: ZeroPadded> ZeroPadded for num::Wrapping<T> {}
impl<T: ZeroPadded + ?Sized> ZeroPadded for &T {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Of few characters, so that the delimiters are among them.
        #[test]
        fn no_two_pairs_make_one_key(
            until in proptest::sample::select(vec![':', '%', '~', '2']),
            [a, b, c, d] in ["[:%~2357E]{0,6}", "[:%~2357E]{0,6}", "[:%~2357E]{0,6}", "[:%~2357E]{0,6}"],
        ) {
            let key = |one: &str, two: &str| format!("{}{until}{two}", KeyPart::new(one, until));
            prop_assert_eq!(key(&a, &b) == key(&c, &d), (&a, &b) == (&c, &d));
            // Nor where one text is cut at another place.
            for (at, _) in key(&a, &b).match_indices(until) {
                let all = key(&a, &b);
                let (one, two) = (&all[..at], &all[at + until.len_utf8()..]);
                prop_assert_eq!(key(one, two) == all, (one, two) == (&*a, &*b));
            }
        }
    }

    #[test]
    fn a_part_is_its_text_where_that_says_all() {
        assert_eq!(KeyPart::new(17, ':').to_string(), "17");
        assert_eq!(KeyPart::new("a b/c", ':').to_string(), "a b/c");
        assert_eq!(KeyPart::new("5%:é", 'é').to_string(), "5%25:%C3%A9");
    }
}
