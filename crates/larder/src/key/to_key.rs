//! ToKey: what is a key, or a part of one, and how a tuple keeps its parts apart.

use std::{
    borrow::Cow,
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num,
    rc::Rc,
    sync::Arc,
};

use super::{CacheKey, Text, encode};

/// What can be a key by reference, and a part of a tuple that is one.
///
/// A tuple's key is each part's text between `|`. Where a part contains `|` or `%`, that is percent-encoded. So
/// no two lists of parts make one key, nor does a text that is no list of that kind:
///
/// ```
/// use larder::{Cache, CacheKey};
///
/// let posts = Cache::<String>::builder().build();
/// posts.insert(("post", 17, "de"), "ein Beitrag".to_owned());
/// assert_eq!(posts.get(("post", 17, "de")).as_deref(), Some("ein Beitrag"));
/// assert_eq!(CacheKey::from(("post", 17, "de")).as_str(), "|post|17|de|");
/// assert_ne!(CacheKey::from(("a|", "b")).as_str(), CacheKey::from(("a", "|b")).as_str());
/// ```
///
/// Parts are compared as texts: `("post", 17)` and `("post", "17")` are one key. Where a number and a text must not
/// meet, as an identifier and a name that may consist of digits, another part says which it is: `("id", 17)`,
/// `("name", "17")`.
///
/// The key of a tuple begins the keys of all tuples that begin with its parts, and of no others. So its first
/// parts are a prefix to purge by; those of a single part are written `("post",)`:
///
/// ```
/// # let posts = larder::Cache::<String>::builder().build();
/// # for id in [1, 17] {
/// #     for language in ["de", "en"] { posts.insert(("post", id, language), String::new()); }
/// # }
/// assert_eq!(posts.purge_prefix(("post", 1)), 2); // in each language, and not that of 17
/// assert_eq!(posts.purge_prefix(("post",)), 2);
/// ```
///
/// A type of your own:
///
/// ```
/// use larder::{Cache, CacheKey, ToKey};
///
/// struct PostId(u64);
///
/// impl ToKey for PostId {
///     fn to_key(&self) -> CacheKey<'_> {
///         CacheKey::from(self.0)
///     }
/// }
///
/// let posts = Cache::<String>::builder().build();
/// posts.insert(&PostId(17), "a post".to_owned());
/// assert!(posts.get(&PostId(17)).is_some());
/// posts.insert(("comments", PostId(17)), "no comments".to_owned());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the key of a cache, nor a part of one",
    note = "implement `larder::ToKey` for it; or, if all its values differ in what they display, write \
            `CacheKey::display(…)`"
)]
pub trait ToKey {
    /// Its text as a key. Values that are to be told apart must differ in it.
    fn to_key(&self) -> CacheKey<'_>;
}

impl ToKey for str {
    #[inline]
    fn to_key(&self) -> CacheKey<'_> {
        CacheKey(Text::Borrowed(self))
    }
}

macro_rules! texts {
    ($($text:ty)*) => {$(
        impl ToKey for $text {
            #[inline]
            fn to_key(&self) -> CacheKey<'_> {
                CacheKey(Text::Borrowed(self))
            }
        }
    )*};
}
texts!(String Box<str> Arc<str> Rc<str> Cow<'_, str>);

impl ToKey for CacheKey<'_> {
    #[inline]
    fn to_key(&self) -> CacheKey<'_> {
        CacheKey(Text::Borrowed(self.as_str()))
    }
}

impl<K: ToKey + ?Sized> ToKey for &K {
    #[inline]
    fn to_key(&self) -> CacheKey<'_> {
        (**self).to_key()
    }
}

macro_rules! displayed {
    ($($value:ty)*) => {$(
        impl ToKey for $value {
            fn to_key(&self) -> CacheKey<'_> {
                CacheKey::display(self)
            }
        }

        impl From<$value> for CacheKey<'_> {
            fn from(value: $value) -> Self {
                CacheKey::display(value)
            }
        }
    )*};
}
displayed!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize bool char);
displayed!(num::NonZeroU8 num::NonZeroU16 num::NonZeroU32 num::NonZeroU64 num::NonZeroU128 num::NonZeroUsize);
displayed!(num::NonZeroI8 num::NonZeroI16 num::NonZeroI32 num::NonZeroI64 num::NonZeroI128 num::NonZeroIsize);
displayed!(IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6);

/// Ends each part of a tuple, and begins the first.
const END: char = '|';

/// A tuple's key, while its parts are written one after the other.
struct Parts(Text<'static>);

impl Parts {
    fn begin() -> Parts {
        Parts(Text::EMPTY).end()
    }

    fn push(mut self, part: &impl ToKey) -> Parts {
        let part = part.to_key();
        encode(part.as_str(), END, &mut self.0).expect("a text takes all that is written to it");
        self.end()
    }

    fn end(mut self) -> Parts {
        self.0.write_char(END).expect("a text takes all that is written to it");
        self
    }
}

macro_rules! tuples {
    ($($part:ident),+) => {
        impl<$($part: ToKey),+> ToKey for ($($part,)+) {
            fn to_key(&self) -> CacheKey<'_> {
                #[expect(non_snake_case, reason = "each part goes by the name of its type")]
                let ($($part,)+) = self;
                let Parts(text) = Parts::begin()$(.push($part))+;
                CacheKey(text)
            }
        }

        impl<$($part: ToKey),+> From<($($part,)+)> for CacheKey<'_> {
            fn from(parts: ($($part,)+)) -> Self {
                #[expect(non_snake_case, reason = "each part goes by the name of its type")]
                let ($($part,)+) = &parts;
                let Parts(text) = Parts::begin()$(.push($part))+;
                CacheKey(text)
            }
        }
    };
}
tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
tuples!(A, B, C, D, E, F);
tuples!(A, B, C, D, E, F, G);
tuples!(A, B, C, D, E, F, G, H);
