//! Worklist: work that processes add to, and one of them at a time does, in its order.
//!
//! Who does it holds a right that lasts for a while, and says in the same call how far he is and what he wants to read
//! next. Each holder has a higher token than the one before, and the server takes nothing from who has an old one: a process
//! that was paused while another took over can neither move the work back nor say that it is done.
//!
//! ```text
//! A  holds (1) ── says 7 ── paused ················ says 9 (1): not taken, somebody else has the right
//! B                             holds (2) ── reads after 7 ── says 8 ──
//! ```
//!
//! The list is bounded; what is left out of it shows where a piece does not follow on the one before it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use ::redis::{FromRedisValue, Script, ScriptInvocation};

use super::{
    Redis, Shared,
    connect::failed,
    script::{hex, millis, not_understood},
};
use crate::{sync, tier::lower::LowerError};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/work_add.lua")));
static HOLD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/work_hold.lua")));

/// Longer pieces would hold the server up.
pub const MOST_BYTES: usize = 64 << 10;
/// So many pieces are added in one call.
pub const MOST_ADDED: usize = 256;

/// One list of work. Clones are the same. Opens nothing.
#[derive(Clone)]
pub struct Worklist {
    shared: Arc<Shared>,
    name: Arc<str>,
    /// Who this process is.
    holder: Arc<str>,
}

/// What was added, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Another one is another list, or the same at another server, which may have lost the end of it: what is not done is to be
    /// added again.
    pub generation: u128,
    /// The number of each piece; they grow.
    pub numbers: Vec<u64>,
}

/// What a process has to say that holds the right, and asks for.
#[derive(Clone, Debug, Default)]
pub struct Hold {
    /// The token that it was given; 0 if none.
    pub token: u64,
    /// For so long it wants the right from now on; zero gives it back.
    pub length: Duration,
    /// What all may read, by names.
    pub says: Vec<(String, String)>,
    /// Pieces after this number …
    pub after: u64,
    /// … and no more than so many.
    pub most: usize,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// By this token the caller has the right; `None`: somebody else has.
    pub token: Option<u64>,
    /// Of the list.
    pub generation: u128,
    /// The number of the last piece that was ever added.
    pub last: u64,
    /// What was said last, by names.
    pub said: HashMap<String, String>,
    /// For who has the right.
    pub pieces: Vec<WorkPiece>,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkPiece {
    /// Its number.
    pub number: u64,
    /// That of the one before it. If that is not the one that was read last, some are missing.
    pub before: u64,
    /// What it is.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Worklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worklist").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Redis {
    /// The list of this name: a word of letters, digits and `-`.
    pub fn worklist(&self, name: &str) -> Worklist {
        let holder = hex(sync::random()).into();
        Worklist { shared: Arc::clone(&self.0), name: name.into(), holder }
    }
}

impl Worklist {
    /// Adds pieces, in their order, all or none. Asked twice, they may be there twice.
    ///
    /// # Errors
    ///
    /// The server has not answered. They may be there.
    pub async fn add(&self, pieces: &[Vec<u8>]) -> Result<Added, LowerError> {
        let mut script = self.keys(&ADD);
        script.arg(hex(sync::random()));
        for piece in pieces {
            script.arg(&piece[..]);
        }
        let (generation, numbers): (String, Vec<String>) = self.ask(&script).await?;
        let numbers = numbers.iter().map(|text| number(text)).collect::<Result<_, _>>()?;
        Ok(Added { generation: of_hex(&generation)?, numbers })
    }

    /// Takes, renews or gives back the right, and reads.
    ///
    /// # Errors
    ///
    /// The server has not answered. The right may have been given, and ends by itself.
    pub async fn hold(&self, hold: &Hold) -> Result<Held, LowerError> {
        let mut script = self.keys(&HOLD);
        script.arg(&*self.holder).arg(hold.token).arg(millis(hold.length));
        script.arg(hex(sync::random())).arg(hold.after).arg(hold.most);
        for (name, value) in &hold.says {
            script.arg(name).arg(value);
        }
        let (token, generation, last, said, pieces): Answer = self.ask(&script).await?;
        let token = number(&token)?;
        let pairs = said.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        let piece = |(own, before, bytes): (String, String, Vec<u8>)| {
            Ok(WorkPiece { number: number(&own)?, before: number(&before)?, bytes })
        };
        Ok(Held {
            token: (token != 0).then_some(token),
            generation: of_hex(&generation)?,
            last: number(&last)?,
            said: pairs.collect(),
            pieces: pieces.into_iter().map(piece).collect::<Result<_, LowerError>>()?,
        })
    }

    fn keys<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let names = &self.shared.names;
        let mut script = script.key(names.control(&format!("work:{}", self.name)));
        script.key(names.control(&format!("worklist:{}", self.name)));
        script
    }

    async fn ask<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, LowerError> {
        let mut link = self.shared.lines.control().await?;
        script.invoke_async(&mut link).await.map_err(failed)
    }
}

/// Token, generation, last number, what was said, and pieces.
type Answer = (String, String, String, Vec<String>, Vec<(String, String, Vec<u8>)>);

fn number(text: &str) -> Result<u64, LowerError> {
    text.parse().map_err(|_| not_understood())
}

fn of_hex(generation: &str) -> Result<u128, LowerError> {
    u128::from_str_radix(generation, 16).map_err(|_| not_understood())
}
