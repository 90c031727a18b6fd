//! Keyspace: the commands of a server that the tier and its scripts use. Scripts and tier are the real ones.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

type Bytes = Vec<u8>;

/// What a server says in place of an answer.
pub(super) type Refused = &'static str;

const WRONG_TYPE: Refused = "WRONGTYPE it is of another kind";

/// What a server has.
#[derive(Clone, Default)]
pub(super) struct Keyspace(BTreeMap<Bytes, Entry>);

#[derive(Clone)]
struct Entry {
    held: Held,
    until_ms: Option<u64>,
}

#[derive(Clone)]
enum Held {
    Text(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(BTreeMap<Bytes, u64>),
    /// By the first half of its id; the other one is 0. Fields and values.
    Stream(BTreeMap<u64, Vec<Bytes>>),
}

/// Two functions for what is held as this kind: one makes it if there is none, the other only looks.
macro_rules! held {
    ($make:ident, $look:ident, $kind:ident, $of:ty) => {
        fn $make(&mut self, key: &[u8]) -> Result<&mut $of, Refused> {
            let made = || Entry { held: Held::$kind(Default::default()), until_ms: None };
            match &mut self.0.entry(key.to_vec()).or_insert_with(made).held {
                Held::$kind(held) => Ok(held),
                _ => Err(WRONG_TYPE),
            }
        }

        fn $look<T>(&self, key: &[u8], see: impl FnOnce(&$of) -> T) -> Result<T, Refused> {
            match self.0.get(key).map(|entry| &entry.held) {
                None => Ok(see(&Default::default())),
                Some(Held::$kind(held)) => Ok(see(held)),
                Some(_) => Err(WRONG_TYPE),
            }
        }
    };
}

impl Keyspace {
    held!(hash, in_hash, Hash, BTreeMap<Bytes, Bytes>);
    held!(set, in_set, Set, BTreeSet<Bytes>);
    held!(sorted, in_sorted, Sorted, BTreeMap<Bytes, u64>);
    held!(stream, in_stream, Stream, BTreeMap<u64, Vec<Bytes>>);

    /// Lets go all keys that begin so, and have this in them.
    pub(super) fn forget(&mut self, begin: &str, part: &str) {
        self.0.retain(|key, _| {
            let key = String::from_utf8_lossy(key);
            !(key.starts_with(begin) && key.contains(part))
        });
    }

    /// The numbers of the log, and what each says.
    pub(super) fn log(&mut self, key: &str) -> &mut BTreeMap<u64, Vec<Bytes>> {
        self.stream(key.as_bytes()).expect("it is the log")
    }

    /// The bytes of all records and pieces.
    pub(super) fn stored(&mut self) -> Vec<&mut Bytes> {
        let data = self.0.iter_mut().filter(|(key, _)| key.starts_with(b"larder1:"));
        let each = data.map(|(_, entry)| match &mut entry.held {
            Held::Text(text) => vec![text],
            // All but the note of their order.
            Held::Hash(hash) => {
                hash.iter_mut().filter(|(field, _)| *field != b"\xff").map(|(_, it)| it).collect()
            }
            _ => Vec::new(),
        });
        each.flatten().collect()
    }

