//! Batch: wishes put together into calls that are within a vendor's bounds.

use crate::cdn::driver::Wish;

/// How much of a class fits into one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Wishes.
    pub(super) most: usize,
    /// Bytes of all of them.
    pub(super) bytes: usize,
}

/// Which wishes go into one call, by their places, in the order of each call's first. What has another class goes into
/// another call; `None` goes into none. `room`: of a class; the second number of `class`: how many bytes a wish takes.
pub(super) fn batches<C: PartialEq + Copy>(
    wishes: &[Wish],
    class: impl Fn(usize, &Wish) -> Option<(C, usize)>,
    room: impl Fn(C) -> Room,
) -> Vec<(C, Vec<usize>)> {
    let mut all: Vec<(C, Vec<usize>)> = Vec::new();
    // Which call of each class takes more, and how many bytes it has.
    let mut open: Vec<(C, usize, usize)> = Vec::new();
    for (place, wish) in wishes.iter().enumerate() {
        let Some((class, bytes)) = class(place, wish) else { continue };
        let Room { most, bytes: most_bytes } = room(class);
        let found = open.iter_mut().find(|(of, ..)| *of == class);
        match found {
            Some((_, at, taken)) if all[*at].1.len() < most && *taken + bytes <= most_bytes => {
                all[*at].1.push(place);
                *taken += bytes;
            }
            Some((_, at, taken)) => {
                (*at, *taken) = (all.len(), bytes);
                all.push((class, vec![place]));
            }
            None => {
                open.push((class, all.len(), bytes));
                all.push((class, vec![place]));
            }
        }
    }
    all
}
