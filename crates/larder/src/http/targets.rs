//! Targets: what was asked for of late, as its recipe writes it. A target that many ask for is written once.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use larder_policy::query::QueryRecipe;

/// So many are known to each thread, each at the place that its hash says.
const ROWS: usize = 128;
/// Longer ones are written each time.
const LONGEST: usize = 250;

/// What one thread knows: 64 KiB, which are allocated with the first target that a recipe may change.
#[derive(Default)]
pub(super) struct Targets {
    rows: Box<[Row]>,
    hasher: RandomState,
    /// For those that have no row, and until they have.
    out: Vec<u8>,
}

#[derive(Clone)]
struct Row {
    /// 0: there is none.
    recipe: u64,
    asked: Text,
    written: Text,
}

/// A short text that lies where it is.
#[derive(Clone)]
struct Text {
    length: u16,
    bytes: [u8; LONGEST],
}

impl Targets {
    /// `target` by this recipe, as [`QueryRecipe::written`] writes it. Allocates nothing once there are rows.
    #[inline]
    pub(super) fn written<'a>(
        &'a mut self,
        recipe: &QueryRecipe,
        target: &'a [u8],
    ) -> Option<&'a [u8]> {
        // A path alone is written as it is, and needs no row.
        if target.len() > LONGEST || !target.contains(&b'?') {
            return recipe.written(target, &mut self.out);
        }
        let at = self.hasher.hash_one(target) as usize % ROWS;
        let is_known = self
            .rows
            .get(at)
            .is_some_and(|row| row.recipe == recipe.number() && row.asked.bytes() == target);
        if !is_known {
            return self.write(at, recipe, target);
        }
        Some(self.rows[at].written.bytes())
    }

    fn write<'a>(
        &'a mut self,
        at: usize,
        recipe: &QueryRecipe,
        target: &'a [u8],
    ) -> Option<&'a [u8]> {
        let written = recipe.written(target, &mut self.out)?;
        // What is written is no longer than what was asked for.
        if recipe.number() != 0 {
            if self.rows.is_empty() {
                self.rows = vec![Row::EMPTY; ROWS].into();
            }
            let row = &mut self.rows[at];
            row.recipe = recipe.number();
            row.asked.set(target);
            row.written.set(written);
        }
        Some(written)
    }
}

impl Row {
    const EMPTY: Row = Row { recipe: 0, asked: Text::EMPTY, written: Text::EMPTY };
}

impl Text {
    const EMPTY: Text = Text { length: 0, bytes: [0; LONGEST] };

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// `text`: no longer than [`LONGEST`].
    fn set(&mut self, text: &[u8]) {
        self.bytes[..text.len()].copy_from_slice(text);
        self.length = text.len() as u16;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recipe(without: &str, is_sorted: bool) -> QueryRecipe {
        QueryRecipe::default().without(&[without]).unwrap().sorted(is_sorted)
    }

    #[test]
    fn a_row_is_as_large_as_it_says() {
        assert_eq!(size_of::<Row>() * ROWS, 64 << 10);
    }

    #[test]
    fn what_needs_no_row_has_none() {
        let (mut targets, recipe) = (Targets::default(), recipe("a", false));
        let long = format!("/{}?a=1", "p".repeat(LONGEST));
        assert_eq!(targets.written(&recipe, b"/p"), Some(&b"/p"[..]));
        assert_eq!(
            targets.written(&recipe, long.as_bytes()),
            Some(&long.as_bytes()[..LONGEST + 1])
        );
        assert!(targets.rows.is_empty());
        assert_eq!(targets.written(&recipe, b"/p?a=1"), Some(&b"/p"[..]));
        assert_eq!(targets.rows.len(), ROWS);
    }

    #[test]
    fn what_takes_more_than_a_look_is_not_known_afterwards() {
        let (mut targets, recipe) = (Targets::default(), recipe("a", false));
        for _ in 0..2 {
            assert_eq!(targets.written(&recipe, b"/?%61=1"), None);
            assert_eq!(targets.written(&recipe, b"/?a=1&b=2"), Some(&b"/?b=2"[..]));
        }
    }

    proptest! {
        /// Whatever was asked for before, by whatever recipe, at lengths around the longest that is kept.
        #[test]
        fn it_is_written_as_the_recipe_writes_it(
            asked in proptest::collection::vec(
                (0..3_usize, "[ab]{0,2}", prop_oneof![Just(0), 236..256_usize]), 1..60,
            ),
        ) {
            let mut targets = Targets::default();
            let recipes = [recipe("a", false), recipe("b", false), recipe("none", true)];
            for (number, query, padding) in asked {
                let padding = "p".repeat(padding);
                let query: String = query.chars().map(|name| format!("&{name}=1")).collect();
                let target = format!("/{padding}?{query}");
                let mut out = Vec::new();
                let expected = recipes[number].written(target.as_bytes(), &mut out);
                prop_assert_eq!(targets.written(&recipes[number], target.as_bytes()), expected);
            }
        }
    }
}
