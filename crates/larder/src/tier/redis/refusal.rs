//! Refusal: what a server says in place of an answer, and what is done about it.
//!
//! | it says | what that is | what is done |
//! | --- | --- | --- |
//! | `LOADING`, `READONLY`, `MASTERDOWN`, `UNBLOCKED` | it is not, or not yet, the one to ask | the line is given up, and the question asked once more on another, which leads to the primary of then |
//! | `OOM`, `NOREPLICAS`, `MISCONF` | it takes no writes, and reads go on | a write fails, and says nothing against reads: the breaker counts none; purges wait |
//! | `BUSY` | a script runs on and on | the call fails; after some the breaker leaves the server alone |
//! | `CLUSTERDOWN`, `TRYAGAIN`, `MOVED`, `ASK` | a slot has no server, or changes it | the connection has tried again by itself; then the same |
//! | `NOSCRIPT` | it has forgotten a script | the script is sent whole |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` | it does not let this user | the same as `BUSY` |
//! | `WRONGTYPE` | somebody else has put something there | it is unreadable, a miss |
//!
//! None of them is ever taken for "there is no log" or "there is no record". Each is counted by its name.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::RedisError;

/// In which way a server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Loading,
    ReadOnly,
    MasterDown,
    Unblocked,
    Full,
    NoReplicas,
    NotOnDisk,
    Busy,
    ClusterDown,
    Moving,
    NoScript,
    Forbidden,
    WrongType,
    Other,
}

/// By their names, in the order of the cases.
const NAMES: [&str; 14] = [
    "loading",
    "read_only",
    "master_down",
    "unblocked",
    "full",
    "no_replicas",
    "not_on_disk",
    "busy",
    "cluster_down",
    "moving",
    "no_script",
    "forbidden",
    "wrong_type",
    "other",
];

impl Refusal {
    /// `None`: the server has said nothing of the kind; the line broke, say.
    pub(super) fn of(error: &RedisError) -> Option<Refusal> {
        Some(match error.code()? {
            "LOADING" => Refusal::Loading,
            "READONLY" => Refusal::ReadOnly,
            "MASTERDOWN" => Refusal::MasterDown,
            "UNBLOCKED" => Refusal::Unblocked,
            "OOM" => Refusal::Full,
            "NOREPLICAS" => Refusal::NoReplicas,
            "MISCONF" => Refusal::NotOnDisk,
            "BUSY" => Refusal::Busy,
            "CLUSTERDOWN" => Refusal::ClusterDown,
            "TRYAGAIN" | "MOVED" | "ASK" => Refusal::Moving,
            "NOSCRIPT" => Refusal::NoScript,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Refusal::Forbidden,
            "WRONGTYPE" => Refusal::WrongType,
            _ => Refusal::Other,
        })
    }

    /// Whether another line may lead to one that answers.
    pub(super) fn ends_line(self) -> bool {
        matches!(
            self,
            Refusal::Loading | Refusal::ReadOnly | Refusal::MasterDown | Refusal::Unblocked
        )
    }

    /// Whether it is about writes alone.
    pub(super) fn is_of_writes(self) -> bool {
        matches!(self, Refusal::Full | Refusal::NoReplicas | Refusal::NotOnDisk)
    }
}

/// How often each was heard.
#[derive(Debug, Default)]
pub(super) struct Refusals([AtomicU64; NAMES.len()]);

impl Refusals {
    pub(super) fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        NAMES.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{
        super::connect::{failed, is_broken_line},
        *,
    };
    use crate::tier::lower::LowerError;

    /// As it is read from a connection.
    fn said(line: &str) -> RedisError {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        match answer.and_then(Value::extract_error) {
            Err(error) => error,
            Ok(answer) => panic!("{line} is an answer: {answer:?}"),
        }
    }

    /// What becomes of a call.
    #[derive(Debug, PartialEq)]
    enum Fate {
        /// It is asked again on another line; if that brings no answer it is a failure of the server.
        AskedAgain,
        /// It fails, and the breaker counts it.
        Counted,
        /// It fails, and the server is asked as before.
        NoWrites,
        Unreadable,
    }

    fn fate(error: RedisError) -> Fate {
        match failed(error) {
            LowerError::Unreadable => Fate::Unreadable,
            LowerError::TakesNoWrites(_) => Fate::NoWrites,
            error if is_broken_line(&error) => Fate::AskedAgain,
            LowerError::Failed(_) => Fate::Counted,
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn each_has_a_name_and_a_fate() {
        use Fate::{AskedAgain, Counted, NoWrites, Unreadable};
        let rows = [
            ("LOADING Redis is loading the dataset in memory", "loading", AskedAgain),
            ("READONLY You can't write against a read only replica.", "read_only", AskedAgain),
            ("READONLY not a primary", "read_only", AskedAgain),
            ("MASTERDOWN Link with MASTER is down", "master_down", AskedAgain),
            ("UNBLOCKED force unblock from blocking operation", "unblocked", AskedAgain),
            ("OOM command not allowed when used memory > 'maxmemory'.", "full", NoWrites),
            ("NOREPLICAS Not enough good replicas to write.", "no_replicas", NoWrites),
            ("MISCONF Redis is configured to save RDB snapshots, but", "not_on_disk", NoWrites),
            ("BUSY Redis is busy running a script.", "busy", Counted),
            ("CLUSTERDOWN Hash slot not served", "cluster_down", Counted),
            ("TRYAGAIN Multiple keys request during rehashing of slot", "moving", Counted),
            ("MOVED 3999 127.0.0.1:6381", "moving", Counted),
            ("ASK 3999 127.0.0.1:6381", "moving", Counted),
            ("NOSCRIPT No matching script.", "no_script", Counted),
            ("NOAUTH Authentication required.", "forbidden", Counted),
            ("WRONGPASS invalid username-password pair", "forbidden", Counted),
            ("NOPERM User larder has no permissions to run", "forbidden", Counted),
            ("WRONGTYPE Operation against a key", "wrong_type", Unreadable),
            ("ERR unknown command", "other", Counted),
            ("NEVERHEARDOF it", "other", Counted),
        ];
        let refusals = Refusals::default();
        for (line, name, expected) in rows {
            let error = said(line);
            let refusal = Refusal::of(&error).expect("the server has said it");
            assert_eq!(NAMES[refusal as usize], name, "{line}");
            assert_eq!(refusal.ends_line(), expected == AskedAgain, "{line}");
            assert_eq!(fate(error), expected, "{line}");
            refusals.count(refusal);
        }
        assert!(refusals.counts().all(|(_, count)| count > 0), "each row is one of them");
        assert_eq!(refusals.counts().map(|(_, count)| count).sum::<u64>(), 20);
    }

    #[test]
    fn a_line_that_breaks_has_refused_nothing() {
        let broken = RedisError::from(std::io::Error::other("reset"));
        assert_eq!(Refusal::of(&broken), None);
        assert_eq!(fate(broken), Fate::AskedAgain);
    }
}
