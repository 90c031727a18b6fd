//! Fleet: gateways that share a tier tell the CDNs together. Each adds its purges to one list in that tier; one of them, the
//! leader, works on the list; all read there how far it is.
//!
//! ```text
//! gateway   purge ─▶ memory ─▶ shared tier holds ─▶ on the list ········ reads: confirmed up to … ─▶ receipt, journal
//!                                                       │                    ▲
//! leader                            reads after its position ─▶ queue ─▶ calls ─▶ says: confirmed up to …
//! ```
//!
//! The leader has its right by a token that only grows (`larder::redis::worklist`): one that was paused while another took
//! over is not heard any more. What a CDN was told is a position in the list, and the next leader begins behind it: a purge
//! may be told twice, and none is left out. Where the list does not go on from there, because it was cut or the server has
//! lost it, everything is purged, and the receipts say so.
//!
//! A gateway keeps its purges, in its journal too, until it has read that they are over. What cannot be put on the list
//! within five seconds it tells the CDNs itself.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{
    Mode,
    redis::worklist::{Hold, MOST_ADDED, MOST_BYTES, WorkPiece, Worklist},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    Inside, Outbox,
    driver::{What, Wish},
    gate::INSIDE,
    kept,
    progress::{Ends, Progress},
    queue::{Change, State},
};

/// What is on the list has higher numbers in the queues than what this process tells by itself: those of the list begin with
/// the time of its first piece.
pub(super) const FIRST_OF_LIST: u64 = 1 << 44;
/// The right of a leader that says nothing ends after so long.
const LEASE: Duration = Duration::from_secs(3);
/// So often it is looked how far the work is, while there is some; …
const LOOK: Duration = Duration::from_millis(200);
/// … and while there is none.
const REST: Duration = Duration::from_millis(500);
/// One call takes no longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pieces that are read at once, …
const MOST_READ: usize = 256;
/// … while no CDN has more to be told than this.
const MOST_QUEUED: usize = 4096;
/// By this name the leader says where the list was cut.
const CUT: &str = "cut";
const IS_CUT: &str =
    "the list of purges was cut before the CDN had this: everything was purged there";

/// What the tasks of one process share.
pub(super) struct Fleet {
    list: Worklist,
    /// Held for moments.
    ready: Mutex<VecDeque<(u64, Instant)>>,
    news: Notify,
    is_leading: AtomicBool,
    takeovers: AtomicU64,
    cuts: AtomicU64,
    ends: Mutex<Vec<Ends>>,
}

/// What is known of the fleet, for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetStats {
    /// This process works on the list.
    pub is_leading: bool,
    /// How often it has taken that over.
    pub takeovers: u64,
    /// How often the list did not go on where the work was, and everything was purged.
    pub cuts: u64,
}

impl Fleet {
    pub(super) fn new(list: Worklist, cdns: usize) -> Fleet {
        Fleet {
            list,
            ready: Mutex::default(),
            news: Notify::new(),
            is_leading: AtomicBool::new(false),
            takeovers: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            ends: Mutex::new(vec![Ends::default(); cdns]),
        }
    }

    pub(super) fn stats(&self) -> FleetStats {
        FleetStats {
            is_leading: self.is_leading.load(Relaxed),
            takeovers: self.takeovers.load(Relaxed),
            cuts: self.cuts.load(Relaxed),
        }
    }

    /// These may be told to CDNs: the tiers inside have applied them.
    pub(super) fn hand_out(&self, numbers: &[u64], now: Instant) {
        self.ready().extend(numbers.iter().map(|number| (*number, now)));
        self.news.notify_one();
    }

