//! Readers: who reads the log, as the server knows it, and for how many of them a purge holds.

use std::time::Duration;

use crate::tier::lower::{Holds, Position};

/// So many of those who are missing are named.
const MAX_NAMED: usize = 16;

/// The readers at one moment.
pub(super) struct Table {
    /// Of the log at that moment.
    generation: u128,
    /// So long ago the server became what it is.
    pub(super) changed_ago: Duration,
    readers: Vec<Row>,
}

struct Row {
    name: String,
    /// How far it has said that it has read.
    read: Option<Position>,
}

impl Table {
    /// `readers`: their ids, and what each has said.
    pub(super) fn new(
        generation: u128,
        changed_ago: Duration,
        readers: Vec<(String, String)>,
    ) -> Self {
        let readers = readers.into_iter().map(|(_, said)| Row::read(&said)).collect();
        Table { generation, changed_ago, readers }
    }

    /// For how many readers a purge with this position holds: who has read as far, and who has dropped all that is
    /// older for a log that came later.
    pub(super) fn holds(&self, position: Position) -> Holds {
        let has_read = |read: Position| match read.generation == position.generation {
            true => read.number >= position.number,
            false => read.generation == self.generation,
        };
        let missing = self.readers.iter().filter(|row| !row.read.is_some_and(has_read));
        let names: Vec<_> = missing.map(|row| row.name.clone()).collect();
        let of = self.readers.len();
        Holds { by: of - names.len(), of, missing: names.into_iter().take(MAX_NAMED).collect() }
    }
}

impl Row {
    /// `generation number time name`. Whoever said something else has read nothing that we know of.
    fn read(said: &str) -> Row {
        let mut parts = said.splitn(4, ' ');
        let generation = parts.next().and_then(|part| u128::from_str_radix(part, 16).ok());
        let number = parts.next().and_then(|part| part.parse().ok());
        let read = generation.zip(number);
        let read = read.map(|(generation, number)| Position { generation, number });
        Row { name: parts.nth(1).unwrap_or_default().to_owned(), read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(said: &[&str]) -> Table {
        let readers = said.iter().map(|said| (String::new(), (*said).to_owned())).collect();
        Table::new(2, Duration::MAX, readers)
    }

    #[test]
    fn a_purge_holds_for_who_has_read_it_and_for_who_has_dropped_all_for_a_later_log() {
        let table =
            table(&["1 7 0 read it", "1 6 0 behind", "2 0 0 later", "- 0 0 new", "rubbish"]);
        let holds = table.holds(Position { generation: 1, number: 7 });
        let missing = ["behind", "new", ""].map(str::to_owned).to_vec();
        assert_eq!(holds, Holds { by: 2, of: 5, missing });
        let later = table.holds(Position { generation: 2, number: 1 });
        assert_eq!(later.by, 0, "an earlier log has none of the purges of this one");
        let unknown = table.holds(Position { generation: 3, number: 1 });
        assert_eq!(unknown.by, 1);
    }

    #[test]
    fn of_many_who_are_missing_some_are_named() {
        let table = table(&["- 0 0 a b"; 40]);
        let holds = table.holds(Position { generation: 2, number: 1 });
        assert_eq!((holds.by, holds.of, holds.missing.len()), (0, 40, MAX_NAMED));
        assert_eq!(holds.missing[0], "a b");
    }
}
