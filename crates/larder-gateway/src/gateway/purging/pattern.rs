//! Pattern: the regular expressions by which applications ban, as what can be purged: names, or patterns with stars.
//!
//! Nothing is looked at by a regular expression here. What one says is said as a pattern that fits all that it fits; where
//! a star is too wide for it, more is purged, and never less.

/// More names or patterns than this in one expression are refused.
const MOST: usize = 1000;

/// Why an expression is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPattern {
    #[error("its brackets do not close")]
    Unbalanced,
    #[error("it has more alternatives than the {MOST} of one request")]
    TooMany,
    #[error(
        "it is no list of tags: only tags with | between, and what stands for the commas around them"
    )]
    NoTags,
}

/// Where an expression counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// It fits what begins so.
    AtTheStart,
    /// It fits what it occurs in, unless it says `^`.
    Anywhere,
}

/// What the tags' field of a ban names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    Everything,
    These(Vec<String>),
}

/// Tags with `|` between, as FOSHttpCache (`(^|,)(a|b)(,|$)`), Magento (`((^|,)a(,|$))|((^|,)b(,|$))`) and others (`a|b`)
/// write them. `splits` are the bytes that part tags besides.
pub(super) fn tags(text: &str, splits: &[char]) -> Result<Tags, NoPattern> {
    /// What stands for the comma before a tag, and for that behind it.
    const AROUND: [&str; 6] = ["(?:^|,)", "(^|,)", "(?:,|$)", "(,|$)", "(,.+)?$", "(?:,.+)?$"];
    if [".*", ".+", "*", ".", "^.*$"].contains(&text.trim()) {
        return Ok(Tags::Everything);
    }
    let bare = AROUND.iter().fold(text.to_owned(), |text, around| text.replace(around, ""));
    let mut tags = vec![String::new()];
    let mut open = 0_usize;
    let mut chars = bare.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                let escaped = chars.next().filter(|char| !char.is_ascii_alphanumeric());
                tags.last_mut().ok_or(NoPattern::NoTags)?.push(escaped.ok_or(NoPattern::NoTags)?);
            }
            '(' => open += 1,
            ')' => open = open.checked_sub(1).ok_or(NoPattern::Unbalanced)?,
            '|' => tags.push(String::new()),
            char if splits.contains(&char) => tags.push(String::new()),
            '*' | '+' | '?' | '[' | ']' | '{' | '}' | '^' | '$' => return Err(NoPattern::NoTags),
            char => tags.last_mut().ok_or(NoPattern::NoTags)?.push(char),
        }
    }
    tags.retain(|tag| !tag.trim().is_empty());
    match tags.len() {
        _ if open > 0 => Err(NoPattern::Unbalanced),
        0 => Err(NoPattern::NoTags),
        1..=MOST => Ok(Tags::These(tags.iter().map(|tag| tag.trim().to_owned()).collect())),
        _ => Err(NoPattern::TooMany),
    }
}

/// Patterns with stars that fit, together, all that `text` fits.
pub(super) fn globs(text: &str, begins: Begins) -> Result<Vec<String>, NoPattern> {
    let is_anchored = begins == Begins::AtTheStart;
    let globs: Vec<_> = alternatives(text)?
        .into_iter()
        .map(|alternative| glob(alternative, is_anchored))
        .collect::<Result<_, _>>()?;
    if globs.len() > MOST { Err(NoPattern::TooMany) } else { Ok(globs) }
}

/// Those of the whole expression: `a|b`, and `^(a|b)$`, which is `^a$|^b$`.
fn alternatives(text: &str) -> Result<Vec<String>, NoPattern> {
    let begun = text.strip_prefix('^');
    let (start, rest) = (if begun.is_some() { "^" } else { "" }, begun.unwrap_or(text));
    let ended = rest.strip_suffix('$').filter(|rest| !rest.ends_with('\\'));
    let (end, rest) = (if ended.is_some() { "$" } else { "" }, ended.unwrap_or(rest));
    let grouped = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let grouped = grouped.map(|rest| rest.strip_prefix("?:").unwrap_or(rest));
    match grouped.map(split) {
        Some(Ok(each)) => Ok(each.into_iter().map(|one| format!("{start}{one}{end}")).collect()),
        // The brackets at its ends are not those of one group.
        Some(Err(_)) | None => Ok(split(text)?.into_iter().map(str::to_owned).collect()),
    }
}

