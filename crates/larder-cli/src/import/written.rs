//! Written: tables of a `larder.toml` as text.

use std::fmt::Write;

/// One table, with comments before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// With its brackets: `[[route]]`.
    head: String,
    comments: Vec<String>,
    /// Keys with their values as TOML.
    rows: Vec<(String, String)>,
}

impl Table {
    pub(super) fn new(head: &str) -> Table {
        Table { head: head.to_owned(), ..Table::default() }
    }

    pub(super) fn comment(&mut self, text: impl Into<String>) {
        self.comments.push(text.into());
    }

    pub(super) fn row(&mut self, key: &str, value: impl Into<String>) {
        self.rows.push((key.to_owned(), value.into()));
    }

    pub(super) fn rows(&mut self, rows: &[(String, String)]) {
        self.rows.extend_from_slice(rows);
    }

    pub(super) fn says_something(&self) -> bool {
        !self.rows.is_empty() || !self.comments.is_empty()
    }

    pub(super) fn write(&self, to: &mut String) {
        to.push('\n');
        for comment in &self.comments {
            comment_lines(comment, to);
        }
        line(to, &self.head);
        for (key, value) in &self.rows {
            line(to, &format!("{key} = {value}"));
        }
    }
}

/// A comment, on as many lines as it has.
pub(super) fn comment_lines(text: &str, to: &mut String) {
    for part in text.lines() {
        line(to, format!("# {}", plain(part)).trim_end());
    }
}

fn line(to: &mut String, text: &str) {
    writeln!(to, "{text}").expect("a text takes what is written");
}

/// Control characters may not stand in a comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(c)).expect("a text takes what is written");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// Keys and values on one line.
pub(super) fn inline<T: AsRef<str>>(rows: impl IntoIterator<Item = (T, String)>) -> String {
    let rows = rows.into_iter().map(|(key, value)| format!("{} = {value}", quoted(key.as_ref())));
    format!("{{ {} }}", rows.collect::<Vec<_>>().join(", "))
}
