//! Decode: from tables and values to the parts of a configuration, with every mistake that is on the way.
//!
//! Serde ends at the first mistake. So each one is noted, what it is about is left out, and all is read once more:
//! everything has a default, and the parts of a configuration cost nothing to read.

use std::{collections::HashSet, fmt, ops::Range};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::document::{KeyPath, RULES};

/// More in one file are not worth reading.
const MOST: usize = 100;

/// What is wrong with one key or its value.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) kind: Kind,
    /// Where, and at which way; none where nothing around it has said so yet.
    pub(super) at: Option<(Range<usize>, KeyPath)>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Unknown { key: String, known: &'static [&'static str] },
    Word { found: String, known: &'static [&'static str] },
    Type { found: String, expected: String },
    Value(String),
}

/// The configuration, without what is wrong, and that.
pub(super) fn decode<'a, T: Deserialize<'a> + Default>(table: &'a DeTable<'a>) -> (T, Vec<Wrong>) {
    let mut left_out = HashSet::new();
    let mut wrong = Vec::new();
    while wrong.len() < MOST {
        let keys = Keys::new(table, KeyPath::default(), &left_out);
        let error = match T::deserialize(MapAccessDeserializer::new(keys)) {
            Ok(config) => return (config, wrong),
            Err(error) => error,
        };
        let Some((at, _)) = &error.at else {
            wrong.push(error);
            break;
        };
        left_out.insert(at.start);
        wrong.push(error);
    }
    (T::default(), wrong)
}

/// The keys of a table, one after the other.
struct Keys<'a, 'w> {
    left: <&'a DeTable<'a> as IntoIterator>::IntoIter,
    path: KeyPath,
    left_out: &'w HashSet<usize>,
    value: Option<(Range<usize>, Value<'a, 'w>)>,
}

/// A value, and the way to it.
struct Value<'a, 'w> {
    value: &'a Spanned<DeValue<'a>>,
    path: KeyPath,
    left_out: &'w HashSet<usize>,
}

impl<'a, 'w> Keys<'a, 'w> {
    fn new(table: &'a DeTable<'a>, path: KeyPath, left_out: &'w HashSet<usize>) -> Self {
        Keys { left: table.iter(), path, left_out, value: None }
    }

    fn path_of(&self, key: &Spanned<DeString<'_>>) -> KeyPath {
        if key.get_ref() == RULES { self.path.clone() } else { self.path.key(key.get_ref()) }
    }
}

impl<'a> MapAccess<'a> for Keys<'a, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let left_out = self.left_out;
        // What stands apart has no place of its own, and begins where its table does.
        let is_in = |key: &Spanned<DeString<'_>>| {
            key.get_ref() == RULES || !left_out.contains(&key.span().start)
        };
        let Some((key, value)) = self.left.by_ref().find(|(key, _)| is_in(key)) else {
            return Ok(None);
        };
        let path = self.path_of(key);
        let name: StrDeserializer<'_, Wrong> = key.get_ref().as_ref().into_deserializer();
        let taken = seed.deserialize(name).map_err(|error| error.at(key.span(), &path))?;
        self.value = Some((key.span(), Value { value, path, left_out }));
        Ok(Some(taken))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (key, value) = self.value.take().expect("serde asks for a key before its value");
        let path = value.path.clone();
        seed.deserialize(value).map_err(|error| error.at(key, &path))
    }
}

struct Elements<'a, 'w> {
    left: std::iter::Enumerate<std::slice::Iter<'a, Spanned<DeValue<'a>>>>,
    path: KeyPath,
    left_out: &'w HashSet<usize>,
}

impl<'a> SeqAccess<'a> for Elements<'a, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let left_out = self.left_out;
        let next = self.left.by_ref().find(|(_, value)| !left_out.contains(&value.span().start));
        let Some((index, value)) = next else { return Ok(None) };
        let path = self.path.element(index);
        let taken = seed.deserialize(Value { value, path: path.clone(), left_out });
        taken.map(Some).map_err(|error| error.at(value.span(), &path))
    }
}

impl<'de> Deserializer<'de> for Value<'de, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(is_so) => visitor.visit_bool(*is_so),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => Err(Wrong::new(Kind::Value("this number is too large".to_owned()))),
                }
            }
            DeValue::Float(number) => {
                visitor.visit_f64(number.as_str().parse().unwrap_or(f64::NAN))
            }
            DeValue::Datetime(_) => {
                Err(de::Error::invalid_type(Unexpected::Other("a date"), &visitor))
            }
            DeValue::Array(elements) => {
                let left = elements.iter().enumerate();
                let elements = Elements { left, path: self.path, left_out: self.left_out };
                visitor.visit_seq(elements)
            }
            DeValue::Table(table) => visitor.visit_map(Keys::new(table, self.path, self.left_out)),
        }
    }

    /// A key that is there has a value.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value.get_ref() {
            DeValue::String(word) => visitor.visit_enum(word.as_ref().into_deserializer()),
            other => {
                let found = found(other);
                Err(Wrong::new(Kind::Word { found, known }))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(is_so) => is_so.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::String(text) => format!("{text:?}"),
    }
}

impl Wrong {
    fn new(kind: Kind) -> Wrong {
        Wrong { kind, at: None }
    }

    /// The innermost place counts.
    fn at(self, at: Range<usize>, path: &KeyPath) -> Wrong {
        Wrong { at: self.at.or_else(|| Some((at, path.clone()))), ..self }
    }
}

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong::new(Kind::Value(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str(text) => format!("{text:?}"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            Unexpected::Bool(is_so) => is_so.to_string(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            other => other.to_string(),
        };
        Wrong::new(Kind::Type { found, expected: in_words(&expected.to_string()) })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        de::Error::invalid_type(found, expected)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Wrong::new(Kind::Unknown { key: key.to_owned(), known })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Wrong::new(Kind::Word { found: format!("{word:?}"), known })
    }
}

/// What serde calls what it expects, in words for whom wrote the file.
fn in_words(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false, without quotes",
        "a string" => "a text in quotes",
        "a sequence" => "a list: [\"…\", \"…\"]",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table, as [part]",
        "u16" | "u32" | "u64" | "usize" => "a whole number, without quotes",
        other => other,
    }
    .to_owned()
}
