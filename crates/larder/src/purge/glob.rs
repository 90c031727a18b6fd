//! Glob: a pattern of keys, for a purge of all that fit it.

use std::fmt;

/// More stars than this are refused: each is looked for in every key.
const MAX_STARS: usize = 16;
const MAX_BYTES: usize = 4096;

/// A pattern of keys: `*` stands for any characters, also none, also slashes; everything else for itself. Several stars
/// side by side are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    /// What stands between the stars, in order: at least one.
    parts: Vec<String>,
}

/// Why a text is no [`Glob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// It has no star, and names one key only.
    #[error("there is no * in it: it is a key")]
    NoStar,
    /// It has too many stars.
    #[error("there are more than {MAX_STARS} stars in it")]
    TooManyStars,
    /// It is too long.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It begins with a star: nothing that it names is known without it.
    #[error("there is nothing but stars in it: to purge everything, say so")]
    Everything,
}

impl Glob {
    /// The pattern that is written so.
    ///
    /// # Errors
    ///
    /// A text without a star, with nothing but stars, with more than 16 of them, or longer than 4096 bytes.
    pub fn new(text: &str) -> Result<Glob, GlobError> {
        let pieces: Vec<_> = text.split('*').collect();
        let ends = [0, pieces.len() - 1];
        // A star beside a star says nothing more.
        let pieces = pieces.into_iter().enumerate();
        let parts = pieces.filter(|(at, piece)| ends.contains(at) || !piece.is_empty());
        let parts: Vec<_> = parts.map(|(_, piece)| piece.to_owned()).collect();
        match () {
            () if parts.iter().map(String::len).sum::<usize>() > MAX_BYTES => {
                Err(GlobError::TooLong)
            }
            () if parts.len() < 2 => Err(GlobError::NoStar),
            () if parts.len() > MAX_STARS + 1 => Err(GlobError::TooManyStars),
            () if parts.iter().all(String::is_empty) => Err(GlobError::Everything),
            () => Ok(Glob { parts }),
        }
    }

    /// Whether it fits `key`.
    pub fn fits(&self, key: &str) -> bool {
        let [first, between @ .., last] = &self.parts[..] else { return false };
        let Some(mut rest) = key.strip_prefix(first.as_str()) else { return false };
        // The first place where a part fits leaves the most for those that follow.
        for part in between {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }

    /// What every key that it fits begins with.
    pub fn prefix(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }
}

/// As it was written, but that several stars are one.
impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("*"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let rows = [
            ("/posts/*.html", "/posts/1.html", true),
            ("/posts/*.html", "/posts/.html", true),
            ("/posts/*.html", "/posts/a/b.html", true),
            ("/posts/*.html", "/posts/1.html?x", false),
            ("/posts/*.html", "/post/1.html", false),
            ("/posts/*", "/posts/", true),
            ("*.png", "/a/b.png", true),
            ("*/a/*", "/b/a/c", true),
            ("*/a/*", "/b/c", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "abcbc", true),
            ("a**c", "abc", true),
            ("*é*", "caf\u{e9}", true),
        ];
        for (glob, key, fits) in rows {
            assert_eq!(Glob::new(glob).unwrap().fits(key), fits, "{glob} {key}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_costs_too_much_is_refused() {
        let many = "a*".repeat(17);
        let long = format!("{}*", "a".repeat(4097));
        let rows = [
            ("", GlobError::NoStar),
            ("/a", GlobError::NoStar),
            ("*", GlobError::Everything),
            (&"*".repeat(1000), GlobError::Everything),
            (&many, GlobError::TooManyStars),
            (&long, GlobError::TooLong),
        ];
        for (glob, error) in rows {
            assert_eq!(Glob::new(glob), Err(error), "{glob}");
        }
        let stars = format!("/a{}b", "*".repeat(1000));
        assert_eq!(Glob::new(&stars).unwrap().to_string(), "/a*b");
    }

    proptest! {
        /// By what stands for a star, tried out.
        #[test]
        fn it_fits_as_if_all_were_tried(glob in "[ab*]{0,8}", key in "[ab]{0,8}") {
            fn tried(glob: &[u8], key: &[u8]) -> bool {
                match (glob, key) {
                    ([b'*', rest @ ..], _) => (0..=key.len()).any(|cut| tried(rest, &key[cut..])),
                    ([one, glob @ ..], [other, key @ ..]) => one == other && tried(glob, key),
                    ([], []) => true,
                    _ => false,
                }
            }
            if let Ok(parsed) = Glob::new(&glob) {
                prop_assert_eq!(parsed.fits(&key), tried(glob.as_bytes(), key.as_bytes()));
                prop_assert!(!parsed.fits(&key) || key.starts_with(parsed.prefix()));
            }
        }
    }
}
