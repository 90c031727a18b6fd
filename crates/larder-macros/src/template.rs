//! Template: which arguments a key names, and how.

use proc_macro2::Span;
use syn::{Error, LitStr, Result};

/// A key as it stands in the attribute, taken apart as `format!` would.
pub(crate) struct Template {
    span: Span,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// With braces as they come out.
    Text(String),
    Argument(Argument),
}

/// `{name}` or `{name:spec}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) name: String,
    /// As it stands there, braces included.
    pub(crate) written: String,
    pub(crate) whole: Whole,
}

impl Argument {
    /// Whether it says nothing of how it is written.
    pub(crate) fn is_plain(&self) -> bool {
        !self.written.contains(':')
    }
}

/// Whether an argument can be told from what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whole {
    /// A precision cuts it, a width makes ` a` of `a`, and an address may be another's tomorrow.
    No,
    /// It has a width that begins with a zero.
    IfNumber,
    Yes,
}

/// A piece of the key, in order.
pub(crate) enum Piece<'a> {
    Text(&'a str),
    /// `borders`: the characters beside it that must not come out of it. That which follows, if something
    /// that varies comes later: or two lists of arguments could make one key. That which comes before, if
    /// it looks like a delimiter: or `a:{b}` could make a key of `a:{b}:c`.
    Argument {
        argument: &'a Argument,
        borders: Vec<char>,
    },
}

impl Template {
    /// # Errors
    ///
    /// What `format!` would not take, and two arguments with nothing between them.
    pub(crate) fn parse(literal: &LitStr) -> Result<Template> {
        let span = literal.span();
        let parts = parts(&literal.value()).map_err(|why| Error::new(span, why))?;
        let touching = parts.windows(2).find_map(|pair| match pair {
            [Part::Argument(one), Part::Argument(other)] => Some((one, other)),
            _ => None,
        });
        if let Some((Argument { written: one, .. }, Argument { written: other, .. })) = touching {
            let why = format!(
                "nothing stands between `{one}` and `{other}`, so different arguments make one key: \
                 write something there, as `{one}:{other}`"
            );
            return Err(Error::new(span, why));
        }
        Ok(Template { span, parts })
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Whether all of what the argument `name` is comes out in the key, at least if it is a number.
    pub(crate) fn has_whole(&self, name: &str) -> bool {
        self.whole(name).is_some_and(|whole| whole != Whole::No)
    }

    /// As it can best be told, where it stands several times. `None`: it is not there.
    pub(crate) fn whole(&self, name: &str) -> Option<Whole> {
        self.arguments()
            .filter(|argument| argument.name == name)
            .map(|argument| argument.whole)
            .max()
    }

    /// Whether it is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.arguments().any(|argument| argument.name == name)
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let last = self.parts.iter().rposition(|part| matches!(part, Part::Argument(_)));
        self.parts.iter().enumerate().map(move |(place, part)| match part {
            Part::Text(text) => Piece::Text(text),
            Part::Argument(argument) => {
                let text = |place: Option<usize>| match self.parts.get(place?)? {
                    Part::Text(text) => Some(text),
                    Part::Argument(_) => None,
                };
                let after = Some(place + 1).filter(|_| Some(place) != last);
                let after = text(after).and_then(|text| text.chars().next());
                let before = text(place.checked_sub(1)).and_then(|text| text.chars().next_back());
                let before =
                    before.filter(|border| is_delimiter(*border) && Some(*border) != after);
                // The last one is encoded last.
                Piece::Argument { argument, borders: before.into_iter().chain(after).collect() }
            }
        })
    }

    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Argument(argument) => Some(argument),
        })
    }
}

/// Whether it never comes out of a value for which it is encoded: what is written for it has none.
pub(crate) fn is_delimiter(border: char) -> bool {
    border.is_ascii_punctuation() && !['%', '~'].contains(&border)
}

