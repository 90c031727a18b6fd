//! Key: the name under which an entry is stored.

use std::{fmt, sync::Arc};

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