/// At each `|` that is in no brackets.
fn split(text: &str) -> Result<Vec<&str>, NoPattern> {
    let (mut open, mut from, mut is_escaped) = (0_usize, 0, false);
    let mut each = Vec::new();
    for (at, char) in text.char_indices() {
        match char {
            _ if std::mem::take(&mut is_escaped) => {}
            '\\' => is_escaped = true,
            '(' => open += 1,
            ')' => open = open.checked_sub(1).ok_or(NoPattern::Unbalanced)?,
            '|' if open == 0 => {
                each.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    each.push(&text[from..]);
    if open == 0 { Ok(each) } else { Err(NoPattern::Unbalanced) }
}

fn glob(text: String, is_anchored: bool) -> Result<String, NoPattern> {
    let mut glob = String::new();
    let mut chars = text.chars().peekable();
    let is_anchored = chars.next_if_eq(&'^').is_some() || is_anchored;
    if !is_anchored {
        glob.push('*');
    }
    let mut ends_open = true;
    while let Some(char) = chars.next() {
        let mut atom = match char {
            '$' if chars.peek().is_none() => {
                ends_open = false;
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => escaped.to_string(),
                // A class of characters, or a place between two.
                _ => "*".to_owned(),
            },
            '[' => {
                skip(&mut chars, ']').ok_or(NoPattern::Unbalanced)?;
                "*".to_owned()
            }
            '(' => {
                skip(&mut chars, ')').ok_or(NoPattern::Unbalanced)?;
                "*".to_owned()
            }
            ')' => return Err(NoPattern::Unbalanced),
            '.' | '*' | '+' | '?' | '^' | '$' => "*".to_owned(),
            char => char.to_string(),
        };
        // What may come any number of times, or not at all.
        while chars.next_if(|char| ['*', '+', '?'].contains(char)).is_some() {
            "*".clone_into(&mut atom);
        }
        if chars.next_if_eq(&'{').is_some() {
            skip(&mut chars, '}').ok_or(NoPattern::Unbalanced)?;
            "*".clone_into(&mut atom);
        }
        if atom != "*" || !glob.ends_with('*') {
            glob += &atom;
        }
    }
    if ends_open && !glob.ends_with('*') {
        glob.push('*');
    }
    Ok(glob)
}

/// To behind what closes it, groups within it included.
fn skip(chars: &mut impl Iterator<Item = char>, close: char) -> Option<()> {
    let mut open = 1;
    loop {
        match chars.next()? {
            '\\' => drop(chars.next()?),
            '(' if close == ')' => open += 1,
            char if char == close => {
                open -= 1;
                if open == 0 {
                    return Some(());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use larder::Glob;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_tags_are_read_as_applications_write_them() {
        let these = |tags: &[&str]| Ok(Tags::These(tags.iter().map(ToString::to_string).collect()));
        let rows = [
            ("(^|,)(post\\-1|post\\:2)(,|$)", these(&["post-1", "post:2"])),
            ("(post\\-1|b)(,.+)?$", these(&["post-1", "b"])),
            ("((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))", these(&["cat_p_1", "cat_p"])),
            ("XXX|YYY|ZZZZ", these(&["XXX", "YYY", "ZZZZ"])),
            ("one", these(&["one"])),
            (".*", Ok(Tags::Everything)),
            ("*", Ok(Tags::Everything)),
            ("", Err(NoPattern::NoTags)),
            ("(|)", Err(NoPattern::NoTags)),
            ("a.*", Err(NoPattern::NoTags)),
            ("[ab]", Err(NoPattern::NoTags)),
            ("(a", Err(NoPattern::Unbalanced)),
            ("a)", Err(NoPattern::Unbalanced)),
            ("a\\", Err(NoPattern::NoTags)),
        ];
        for (text, expected) in rows {
            assert_eq!(tags(text, &[]), expected, "{text}");
        }
        assert_eq!(tags("a b|c", &[' ']), these(&["a", "b", "c"]));
        assert_eq!(tags(&"a|".repeat(1001), &[]), Err(NoPattern::TooMany));
    }

    #[test]
    fn expressions_become_patterns_that_are_no_narrower() {
        use Begins::{Anywhere, AtTheStart};
        type Row<'a> = (&'a str, Begins, Result<&'a [&'a str], NoPattern>);
        let rows: [Row<'_>; 17] = [
            (".*", Anywhere, Ok(&["*"])),
            ("/posts/.*", Anywhere, Ok(&["*/posts/*"])),
            ("/posts/.*", AtTheStart, Ok(&["/posts/*"])),
            ("^/posts/", Anywhere, Ok(&["/posts/*"])),
            ("^/posts/1$", Anywhere, Ok(&["/posts/1"])),
            ("\\.png$", Anywhere, Ok(&["*.png"])),
            ("^(a\\.example|b\\.example)$", Anywhere, Ok(&["a.example", "b.example"])),
            ("^(a)(b|c)$", Anywhere, Ok(&["*"])),
            ("/a/?$", AtTheStart, Ok(&["/a*"])),
            ("/[0-9]{4}/x", AtTheStart, Ok(&["/*/x*"])),
            ("/\\d+/x$", AtTheStart, Ok(&["/*/x"])),
            ("/(a|b)/c", AtTheStart, Ok(&["/*/c*"])),
            ("/a|/b", AtTheStart, Ok(&["/a*", "/b*"])),
            ("", Anywhere, Ok(&["*"])),
            ("(a", Anywhere, Err(NoPattern::Unbalanced)),
            ("[a", Anywhere, Err(NoPattern::Unbalanced)),
            ("a)", Anywhere, Err(NoPattern::Unbalanced)),
        ];
        for (text, begins, expected) in rows {
            let expected = expected.map(|each| each.iter().map(ToString::to_string).collect());
            assert_eq!(globs(text, begins), expected, "{text}");
        }
    }

    proptest! {
        /// With all that people write and with what they do not, it ends, and stays small.
        #[test]
        fn any_text_is_taken_or_refused(text in "[a-c/.*+?()|^$\\\\\\[\\]{}0-9]{0,40}") {
            for begins in [Begins::Anywhere, Begins::AtTheStart] {
                if let Ok(globs) = globs(&text, begins) {
                    for glob in globs {
                        prop_assert!(glob.len() <= text.len() + 2, "{glob:?} of {text:?}");
                    }
                }
            }
            tags(&text, &[]).ok();
        }

        /// Words and stars mean what they mean in regular expressions.
        #[test]
        fn what_the_expression_fits_the_pattern_fits(parts in prop::collection::vec("[a-c]{1,3}", 1..4), filled in prop::collection::vec("[a-c/]{0,3}", 4)) {
            let expression = parts.join(".*");
            let mut fits = parts[0].clone();
            for (part, fill) in parts[1..].iter().zip(&filled) {
                fits += fill;
                fits += part;
            }
            fits += &filled[3];
            let globs = globs(&expression, Begins::AtTheStart).unwrap();
            prop_assert!(globs.iter().any(|glob| Glob::new(glob).unwrap().fits(&fits)));
        }
    }
}
