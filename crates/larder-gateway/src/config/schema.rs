//! Schema: the keys of a `larder.toml` as data, for editors, for the reference, and for what is said of mistakes.

use std::{borrow::Cow, marker::PhantomData, sync::LazyLock};

use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, schema_for,
};
use serde_json::Value;

use super::{mistake::Right, parts::Config};

/// The JSON Schema (draft 2020-12) of a `larder.toml`.
pub fn schema() -> String {
    let mut schema = schema_for!(Config).to_value();
    without_texts_of_tables(&mut schema);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON")
}

/// The example of a table is a text with its header, which people read and editors would refuse.
fn without_texts_of_tables(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            let is_text = |examples: &Value| text_of_table(examples).is_some();
            if keys.get("examples").is_some_and(is_text) {
                keys.remove("examples");
            }
            keys.values_mut().for_each(without_texts_of_tables);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_texts_of_tables),
        _ => {}
    }
}

fn text_of_table(examples: &Value) -> Option<&str> {
    examples.get(0)?.as_str().filter(|text| text.starts_with('['))
}

/// An example that JSON cannot write: the text of a TOML value.
#[derive(serde::Serialize)]
pub(super) struct Written(pub(super) &'static str);

/// A table whose keys are its writer's, or few and told with the key itself.
pub(super) struct Table;

impl JsonSchema for Table {
    fn schema_name() -> Cow<'static, str> {
        "Table".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// A table that is all told with the key itself where people read it, and key by key where editors do.
pub(super) struct OfVendor<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OfVendor<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("OfVendor<{}>", T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        match generator.settings().inline_subschemas {
            true => Table::json_schema(generator),
            false => generator.subschema_for::<T>(),
        }
    }
}

/// What is known of each key.
pub(super) struct Known(Value);

/// One key, for the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its table, as it is written: `[server]`, `[[route]]`.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What it is for, and its default.
    pub meaning: String,
    /// A line that is right.
    pub example: String,
}

/// What may stand before all tables, or begins one.
pub(super) struct TopLevel {
    pub(super) name: String,
    /// As it is written: `[server]`, `[[listener]]`, `include`.
    pub(super) written: String,
}

impl Known {
    /// It is made once, when a mistake or a reference first needs it.
    pub(super) fn get() -> &'static Known {
        static KNOWN: LazyLock<Known> = LazyLock::new(Known::new);
        &KNOWN
    }

    fn new() -> Known {
        let settings = SchemaSettings::draft2020_12().with(|known| known.inline_subschemas = true);
        Known(settings.into_generator().into_root_schema_for::<Config>().to_value())
    }

    /// What is expected at `path`, and an example.
    pub(super) fn right(&self, path: &str) -> Option<Right> {
        let Some(schema) = self.at(path) else {
            // The keys of some tables are told with the table.
            let (table, _) = path.rsplit_once('.')?;
            let is_told_here = |schema: &&Value| object(schema).get("properties").is_none();
            return self.at(table).filter(is_told_here).and_then(|_| self.right(table));
        };
        let expected = first_sentence(schema.get("description")?.as_str()?).replace('\n', " ");
        let key = path.rsplit('.').next().unwrap_or(path);
        let key = key.split('[').next().unwrap_or(key);
        let example = example(key, schema.get("examples")?)?;
        Some(Right { expected, example })
    }

    /// All that a file is made of.
    pub(super) fn tables(&self) -> Vec<TopLevel> {
        let all = self.0.get("properties").and_then(Value::as_object);
        let table = |(name, schema): (&String, &Value)| {
            let is_table = |schema: &Value| {
                let schema = object(schema);
                let is_named = schema.get("additionalProperties").is_some_and(Value::is_object);
                is_named || schema.get("properties").is_some()
            };
            let written = match schema.get("items") {
                Some(items) if is_table(items) => format!("[[{name}]]"),
                None if is_table(schema) => format!("[{name}]"),
                _ => name.clone(),
            };
            TopLevel { name: name.clone(), written }
        };
        all.into_iter().flatten().map(table).collect()
    }

    /// The tables in which there is a key of this name, as they are written.
    pub(super) fn tables_with(&self, name: &str) -> Vec<String> {
        let keys = keys_below(&self.0, "");
        keys.into_iter().filter(|key| key.name == name).map(|key| key.table).collect()
    }

    /// The key of this name that is meant most often.
    pub(super) fn key_named(&self, name: &str) -> Option<Key> {
        let named = || keys_below(&self.0, "").into_iter().filter(|key| key.name == name);
        named().find(|key| key.table == "[server]").or_else(|| named().next())
    }

    /// The table that is called so within another: `[server.tls]`.
    pub(super) fn table_named(&self, name: &str) -> Option<String> {
        let keys = keys_below(&self.0, "");
        let named = keys.into_iter().map(|key| key.table);
        let named = named.filter(|table| table.ends_with(&format!(".{name}]")));
        // That of the one listener that most have.
        named.min_by_key(|table| !table.starts_with("[server"))
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.0, |schema, key| {
            let key = key.split('[').next().unwrap_or(key);
            let schema = object(schema);
            let properties = schema.get("properties").and_then(|keys| keys.get(key));
            properties.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
        })
    }
}

