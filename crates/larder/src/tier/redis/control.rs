//! Control: what is asked about the log and its readers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{
    Shared,
    connect::{Link, is_broken_line},
    copies::LastCopies,
    fork::put,
    log::{decode, encode, folded, parse_id},
    readers::Table,
    script::{
        APPEND, Answer, FORGET, LEAVE, READERS, RENEW, Script, TAIL, hex, millis, not_understood,
        read,
    },
    seen::{Entry, Header, Heard, Seen},
};
use crate::{
    jitter::jittered,
    rules::Rule,
    sync,
    tier::lower::{
        Folded, Forget, Forgotten, Holds, Logged, LowerError, LowerPurge, Position, Reader, Tail,
    },
};

/// What is waited beyond [`max_incoherence`](super::RedisOptions::max_incoherence) for who is silent.
const MARGIN: Duration = Duration::from_secs(2);
/// So many purges are told one by one.
const MOST: usize = 4096;
/// After so many at once who follows rests for a moment: there are more at once then.
const MANY: usize = 64;
const REST: Duration = Duration::from_millis(5);
/// A piece of what is remembered of purges.
const PIECE: usize = 1000;
/// Between two of those at most.
const BREATH: Duration = Duration::from_millis(2);
/// So often that is read anew if too much came in between.
const TRIES: usize = 3;
/// Readers are looked at so often while a receipt waits; and so often once it has waited for [`LONG`].
const LOOK: Duration = Duration::from_millis(10);
const SLOW_LOOK: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(1);

/// What is known of the log by all who use one tier.
pub(super) struct Control {
    /// Held for moments.
    seen: Mutex<Seen>,
    /// For so long nobody can tell after a change whether all have heard of it.
    pub(super) settle: Duration,
    /// Held by who tells a server what it has lost.
    pub(super) telling: tokio::sync::Mutex<()>,
    /// The readers when they were looked at last. Held by who looks.
    table: tokio::sync::Mutex<Option<(Instant, Arc<Table>)>>,
    pub(super) copies: tokio::sync::Mutex<LastCopies>,
    pub(super) unreplicated: AtomicU64,
}

impl Control {
    pub(super) fn new(max_incoherence: Duration) -> Self {
        Control {
            seen: Mutex::default(),
            settle: max_incoherence.saturating_add(MARGIN),
            telling: tokio::sync::Mutex::default(),
            table: tokio::sync::Mutex::default(),
            copies: tokio::sync::Mutex::default(),
            unreplicated: AtomicU64::new(0),
        }
    }

    /// For so long after a change nobody can tell whether all have heard of it, those included who reach the server that was
    /// there before.
    fn settle_after_change(&self) -> Duration {
        self.settle.saturating_add(self.seen().figures().replication_lag)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hear(&self, answer: &Answer) -> Heard {
        self.seen().hear(&answer.header, answer.asked, Instant::now())
    }

    pub(super) fn unreplicated(&self) -> u64 {
        self.unreplicated.load(Ordering::Relaxed)
    }
}

/// Of a hash, or of an entry of a stream.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The log after a position.
struct Part {
    header: Header,
    /// After this number.
    since: u64,
    /// All there are; `None` if there are too many, or some are no longer there.
    entries: Option<Vec<(u64, Entry)>>,
}

impl Shared {
    /// Appends purges to the log.
    pub(super) async fn append(&self, purges: &[LowerPurge]) -> Result<Position, LowerError> {
        let entry = |purge: &LowerPurge| Entry { id: purge.id, bytes: encode(purge), at_ms: 0 };
        let entries: Vec<_> = purges.iter().map(entry).collect();
        let append = |command: &mut Cmd| {
            command.arg("0");
            entries.iter().for_each(|entry| put(command, 0, entry));
        };
        // What it has already it does not take again.
        let asking = self.lines.twice(|| async {
            let mut link = self.lines.purges().await?;
            self.call(&mut link, &APPEND, append).await
        });
        let Answer { header, rest, .. } = asking.await?;
        let numbers: Vec<u64> = read(rest.into_iter().next().ok_or_else(not_understood)?)?;
        let number = numbers.iter().copied().max().unwrap_or(header.number);
        {
            let mut seen = self.control.seen();
            for (number, entry) in numbers.into_iter().zip(entries) {
                let at_ms = header.now_us / 1000;
                seen.note(header.generation, number, Entry { at_ms, ..entry });
            }
        }
        Ok(Position { generation: header.generation, number })
    }

    /// What the log has after `since`.
    pub(super) async fn tail(&self, since: Option<Position>) -> Result<Tail, LowerError> {
        self.lines.twice(|| async { self.read_tail(since).await }).await
    }

    async fn read_tail(&self, since: Option<Position>) -> Result<Tail, LowerError> {
        let mut link = self.lines.control().await?;
        let Part { header, since: whole_since, entries } =
            self.part(&mut link, since, MOST).await?;
        match entries {
            Some(entries) => Ok(tail(&header, whole_since, Vec::new(), entries)),
            None => self.folded_tail(&mut link, since).await,
        }
    }

