//! Queue: a FIFO through numbered slots, with its links kept beside them.
//!
//! The links of all queues of a shard share one array, so a slot changes queues without moving, and
//! a walk from victim to victim touches eight bytes each instead of whole entries.

/// No slot.
const NONE: u32 = u32::MAX;

/// The neighbours of one slot in the queue it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// Towards the back.
    newer: u32,
    /// Towards the front.
    older: u32,
}

impl Links {
    /// In no queue, for the slot is empty. No slot is its own neighbour, nor has such a number.
    pub(super) const VACANT: Links = Links { newer: NONE - 1, older: NONE - 1 };
}

#[derive(Debug)]
pub(super) struct Queue {
    /// The oldest: next to leave.
    front: u32,
    back: u32,
    /// What its slots weigh.
    bytes: usize,
}

impl Queue {
    pub(super) const EMPTY: Queue = Queue { front: NONE, back: NONE, bytes: 0 };

    fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front == NONE
    }

    /// The oldest that is not `spared`.
    pub(super) fn front_but(&self, links: &[Links], spared: Option<u32>) -> Option<u32> {
        let front = self.front()?;
        if Some(front) != spared {
            return Some(front);
        }
        let next = links[front as usize].newer;
        (next != NONE).then_some(next)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push_back(&mut self, links: &mut [Links], number: u32, weight: u32) {
        links[number as usize] = Links { newer: NONE, older: self.back };
        match self.back {
            NONE => self.front = number,
            back => links[back as usize].newer = number,
        }
        self.back = number;
        self.bytes += weight as usize;
    }

    /// Takes a slot out, wherever in this queue it is.
    pub(super) fn unlink(&mut self, links: &mut [Links], number: u32, weight: u32) {
        let Links { newer, older } = std::mem::replace(&mut links[number as usize], Links::VACANT);
        self.join(links, older, newer);
        self.bytes -= weight as usize;
    }

    /// The slot `from` has moved to `to`; its place in the queue stays.
    pub(super) fn renumber(&mut self, links: &mut [Links], from: u32, to: u32) {
        let Links { newer, older } = links[from as usize];
        links[to as usize] = Links { newer, older };
        match older {
            NONE => self.front = to,
            older => links[older as usize].newer = to,
        }
        match newer {
            NONE => self.back = to,
            newer => links[newer as usize].older = to,
        }
    }

    /// A slot of this queue weighs something else now.
    pub(super) fn reweigh(&mut self, old: u32, new: u32) {
        self.bytes = self.bytes - old as usize + new as usize;
    }

    fn join(&mut self, links: &mut [Links], older: u32, newer: u32) {
        match older {
            NONE => self.front = newer,
            older => links[older as usize].newer = newer,
        }
        match newer {
            NONE => self.back = older,
            newer => links[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
impl Queue {
    /// Front to back; panics if the links do not agree in both directions.
    pub(super) fn numbers(&self, links: &[Links]) -> Vec<u32> {
        let mut numbers = Vec::new();
        let (mut older, mut at) = (NONE, self.front);
        while at != NONE {
            assert_eq!(links[at as usize].older, older, "the way back differs from the way here");
            numbers.push(at);
            assert!(numbers.len() <= links.len(), "the queue runs in a circle");
            (older, at) = (at, links[at as usize].newer);
        }
        assert_eq!(self.back, older);
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_of(numbers: &[u32]) -> (Queue, Vec<Links>) {
        let (mut queue, mut links) = (Queue::EMPTY, vec![Links::VACANT; 10]);
        for &number in numbers {
            queue.push_back(&mut links, number, 10);
        }
        (queue, links)
    }

    #[test]
    fn what_went_in_first_is_in_front() {
        let (mut queue, mut links) = queue_of(&[4, 2, 7]);
        assert_eq!(queue.front(), Some(4));
        queue.unlink(&mut links, 4, 10);
        assert_eq!((queue.numbers(&links), queue.bytes()), (vec![2, 7], 20));
    }

    #[test]
    fn the_next_is_in_front_where_the_first_is_spared() {
        let (queue, links) = queue_of(&[4, 2]);
        assert_eq!(queue.front_but(&links, None), Some(4));
        assert_eq!(queue.front_but(&links, Some(2)), Some(4));
        assert_eq!(queue.front_but(&links, Some(4)), Some(2));
        let (queue, links) = queue_of(&[4]);
        assert_eq!(queue.front_but(&links, Some(4)), None);
        assert_eq!(Queue::EMPTY.front_but(&links, None), None);
    }

    #[test]
    fn a_slot_leaves_from_anywhere() {
        for gone in [4, 2, 7] {
            let (mut queue, mut links) = queue_of(&[4, 2, 7]);
            queue.unlink(&mut links, gone, 10);
            let rest: Vec<_> = [4, 2, 7].into_iter().filter(|&number| number != gone).collect();
            assert_eq!(queue.numbers(&links), rest);
        }
        let (mut queue, mut links) = queue_of(&[3]);
        queue.unlink(&mut links, 3, 10);
        assert_eq!((queue.front(), queue.bytes()), (None, 0));
    }

    #[test]
    fn a_slot_that_moves_keeps_its_place() {
        for (moved, expected) in [(4, [9, 2, 7]), (2, [4, 9, 7]), (7, [4, 2, 9])] {
            let (mut queue, mut links) = queue_of(&[4, 2, 7]);
            queue.renumber(&mut links, moved, 9);
            assert_eq!((queue.numbers(&links), queue.bytes()), (expected.to_vec(), 30));
        }
    }
}