    /// Does what these words say, at this time of the server's.
    pub(super) fn answer(&mut self, now_us: u64, words: &[Bytes]) -> Result<Value, Refused> {
        let word = |at: usize| words.get(at).map_or(&b""[..], |word| &word[..]);
        let (key, rest, now_ms) = (word(1), words.get(2..).unwrap_or_default(), now_us / 1000);
        let is_over = |entry: &Entry| entry.until_ms.is_some_and(|until| until <= now_ms);
        for key in words.iter().skip(1) {
            if self.0.get(key).is_some_and(is_over) {
                self.0.remove(key);
            }
        }
        let answer = match word(0) {
            b"PING" => Value::SimpleString("PONG".into()),
            b"TIME" => Value::Array(vec![number(now_us / 1_000_000), number(now_us % 1_000_000)]),
            b"CONFIG" => Value::Array(Vec::new()),
            b"PUBLISH" => Value::Int(0),
            b"TYPE" => Value::SimpleString(self.kind(key).into()),
            b"EXISTS" => count(usize::from(self.0.contains_key(key))),
            b"DEL" | b"UNLINK" => {
                count(words[1..].iter().filter(|key| self.0.remove(*key).is_some()).count())
            }
            b"RENAME" => {
                let entry = self.0.remove(key).ok_or("ERR no such key")?;
                self.0.insert(word(2).to_vec(), entry);
                Value::Okay
            }
            b"GET" => match self.0.get(key).map(|entry| &entry.held) {
                None => Value::Nil,
                Some(Held::Text(bytes)) => text(bytes),
                Some(_) => return Err(WRONG_TYPE),
            },
            b"SET" => {
                let is_there = self.0.contains_key(key);
                if is_there && rest.iter().any(|word| word == b"NX") {
                    return Ok(Value::Nil);
                }
                let length = rest.iter().position(|word| word == b"PX").map(|at| &rest[at + 1]);
                let until_ms = length.map(|length| now_ms + integer(length));
                let entry = Entry { held: Held::Text(word(2).to_vec()), until_ms };
                self.0.insert(key.to_vec(), entry);
                Value::Okay
            }
            b"PEXPIRE" | b"PEXPIREAT" => {
                let from = if word(0) == b"PEXPIRE" { now_ms } else { 0 };
                let until = from + integer(word(2));
                let is_later = |entry: &Entry| entry.until_ms.is_some_and(|before| before < until);
                let is_meant = |entry: &Entry| word(3) != b"GT" || is_later(entry);
                let entry = self.0.get_mut(key).filter(|entry| is_meant(entry));
                count(entry.map_or(0, |entry| {
                    entry.until_ms = Some(until);
                    1
                }))
            }
            b"HGET" => {
                self.in_hash(key, |hash| hash.get(word(2)).map_or(Value::Nil, |it| text(it)))?
            }
            b"HSET" | b"HSETNX" => {
                let (is_careful, hash) = (word(0) == b"HSETNX", self.hash(key)?);
                let pairs = rest.chunks_exact(2);
                count(pairs.filter(|pair| set(hash, &pair[0], &pair[1], is_careful)).count())
            }
            b"HDEL" => {
                let hash = self.hash(key)?;
                count(rest.iter().filter(|field| hash.remove(*field).is_some()).count())
            }
            b"HLEN" => self.in_hash(key, |hash| count(hash.len()))?,
            b"HVALS" => self.in_hash(key, |hash| list(hash.values().map(|value| text(value))))?,
            b"HGETALL" => self.in_hash(key, fields)?,
            b"HSCAN" => Value::Array(vec![number(0), self.in_hash(key, fields)?]),
            b"SADD" => {
                let set = self.set(key)?;
                count(rest.iter().filter(|member| set.insert((*member).clone())).count())
            }
            b"SREM" => {
                let set = self.set(key)?;
                count(rest.iter().filter(|member| set.remove(*member)).count())
            }
            b"SCARD" => self.in_set(key, |set| count(set.len()))?,
            b"ZADD" => {
                let is_new = self.sorted(key)?.insert(word(3).to_vec(), integer(word(2))).is_none();
                count(usize::from(is_new))
            }
            b"ZCARD" => self.in_sorted(key, |sorted| count(sorted.len()))?,
            b"ZPOPMIN" => {
                let sorted = self.sorted(key)?;
                let least = sorted.iter().min_by_key(|(_, score)| **score);
                let least = least.map(|(member, score)| (member.clone(), *score));
                let popped = least.map(|(member, score)| {
                    sorted.remove(&member);
                    [text(&member), number(score)]
                });
                list(popped.into_iter().flatten())
            }
            // … MAXLEN ~ most id field value …
            b"XADD" => {
                let (most, id) = (integer(word(4)) as usize, integer(word(5)));
                let stream = self.stream(key)?;
                if stream.last_key_value().is_some_and(|(last, _)| *last >= id) {
                    return Err("ERR The ID specified in XADD is equal or smaller");
                }
                stream.insert(id, words[6..].to_vec());
                while stream.len() > most {
                    stream.pop_first();
                }
                text(word(5))
            }
            b"XRANGE" => {
                let after = if word(2).starts_with(b"(") {
                    integer(&word(2)[1..]) + 1
                } else {
                    integer(word(2))
                };
                let until = if word(3) == b"+" { u64::MAX } else { integer(word(3)) };
                let most = if word(4) == b"COUNT" { integer(word(5)) as usize } else { usize::MAX };
                self.in_stream(key, |log| list(log.range(after..=until).take(most).map(entry)))?
            }
            b"XREVRANGE" => {
                self.in_stream(key, |log| list(log.last_key_value().into_iter().map(entry)))?
            }
            other => panic!("{} is not simulated", String::from_utf8_lossy(other)),
        };
        self.drop_empty(key);
        Ok(answer)
    }

    fn kind(&self, key: &[u8]) -> &'static str {
        match self.0.get(key).map(|entry| &entry.held) {
            None => "none",
            Some(Held::Text(_)) => "string",
            Some(Held::Hash(_)) => "hash",
            Some(Held::Set(_)) => "set",
            Some(Held::Sorted(_)) => "zset",
            Some(Held::Stream(_)) => "stream",
        }
    }

    /// Nothing is there that has nothing in it, but a stream.
    fn drop_empty(&mut self, key: &[u8]) {
        let is_empty = self.0.get(key).is_some_and(|entry| match &entry.held {
            Held::Hash(hash) => hash.is_empty(),
            Held::Set(set) => set.is_empty(),
            Held::Sorted(sorted) => sorted.is_empty(),
            Held::Text(_) | Held::Stream(_) => false,
        });
        if is_empty {
            self.0.remove(key);
        }
    }
}

/// Whether it was not there.
fn set(hash: &mut BTreeMap<Bytes, Bytes>, field: &[u8], value: &[u8], is_careful: bool) -> bool {
    let is_there = hash.contains_key(field);
    if !is_there || !is_careful {
        hash.insert(field.to_vec(), value.to_vec());
    }
    !is_there
}

fn text(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

fn number(number: u64) -> Value {
    Value::BulkString(number.to_string().into_bytes())
}

fn count(count: usize) -> Value {
    Value::Int(count as i64)
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::Array(values.collect())
}

fn fields(hash: &BTreeMap<Bytes, Bytes>) -> Value {
    list(hash.iter().flat_map(|(field, value)| [text(field), text(value)]))
}

fn entry((number, fields): (&u64, &Vec<Bytes>)) -> Value {
    let fields = list(fields.iter().map(|field| text(field)));
    Value::Array(vec![Value::BulkString(format!("{number}-0").into_bytes()), fields])
}

/// The digits at its beginning.
pub(super) fn integer(word: &[u8]) -> u64 {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