    async fn part(
        &self,
        link: &mut Link,
        since: Option<Position>,
        most: usize,
    ) -> Result<Part, LowerError> {
        let generation = since.map_or(String::new(), |since| hex(since.generation));
        let number = since.map_or(0, |since| since.number);
        let arguments = |command: &mut Cmd| _ = command.arg(&generation).arg(number).arg(most);
        let Answer { header, rest, .. } = self.call(link, &TAIL, arguments).await?;
        let [begin, is_whole, entries] = rest.try_into().map_err(|_| not_understood())?;
        // What lies between is told to nobody any more.
        let known = since.filter(|since| since.generation == header.generation);
        let skips = known.is_none_or(|known| known.number < header.floor);
        let entries = match read::<String>(is_whole)?.as_str() {
            "1" => Some(read_entries(entries)?),
            _ => None,
        };
        let mut seen = self.control.seen();
        if skips {
            seen.note_folded(header.generation, header.floor);
        }
        for (number, entry) in entries.iter().flatten() {
            seen.note(header.generation, *number, entry.clone());
        }
        drop(seen);
        Ok(Part { header, since: read(begin)?, entries })
    }

    /// What the log has where it does not tell all one by one. The order is what makes it whole: what comes while the
    /// fences are read is in the log after `begin`, and what is dropped from them raises the floor, which is read
    /// last.
    async fn folded_tail(
        &self,
        link: &mut Link,
        since: Option<Position>,
    ) -> Result<Tail, LowerError> {
        for _ in 0..TRIES {
            let begin = self.part(link, None, 0).await?.header;
            let fences = self.fences(link).await?;
            let position = Position { generation: begin.generation, number: begin.number };
            let Part { header, entries, .. } = self.part(link, Some(position), MOST).await?;
            let Some(entries) = entries.filter(|_| header.generation == begin.generation) else {
                continue;
            };
            self.control.seen().note_folded(header.generation, begin.number.max(header.floor));
            let known = since.filter(|since| since.generation == header.generation);
            let known = known.map_or(0, |since| since.number);
            let now_ms = header.now_us / 1000;
            let read =
                |(field, value): &(Vec<u8>, Vec<u8>)| folded(field, value, now_ms, header.number);
            let news = fences.iter().map(read).filter(|folded| folded.newest() > known).collect();
            return Ok(tail(&header, header.floor.max(known), news, entries));
        }
        Err(LowerError::Failed("its log grows faster than it can be read".into()))
    }

    /// Some perhaps twice, and those that change meanwhile as they were or as they are.
    async fn fences(&self, link: &mut Link) -> Result<Fields, LowerError> {
        let (mut all, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(self.names.control("fences")).arg(cursor).arg("COUNT").arg(PIECE);
            let (next, piece): (u64, Fields) = link.ask(&scan).await?;
            all.extend(piece);
            if next == 0 {
                return Ok(all);
            }
            cursor = next;
            // All who have missed something at once read all of it at once.
            sync::pause(jittered(BREATH)).await;
        }
    }

    /// What the log has after `since`, as soon as there is something. Whether it still is that log is asked then. Where
    /// nothing came, that is not asked, so as to spare the server half of what is asked at rest: it is known as of
    /// what was heard last, and whoever follows renews as well, and hears then of a log that has ended, or that has
    /// more than its stream shows.
    pub(super) async fn follow(&self, since: Position, most: Duration) -> Result<Tail, LowerError> {
        let line = self.lines.log();
        let mut link = line.link().await?;
        let mut wait = redis::cmd("XREAD");
        // 0 would be for ever.
        wait.arg("COUNT").arg(1).arg("BLOCK").arg(millis(most).max(1)).arg("STREAMS");
        wait.arg(self.names.control("log")).arg(format!("{}-0", since.number));
        let news = link.ask::<Value>(&wait).await;
        line.give_back();
        match news {
            // Whether there is something new is asked at once.
            Err(error) if is_broken_line(&error) => {}
            Ok(Value::Nil) if self.control.seen().ends_at(since) => {
                let (position, whole_since) = (since, since.number);
                let (folded, purges) = (Vec::new(), Vec::new());
                return Ok(Tail { whole_since, folded, purges, position });
            }
            news => _ = news?,
        }
        let tail = self.tail(Some(since)).await?;
        if tail.purges.len() >= MANY {
            sync::pause(REST).await;
        }
        Ok(tail)
    }

    /// Says how far a reader has read.
    pub(super) async fn renew(
        &self,
        reader: &Reader,
        read: Option<Position>,
    ) -> Result<Position, LowerError> {
        self.control.seen().reads(reader.id);
        let generation = read.map_or("-".to_owned(), |read| hex(read.generation));
        let number = read.map_or(0, |read| read.number);
        let arguments = |command: &mut Cmd| {
            command.arg(reader.id).arg(&reader.name).arg(&generation).arg(number);
        };
        let Answer { header, .. } = self.ask_control(&RENEW, arguments).await?;
        Ok(Position { generation: header.generation, number: header.number })
    }

