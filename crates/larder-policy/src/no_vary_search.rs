//! `No-Vary-Search`: which parts of a query do not matter (draft-ietf-httpbis-no-vary-search).

use std::{borrow::Cow, fmt};

use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::{fields::Fields, list, uri};

/// How answers depend on the query of their URI. The default: on every byte of it.
///
/// A request answered with what is stored under another URI must be equivalent to it modulo the
/// variance *of that stored response*; [`essence`](NoVarySearch::essence) is equal for exactly those.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoVarySearch {
    params: Params,
    key_order_matters: bool,
}

/// Which parameters matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Params {
    AllBut(Vec<String>),
    Only(Vec<String>),
}

impl Default for NoVarySearch {
    fn default() -> Self {
        NoVarySearch { params: Params::AllBut(Vec::new()), key_order_matters: true }
    }
}

impl NoVarySearch {
    /// Reads the field of a response. Strict, as the draft wants it: whatever is not understood
    /// means that the whole query matters, which costs hits and nothing else. Keys that are not
    /// known are ignored.
    pub fn of<'a>(headers: impl Into<Fields<'a>>) -> NoVarySearch {
        NoVarySearch::parse(headers.into()).unwrap_or_default()
    }

    fn parse(headers: Fields<'_>) -> Option<NoVarySearch> {
        let field = list::lines(headers, "no-vary-search").collect::<Vec<_>>().join(&b", "[..]);
        let field: Dictionary = Parser::new(&field).parse().ok()?;
        let key_order_matters = match field.get("key-order") {
            Some(entry) => !boolean(entry)?,
            None => true,
        };
        let params = match (field.get("params"), field.get("except")) {
            (None, None) => Params::AllBut(Vec::new()),
            (Some(params), None) => match boolean(params) {
                Some(true) => Params::Only(Vec::new()),
                Some(false) => Params::AllBut(Vec::new()),
                None => Params::AllBut(keys(params)?),
            },
            (Some(params), Some(except)) if boolean(params) == Some(true) => {
                Params::Only(keys(except)?)
            }
            (_, Some(_)) => return None,
        };
        Some(NoVarySearch { params, key_order_matters })
    }

    /// Whether the whole query matters, so that two URIs are equivalent only if they are equal.
    pub fn is_default(&self) -> bool {
        self.key_order_matters && self.params == Params::AllBut(Vec::new())
    }

    /// What matters of a query (without its `?`), in one way of writing: equal for two queries if
    /// and only if URIs that differ in nothing else are equivalent modulo this variance. Visible
    /// ASCII.
    pub fn essence(&self, query: Option<&str>) -> String {
        if self.is_default() {
            // Here, and only here, no query differs from an empty one.
            return query.map_or(String::new(), |query| format!("={query}"));
        }
        let mut pairs: Vec<(String, String)> = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(key.as_bytes()), decoded(value.as_bytes()))
            })
            .filter(|(key, _)| match &self.params {
                Params::AllBut(keys) => !keys.contains(key),
                Params::Only(keys) => keys.contains(key),
            })
            .collect();
        if !self.key_order_matters {
            // Stable: values of one key keep their order. The draft compares code units of UTF-16,
            // but any order does that all caches of one kind agree on.
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut out = String::new();
        for (key, value) in pairs {
            if !out.is_empty() {
                out.push('&');
            }
            push_form(&key, &mut out);
            out.push('=');
            push_form(&value, &mut out);
        }
        out
    }
}

/// As a field that would be read as this variance.
impl fmt::Display for NoVarySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, keys) = match &self.params {
            Params::AllBut(keys) => ("params", keys),
            Params::Only(keys) => ("params, except", keys),
        };
        let mut list = String::new();
        for key in keys {
            if !list.is_empty() {
                list.push(' ');
            }
            list.push('"');
            push_form(key, &mut list);
            list.push('"');
        }
        write!(f, "{name}=({list})")?;
        if self.key_order_matters { Ok(()) } else { f.write_str(", key-order") }
    }
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

/// The strings of an inner list, each read as a key; `None` if there is anything else.
fn keys(entry: &ListEntry) -> Option<Vec<String>> {
    let ListEntry::InnerList(inner) = entry else {
        return None;
    };
    let key = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(text) => Some(decoded(text.as_str().as_bytes())),
        _ => None,
    };
    inner.items.iter().map(key).collect()
}

/// A key or value as the parser of application/x-www-form-urlencoded reads it: `+` is a space,
/// percent-encodings are bytes, and bytes that are not UTF-8 become U+FFFD.
fn decoded(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text;
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        match (*byte, rest) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) if let Some(byte) = uri::hex(*high, *low) => {
                out.push(byte);
                bytes = after;
            }
            (byte, _) => out.push(byte),
        }
    }
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

/// One way to write a key or value; no two are written alike.
fn push_form(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if uri::is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            uri::push_encoded(byte, out);
        }
    }
}