fn parts(text: &str) -> std::result::Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(place);
        plain.push_str(before);
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            plain.push_str(&from[..1]);
            rest = after;
            continue;
        }
        let end = from.find('}').filter(|_| from.starts_with('{'));
        let end = end.ok_or("a brace stands alone: write {{ or }} for one that is meant")?;
        let (written, after) = from.split_at(end + 1);
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Argument(argument(written)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

fn argument(written: &str) -> std::result::Result<Argument, String> {
    let inside = &written[1..written.len() - 1];
    let (name, spec) = inside.split_once(':').unwrap_or((inside, ""));
    let name = name.trim();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!("`{written}` has no name: write that of an argument, as {{id}}"));
    }
    // A fill character may be any, the point of a precision included: `{a:.>8}`.
    let spec = match spec.char_indices().nth(1) {
        Some((at, '<' | '^' | '>')) => &spec[at..],
        _ => spec,
    };
    let spec = spec.trim_start_matches(['<', '^', '>', '+', '-', '#', ' ']);
    let is_zeroed = spec.starts_with('0') && !spec.contains('$');
    let has_width = spec.starts_with(|first: char| first.is_ascii_digit()) || spec.contains('$');
    let whole = if spec.contains('.') || spec.trim_end().ends_with('p') || (has_width && !is_zeroed)
    {
        Whole::No
    } else if is_zeroed {
        Whole::IfNumber
    } else {
        Whole::Yes
    };
    Ok(Argument { name: name.to_owned(), written: written.to_owned(), whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template> {
        Template::parse(&LitStr::new(text, Span::call_site()))
    }

    #[test]
    fn a_template_is_taken_apart_as_format_does() {
        let template = template("a{{b}}:{id:04} of {lang}").unwrap();
        assert!(template.has_whole("id") && template.has_whole("lang") && !template.has("b"));
        let borders: Vec<_> = template
            .pieces()
            .filter_map(|piece| match piece {
                Piece::Text(_) => None,
                Piece::Argument { borders, .. } => Some(borders),
            })
            .collect();
        assert_eq!(borders, [vec![':', ' '], vec![]]);
    }

    #[test]
    fn a_precision_cuts_a_width_blurs_and_zeros_are_for_numbers() {
        for (written, whole) in [
            ("{a}", Whole::Yes),
            ("{a:?}", Whole::Yes),
            ("{a:.3}", Whole::No),
            ("{a:08.3}", Whole::No),
            ("{a:.1$}", Whole::No),
            ("{a:#?}", Whole::Yes),
            ("{a:x}", Whole::Yes),
            ("{a:>}", Whole::Yes),
            ("{a:08}", Whole::IfNumber),
            ("{a:#010x}", Whole::IfNumber),
            ("{a:8}", Whole::No),
            ("{a:>8}", Whole::No),
            ("{a:.>8}", Whole::No),
            ("{a:0>8}", Whole::No),
            ("{a:8?}", Whole::No),
            ("{a:w$}", Whole::No),
            ("{a:0w$}", Whole::No),
            ("{a:.>8.2}", Whole::No),
            ("{a:08?}", Whole::IfNumber),
            ("{a:e}", Whole::Yes),
            ("{a:p}", Whole::No),
            ("{a:#p}", Whole::No),
            ("{a:018p}", Whole::No),
            ("{a:8}{{}}{a:08}", Whole::IfNumber),
            ("{a:08}:{a}", Whole::Yes),
        ] {
            assert_eq!(template(written).unwrap().whole("a"), Some(whole), "{written}");
            assert!(template(written).unwrap().has("a"));
        }
    }

    #[test]
    fn what_makes_no_key_is_refused() {
        for wrong in ["{", "}", "a{", "{a", "a}b", "{}", "{0}", "{:?}", "{a}{b}", "x{a}{b:?}y"] {
            assert!(template(wrong).is_err(), "{wrong}");
        }
        assert!(template("").is_ok() && template("{a}{{{b}").is_ok());
    }
}
