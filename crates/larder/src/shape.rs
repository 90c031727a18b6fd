//! Shape: which keys a function can make, and whether another can make one of them.

use std::{
    collections::HashSet,
    fmt::{self, Display, Write},
};

/// The keys that a function can make: texts, and what stands between them and varies.
///
/// ```
/// use larder::KeyShape;
///
/// let posts = KeyShape::new().text("post:").any(&[':']);
/// let comments = KeyShape::new().text("post:").any(&[':']).text(":comments");
/// assert!(!posts.overlaps(&comments));
/// // If a colon could come out of what varies, one could make the other's.
/// assert!(KeyShape::new().text("post:").any(&[]).overlaps(&comments));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyShape(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Letter(char),
    /// Any text, without these characters.
    Any(&'static [char]),
    /// Digits, and a minus sign.
    Number,
}

impl KeyShape {
    /// The empty key.
    pub fn new() -> KeyShape {
        KeyShape::default()
    }

    /// Then comes this text.
    #[must_use]
    pub fn text(mut self, text: impl Display) -> KeyShape {
        self.0.extend(text.to_string().chars().map(Piece::Letter));
        self
    }

    /// Then comes any text, the empty one included, but none of the characters `without`.
    #[must_use]
    pub fn any(mut self, without: &'static [char]) -> KeyShape {
        self.0.push(Piece::Any(without));
        self
    }

    /// Then comes a whole number in decimal.
    #[must_use]
    pub fn number(mut self) -> KeyShape {
        self.0.push(Piece::Number);
        self
    }

    /// Whether some key has both shapes. Never says no where one has; may say yes where none has.
    pub fn overlaps(&self, other: &KeyShape) -> bool {
        // How far each is after some beginning that both can make.
        let (mut seen, mut open) = (HashSet::new(), vec![(0, 0)]);
        while let Some((one, two)) = open.pop() {
            if !seen.insert((one, two)) {
                continue;
            }
            let (next_one, next_two) = (self.0.get(one), other.0.get(two));
            if next_one.is_none() && next_two.is_none() {
                return true;
            }
            // What varies may end here.
            if next_one.is_some_and(Piece::varies) {
                open.push((one + 1, two));
            }
            if next_two.is_some_and(Piece::varies) {
                open.push((one, two + 1));
            }
            match (next_one, next_two) {
                (Some(Piece::Letter(a)), Some(Piece::Letter(b))) if a == b => {
                    open.push((one + 1, two + 1))
                }
                (Some(Piece::Letter(letter)), Some(varying)) if varying.has(*letter) => {
                    open.push((one + 1, two))
                }
                (Some(varying), Some(Piece::Letter(letter))) if varying.has(*letter) => {
                    open.push((one, two + 1))
                }
                _ => {}
            }
        }
        false
    }
}

impl Piece {
    fn varies(&self) -> bool {
        !matches!(self, Piece::Letter(_))
    }

    /// Whether it varies and may have this letter.
    fn has(&self, letter: char) -> bool {
        match self {
            Piece::Letter(_) => false,
            Piece::Any(without) => !without.contains(&letter),
            Piece::Number => letter == '-' || letter.is_ascii_digit(),
        }
    }
}

/// As in `format!`.
impl Display for KeyShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Letter('{') => f.write_str("{{"),
            Piece::Letter('}') => f.write_str("}}"),
            Piece::Letter(letter) => f.write_char(*letter),
            Piece::Any(_) | Piece::Number => f.write_str("{}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `*` for any text without a colon, `?` for any text, `#` for a number.
    fn shape(text: &str) -> KeyShape {
        text.chars().fold(KeyShape::new(), |shape, letter| match letter {
            '*' => shape.any(&[':']),
            '?' => shape.any(&[]),
            '#' => shape.number(),
            letter => shape.text(letter),
        })
    }

    #[test]
    fn shapes_overlap_if_they_have_a_key_in_common() {
        for (one, two, overlap) in [
            ("a", "a", true),
            ("a", "b", false),
            ("?", "", true),
            ("a:#", "a:#", true),
            ("a:#", "b:#", false),
            ("#", "a:#", false),
            ("?", "a:#", true),
            ("a:*", "a:*:x", false),
            ("a:?", "a:*:x", true),
            ("a:#", "a:#/x", false),
            ("a:*", "a:*/x", true),
            ("*b", "a*", true),
            ("*:#", "a:*:", false),
            ("#", "*", true),
            ("m::f(?)", "m::g(?)", false),
        ] {
            let (one, two) = (shape(one), shape(two));
            assert_eq!((one.overlaps(&two), two.overlaps(&one)), (overlap, overlap), "{one} {two}");
        }
    }

    proptest! {
        #[test]
        fn shapes_that_make_one_key_overlap(
            one in "[ab:*?#]{0,5}", two in "[ab:*?#]{0,5}", fill in "[ab1]{0,3}", other in "[ab:1]{0,3}",
        ) {
            let key = |text: &str| text.replace('?', &other).replace('*', &fill).replace('#', "1");
            if key(&one) == key(&two) {
                prop_assert!(shape(&one).overlaps(&shape(&two)), "{one} {two}");
            }
        }
    }
}
