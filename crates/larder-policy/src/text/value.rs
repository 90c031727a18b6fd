//! Values: what stands behind a key of a policy's text and is more than a number or a text.
//!
//! Each is a type that knows how it is written, so that a wrong one is told with the form that is wanted, where it
//! stands.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::{cmp::Ordering, fmt, time::Duration};

use bytesize::ByteSize;
use http::{HeaderName, HeaderValue};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::{cookies::IgnoredCookies, query::QueryRecipe, ttl::Statuses};

/// One row a type: what it wraps, how it is read, how it is shown, what a file may write (a text, or a number as
/// well), and a text that is right.
macro_rules! written {
    ($($(#[$doc:meta])* $name:ident($inner:ty): $read:expr, $show:expr, $form:ident, $expects:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let takes_numbers = matches!(Kind::$form, Kind::TextOrNumber);
                let form = Form { read: $read, takes_numbers, expects: $expects };
                deserializer.deserialize_any(form).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let show: fn(&$inner) -> String = $show;
                serializer.serialize_str(&show(&self.0))
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                match Kind::$form {
                    Kind::Text => schemars::json_schema!({ "type": "string" }),
                    Kind::TextOrNumber => schemars::json_schema!({ "type": ["string", "integer"] }),
                }
            }
        }
    )*};
}

enum Kind {
    Text,
    TextOrNumber,
}

written! {
    /// A length of time: `"30s"`.
    Time(Duration): duration, |time| humantime::format_duration(*time).to_string(), Text,
        "a time with its unit, in quotes: \"30s\"";
    /// A number of bytes: `"64MiB"`, or a number.
    Size(ByteSize): size, |size| shown(*size), TextOrNumber, "a size with its unit, in quotes: \"64MiB\"";
    /// The name of a cookie, in which `*` stands for any characters; or `analytics`.
    CookieName(String): cookie, String::clone, Text, "the name of a cookie, in quotes: \"_ga*\"";
    /// The name of one cookie.
    OneCookie(String): one_cookie, String::clone, Text, "the name of a cookie, in quotes: \"lang\"";
    /// The name of a parameter of a query, in which `*` stands for any characters; or `tracking`.
    Parameter(String): parameter, String::clone, Text, "the name of a parameter, in quotes: \"utm_*\"";
    /// The name of a header field: `"X-Tenant"`.
    Field(HeaderName): field, HeaderName::to_string, Text, "the name of a header field, in quotes: \"X-Tenant\"";
    /// A media type, in which `*` stands for any characters: `"text/*"`.
    MediaType(String): media_type, String::clone, Text, "a media type, in quotes: \"text/*\"";
    /// The value of a header field.
    FieldValue(HeaderValue): field_value, |value| String::from_utf8_lossy(value.as_bytes()).into_owned(), Text,
        "the value of a header field, in quotes: \"DENY\"";
    /// A status, or a hundred of them: `"404"`, `"5xx"`.
    StatusText(Statuses): statuses, Statuses::to_string, TextOrNumber, "a status, in quotes: \"404\" or \"5xx\"";
}

impl Eq for Field {}

impl PartialOrd for Field {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Field {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl Eq for StatusText {}

impl PartialOrd for StatusText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StatusText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// A part of a whole, from 0 to 1: `0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Part(pub f64);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartOfOne)
    }
}

struct PartOfOne;

impl Visitor<'_> for PartOfOne {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1, without quotes: 0.1")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Part, E> {
        match (0.0..=1.0).contains(&number) {
            true => Ok(Part(number)),
            false => Err(E::custom("say a number from 0 to 1: 0.1 is a tenth")),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Part, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Part, E> {
        self.visit_f64(number as f64)
    }
}

/// Reads a text by its form.
struct Form<T> {
    read: fn(&str) -> Result<T, String>,
    takes_numbers: bool,
    expects: &'static str,
}

impl<T> Visitor<'_> for Form<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match self.takes_numbers {
            true => self.visit_str(&number.to_string()),
            false => Err(E::custom(format!("say {}", self.expects))),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        match self.takes_numbers {
            true => self.visit_str(&number.to_string()),
            false => Err(E::custom(format!("say {}", self.expects))),
        }
    }
}

/// A number with its unit, as `5m`.
///
/// # Errors
///
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    parsed.map_err(|_| "say a number and its unit: 90s, 5m, 1h".to_owned())
}

/// A number with its unit, as `256MiB`; bytes without one.
///
/// # Errors
///
/// What would be right.
pub fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "say a number and its unit: 64MiB, 2GiB".to_owned())
}

/// As it would be written: `ByteSize` itself says `256.0 MiB`.
pub fn shown(size: ByteSize) -> String {
    let bytes = size.as_u64();
    let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = unit.iter().find(|(power, _)| bytes > 0 && bytes.trailing_zeros() >= *power);
    whole.map_or_else(|| bytes.to_string(), |(power, unit)| format!("{}{unit}", bytes >> power))
}

fn cookie(text: &str) -> Result<String, String> {
    if text.contains(',') {
        return Err("each name stands in quotes of its own: [\"a\", \"b\"]".to_owned());
    }
    text.parse::<IgnoredCookies>().map_err(|error| error.to_string())?;
    if text.trim().is_empty() { Err("a name is missing".to_owned()) } else { Ok(text.to_owned()) }
}

fn one_cookie(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err("name each cookie by itself: without *".to_owned());
    }
    cookie(text)
}

fn parameter(text: &str) -> Result<String, String> {
    let recipe = QueryRecipe::default().without(&[text]).map_err(|error| error.to_string());
    recipe.map(|_| text.to_owned())
}

fn field(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "this cannot be the name of a header field: \"X-Tenant\"".to_owned())
}

fn media_type(text: &str) -> Result<String, String> {
    const WRONG: &str = "say a media type without parameters: \"application/json\", \"text/*\"";
    let is_token = |part: &str| {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte);
        !part.is_empty() && part.bytes().all(may_be)
    };
    let is_one = text.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    match text.matches('*').count() {
        _ if !is_one && text != "*" => Err(WRONG.to_owned()),
        0 | 1 => Ok(text.to_owned()),
        _ if text == "*/*" => Ok("*".to_owned()),
        _ => Err("one * is enough: \"application/*+json\"".to_owned()),
    }
}

fn field_value(text: &str) -> Result<HeaderValue, String> {
    let is_fine = text.trim() == text && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let value = is_fine.then(|| HeaderValue::from_str(text).ok()).flatten();
    value.ok_or_else(|| "a field's value is one line of ASCII, without spaces around it".to_owned())
}

fn statuses(text: &str) -> Result<Statuses, String> {
    text.parse().map_err(|error: crate::ttl::NoStatus| error.to_string())
}