    /// A reader goes, whatever state the log is in.
    pub(super) async fn leave(&self, reader: &Reader) -> Result<(), LowerError> {
        let leave = |command: &mut Cmd| _ = command.arg(reader.id);
        let asking = self
            .lines
            .twice(|| async { self.run(&mut self.lines.control().await?, &LEAVE, leave).await });
        let left = asking.await?;
        self.control.seen().leaves(reader.id, &left.header);
        Ok(())
    }

    /// Readers of this name are not waited for any more.
    pub(super) async fn forget(&self, name: &str, whom: Forget) -> Result<Forgotten, LowerError> {
        let is_forced = u8::from(whom == Forget::InAnyCase);
        let arguments = |command: &mut Cmd| _ = command.arg(name).arg(is_forced);
        let Answer { rest, .. } = self.ask_control(&FORGET, arguments).await?;
        let [forgotten, alive, silent] = rest.try_into().map_err(|_| not_understood())?;
        let (forgotten, alive): (u64, u64) = (read(forgotten)?, read(alive)?);
        Ok(match (forgotten, alive) {
            (0, 0) => Forgotten::Unknown,
            (0, _) => Forgotten::Alive(Duration::from_millis(read(silent)?)),
            (forgotten, _) => Forgotten::Readers(forgotten),
        })
    }

    /// A question that takes no harm from being asked twice.
    pub(super) async fn ask_control(
        &self,
        script: &Script,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Answer, LowerError> {
        let asking = self.lines.twice(|| async {
            self.call(&mut self.lines.control().await?, script, &arguments).await
        });
        asking.await
    }

    /// For how many readers a purge holds. Several who wait look together.
    pub(super) async fn holds(
        &self,
        position: Position,
        most: Duration,
    ) -> Result<Holds, LowerError> {
        let began = Instant::now();
        let mut since = began;
        loop {
            let looked = self.look(since).await;
            let is_over = began.elapsed() >= most;
            match looked {
                // Who has not registered with a server that has changed may serve what is older for so long.
                Ok(table)
                    if table.changed_ago < self.control.settle_after_change()
                        && Rule::ReceiptsWaitAfterAChange.holds() =>
                {
                    if is_over {
                        return Err(LowerError::Reconciling);
                    }
                }
                Ok(table) => {
                    let holds = table.holds(position);
                    if is_over || holds.missing.is_empty() {
                        return Ok(holds);
                    }
                }
                // It may answer again in time.
                Err(error) if is_over => return Err(error),
                Err(_) => {}
            }
            let look = if began.elapsed() < LONG { LOOK } else { SLOW_LOOK };
            let rest = look.min(most.saturating_sub(began.elapsed()));
            if !sync::pause(rest).await {
                // Where nothing can tell the time the server is asked as often as it answers.
                tokio::task::yield_now().await;
            }
            since = Instant::now();
        }
    }

    /// The readers as they were at this moment, or later.
    async fn look(&self, since: Instant) -> Result<Arc<Table>, LowerError> {
        let mut last = self.control.table.lock().await;
        if let Some((asked, table)) = &*last {
            if *asked >= since {
                return Ok(Arc::clone(table));
            }
            sync::pause(LOOK.saturating_sub(asked.elapsed())).await;
        }
        let asked = Instant::now();
        let Answer { header, rest, .. } = self.ask_control(&READERS, |_| ()).await?;
        let changed_ago = self.control.seen().changed_ago(&header, Instant::now());
        let readers = read(rest.into_iter().next().ok_or_else(not_understood)?)?;
        let table = Arc::new(Table::new(header.generation, changed_ago, readers));
        *last = Some((asked, Arc::clone(&table)));
        Ok(table)
    }
}

fn tail(
    header: &Header,
    whole_since: u64,
    folded: Vec<Folded>,
    entries: Vec<(u64, Entry)>,
) -> Tail {
    let now_ms = header.now_us / 1000;
    let logged = |(number, entry): (u64, Entry)| Logged {
        number,
        purge: decode(entry.id, &entry.bytes),
        age: Duration::from_millis(now_ms.saturating_sub(entry.at_ms)),
    };
    let purges = entries.into_iter().map(logged).collect();
    let position = Position { generation: header.generation, number: header.number };
    Tail { whole_since, folded, purges, position }
}

/// Entries of the stream.
fn read_entries(entries: Value) -> Result<Vec<(u64, Entry)>, LowerError> {
    let entries: Vec<(String, Fields)> = read(entries)?;
    let entry = |(id, fields): (String, Fields)| {
        let number = id.split_once('-')?.0.parse().ok()?;
        let field = |name: &[u8]| fields.iter().find(|(field, _)| field == name).map(|(_, it)| it);
        let at_ms = str::from_utf8(field(b"t")?).ok()?.parse().ok()?;
        let bytes = field(b"d")?.clone();
        Some((number, Entry { id: parse_id(field(b"i")?), bytes, at_ms }))
    };
    entries.into_iter().map(|it| entry(it).ok_or_else(not_understood)).collect()
}
