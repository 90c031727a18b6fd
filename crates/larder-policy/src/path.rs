//! Path: patterns of paths, and what stands in a path where a pattern has a name.

use crate::uri;

/// Paths: literal parts, `{id}` and `*` for one or more characters up to the next slash, and `**`, once, for any
/// number of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// Before `**`, or all of them.
    head: Vec<Part>,
    /// After `**`, if there is one.
    tail: Option<Vec<Part>>,
}

/// What paths have behind the literal parts that all paths of a pattern begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Anything, or nothing.
    Anything,
    /// So many parts, with any text in each.
    Parts(usize),
    /// Something that has to be looked at.
    Other,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// Texts, between each two of which there is at least one character; and for each such place its name, which is
    /// empty for `*`.
    Glob(Vec<Box<str>>, Vec<Box<str>>),
}

/// Percent-encodings as paths have them when they are compared: in capitals, and none that need not be.
fn as_in_keys(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    uri::push_normal(text.as_bytes(), |byte| bytes.push(byte)).map_err(|_stray| {
        "a percent sign stands before two hex digits, as in %20, or is written %25".to_owned()
    })?;
    Ok(String::from_utf8(bytes).expect("ASCII stays ASCII"))
}

impl PathPattern {
    /// Percent-encodings are taken in any spelling, and paths are compared [as services read them](uri::as_read).
    ///
    /// # Errors
    ///
    /// What is wrong with it, for whom has written it.
    pub fn parse(text: &str) -> Result<PathPattern, String> {
        if text.contains("://") {
            return Err("say the path only, and the host with host = \"…\"".to_owned());
        }
        if text.contains(['^', '$']) {
            return Err(
                "this is a regular expression: patterns have only {name}, * and **".to_owned()
            );
        }
        let Some(parts) = text.strip_prefix('/') else {
            return Err(format!("a path begins with a slash: \"/{text}\""));
        };
        if let Some(other) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(format!("paths end before the {other}"));
        }
        let odd = |c: &char| !c.is_ascii_graphic() || r#"\"<>[]^`|()"#.contains(*c);
        if let Some(odd) = text.chars().find(odd) {
            return Err(format!(
                "{odd:?} does not stand in a path: it is percent-encoded there, and patterns have only {{name}}, \
                 * and **"
            ));
        }
        let parts = as_in_keys(parts)?;
        let mut names = Vec::new();
        let mut pattern = PathPattern { head: Vec::new(), tail: None };
        for part in parts.split('/') {
            if matches!(part, "." | "..") {
                return Err(format!("no path has {part:?} in it: services take it out"));
            }
            if part == "**" {
                if pattern.tail.replace(Vec::new()).is_some() {
                    return Err("** may stand in a path once".to_owned());
                }
                continue;
            }
            let part = Part::parse(part, &mut names)?;
            pattern.tail.as_mut().unwrap_or(&mut pattern.head).push(part);
        }
        Ok(pattern)
    }

    /// `path` begins with a slash, and is written [as services read it](uri::path_as_read).
    pub fn fits(&self, path: &str) -> bool {
        self.fits_behind(0, path)
    }

    /// Whether it fits a path that begins with so many parts of its [literal head](Self::literal_head), as somebody has
    /// found already. `rest` is what comes after them: nothing, or it begins with a slash.
    #[inline]
    pub fn fits_behind(&self, parts: usize, rest: &str) -> bool {
        // What is left of the path, from a slash on.
        let mut left = rest.as_bytes();
        for part in self.head.get(parts..).unwrap_or_default() {
            match part.taken_from(left) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        let Some(tail) = &self.tail else { return left.is_empty() };
        for part in tail.iter().rev() {
            let Some(slash) = left.iter().rposition(|&byte| byte == b'/') else { return false };
            if !part.fits(&left[slash + 1..]) {
                return false;
            }
            left = &left[..slash];
        }
        left.is_empty() || left[0] == b'/'
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let parts = self.head.iter().chain(self.tail.iter().flatten());
        let names = parts.flat_map(|part| match part {
            Part::Literal(_) => &[][..],
            Part::Glob(_, names) => &names[..],
        });
        names.map(|name| &**name).filter(|name| !name.is_empty())
    }

    /// What stands in `path` where the pattern has this name. `None`: there is no such name, or the path does not fit.
    pub fn value<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        if !self.fits(path) {
            return None;
        }
        let parts = path.split('/').skip(1);
        let value = |(part, text): (&Part, &'p str)| match part {
            Part::Glob(texts, names) => {
                let place = names.iter().position(|own| **own == *name)?;
                let mut value = None;
                wild_ones(texts, text.as_bytes(), |at, wild| {
                    value = (at == place).then_some(wild).or(value);
                });
                str::from_utf8(value?).ok()
            }
            Part::Literal(_) => None,
        };
        let in_head = self.head.iter().zip(parts.clone()).find_map(value);
        let from_end = self.tail.iter().flat_map(|tail| tail.iter().rev());
        in_head.or_else(|| from_end.zip(path.rsplit('/')).find_map(value))
    }

    /// The path that it is for, if that is one only.
    pub fn literal(&self) -> Option<String> {
        let text = |part: &Part| match part {
            Part::Literal(text) => Some(format!("/{text}")),
            Part::Glob(..) => None,
        };
        if self.tail.is_some() { None } else { self.head.iter().map(text).collect() }
    }

    /// What all paths that it is for begin with, in whole parts, `most` of them at most: how many there are, and these with
    /// a slash before each.
    pub fn literal_head(&self, most: usize) -> (usize, String) {
        let texts = self.head.iter().take(most).map_while(|part| match part {
            Part::Literal(text) => Some(text),
            Part::Glob(..) => None,
        });
        texts.fold((0, String::new()), |(count, head), text| (count + 1, format!("{head}/{text}")))
    }

    /// What comes behind so many parts of its [literal head](Self::literal_head).
    pub fn rest(&self, parts: usize) -> Rest {
        let behind = self.head.get(parts..).unwrap_or_default();
        match &self.tail {
            Some(tail) if tail.is_empty() && behind.is_empty() => Rest::Anything,
            None if behind.iter().all(Part::is_any) => Rest::Parts(behind.len()),
            _ => Rest::Other,
        }
    }

    /// Whether it fits whatever `other` fits. Not each pair is seen for which that is so.
    pub fn covers(&self, other: &PathPattern) -> bool {
        let covers = |ours: &[Part], theirs: &[Part]| {
            ours.iter().zip(theirs).all(|(our, their)| our.covers(their))
        };
        match (&self.tail, &other.tail) {
            (None, Some(_)) => false,
            (None, None) => self.head.len() == other.head.len() && covers(&self.head, &other.head),
            (Some(tail), their_tail) => {
                let none = Vec::new();
                let (head, their_end) = match their_tail {
                    Some(end) => (&other.head, end),
                    None => (&other.head, &none),
                };
                if their_tail.is_none() {
                    return head.len() >= self.head.len() + tail.len()
                        && covers(&self.head, head)
                        && covers(tail, &head[head.len() - tail.len()..]);
                }
                head.len() >= self.head.len()
                    && covers(&self.head, head)
                    && their_end.len() >= tail.len()
                    && covers(tail, &their_end[their_end.len() - tail.len()..])
            }
        }
    }
}

