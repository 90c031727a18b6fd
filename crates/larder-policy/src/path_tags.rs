//! Path tags: tags that a policy gives to answers, beside those that they name themselves.

use std::fmt;

use http::Uri;

use crate::{path::PathPattern, uri};

/// Tags, some of them with a part of the path in them: `posts`, `post:{id}`. By default none.
///
/// ```
/// use larder_policy::{path::PathPattern, path_tags::PathTags};
///
/// let path = PathPattern::parse("/posts/{id}")?;
/// let tags = PathTags::new(Some(path), &["posts", "post:{id}"])?;
/// let uri = "http://example.org/posts/7".parse().expect("a URI");
/// assert_eq!(tags.of(&uri), ["posts".to_owned(), "post:7".to_owned()]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTags {
    path: Option<PathPattern>,
    templates: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Name(Box<str>),
}

/// More are more than anybody purges by.
const MOST: usize = 32;

impl PathTags {
    /// `path` is where the names in them stand.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, for whom has written it.
    pub fn new(path: Option<PathPattern>, texts: &[impl AsRef<str>]) -> Result<PathTags, String> {
        if texts.is_empty() {
            return Ok(PathTags::default());
        }
        if texts.len() > MOST {
            return Err(format!("an answer has at most {MOST} tags by a rule"));
        }
        let known: Vec<&str> = path.iter().flat_map(PathPattern::names).collect();
        let templates = texts.iter().map(|text| template(text.as_ref(), &known));
        Ok(PathTags { templates: templates.collect::<Result<_, _>>()?, path })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// The tags of answers for this URI, what stands for a name in them [as services read it](uri::as_read). One with a name is left out where the path does not fit the pattern.
    pub fn of(&self, uri: &Uri) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let path = uri::path_as_read(uri);
        let value = |name: &str| self.path.as_ref()?.value(name, &path);
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.to_string()),
            // No tag has a comma.
            Piece::Name(name) => value(name).map(|value| value.replace(',', "%2C")),
        };
        self.templates.iter().filter_map(|pieces| pieces.iter().map(text).collect()).collect()
    }
}

fn template(text: &str, known: &[&str]) -> Result<Vec<Piece>, String> {
    if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b',') {
        return Err(format!("{text:?} can be no tag: those have no spaces and no commas"));
    }
    let mut pieces = Vec::new();
    let mut left = text;
    while let Some((before, rest)) = left.split_once('{') {
        let Some((name, after)) = rest.split_once('}') else {
            return Err(format!("{text:?}: a {{ without its }}"));
        };
        if !known.contains(&name) {
            return Err(match known {
                [] => format!(
                    "{text:?}: no path says what {{{name}}} is: path = \"/posts/{{{name}}}\""
                ),
                known => {
                    format!("{text:?}: the path has no {{{name}}}, but {{{}}}", known.join("}, {"))
                }
            });
        }
        pieces.push(Piece::Text(before.into()));
        pieces.push(Piece::Name(name.into()));
        left = after;
    }
    if left.contains('}') {
        return Err(format!("{text:?}: a }} without its {{"));
    }
    pieces.push(Piece::Text(left.into()));
    pieces.retain(|piece| *piece != Piece::Text(Box::default()));
    Ok(pieces)
}

impl fmt::Display for PathTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pieces) in self.templates.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            for piece in pieces {
                match piece {
                    Piece::Text(text) => f.write_str(text)?,
                    Piece::Name(name) => write!(f, "{{{name}}}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(path: Option<&str>, texts: &[&str]) -> Result<PathTags, String> {
        PathTags::new(path.map(|path| PathPattern::parse(path).unwrap()), texts)
    }

    #[test]
    fn a_name_is_replaced_by_what_stands_in_its_place() {
        let tags =
            tags(Some("/{shop}/**/{id}.html"), &["all", "shop:{shop}", "{shop}/{id}"]).unwrap();
        let of = |uri: &str| tags.of(&uri.parse().unwrap());
        assert_eq!(of("http://a/one/x/7.html"), ["all", "shop:one", "one/7"]);
        assert_eq!(of("http://a/%6Fne/y/../x/7.html?q=1"), ["all", "shop:one", "one/7"]);
        assert_eq!(of("http://a/else"), ["all"]);
    }

    #[test]
    fn what_no_path_names_is_refused() {
        for (path, text) in [
            (None, "post:{id}"),
            (Some("/posts/{id}"), "post:{ID}"),
            (Some("/posts/{id}"), "post:{id"),
            (Some("/posts/{id}"), "post:id}"),
            (None, ""),
            (None, "two words"),
            (None, "a,b"),
        ] {
            assert!(tags(path, &[text]).is_err(), "{text}");
        }
    }
}
