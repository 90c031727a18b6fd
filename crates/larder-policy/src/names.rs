//! Names: a list of names in which a star stands for any characters, laid out so that most names are told to be none of
//! them by one look at their first byte and their length.

use std::fmt;

use crate::glob::fits;

/// Names of cookies or of parameters, as somebody has listed them.
#[derive(Clone, Default)]
pub(crate) struct Names {
    /// As they were listed, each once.
    listed: Vec<Box<str>>,
    table: Option<Box<Table>>,
}

/// The same names by their first byte.
#[derive(Clone)]
struct Table {
    /// Which of the rows is of this byte. The first row is empty, and that of all bytes that none begins with.
    row_of: [u8; 256],
    rows: Vec<Row>,
    /// Those that begin with a star.
    anywhere: Vec<Pattern>,
}

/// Those that begin with the same byte.
#[derive(Clone, Default)]
struct Row {
    /// How long those without a star are: one bit for each length, the last for all that are longer.
    lengths: u64,
    /// Those without a star, the shortest first.
    whole: Vec<Box<str>>,
    patterns: Vec<Pattern>,
}

/// A name with a star in it.
#[derive(Clone)]
enum Pattern {
    /// The star is its end.
    Begins(Box<str>),
    Glob(Box<str>),
}

impl Names {
    pub(crate) fn of(names: Vec<Box<str>>) -> Names {
        let mut listed = Vec::new();
        for name in names {
            if !name.is_empty() && !listed.contains(&name) {
                listed.push(name);
            }
        }
        let table = (!listed.is_empty()).then(|| Box::new(Table::of(&listed)));
        Names { listed, table }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// As they were listed, each once.
    pub(crate) fn listed(&self) -> &[Box<str>] {
        &self.listed
    }

    /// Whether `name` is one of them. Nothing is an empty name.
    #[inline]
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        let (Some(table), Some(&first)) = (&self.table, name.first()) else { return false };
        table.rows[usize::from(table.row_of[usize::from(first)])].has(name)
            || table.anywhere.iter().any(|pattern| pattern.fits(name))
    }
}

impl Table {
    fn of(listed: &[Box<str>]) -> Table {
        let mut table =
            Table { row_of: [0; 256], rows: vec![Row::default()], anywhere: Vec::new() };
        for name in listed {
            match name.as_bytes() {
                [] => {}
                [b'*', ..] => table.anywhere.push(Pattern::of(name)),
                [first, ..] => table.row(*first).add(name),
            }
        }
        table
    }

    /// The row of this byte, made if there is none.
    fn row(&mut self, first: u8) -> &mut Row {
        let row = &mut self.row_of[usize::from(first)];
        if *row == 0 {
            *row = u8::try_from(self.rows.len())
                .expect("no row is of the star, so 256 with the empty one");
            self.rows.push(Row::default());
        }
        &mut self.rows[usize::from(*row)]
    }
}

impl Row {
    fn add(&mut self, name: &str) {
        if name.contains('*') {
            return self.patterns.push(Pattern::of(name));
        }
        self.lengths |= Row::bit(name.len());
        let before = self.whole.partition_point(|other| other.len() <= name.len());
        self.whole.insert(before, name.into());
    }

    const fn bit(length: usize) -> u64 {
        1 << if length < 63 { length } else { 63 }
    }

    #[inline]
    fn has(&self, name: &[u8]) -> bool {
        (self.lengths & Row::bit(name.len()) != 0
            && self.whole.iter().any(|known| is(known.as_bytes(), name)))
            || self.patterns.iter().any(|pattern| pattern.fits(name))
    }
}

/// Whether they are the same. Names in a row begin alike and mostly end otherwise, so that is asked before all.
#[inline]
fn is(known: &[u8], name: &[u8]) -> bool {
    known.len() == name.len() && known.last() == name.last() && known == name
}

impl Pattern {
    fn of(name: &str) -> Pattern {
        match name.strip_suffix('*') {
            Some(beginning) if !beginning.contains('*') => Pattern::Begins(beginning.into()),
            _ => Pattern::Glob(name.into()),
        }
    }

    #[inline]
    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Pattern::Begins(beginning) => name.starts_with(beginning.as_bytes()),
            Pattern::Glob(pattern) => fits(pattern.as_bytes(), name),
        }
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.listed == other.listed
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listed.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(listed: &[&str]) -> Names {
        Names::of(listed.iter().copied().map(Box::from).collect())
    }

    #[test]
    fn each_is_listed_once_in_its_order() {
        let names = names(&["b", "a*", "", "b", "a"]);
        assert_eq!(names.listed(), ["b", "a*", "a"].map(Box::<str>::from));
        assert_eq!(format!("{names:?}"), r#"["b", "a*", "a"]"#);
        assert!(Names::of(vec!["".into()]).is_empty() && !names.is_empty());
    }

    #[test]
    fn long_names_are_told_apart_as_well() {
        let [one, other] = ["a", "b"].map(|end| "n".repeat(80) + end);
        let names = names(&[&one]);
        assert!(names.has(one.as_bytes()) && !names.has(other.as_bytes()));
        assert!(!names.has("n".repeat(63).as_bytes()));
    }

    proptest! {
        #[test]
        fn a_name_is_one_of_them_if_it_fits_any(
            listed in proptest::collection::vec("[ab*]{0,4}", 0..8), name in "[abc\u{e9}]{0,5}",
        ) {
            let listed: Vec<Box<str>> = listed.into_iter().map(Box::from).collect();
            let fits_any = listed.iter().any(|known| fits(known.as_bytes(), name.as_bytes()));
            prop_assert_eq!(Names::of(listed).has(name.as_bytes()), fits_any);
        }
    }
}