impl Part {
    fn parse(text: &str, names: &mut Vec<String>) -> Result<Part, String> {
        let mut texts = vec![String::new()];
        let mut own_names = Vec::new();
        let mut left = text;
        while let Some(at) = left.find(['*', '{', '}']) {
            let (before, rest) = left.split_at(at);
            let was_wild = texts.len() > 1 && texts.last().is_some_and(String::is_empty);
            if let Some(text) = texts.last_mut() {
                text.push_str(before);
            }
            if was_wild && before.is_empty() {
                return Err(match rest.starts_with('*') {
                    true => "** stands alone between two slashes".to_owned(),
                    false => "between two {names} or * there is a text".to_owned(),
                });
            }
            left = match rest.as_bytes()[0] {
                b'*' => {
                    own_names.push(Box::default());
                    &rest[1..]
                }
                b'{' => {
                    let Some((name, after)) = rest[1..].split_once('}') else {
                        return Err("a { without its }".to_owned());
                    };
                    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                    if name.is_empty() || !name.bytes().all(is_name) {
                        return Err(format!(
                            "{{{name}}} is no name: those have letters, digits and _"
                        ));
                    }
                    if names.iter().any(|taken| taken == name) {
                        return Err(format!("{{{name}}} stands there twice"));
                    }
                    names.push(name.to_owned());
                    own_names.push(name.into());
                    after
                }
                _ => return Err("a } without its {".to_owned()),
            };
            texts.push(String::new());
        }
        if let Some(text) = texts.last_mut() {
            text.push_str(left);
        }
        let mut texts = texts.into_iter().map(|text| Box::from(&*uri::as_read(&text)));
        let first = texts.next().unwrap_or_default();
        let others: Vec<_> = texts.collect();
        match others.is_empty() {
            true => Ok(Part::Literal(first)),
            false => Ok(Part::Glob([vec![first], others].concat(), own_names)),
        }
    }

