//! Key: the name under which an entry is stored, and how several values make one.

mod text;
mod to_key;

use std::{
    borrow::Cow,
    fmt::{self, Display, Write},
    num,
    sync::Arc,
};

use self::text::Text;
pub use self::to_key::ToKey;

/// A cache key: text of any length, compared byte for byte.
///
/// | given | the key |
/// | --- | --- |
/// | `&str`, `String`, `Cow<str>`, `Box<str>`, `Arc<str>` | the text |
/// | integers, `bool`, `char`, `IpAddr` and its kin | as they are displayed: `17` |
/// | a tuple of such | its parts, kept apart: `("post", 17)` is `\|post\|17\|`, as [`ToKey`] says |
/// | anything displayed | [`CacheKey::display`] |
/// | a reference to one of them, or to a type of your own that is [`ToKey`] | the same |
///
/// Looking up by text borrows it and allocates nothing, nor does a number or a tuple whose key has no more than
/// 46 bytes; only storing copies it. The bytes of a key count towards the bound of the cache, so a huge key is
/// merely refused as too large.
#[derive(Clone)]
pub struct CacheKey<'a>(Text<'a>);

impl CacheKey<'_> {
    /// What `value` displays. Values that are to be told apart must differ in that.
    ///
    /// ```
    /// use larder::{Cache, CacheKey};
    ///
    /// # struct Uuid(u128);
    /// # impl std::fmt::Display for Uuid {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{:032x}", self.0) }
    /// # }
    /// # let id = Uuid(7);
    /// let posts = Cache::<String>::builder().build();
    /// posts.insert(("post", CacheKey::display(&id)), "a post of somebody else's id".to_owned());
    /// assert!(posts.get(("post", CacheKey::display(&id))).is_some());
    /// ```
    ///
    /// # Panics
    ///
    /// If its `Display` returns an error, as `to_string` does.
    pub fn display(value: impl Display) -> CacheKey<'static> {
        let mut text = Text::EMPTY;
        write!(text, "{value}").expect("a `Display` returned an error, and nothing else does");
        CacheKey(text)
    }

    /// The key's text.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The owned form, shared by the table, the flight and its followers.
    pub(crate) fn into_shared(self) -> Arc<str> {
        self.0.into_shared()
    }
}

impl fmt::Debug for CacheKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheKey").field(&self.as_str()).finish()
    }
}

impl<'a, K: ToKey + ?Sized> From<&'a K> for CacheKey<'a> {
    #[inline]
    fn from(key: &'a K) -> Self {
        key.to_key()
    }
}

impl From<String> for CacheKey<'_> {
    #[inline]
    fn from(text: String) -> Self {
        CacheKey(Text::Owned(text))
    }
}

impl From<Box<str>> for CacheKey<'_> {
    #[inline]
    fn from(text: Box<str>) -> Self {
        CacheKey(Text::Owned(text.into_string()))
    }
}

impl<'a> From<Cow<'a, str>> for CacheKey<'a> {
    #[inline]
    fn from(text: Cow<'a, str>) -> Self {
        CacheKey(match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => Text::Owned(text),
        })
    }
}

impl From<Arc<str>> for CacheKey<'_> {
    #[inline]
    fn from(text: Arc<str>) -> Self {
        CacheKey(Text::Shared(text))
    }
}

/// For where a key is asked for as text, as by [`Purge::key`](crate::Purge::key).
impl From<CacheKey<'_>> for String {
    fn from(key: CacheKey<'_>) -> Self {
        key.0.into_string()
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

impl<T: Display> Display for KeyPart<T> {
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
        encode(text, self.until, self.out)
    }
}

/// Writes `text` so that it ends where `until` comes next.
fn encode(text: &str, until: char, out: &mut impl Write) -> fmt::Result {
    let mut rest = text;
    // Were it the delimiter as well, nobody could tell which of the two it is.
    let escape = if until == '%' { '~' } else { '%' };
    while let Some(place) = rest.find([until, escape]) {
        let (plain, from) = rest.split_at(place);
        let special = from.chars().next().map_or(0, char::len_utf8);
        let (special, after) = from.split_at(special);
        out.write_str(plain)?;
        special.bytes().try_for_each(|byte| write!(out, "{escape}{byte:02X}"))?;
        rest = after;
    }
    out.write_str(rest)
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
