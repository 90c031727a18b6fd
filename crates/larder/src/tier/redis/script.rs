//! Script: what is asked about the log, each question one script that the server runs at once.
//!
//! All begin with `prelude.lua`, which finds out whether the server has lost something (see [`fork`](super::fork)).

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{
    Shared,
    connect::{Link, failed},
    seen::{Epoch, Header},
};
#[cfg(all(test, not(shuttle)))]
use crate::tier::lower::Call;
use crate::{sync, tier::lower::LowerError};

/// A script, and the hash by which the server knows it.
pub(super) struct Script {
    source: &'static str,
    hash: String,
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/prelude.lua"),
                include_str!(concat!("scripts/", $file))
            ))
        });
    };
}

script!(ANEW, "anew.lua");
script!(APPEND, "append.lua");
script!(FORGET, "forget.lua");
script!(INSTANCES, "instances.lua");
script!(LEAVE, "leave.lua");
script!(READERS, "readers.lua");
script!(RENEW, "renew.lua");
script!(REPLICATE, "replicate.lua");
script!(SIGN, "sign.lua");
script!(TAIL, "tail.lua");

/// What all scripts use, in the order that they know.
const KEYS: [&str; 9] =
    ["ctl", "log", "fences", "prefixes", "ids", "older-ids", "readers", "unsigned", "instances"];

/// What a script answers.
pub(super) struct Answer {
    pub(super) header: Header,
    /// When it was asked.
    pub(super) asked: Epoch,
    /// What comes after the header.
    pub(super) rest: Vec<Value>,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Script { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }
}

impl Shared {
    /// Runs a script, whatever it answers. A server that does not know it gets all of it.
    pub(super) async fn run(
        &self,
        link: &mut Link,
        script: &Script,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Answer, LowerError> {
        let (generation, highest, readers, asked) = self.control.seen().known();
        let new_generation = hex(sync::random());
        let command = |name, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(KEYS.len());
            for key in KEYS {
                command.arg(self.names.control(key));
            }
            command.arg(&new_generation).arg(millis(self.control.settle));
            command.arg(generation.map_or(String::new(), hex)).arg(format!("{highest} {readers}"));
            arguments(&mut command);
            command
        };
        let sent = Instant::now();
        let by_hash = command("EVALSHA", &script.hash).query_async::<Value>(link).await;
        let answer = match by_hash {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", script.source).query_async(link).await
            }
            by_hash => by_hash,
        };
        // It says to which call it is the answer: an earlier one would let more be trusted than is known.
        let Some((header, rest)) = read_answer(answer.map_err(failed)?, &new_generation) else {
            link.is_out_of_step();
            return Err(not_understood());
        };
        self.time.note(sent, header.now_us);
        Ok(Answer { header, asked, rest })
    }
}

/// Which call of the tier asks this of a server.
#[cfg(all(test, not(shuttle)))]
pub(crate) fn call_of(hash: &str) -> Option<Call> {
    let calls = [
        (&APPEND, Call::Append),
        (&TAIL, Call::Tail),
        (&RENEW, Call::Renew),
        (&LEAVE, Call::Leave),
        (&READERS, Call::Holds),
    ];
    calls.into_iter().find(|(script, _)| script.hash == hash).map(|(_, call)| call)
}

/// The header and what comes after it, of the call that had this name.
fn read_answer(answer: Value, call: &str) -> Option<(Header, Vec<Value>)> {
    let Value::Array(mut parts) = answer else { return None };
    let rest = parts.split_off(parts.len().min(1));
    let header = read_header(parts.pop()?, call)?;
    Some((header, rest))
}

fn read_header(value: Value, call: &str) -> Option<Header> {
    let fields: Vec<String> = read(value).ok()?;
    let [
        state,
        generation,
        number,
        floor,
        restored,
        forks,
        changed,
        ago,
        now,
        replicas,
        closing,
        readers,
        expected,
        alive,
        guarded,
        answered,
    ] = fields.try_into().ok()?;
    if answered != call {
        return None;
    }
    Some(Header {
        is_open: state == "open",
        generation: u128::from_str_radix(&generation, 16).ok()?,
        number: number.parse().ok()?,
        floor: floor.parse().ok()?,
        restored: restored.parse().ok()?,
        forks: forks.parse().ok()?,
        changed_ms: changed.parse().ok()?,
        changed_ago: Duration::from_millis(ago.parse().ok()?),
        now_us: now.parse().ok()?,
        replicas: replicas.parse().ok()?,
        closing_ms: closing.parse().ok()?,
        readers: readers.parse().ok()?,
        expected: expected.parse().ok()?,
        alive: alive.parse().ok()?,
        is_guarded: guarded == "1",
    })
}

/// Reads a part of an answer.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, LowerError> {
    T::from_redis_value(value).map_err(|_| not_understood())
}

pub(super) fn not_understood() -> LowerError {
    LowerError::Failed("its answer is of another kind".into())
}

pub(super) fn hex(generation: u128) -> String {
    format!("{generation:032x}")
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_another_call_is_none() {
        let fields = [
            "open", "0a", "7", "3", "0", "0", "5", "9", "11", "0", "0", "1", "2", "1", "0", "this",
        ];
        let text = |field: &&str| Value::BulkString(field.as_bytes().to_vec());
        let answer =
            || Value::Array(vec![Value::Array(fields.iter().map(text).collect()), Value::Int(1)]);
        let (header, rest) = read_answer(answer(), "this").expect("it is this call's");
        assert_eq!((header.number, header.readers, rest), (7, 1, vec![Value::Int(1)]));
        assert!(read_answer(answer(), "another").is_none());
        for other in [Value::Okay, Value::Nil, Value::Array(Vec::new())] {
            assert!(read_answer(other, "this").is_none());
        }
    }
}
