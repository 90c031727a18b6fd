//! Lua: runs the scripts of the tier as a server does, on what the simulated one has.

use std::{cell::RefCell, collections::HashMap};

use mlua::{Function, Lua, MultiValue, Table, Value as Of};
use redis::Value;

use super::keyspace::Keyspace;
use crate::rules::Rule;

/// What a script works on.
pub(super) struct At {
    pub(super) keys: Keyspace,
    pub(super) now_us: u64,
    pub(super) info: String,
}

/// Where only a script keeps a rule: the text in it that does, and what stands there without the rule.
const KEPT_BY_SCRIPTS: [(Rule, &str, &str); 4] = [
    (Rule::EachNamesTheOneBefore, "if previous ~= before and", "if false and"),
    (Rule::ForksAreFoundOut, "ctl.run_id ~= run_id or ctl.replid ~= replid then", "false then"),
    (Rule::NoNumberIsGivenTwice, "tonumber(ctl.seq) + 1048576, micros,", "tonumber(ctl.seq),"),
    (Rule::AllWhoMayKnowSign, "redis.call('SCARD', UNSIGNED) == 0 and", "true or"),
];

/// As the server's, for the one thing that is packed: a list of lists of two texts and two numbers.
const CMSGPACK: &str = r#"
cmsgpack = {
  pack = function(records)
    local parts = {}
    for _, record in ipairs(records) do
      parts[#parts + 1] = string.format('%d:%s%d:%s%.0f;%.0f;', #record[1], record[1], #record[2], record[2], record[3], record[4])
    end
    return table.concat(parts)
  end,
  unpack = function(packed)
    local records, at = {}, 1
    local function text()
      local digits = packed:match('^(%d+):', at)
      at = at + #digits + 1 + tonumber(digits)
      return packed:sub(at - tonumber(digits), at - 1)
    end
    local function number()
      local digits = packed:match('^(%d+);', at)
      at = at + #digits + 1
      return tonumber(digits)
    end
    while at <= #packed do records[#records + 1] = {text(), text(), number(), number()} end
    return records
  end,
}
"#;

thread_local! {
    static INTERPRETER: Interpreter = Interpreter::new().expect("there is a Lua");
    static AT: RefCell<Option<At>> = const { RefCell::new(None) };
}

struct Interpreter {
    lua: Lua,
    /// By the script's hash, and without which rule.
    compiled: RefCell<HashMap<(String, Option<usize>), Function>>,
}

/// Runs a script, and gives back what it worked on.
pub(super) fn run(
    (hash, source): (&str, &str),
    keys: &[Vec<u8>],
    arguments: &[Vec<u8>],
    at: At,
) -> (At, Result<Value, String>) {
    AT.set(Some(at));
    let answer = INTERPRETER.with(|interpreter| interpreter.run((hash, source), keys, arguments));
    let at = AT.take().expect("it was put there");
    (at, answer.unwrap_or_else(|error| panic!("a script fails: {error}")))
}

impl Interpreter {
    fn new() -> mlua::Result<Self> {
        let lua = Lua::new();
        lua.load(CMSGPACK).exec()?;
        let redis = lua.create_table()?;
        let call = |lua: &Lua, words: MultiValue| match command(&words) {
            Ok(answer) => to_lua(lua, answer),
            Err(refused) => Err(mlua::Error::runtime(refused)),
        };
        redis.set("call", lua.create_function(call)?)?;
        let pcall = |lua: &Lua, words: MultiValue| match command(&words) {
            Ok(answer) => to_lua(lua, answer),
            Err(refused) => of_field(lua, "err", &refused),
        };
        redis.set("pcall", lua.create_function(pcall)?)?;
        let reply = |lua: &Lua, text: String| of_field(lua, "err", &text);
        redis.set("error_reply", lua.create_function(reply)?)?;
        lua.globals().set("redis", redis)?;
        Ok(Interpreter { lua, compiled: RefCell::default() })
    }

    fn run(
        &self,
        (hash, source): (&str, &str),
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> mlua::Result<Result<Value, String>> {
        let off = KEPT_BY_SCRIPTS.iter().position(|(rule, ..)| !rule.holds());
        let name = (hash.to_owned(), off);
        let known = self.compiled.borrow().get(&name).cloned();
        let function = match known {
            Some(function) => function,
            None => {
                let source = off.map_or(source.to_owned(), |off| {
                    let (_, text, without) = KEPT_BY_SCRIPTS[off];
                    source.replace(text, without)
                });
                let function = self.lua.load(source).into_function()?;
                self.compiled.borrow_mut().insert(name, function.clone());
                function
            }
        };
        for (name, words) in [("KEYS", keys), ("ARGV", arguments)] {
            let words = words.iter().map(|word| self.lua.create_string(word));
            let words = words.collect::<mlua::Result<Vec<_>>>()?;
            self.lua.globals().set(name, self.lua.create_sequence_from(words)?)?;
        }
        Ok(of_lua(function.call::<Of>(())?))
    }
}

/// One command of a script.
fn command(words: &MultiValue) -> Result<Value, String> {
    let words: Vec<Vec<u8>> = words.iter().map(word).collect();
    AT.with_borrow_mut(|at| {
        let At { keys, now_us, info } = at.as_mut().expect("a script runs");
        match &words[0][..] {
            b"INFO" => Ok(Value::BulkString(info.clone().into_bytes())),
            _ => keys.answer(*now_us, &words).map_err(str::to_owned),
        }
    })
}

fn word(value: &Of) -> Vec<u8> {
    match value {
        Of::String(text) => text.as_bytes().to_vec(),
        Of::Integer(number) => number.to_string().into_bytes(),
        // As Lua writes it.
        Of::Number(number) => format!("{number}").into_bytes(),
        other => panic!("no word of a command: {other:?}"),
    }
}

fn of_field(lua: &Lua, field: &str, text: &str) -> mlua::Result<Of> {
    let table = lua.create_table()?;
    table.set(field, text)?;
    Ok(Of::Table(table))
}

/// As a server tells a script what a command has answered.
fn to_lua(lua: &Lua, value: Value) -> mlua::Result<Of> {
    Ok(match value {
        Value::Nil => Of::Boolean(false),
        Value::Int(number) => Of::Number(number as f64),
        Value::BulkString(bytes) => Of::String(lua.create_string(bytes)?),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| to_lua(lua, value));
            let values = values.collect::<mlua::Result<Vec<_>>>()?;
            Of::Table(lua.create_sequence_from(values)?)
        }
        Value::Okay => of_field(lua, "ok", "OK")?,
        Value::SimpleString(text) => of_field(lua, "ok", &text)?,
        other => panic!("no command answers {other:?}"),
    })
}

/// As a server answers what a script has answered.
fn of_lua(value: Of) -> Result<Value, String> {
    Ok(match value {
        Of::Nil | Of::Boolean(false) => Value::Nil,
        Of::Boolean(true) => Value::Int(1),
        Of::Integer(number) => Value::Int(number),
        Of::Number(number) => Value::Int(number as i64),
        Of::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        Of::Table(table) => return of_table(&table),
        other => panic!("no answer of a script: {other:?}"),
    })
}

fn of_table(table: &Table) -> Result<Value, String> {
    let said = |field| table.get::<Option<String>>(field).ok().flatten();
    if let Some(error) = said("err") {
        return Err(error);
    }
    if let Some(text) = said("ok") {
        return Ok(Value::SimpleString(text));
    }
    let values = table.sequence_values::<Of>().map(|value| of_lua(value.expect("it is one")));
    Ok(Value::Array(values.collect::<Result<_, _>>()?))
}
