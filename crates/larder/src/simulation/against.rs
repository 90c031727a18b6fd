//! Against: the same commands, drawn from seeds, to the simulated server and to a real one, and what both must say.
//!
//! What they need not: in which order a hash or a set tells what it has; which words an error has after its first; and how
//! soon a log is cut that is longer than it is to be (`MAXLEN ~`): a real one waits until a whole node of it may go.

use larder_test_support::redis::Redis as Real;
use redis::{Value, aio::MultiplexedConnection};

use super::{dice::Dice, keyspace::Keyspace};

const SEEDS: u64 = 300;
const STEPS: usize = 80;

type Words = Vec<Vec<u8>>;

/// A command as the tier and its scripts use it, on few keys, so that they often meet what another one has left.
fn some_command(dice: &mut Dice, step: usize) -> Words {
    let any = |dice: &mut Dice, of: &[&str]| of[dice.index(of.len())].to_owned();
    let key = any(dice, &["a", "b", "c", "d"]);
    let (field, other) = (any(dice, &["x", "y", "z"]), any(dice, &["x", "y", "\u{e9}"]));
    let value = any(dice, &["", "one", "two", "3"]);
    let number = dice.between(1, 12).to_string();
    let id = format!("{number}-0");
    let after = format!("({id}");
    let [key, field, other, value] = [&key, &field, &other, &value].map(String::as_str);
    // Far off, and so different from each other that the time that passes here does not matter.
    let (soon, late) = (1_000_000 - step * 10_000, 2_000_000 + step * 10_000);
    let (soon, late) = (&*soon.to_string(), &*late.to_string());
    let words: &[&str] = match dice.below(34) {
        0 => &["GET", key],
        1 => &["SET", key, value],
        2 => &["SET", key, value, "PX", soon],
        3 => &["SET", key, value, "NX", "PX", soon],
        4 => &["DEL", key],
        5 => &["UNLINK", key, "b", "c"],
        6 => &["EXISTS", key],
        7 => &["TYPE", key],
        8 => &["PEXPIRE", key, late, "GT"],
        9 => &["PEXPIRE", key, "1", "GT"],
        10 => &["PEXPIRE", key, soon],
        // That is over.
        11 => &["PEXPIREAT", key, "1000"],
        12 => &["RENAME", key, "d"],
        13 => &["HGET", key, field],
        14 => &["HSET", key, field, value],
        15 => &["HSET", key, field, value, other, "more"],
        16 => &["HSETNX", key, field, value],
        17 => &["HDEL", key, field, other],
        18 => &["HLEN", key],
        19 => &["HVALS", key],
        20 => &["HGETALL", key],
        21 => &["HSCAN", key, "0", "COUNT", "4096"],
        22 => &["SADD", key, field, other],
        23 => &["SREM", key, field, other],
        24 => &["SCARD", key],
        25 => &["ZADD", key, &number, field],
        26 => &["ZCARD", key],
        27 => &["ZPOPMIN", key],
        28 => &["XADD", key, "MAXLEN", "~", "1000", &id, "field", value],
        29 => &["XADD", key, "MAXLEN", "~", "1000", &id, "p", value, "i", "x"],
        30 => &["XRANGE", key, &id, &id],
        31 => &["XRANGE", key, &after, "+", "COUNT", "2"],
        32 => &["XREVRANGE", key, "+", "-", "COUNT", "1"],
        _ => &["PING"],
    };
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// What was said, as far as it has to be the same.
#[derive(Debug, PartialEq)]
enum Said {
    Answer(Value),
    /// In some order.
    Some(Vec<Vec<u8>>),
    Refused(String),
}

fn said(words: &Words, answer: Result<Value, String>) -> Said {
    let answer = match answer {
        Ok(answer) => answer,
        Err(refused) => return Said::Refused(refused),
    };
    match (&words[0][..], answer) {
        (b"HSCAN", Value::Array(mut parts)) => some(2, parts.pop().expect("fields")),
        (b"HGETALL", fields) => some(2, fields),
        (b"HVALS", values) => some(1, values),
        // One asks for another protocol, and one does not.
        (_, Value::Okay) => Said::Answer(Value::SimpleString("OK".to_owned())),
        (_, answer) => Said::Answer(answer),
    }
}

/// So many go together.
fn some(together: usize, values: Value) -> Said {
    let Value::Array(values) = values else { return Said::Answer(values) };
    let texts: Vec<Vec<u8>> = values
        .into_iter()
        .map(|value| match value {
            Value::BulkString(text) => text,
            other => panic!("{other:?} in a hash"),
        })
        .collect();
    let mut texts: Vec<Vec<u8>> = texts.chunks(together).map(<[_]>::concat).collect();
    texts.sort();
    Said::Some(texts)
}

async fn ask(wire: &mut MultiplexedConnection, words: &Words) -> Result<Value, String> {
    let mut command = redis::cmd(str::from_utf8(&words[0]).expect("a name"));
    command.arg(&words[1..]);
    let answer: redis::RedisResult<Value> = command.query_async(wire).await;
    answer.map_err(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_simulated_server_says_what_a_real_one_says() {
    let real = Real::start().await;
    let client = redis::Client::open(real.url()).unwrap();
    let mut wire = client.get_multiplexed_async_connection().await.unwrap();
    let now_us = 1_700_000_000_000_000;
    let mut answers = std::collections::BTreeMap::<String, [u32; 2]>::new();
    for seed in 0..SEEDS {
        assert_eq!(real.tell(&["FLUSHALL"]).await, "+OK");
        let (mut dice, mut simulated) = (Dice::of(seed, &[11]), Keyspace::default());
        let mut told = Vec::new();
        for step in 0..STEPS {
            let words = some_command(&mut dice, step);
            let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            told.push(shown.join(" "));
            let of_real = ask(&mut wire, &words).await;
            let of_simulated = simulated
                .answer(now_us, &words)
                .map_err(|refused| refused.split(' ').next().unwrap_or_default().to_owned());
            let is_refused = usize::from(of_real.is_err());
            answers.entry(shown[0].to_string()).or_default()[is_refused] += 1;
            let [real, simulated] = [of_real, of_simulated].map(|answer| said(&words, answer));
            assert_eq!(simulated, real, "seed {seed}: {told:#?}");
        }
    }
    // All of them were tried, and answered.
    assert!(
        answers.len() > 20 && answers.values().all(|[answered, _]| *answered > 50),
        "{answers:?}"
    );
}
