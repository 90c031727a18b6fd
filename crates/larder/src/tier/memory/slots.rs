//! Slots: numbered places, in chunks, so that getting more or fewer of them moves nothing. One array
//! for all would at times be there twice. How many there are is for the shard to know, which keeps
//! something else for each of them: what a hit reads of a shard is to fit into one cache line.

use std::mem;

const CHUNK: usize = 128;

pub(super) type Chunk<T> = Box<[Option<T>; CHUNK]>;

pub(super) struct Slots<T> {
    /// The last may have more than there are.
    chunks: Vec<Chunk<T>>,
}

impl<T> Slots<T> {
    /// What a slot costs at the most, but for one chunk: itself, and its part of the list of chunks,
    /// of which half may be unused.
    pub(super) const BYTES_PER_SLOT: usize =
        size_of::<Option<T>>() + (2 * size_of::<usize>()).div_ceil(CHUNK);

    pub(super) fn new() -> Self {
        Slots { chunks: Vec::new() }
    }

    /// What is in a slot; `None` also if there is no such slot.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?[number % CHUNK].as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.place(number)?.as_mut()
    }

    /// Puts `content` into a slot that there is, and what was there in its place. Contents may be large:
    /// on their way through functions they would need much of the stack.
    pub(super) fn swap(&mut self, number: u32, content: &mut Option<T>) {
        mem::swap(self.place(number).expect("it was asked for by its number"), content);
    }

    /// One more slot, empty, where there are `len`.
    pub(super) fn push(&mut self, len: usize) {
        if len == self.chunks.len() * CHUNK {
            let chunk: Box<[Option<T>]> = (0..CHUNK).map(|_| None).collect();
            let chunk = chunk.try_into().unwrap_or_else(|_| unreachable!("it has that length"));
            self.chunks.push(chunk);
        }
    }

    /// Gives up the last of `len` slots, and drops what is in it. `free` gets the memory that is needed no
    /// more.
    pub(super) fn pop(&mut self, len: usize, mut free: impl FnMut(Vec<Chunk<T>>)) {
        let Some(number) = len.checked_sub(1) else { return };
        self.chunks[number / CHUNK][number % CHUNK] = None;
        if number.is_multiple_of(CHUNK) {
            free(self.chunks.pop().into_iter().collect());
            if self.chunks.capacity() > 2 * self.chunks.len() + 8 {
                let mut fewer = Vec::with_capacity(self.chunks.len() + 4);
                fewer.append(&mut self.chunks);
                free(mem::replace(&mut self.chunks, fewer));
            }
        }
    }

    /// All slots, and the empty ones beyond in the last chunk.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Option<T>> {
        self.chunks.iter_mut().flat_map(|chunk| chunk.iter_mut())
    }

    fn place(&mut self, number: u32) -> Option<&mut Option<T>> {
        let number = number as usize;
        Some(&mut self.chunks.get_mut(number / CHUNK)?[number % CHUNK])
    }
}

#[cfg(test)]
impl<T> Slots<T> {
    /// All slots in the order of their numbers, and the empty ones beyond in the last chunk.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_stays_where_it_is() {
        let mut slots = Slots::new();
        for number in 0..1000 {
            slots.push(number as usize);
            slots.swap(number, &mut Some(number));
        }
        let mut taken = None;
        slots.swap(500, &mut taken);
        assert_eq!(taken, Some(500));
        assert_eq!((slots.get(500), slots.get(501), slots.get(1024)), (None, Some(&501), None));
        *slots.get_mut(7).unwrap() = 77;
        for number in (900..1000).rev() {
            assert!(slots.get(number).is_some());
            slots.pop(number as usize + 1, drop);
            assert_eq!(slots.get(number), None);
        }
        assert_eq!(slots.iter().flatten().count(), 899);
        let left = slots.iter_mut().filter_map(Option::take);
        assert_eq!(left.sum::<u32>(), (0..900).sum::<u32>() - 500 + 70);
    }

    #[test]
    fn what_is_given_up_is_given_back() {
        let mut slots: Slots<u8> = Slots::new();
        (0..10_000).for_each(|len| slots.push(len));
        for len in (1..10_000).rev() {
            slots.pop(len + 1, drop);
            assert_eq!(slots.chunks.len(), len.div_ceil(CHUNK));
        }
        assert!(slots.chunks.capacity() <= 16);
        slots.pop(1, drop);
        slots.pop(0, drop);
        assert_eq!(slots.chunks.len(), 0);
    }
}