/// Each key of a `larder.toml`, table by table.
pub fn keys() -> Vec<Key> {
    keys_below(&Known::get().0, "")
}

fn keys_below(schema: &Value, table: &str) -> Vec<Key> {
    let Some(properties) = object(schema).get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let text = |schema: &Value, key: &str| Some(schema.get(key)?.as_str()?.to_owned());
    let is_list = schema.get("items").is_some() || schema.get("anyOf").is_some_and(is_list);
    let written = match table {
        "" => String::new(),
        table if is_list => format!("[[{table}]]"),
        table => format!("[{table}]"),
    };
    let mut keys = Vec::new();
    let mut tables = Vec::new();
    for (name, schema) in properties {
        let path = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        let below = object(schema);
        if below.get("additionalProperties").is_some_and(Value::is_object) {
            tables.extend(keys_below(&below["additionalProperties"], &format!("{path}.NAME")));
        } else if below.get("properties").is_some() {
            tables.extend(keys_below(schema, &path));
        } else {
            let examples = schema.get("examples").cloned().unwrap_or_default();
            keys.push(Key {
                table: written.clone(),
                name: name.clone(),
                meaning: text(schema, "description").unwrap_or_default().replace('\n', " "),
                example: example(name, &examples).unwrap_or_default(),
            });
        }
    }
    keys.append(&mut tables);
    keys
}

/// Whether one of them is a list.
fn is_list(either: &Value) -> bool {
    either.as_array().is_some_and(|of| of.iter().any(|one| one.get("items").is_some()))
}

/// What a key's value is, where it may be there or not, or several times.
fn object(schema: &Value) -> &Value {
    let either = schema.get("anyOf").and_then(Value::as_array);
    let one = either.and_then(|of| of.iter().find(|one| one.get("properties").is_some()));
    let elements = schema.get("items").filter(|one| one.get("properties").is_some());
    one.or(elements).unwrap_or(schema)
}

fn example(key: &str, examples: &Value) -> Option<String> {
    match text_of_table(examples) {
        Some(text) => Some(text.to_owned()),
        None if examples.get(0)?.as_str().is_some_and(|text| text.starts_with('{')) => {
            Some(format!("{key} = {}", examples.get(0)?.as_str()?))
        }
        // What JSON writes of texts, numbers and lists of them is TOML.
        None => Some(format!("{key} = {}", serde_json::to_string(examples.get(0)?).ok()?)),
    }
}

fn first_sentence(text: &str) -> &str {
    text.split(". Default").next().unwrap_or(text).split(". ").next().unwrap_or(text)
}
