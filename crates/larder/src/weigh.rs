//! Weight: how many bytes a value holds, so that a bound in bytes means something.

use std::sync::Arc;

use bytes::Bytes;

/// Tells how much memory a value owns beyond its own `size_of`.
///
/// Implement it for your type, or give the builder a closure
/// ([`Cache::builder_with_weigher`](crate::Cache::builder_with_weigher)).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what it weighs, so a bound in bytes would mean nothing",
    note = "implement `larder::Weigh` for it, or build the cache with `Cache::builder_with_weigher`"
)]
pub trait Weigh {
    /// Bytes owned on the heap. What is shared with others (an `Arc`) counts in full: the cache may
    /// be the last to hold it.
    fn heap_bytes(&self) -> usize;
}

impl Weigh for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Weigh for Vec<u8> {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Weigh for Bytes {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Weigh for Arc<str> {
    fn heap_bytes(&self) -> usize {
        self.len() + ARC_HEADER_BYTES
    }
}

impl<T: Weigh> Weigh for Arc<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() + ARC_HEADER_BYTES + self.as_ref().heap_bytes()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Weigh::heap_bytes)
    }
}

macro_rules! owns_nothing {
    ($($scalar:ty),*) => {$(
        impl Weigh for $scalar {
            fn heap_bytes(&self) -> usize {
                0
            }
        }
    )*};
}
owns_nothing!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64
);

/// The two counters in front of every shared value.
pub(crate) const ARC_HEADER_BYTES: usize = 2 * size_of::<usize>();
/// What an allocator adds to each allocation, on average: its own header, and rounding up.
pub(crate) const ALLOCATION_BYTES: usize = 12;
