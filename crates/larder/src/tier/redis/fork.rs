//! Fork: how a server is found out that has lost the end of its log, and how it gets that back.
//!
//! A server that was restarted, restored, or promoted from a replica may have lost what it had acknowledged. Each
//! control script compares the server with the one that wrote last: by what it calls itself and its history, and by
//! the highest number that the caller knows. Where they differ the log *closes*: nothing is told of it. Each process
//! appends again what it has seen of purges that the server does not have, and signs for its readers. When all have
//! signed that the restored server knew, it opens again, and is the log that it was:
//!
//! ```text
//! server   … 7 8 9     restored: … 7     closing: 1048583, nobody is told     open: … 7 [9 again] [8 again]
//! one          read 8 ───────────────────── 8 again, signs ──┘
//! other        read 9 ───────────────────── 8 and 9 again, signs ──┘
//! ```
//!
//! No number is given twice: those of the closing log begin a million further, or at the server's time. Whoever does
//! not sign within [`max_incoherence`](super::RedisOptions::max_incoherence) and a margin may be the only one who knew
//! of a purge: then another log begins, and what was stored under the old one is not believed. Likewise if a process has
//! forgotten what it would have to tell. A process that the restored server does not know is waited for as well, if
//! others knew how many there were: else they would go by a log that has lost its purges. One that nobody knew of tells
//! what it has seen when it sees that the server has been another one.

use redis::Cmd;

use super::{
    Shared,
    connect::Link,
    log::{decode, fences, id_text},
    script::{ANEW, APPEND, Answer, SIGN, Script, hex, not_understood, read},
    seen::{Entry, Header, Heard, Testimony},
};
use crate::{purge::Mode, tier::lower::LowerError};

/// So often one call tries to get an answer from a log that is closing.
const TRIES: usize = 3;
/// So many purges are told at once.
const BATCH: usize = 256;

impl Shared {
    /// Asks a log that is open. One that is closing is told what it has lost first.
    pub(super) async fn call(
        &self,
        link: &mut Link,
        script: &Script,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Answer, LowerError> {
        for _ in 0..TRIES {
            let answer = self.run(link, script, &arguments).await?;
            let header = &answer.header;
            if !header.is_open {
                self.testify(link, header).await?;
                continue;
            }
            match self.control.hear(&answer) {
                Heard::AsBefore => return Ok(answer),
                Heard::Forked { after } => {
                    self.tell_again(link, header, after).await?;
                    return Ok(answer);
                }
                Heard::CameBack => {
                    let generation = hex(header.generation);
                    let arguments = |command: &mut Cmd| _ = command.arg(&generation);
                    self.run(link, &ANEW, arguments).await?;
                }
            }
        }
        Err(LowerError::Reconciling)
    }

    /// Tells a log that is closing all that it may have lost, and signs, once.
    async fn testify(&self, link: &mut Link, header: &Header) -> Result<(), LowerError> {
        let _turn = self.control.telling.lock().await;
        if self.control.seen().hear_closing(header) {
            return Ok(());
        }
        let testimony = self.control.seen().testimony(header.generation, header.restored);
        let Testimony { entries, is_whole, readers } = testimony;
        self.tell(link, header.generation, &entries).await?;
        let sign = |command: &mut Cmd| _ = command.arg(u8::from(is_whole)).arg(&readers);
        self.run(link, &SIGN, sign).await?;
        self.control.seen().signs(header);
        Ok(())
    }

    /// Tells a log that has opened again without this process having told all.
    async fn tell_again(
        &self,
        link: &mut Link,
        header: &Header,
        after: u64,
    ) -> Result<(), LowerError> {
        let _turn = self.control.telling.lock().await;
        let Testimony { entries, .. } = self.control.seen().testimony(header.generation, after);
        self.tell(link, header.generation, &entries).await?;
        self.control.seen().told(header.generation, header.forks);
        Ok(())
    }

    /// What the log has already it does not take again.
    async fn tell(
        &self,
        link: &mut Link,
        generation: u128,
        entries: &[(u64, Entry)],
    ) -> Result<(), LowerError> {
        for entries in entries.chunks(BATCH) {
            let append = |command: &mut Cmd| {
                command.arg("1");
                for (number, entry) in entries {
                    put(command, *number, entry);
                }
            };
            let answer = self.run(link, &APPEND, append).await?;
            if answer.header.generation != generation {
                return Ok(());
            }
            let numbers = answer.rest.into_iter().next().ok_or_else(not_understood)?;
            let numbers: Vec<u64> = read(numbers)?;
            let mut seen = self.control.seen();
            for ((had, _), number) in entries.iter().zip(numbers) {
                seen.renumber(generation, *had, number);
            }
        }
        Ok(())
    }
}

/// What the script that appends is told of a purge that had this number, or none (0).
pub(super) fn put(command: &mut Cmd, had: u64, entry: &Entry) {
    let purge = decode(entry.id, &entry.bytes);
    let mode = if purge.mode == Mode::Hard { "h" } else { "s" };
    let fences = fences(&purge);
    command.arg(id_text(entry.id)).arg(had).arg(entry.at_ms).arg(mode).arg(&entry.bytes);
    command.arg(fences.len());
    for field in fences {
        command.arg(field);
    }
}