    /// What is left of `path`, which begins with a slash or is empty, behind this part.
    #[inline]
    fn taken_from<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let (&b'/', rest) = path.split_first()? else { return None };
        match self {
            // A path that is read once, and not looked through for slashes first.
            Part::Literal(literal) => {
                let left = rest.strip_prefix(literal.as_bytes())?;
                (left.is_empty() || left[0] == b'/').then_some(left)
            }
            Part::Glob(..) => {
                let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
                let (text, left) = rest.split_at(end);
                self.fits(text).then_some(left)
            }
        }
    }

    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Part::Literal(literal) => literal.as_bytes() == text,
            Part::Glob(texts, _) => wild_ones(texts, text, |_, _| {}),
        }
    }

    /// Whether it fits any text.
    fn is_any(&self) -> bool {
        matches!(self, Part::Glob(texts, _) if texts.len() == 2 && texts.iter().all(|text| text.is_empty()))
    }

    fn covers(&self, other: &Part) -> bool {
        match (self, other) {
            (_, Part::Literal(text)) => self.fits(text.as_bytes()),
            (Part::Literal(_), Part::Glob(..)) => false,
            (Part::Glob(ours, _), Part::Glob(theirs, _)) => ours == theirs || self.is_any(),
        }
    }
}

/// Whether `text` is these texts with something between each two of them, which `found` is given with its place.
/// Where it is not, what was given counts for nothing.
fn wild_ones<'t>(
    texts: &[Box<str>],
    text: &'t [u8],
    mut found: impl FnMut(usize, &'t [u8]),
) -> bool {
    let [first, between @ .., last] = texts else { return false };
    let Some(mut left) = text.strip_prefix(first.as_bytes()) else { return false };
    for (place, text) in between.iter().enumerate() {
        // The earliest place leaves the most for what comes after. One character at least is the wild one's.
        let text = text.as_bytes();
        let mut places = left.windows(text.len()).skip(1);
        let Some(at) = places.position(|window| window == text) else { return false };
        found(place, &left[..=at]);
        left = &left[at + 1 + text.len()..];
    }
    let Some(wild) = left.strip_suffix(last.as_bytes()) else { return false };
    found(between.len(), wild);
    !wild.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_what_it_says_and_nothing_else() {
        for (pattern, path, does_fit) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/posts", "/posts", true),
            ("/posts", "/posts/", false),
            ("/posts", "/Posts", false),
            ("/posts/{id}", "/posts/1", true),
            ("/posts/{id}", "/posts/", false),
            ("/posts/{id}", "/posts/1/2", false),
            ("/posts/{id}.html", "/posts/1.html", true),
            ("/posts/{id}.html", "/posts/.html", false),
            ("/posts/{id}.html", "/posts/1.html.html", true),
            ("/{a}-{b}", "/x-y-z", true),
            ("/{a}-{b}", "/x-", false),
            ("/*.css", "/a.css", true),
            ("/*.css", "/b/a.css", false),
            ("/**", "/", true),
            ("/**", "/a/b/c", true),
            ("/static/**", "/static", true),
            ("/static/**", "/static/", true),
            ("/static/**", "/static/a/b", true),
            ("/static/**", "/staticx", false),
            ("/**/*.css", "/a/b/c.css", true),
            ("/**/*.css", "/c.css", true),
            ("/**/*.css", "/a/c.js", false),
            ("/a/**/b", "/a/b", true),
            ("/a/**/a", "/a", false),
        ] {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(path), does_fit, "{pattern} {path}");
        }
    }

    #[test]
    fn a_name_stands_for_what_is_in_its_place() {
        for (pattern, name, path, value) in [
            ("/posts/{id}", "id", "/posts/17", Some("17")),
            ("/posts/{id}", "id", "/posts/", None),
            ("/posts/{id}", "other", "/posts/17", None),
            ("/{a}-{b}.html", "a", "/x-y-z.html", Some("x")),
            ("/{a}-{b}.html", "b", "/x-y-z.html", Some("y-z")),
            ("/{shop}/**/{id}", "shop", "/one/a/b/2", Some("one")),
            ("/{shop}/**/{id}", "id", "/one/a/b/2", Some("2")),
            ("/{shop}/**/{id}", "id", "/one/2", Some("2")),
            ("/**/v{id}/x", "id", "/a/v7/x", Some("7")),
        ] {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.value(name, path), value, "{pattern} {name} {path}");
        }
        let names = PathPattern::parse("/{a}/*/{b}-{c}/**/{d}").unwrap();
        assert_eq!(names.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn one_pattern_covers_another_only_if_it_fits_all_that_it_fits() {
        for (one, other, does_cover) in [
            ("/**", "/a/{b}", true),
            ("/**", "/**", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/**", true),
            ("/a/b/**", "/a/**", false),
            ("/{a}", "/b", true),
            ("/{a}", "/{b}", true),
            ("/{a}", "/{b}.css", true),
            ("/*.css", "/{b}", false),
            ("/*.css", "/b.css", true),
            ("/b", "/{a}", false),
            ("/**/*.css", "/a/**/*.css", true),
            ("/**/a/b", "/**/b", false),
            ("/{a}", "/**", false),
        ] {
            let [one_parsed, other_parsed] =
                [one, other].map(|text| PathPattern::parse(text).unwrap());
            assert_eq!(one_parsed.covers(&other_parsed), does_cover, "{one} {other}");
        }
    }
}
