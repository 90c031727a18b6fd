//! Weight: how many bytes a value holds, so that a bound in bytes means something.

mod foreign;

/// Tells how much memory a value owns beyond its own `size_of`.
///
/// What the standard library has says so already: texts, numbers, collections, boxes, tuples, times, addresses. A type
/// of your own derives it (`#[derive(Weigh)]`, below); anything else is weighed by a closure
/// ([`Cache::builder_with_weigher`](crate::Cache::builder_with_weigher)).
///
/// - What can hold more than it does (`String`, `Vec`, `HashMap`) counts with its *capacity*: that is what is
///   taken from the machine. Shrink it before it is stored, or store a `Box<str>` or `Box<[T]>`.
/// - What is *shared* (`Arc`, `Bytes`) counts in full in each value that holds it: the cache may be the last to
///   hold it. Two entries with one `Arc` count it twice, so they are kept for too little and never too much.
///   Of `Bytes` the length is what can be seen: a slice of a larger buffer keeps all of that alive, so copy it first.
/// - How full the nodes of a `BTreeMap` are cannot be seen. It counts as if they were as empty as they may be, up to
///   three times what it takes.
/// - A *reference* owns nothing: `&'static str` weighs 0.
/// - Behind each element of a collection that owns something, 12 bytes are added for the allocator.
///
/// Values are weighed once, when they are stored. What they come to own later, behind a lock of their own, is
/// counted by nobody.
///
/// ```
/// use larder::Weigh;
///
/// assert_eq!(String::with_capacity(100).heap_bytes(), 100);
/// assert_eq!(vec![0_u64; 10].heap_bytes(), 80);
/// assert_eq!(("title", 17, Some(Box::new(1_u32))).heap_bytes(), 4);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what it weighs, so a bound in bytes would mean nothing",
    note = "if it is yours, write `#[derive(larder::Weigh)]` above it; \
            or build the cache with `Cache::builder_with_weigher`, which takes any type"
)]
pub trait Weigh {
    /// Bytes owned on the heap.
    fn heap_bytes(&self) -> usize;
}

/// What some parts of a value own together. A part that says too much makes the whole too large to be stored,
/// and no small number by an overflow.
fn together(parts: impl IntoIterator<Item = usize>) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

/// The two counters in front of every shared value.
pub(crate) const ARC_HEADER_BYTES: usize = 2 * size_of::<usize>();
/// What an allocator adds to each allocation, on average: its own header, and rounding up.
pub(crate) const ALLOCATION_BYTES: usize = 12;
