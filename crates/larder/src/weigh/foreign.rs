//! Foreign: what values of the standard library weigh, and `Bytes`.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    convert::Infallible,
    ffi::{OsStr, OsString},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::{Arc, atomic},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::{ALLOCATION_BYTES, ARC_HEADER_BYTES, Weigh, together};

macro_rules! owns_nothing {
    ($($value:ty)*) => {$(
        impl Weigh for $value {
            #[inline]
            fn heap_bytes(&self) -> usize {
                0
            }
        }
    )*};
}
owns_nothing!(() bool char Infallible Ordering str OsStr Path);
owns_nothing!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
owns_nothing!(num::NonZeroU8 num::NonZeroU16 num::NonZeroU32 num::NonZeroU64 num::NonZeroU128 num::NonZeroUsize);
owns_nothing!(num::NonZeroI8 num::NonZeroI16 num::NonZeroI32 num::NonZeroI64 num::NonZeroI128 num::NonZeroIsize);
owns_nothing!(atomic::AtomicBool atomic::AtomicU8 atomic::AtomicU16 atomic::AtomicU32 atomic::AtomicU64);
owns_nothing!(atomic::AtomicI8 atomic::AtomicI16 atomic::AtomicI32 atomic::AtomicI64);
owns_nothing!(atomic::AtomicUsize atomic::AtomicIsize);
owns_nothing!(Duration Instant SystemTime);
owns_nothing!(IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6);

/// What it refers to is another's. If that were not asked to be `Weigh`, the compiler's advice for a value that is
/// not would be to store a reference to it.
impl<T: Weigh + ?Sized> Weigh for &T {
    #[inline]
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl<T: ?Sized> Weigh for PhantomData<T> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        0
    }
}

macro_rules! has_a_capacity_in_bytes {
    ($($text:ty)*) => {$(
        impl Weigh for $text {
            #[inline]
            fn heap_bytes(&self) -> usize {
                self.capacity()
            }
        }
    )*};
}
has_a_capacity_in_bytes!(String OsString PathBuf);

impl Weigh for Bytes {
    #[inline]
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// What the elements own, and what the allocator adds for each that owns something.
fn elements<'a, T: Weigh + 'a>(elements: impl IntoIterator<Item = &'a T>) -> usize {
    together(elements.into_iter().map(|element| match element.heap_bytes() {
        0 => 0,
        bytes => bytes.saturating_add(ALLOCATION_BYTES),
    }))
}

impl<T: Weigh> Weigh for [T] {
    fn heap_bytes(&self) -> usize {
        elements(self)
    }
}

impl<T: Weigh, const LENGTH: usize> Weigh for [T; LENGTH] {
    fn heap_bytes(&self) -> usize {
        elements(self)
    }
}

macro_rules! has_a_capacity_in_elements {
    ($($list:ident)*) => {$(
        impl<T: Weigh> Weigh for $list<T> {
            fn heap_bytes(&self) -> usize {
                together([self.capacity().saturating_mul(size_of::<T>()), elements(self)])
            }
        }
    )*};
}
has_a_capacity_in_elements!(Vec VecDeque BinaryHeap);

impl<K: Weigh, V: Weigh, S> Weigh for HashMap<K, V, S> {
    fn heap_bytes(&self) -> usize {
        let table = hash_table_bytes::<(K, V)>(self.capacity());
        together([table, elements(self.keys()), elements(self.values())])
    }
}

impl<T: Weigh, S> Weigh for HashSet<T, S> {
    fn heap_bytes(&self) -> usize {
        together([hash_table_bytes::<T>(self.capacity()), elements(self)])
    }
}

/// A power of two of buckets, an eighth of which stays empty, with a byte beside each and a group of them at
/// the end.
fn hash_table_bytes<T>(capacity: usize) -> usize {
    const GROUP_BYTES: usize = 16;
    if capacity == 0 {
        return 0;
    }
    let buckets = (capacity + 1).next_power_of_two();
    buckets * (size_of::<T>() + 1) + GROUP_BYTES
}

impl<K: Weigh, V: Weigh> Weigh for BTreeMap<K, V> {
    fn heap_bytes(&self) -> usize {
        let nodes = b_tree_bytes::<K, V>(self.len());
        together([nodes, elements(self.keys()), elements(self.values())])
    }
}

impl<T: Weigh> Weigh for BTreeSet<T> {
    fn heap_bytes(&self) -> usize {
        together([b_tree_bytes::<T, ()>(self.len()), elements(self)])
    }
}

/// As if its nodes were as empty as they may be, since how full they are cannot be seen: they have room for eleven,
/// and all but the root hold five. Inner ones have room for twelve pointers, and all but the root hold six.
fn b_tree_bytes<K, V>(length: usize) -> usize {
    const POINTER: usize = size_of::<usize>();
    let Some(others) = length.checked_sub(1) else { return 0 };
    let nodes = if length <= 11 { 1 } else { 1 + others / 5 };
    let room = 11 * (size_of::<K>() + size_of::<V>()) + 2 * POINTER + ALLOCATION_BYTES;
    let pointers = if length <= 11 { 0 } else { 12 + 2 * (nodes - 1) };
    nodes * room + pointers * POINTER
}

impl<T: Weigh + ?Sized> Weigh for Box<T> {
    fn heap_bytes(&self) -> usize {
        together([size_of_val(&**self), (**self).heap_bytes()])
    }
}

impl<T: Weigh + ?Sized> Weigh for Arc<T> {
    fn heap_bytes(&self) -> usize {
        together([ARC_HEADER_BYTES, size_of_val(&**self), (**self).heap_bytes()])
    }
}

impl<T: Weigh> Weigh for Option<T> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Weigh::heap_bytes)
    }
}

impl<T: Weigh, E: Weigh> Weigh for Result<T, E> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        match self {
            Ok(value) => value.heap_bytes(),
            Err(error) => error.heap_bytes(),
        }
    }
}

impl<T: ToOwned<Owned: Weigh> + ?Sized> Weigh for Cow<'_, T> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        match self {
            Cow::Borrowed(_) => 0,
            Cow::Owned(owned) => owned.heap_bytes(),
        }
    }
}

macro_rules! wraps {
    ($($wrapper:ty)*) => {$(
        impl<T: Weigh> Weigh for $wrapper {
            #[inline]
            fn heap_bytes(&self) -> usize {
                self.0.heap_bytes()
            }
        }
    )*};
}
wraps!(num::Wrapping<T> num::Saturating<T> Reverse<T>);

impl<T: Weigh> Weigh for Range<T> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        together([self.start.heap_bytes(), self.end.heap_bytes()])
    }
}

impl<T: Weigh> Weigh for RangeInclusive<T> {
    #[inline]
    fn heap_bytes(&self) -> usize {
        together([self.start().heap_bytes(), self.end().heap_bytes()])
    }
}

macro_rules! tuples {
    ($($part:ident)+) => {
        impl<$($part: Weigh),+> Weigh for ($($part,)+) {
            #[inline]
            fn heap_bytes(&self) -> usize {
                #[expect(non_snake_case, reason = "each part goes by the name of its type")]
                let ($($part,)+) = self;
                together([$($part.heap_bytes()),+])
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