    /// What became of a piece of the list at a CDN: its leader will say it.
    pub(super) fn ended(&self, place: usize, change: &Change) {
        if let Some(ends) = self.ends().get_mut(place) {
            ends.note(change);
        }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<(u64, Instant)>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Vec<Ends>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A purge of this process that is on the list.
struct Placed {
    /// Its number there.
    piece: u64,
    /// At which CDNs it is known to have been sent, a bit for each.
    sent: u32,
}

/// The work of who has the right.
struct Leading {
    token: u64,
    /// Until then nobody else has it.
    until: Instant,
    /// The last piece that was read.
    read: u64,
    /// Where each CDN was when this began: earlier pieces are over there.
    began_at: Vec<u64>,
    /// What was entered, with the piece before it; what is over everywhere is forgotten.
    entered: BTreeMap<u64, u64>,
    /// When all answers are over that are older than these.
    clearing: VecDeque<(Instant, Vec<u64>)>,
    /// The last cut, as numbers of pieces.
    cut: (u64, u64),
    /// What the server has of what this says: nothing is said twice.
    said: HashMap<String, String>,
}

struct Member {
    inside: Arc<Inside>,
    fleet: Arc<Fleet>,
    placed: BTreeMap<u64, Placed>,
    /// What could not be put on the list, and when all older answers are over.
    alone: Vec<(Instant, Vec<u64>)>,
    /// Of the list, as it was last.
    generation: Option<u128>,
    leading: Option<Leading>,
    /// The server is another one, or has lost the list.
    has_changed: bool,
}

/// Until its task is dropped.
pub(super) async fn keep(inside: Arc<Inside>, fleet: Arc<Fleet>) {
    let (placed, alone) = (BTreeMap::new(), Vec::new());
    let mut member = Member {
        inside,
        fleet,
        placed,
        alone,
        generation: None,
        leading: None,
        has_changed: false,
    };
    loop {
        member.add().await;
        member.clear_alone();
        let is_more = member.look().await;
        if is_more {
            continue;
        }
        let is_busy = !member.placed.is_empty()
            || !member.alone.is_empty()
            || !member.fleet.ready().is_empty()
            || member.leading.as_ref().is_some_and(|leading| !leading.entered.is_empty());
        let rest = if is_busy { LOOK } else { REST };
        timeout(rest, member.fleet.news.notified()).await.ok();
    }
}

impl Member {
    /// Puts what may be told on the list; what waits for that too long is told by this process itself.
    async fn add(&mut self) {
        loop {
            let batch: Vec<(u64, Instant)> =
                self.fleet.ready().iter().take(MOST_ADDED).copied().collect();
            if batch.is_empty() {
                return;
            }
            let pieces: Vec<(u64, Vec<u8>)> = {
                let outbox = self.inside.outbox();
                let piece = |(number, _): &(u64, Instant)| {
                    let bytes = outbox.open.get(number)?.kept.clone();
                    let fits = bytes.len() <= MOST_BYTES;
                    Some((*number, if fits { bytes.to_vec() } else { kept::widened(&bytes) }))
                };
                batch.iter().filter_map(piece).collect()
            };
            let bytes: Vec<Vec<u8>> = pieces.iter().map(|(_, bytes)| bytes.clone()).collect();
            let added = match bytes.is_empty() {
                true => None,
                false => match timeout(PATIENCE, self.fleet.list.add(&bytes)).await {
                    Ok(Ok(added)) => Some(added),
                    Ok(Err(_)) | Err(_) => return self.take_home(),
                },
            };
            self.fleet.ready().drain(..batch.len());
            let Some(added) = added else { continue };
            self.note_generation(added.generation);
            for ((number, _), piece) in pieces.iter().zip(added.numbers) {
                self.placed.insert(*number, Placed { piece, sent: 0 });
                // What it may have begun alone goes on there.
                for cdn in &self.inside.cdns {
                    cdn.queue().remove(*number);
                }
            }
        }
    }

    /// What has waited too long for the list.
    fn take_home(&mut self) {
        let now = Instant::now();
        let late: Vec<u64> = {
            let mut ready = self.fleet.ready();
            let is_late = |(_, since): &(u64, Instant)| now >= *since + INSIDE;
            let count = ready.iter().take_while(|ready| is_late(ready)).count();
            ready.drain(..count).map(|(number, _)| number).collect()
        };
        if late.is_empty() {
            return;
        }
        self.inside.enter_alone(&late, now);
        for (place, cdn) in self.inside.cdns.iter().enumerate() {
            cdn.queue().hand_out(&late, true, now);
            self.inside.tell(place, &mut self.inside.outbox());
        }
        self.alone.push((now + self.inside.config.old_answers, late));
    }

    fn clear_alone(&mut self) {
        let now = Instant::now();
        let due = self.alone.extract_if(.., |(at, _)| *at <= now);
        let due: Vec<u64> = due.flat_map(|(_, numbers)| numbers).collect();
        self.clear(&due, now);
    }

    fn clear(&self, numbers: &[u64], now: Instant) {
        if numbers.is_empty() {
            return;
        }
        for (place, cdn) in self.inside.cdns.iter().enumerate() {
            cdn.queue().clear(numbers, now);
            self.inside.tell(place, &mut self.inside.outbox());
        }
    }

    /// What was put on another list, or at another server, is put there again.
    fn note_generation(&mut self, generation: u128) {
        let before = self.generation.replace(generation);
        if before.is_some_and(|before| before != generation) {
            self.has_changed = true;
            let now = Instant::now();
            let again = std::mem::take(&mut self.placed).into_keys().map(|number| (number, now));
            self.fleet.ready().extend(again);
        }
    }

    /// Takes or keeps the right, says and reads how far the work is, and does what of it is its own. Whether there is more
    /// to read at once.
    async fn look(&mut self) -> bool {
        let asked = Instant::now();
        let hold = self.hold();
        let held = timeout(PATIENCE, self.fleet.list.hold(&hold)).await;
        let Ok(Ok(held)) = held else {
            if self.leading.as_ref().is_some_and(|leading| leading.until <= Instant::now()) {
                self.leave("the shared tier does not answer");
            }
            return false;
        };
        self.note_generation(held.generation);
        let names: Vec<_> =
            self.inside.cdns.iter().map(|cdn| Arc::clone(&cdn.config.name)).collect();
        let progress: Vec<Progress> =
            names.iter().map(|name| Progress::read(held.said.get(&**name))).collect();
        let cut = held.said.get(CUT).map_or((0, 0), |cut| read_cut(cut));
        self.hear(&progress, cut);
        let has_changed = std::mem::take(&mut self.has_changed);
        let Some(token) = held.token else {
            if self.leading.is_some() {
                self.leave("another gateway has taken over");
            }
            return false;
        };
        let is_new = self.leading.as_ref().is_none_or(|leading| leading.token != token);
        if is_new {
            self.take_over(token, progress, cut);
        }
        let Some(leading) = &mut self.leading else { return false };
        leading.until = asked + LEASE;
        match is_new || has_changed {
            true => leading.said.clear(),
            false => leading.said.extend(hold.says),
        }
        let (knows_nothing, ends_before) = (held.said.is_empty(), held.last < leading.read);
        if has_changed && (knows_nothing || ends_before) {
            // With the list, or its end, is gone what others had put there and nobody was told of.
            (leading.read, leading.cut) = (0, (0, 0));
            leading.began_at.fill(0);
            leading.entered.clear();
            self.cut(0, FIRST_OF_LIST, Instant::now());
        }
        if has_changed || is_new {
            // What was asked for was not to be read from here.
            return true;
        }
        self.work(held.pieces, held.last, hold.most > 0)
    }

    /// What is asked of the list.
    fn hold(&self) -> Hold {
        let Some(leading) = &self.leading else {
            return Hold { length: LEASE, ..Hold::default() };
        };
        let mut outbox = self.inside.outbox();
        let mut queued = 0;
        let mut says: Vec<(String, String)> = Vec::new();
        for (place, cdn) in self.inside.cdns.iter().enumerate() {
            // Of what is over it is known how it ended before it is said that it is: nobody else tells meanwhile.
            let queue = loop {
                self.inside.tell(place, &mut outbox);
                let queue = cdn.queue();
                if !queue.has_changes() {
                    break queue;
                }
            };
            queued = queued.max(queue.len());
            let before = |number: Option<u64>| {
                number.map_or(leading.read, |number| {
                    leading.entered.get(&number).copied().unwrap_or(0)
                })
            };
            let confirmed = before(queue.first_open(FIRST_OF_LIST));
            let sent = before(queue.first_queued(FIRST_OF_LIST));
            // What was over there before this began is not unsaid.
            let began_at = leading.began_at[place];
            let (confirmed, sent) = (confirmed.max(began_at), sent.max(began_at));
            let ends = self.fleet.ends().get(place).cloned().unwrap_or_default();
            let progress = Progress { confirmed, sent, ends };
            says.push((cdn.config.name.to_string(), progress.written()));
        }
        says.push((CUT.to_owned(), format!("{} {}", leading.cut.0, leading.cut.1)));
        says.retain(|(name, value)| leading.said.get(name) != Some(value));
        let most = if queued < MOST_QUEUED { MOST_READ } else { 0 };
        Hold { token: leading.token, length: LEASE, says, after: leading.read, most }
    }

    fn take_over(&mut self, token: u64, progress: Vec<Progress>, cut: (u64, u64)) {
        self.forget_pieces();
        let began_at: Vec<u64> = progress.iter().map(|progress| progress.confirmed).collect();
        let read = began_at.iter().copied().min().unwrap_or(0);
        *self.fleet.ends() = progress.into_iter().map(|progress| progress.ends).collect();
        self.leading = Some(Leading {
            token,
            until: Instant::now() + LEASE,
            read,
            began_at,
            entered: BTreeMap::new(),
            clearing: VecDeque::new(),
            cut,
            said: HashMap::new(),
        });
        self.fleet.is_leading.store(true, Relaxed);
        self.fleet.takeovers.fetch_add(1, Relaxed);
        tracing::info!("tells the CDNs of the purges of all gateways now");
    }

    fn leave(&mut self, why: &str) {
        self.leading = None;
        self.fleet.is_leading.store(false, Relaxed);
        self.forget_pieces();
        tracing::info!("no longer tells the CDNs of the purges of all gateways: {why}");
    }

    /// What is of the list is another's to tell.
    fn forget_pieces(&self) {
        for cdn in &self.inside.cdns {
            cdn.queue().remove_from(FIRST_OF_LIST);
        }
    }

    /// Enters what was read, and clears what is due. Whether there may be more to read.
    fn work(&mut self, pieces: Vec<WorkPiece>, last: u64, has_read: bool) -> bool {
        let now = Instant::now();
        let count = pieces.len();
        let mut entered = Vec::new();
        for piece in pieces {
            let Some(leading) = &mut self.leading else { return false };
            if piece.before > leading.read {
                let (from, to) = (leading.read, piece.before);
                self.cut(from, to, now);
            }
            let Some(leading) = &mut self.leading else { return false };
            let kept::Kept { scopes, mode, asked, cdns: _ } = kept::decode(&piece.bytes);
            for (place, cdn) in self.inside.cdns.iter().enumerate() {
                if piece.number <= leading.began_at[place] {
                    continue;
                }
                let wishes =
                    cdn.config.wishes((&scopes, mode), self.inside.tells_tags.load(Relaxed));
                let mut queue = cdn.queue();
                queue.enter(piece.number, wishes, now);
                if cdn.config.driver.tells_others() {
                    queue.came_by(piece.number, &asked.came_by);
                }
            }
            leading.entered.insert(piece.number, leading.read);
            leading.read = piece.number;
            entered.push(piece.number);
        }
        if let Some(leading) = &mut self.leading
            && count == 0
            && last > leading.read
            && has_read
        {
            // All that was there is gone.
            let (from, to) = (leading.read, last);
            self.cut(from, to, now);
        }
        self.hand_out(entered, now);
        let Some(leading) = &mut self.leading else { return false };
        let mut due = Vec::new();
        while leading.clearing.front().is_some_and(|(at, _)| *at <= now) {
            due.extend(leading.clearing.pop_front().into_iter().flat_map(|(_, numbers)| numbers));
        }
        self.clear(&due, now);
        let open = |cdn: &super::Cdn| cdn.queue().first_open(FIRST_OF_LIST);
        let first = self.inside.cdns.iter().filter_map(open).min();
        if let Some(leading) = &mut self.leading {
            let first = first.unwrap_or(u64::MAX);
            leading.entered.retain(|number, _| *number >= first);
        }
        count == MOST_READ
    }

    fn hand_out(&mut self, numbers: Vec<u64>, now: Instant) {
        if numbers.is_empty() {
            return;
        }
        for (place, cdn) in self.inside.cdns.iter().enumerate() {
            cdn.queue().hand_out(&numbers, true, now);
            self.inside.tell(place, &mut self.inside.outbox());
        }
        // Which answers other gateways have under way, nobody here knows.
        if let Some(leading) = &mut self.leading {
            leading.clearing.push_back((now + self.inside.config.old_answers, numbers));
        }
    }

    /// Between these pieces some are missing: in place of them everything is purged.
    fn cut(&mut self, from: u64, to: u64, now: Instant) {
        let Some(leading) = &mut self.leading else { return };
        tracing::warn!(
            "purges that CDNs did not have are no longer on the list: everything is purged there"
        );
        self.fleet.cuts.fetch_add(1, Relaxed);
        leading.cut = (from, to);
        leading.entered.insert(to, from);
        leading.read = to;
        for cdn in &self.inside.cdns {
            let everything = Wish { what: What::Everything, mode: Mode::Hard };
            let everything = cdn.config.driver.widen(&everything);
            cdn.queue().enter(to, vec![everything], now);
        }
        self.hand_out(vec![to], now);
    }

    /// Of what is over, and of what has been sent, the receipts of this process.
    fn hear(&mut self, progress: &[Progress], (cut_from, cut_to): (u64, u64)) {
        let mut outbox = self.inside.outbox();
        let outbox: &mut Outbox = &mut outbox;
        let mut over = Vec::new();
        for (number, placed) in &mut self.placed {
            for (place, progress) in progress.iter().enumerate() {
                let bit = 1_u32 << place;
                let Some(open) = outbox.open.get(number) else { break };
                let (is_open, from) = (open.at & bit != 0, open.from);
                if !is_open {
                    continue;
                }
                let Some((state, mut end)) = progress.of(placed.piece) else { continue };
                if state == State::Sent && placed.sent & bit != 0 {
                    continue;
                }
                placed.sent |= bit;
                if state == State::Confirmed && (cut_from < placed.piece && placed.piece <= cut_to)
                {
                    end.reason = Some(IS_CUT.into());
                }
                let change = Change { from, to: *number, state, ..end };
                self.inside.changed(place, change, outbox);
            }
            if !outbox.open.contains_key(number) {
                over.push(*number);
            }
        }
        for number in over {
            self.placed.remove(&number);
        }
    }
}

fn read_cut(text: &str) -> (u64, u64) {
    let numbers = text.split_once(' ');
    let numbers = numbers.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    numbers.unwrap_or((0, 0))
}
