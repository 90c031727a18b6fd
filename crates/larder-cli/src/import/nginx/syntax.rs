//! Syntax: nginx's words, quotes and blocks, each with its place.

use std::{fmt, path::Path, rc::Rc};

/// Blocks in blocks. nginx itself has four kinds that stand in each other.
const DEEPEST: usize = 32;

/// A directive with its words, and its block if it has one.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) place: Place,
    /// Its number in the whole of all files.
    pub(super) number: usize,
}

impl Directive {
    /// The first word behind its name.
    pub(super) fn word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn block(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it stands there, as far as it fits on a line.
    pub(super) fn shown(&self) -> String {
        const MOST: usize = 60;
        let mut words = vec![self.name.as_str()];
        words.extend(self.words.iter().map(String::as_str));
        let whole = words.join(" ").replace(|c: char| c.is_control(), " ");
        match whole.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", &whole[..end]),
            None => whole,
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Rc<Path>,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub(crate) struct Wrong {
    pub(super) place: String,
    pub(super) what: String,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

struct Reader<'t> {
    file: Rc<Path>,
    left: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
}

/// The directives of a text.
pub(super) fn parse(file: &Rc<Path>, text: &str) -> Result<Vec<Directive>, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { file: Rc::clone(file), left: text.chars().peekable(), line: 1 };
    reader.directives(0)
}

impl Reader<'_> {
    fn directives(&mut self, depth: usize) -> Result<Vec<Directive>, Wrong> {
        let mut directives = Vec::new();
        if depth > DEEPEST {
            return Err(self.wrong(format!("more than {DEEPEST} blocks in each other")));
        }
        loop {
            let token = self.token()?;
            let place = Place { file: Rc::clone(&self.file), line: self.line };
            let name = match token {
                Token::Word(name) => name,
                Token::End if depth == 0 => return Ok(directives),
                Token::End => return Err(self.wrong("the file ends in a block: } is missing")),
                Token::Close if depth > 0 => return Ok(directives),
                Token::Close => return Err(self.wrong("this } closes nothing")),
                Token::Semicolon => return Err(self.wrong("a ; with nothing before it")),
                Token::Open => return Err(self.wrong("a { with nothing before it")),
            };
            let mut words = Vec::new();
            let block = loop {
                match self.token()? {
                    Token::Word(word) => words.push(word),
                    Token::Semicolon => break None,
                    // What stands in it is another language.
                    Token::Open if name.ends_with("_by_lua_block") => {
                        self.skip_block()?;
                        break Some(Vec::new());
                    }
                    Token::Open => break Some(self.directives(depth + 1)?),
                    Token::Close | Token::End => {
                        let what =
                            format!("{name} of line {} does not end: ; is missing", place.line);
                        return Err(self.wrong(what));
                    }
                }
            };
            directives.push(Directive { name, words, block, place, number: 0 });
        }
    }

    fn token(&mut self) -> Result<Token, Wrong> {
        while let Some(&c) = self.left.peek() {
            match c {
                '#' => while self.left.next_if(|&c| c != '\n').is_some() {},
                c if c.is_ascii_whitespace() => {
                    self.next();
                }
                ';' => return self.single(Token::Semicolon),
                '{' => return self.single(Token::Open),
                '}' => return self.single(Token::Close),
                '"' | '\'' => return self.quoted(c),
                _ => return Ok(self.bare()),
            }
        }
        Ok(Token::End)
    }

    fn single(&mut self, token: Token) -> Result<Token, Wrong> {
        self.next();
        Ok(token)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.left.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Wrong> {
        let began = self.line;
        self.next();
        let mut word = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => break,
                Some('\\') => self.escaped(&mut word),
                Some(c) => word.push(c),
                None => return Err(self.wrong(format!("the quote of line {began} does not end"))),
            }
        }
        let ends = |c: &char| c.is_ascii_whitespace() || matches!(c, ';' | '{' | ')');
        match self.left.peek().copied() {
            Some(c) if !ends(&c) => {
                Err(self.wrong(format!("{c:?} stands right behind a closing quote")))
            }
            _ => Ok(Token::Word(word)),
        }
    }

    fn bare(&mut self) -> Token {
        let mut word = String::new();
        while let Some(&c) = self.left.peek() {
            let is_of_variable = c == '{' && word.ends_with('$');
            if c.is_ascii_whitespace() || c == ';' || (c == '{' && !is_of_variable) {
                break;
            }
            self.next();
            match c {
                '\\' => self.escaped(&mut word),
                c => word.push(c),
            }
        }
        Token::Word(word)
    }

    /// What stands behind a backslash. In regular expressions most of them stay.
    fn escaped(&mut self, word: &mut String) {
        match self.next() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => word.extend(['\\', c]),
            None => word.push('\\'),
        }
    }

    fn skip_block(&mut self) -> Result<(), Wrong> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next() {
                Some('{') => open += 1,
                Some('}') => open -= 1,
                Some(_) => {}
                None => return Err(self.wrong("the file ends in a block: } is missing")),
            }
        }
        Ok(())
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        let place = Place { file: Rc::clone(&self.file), line: self.line };
        Wrong { place: place.to_string(), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Directive>, Wrong> {
        parse(&Rc::from(Path::new("nginx.conf")), text)
    }

    #[test]
    fn words_quotes_and_blocks_are_read_as_nginx_reads_them() {
        let text = "# a comment\nserver { listen 80; # another\n add_header X \"a; {b}\" ; set $a ${b}c;\n \
                    location ~ \\.php$ { } a 'it\\'s' \"\\d\\\"\"; }";
        let directives = parsed(text).unwrap();
        let block = directives[0].block();
        let shown: Vec<_> = block.iter().map(|one| (one.place.line, one.words.join("|"))).collect();
        let expected =
            [(2, "80"), (3, "X|a; {b}"), (3, "$a|${b}c"), (4, "~|\\.php$"), (4, "it's|\\d\"")];
        assert_eq!(shown, expected.map(|(line, words)| (line, words.to_owned())));
        assert!(block[3].block.is_some() && block[2].block.is_none());
        let lua =
            parsed("location / { content_by_lua_block { if a then b = {1} end; } } x 1;").unwrap();
        assert_eq!((lua[0].block().len(), lua[1].name.as_str()), (1, "x"));
    }

    #[test]
    fn what_is_no_syntax_is_told_with_its_place() {
        for (text, told) in [
            ("a\n{", "nginx.conf:2: the file ends in a block: } is missing"),
            ("}", "nginx.conf:1: this } closes nothing"),
            ("a 1;\n\nb 2", "nginx.conf:3: b of line 3 does not end: ; is missing"),
            ("a { b 1 }", "nginx.conf:1: b of line 1 does not end: ; is missing"),
            (";", "nginx.conf:1: a ; with nothing before it"),
            ("{", "nginx.conf:1: a { with nothing before it"),
            ("a \"b", "nginx.conf:1: the quote of line 1 does not end"),
            ("a \"b\"c;", "nginx.conf:1: 'c' stands right behind a closing quote"),
            ("a_by_lua_block { {", "nginx.conf:1: the file ends in a block: } is missing"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), told, "{text:?}");
        }
        let deep = parsed(&"a {".repeat(10_000)).unwrap_err().to_string();
        assert!(deep.contains("more than 32 blocks"), "{deep}");
    }
}
