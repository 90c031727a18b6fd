//! Compress: makes the coded forms of stored responses, behind the readers' backs, and each once.
//!
//! A hit that would be answered better by a form that is not there asks for it ([`Compressor::want`]), and is answered
//! without. What was asked for waits in a queue; a few tasks take from it, one form after the other, and let the
//! runtime's threads for blocking work do what takes long. What comes of it is kept beside the response, if that is
//! still there.
//!
//! Bounds: so many wait ([`MAX_WAITING`]), and what is one too many is not made, which is counted; a later hit asks
//! again. What waits keeps nothing alive. So many are made at once ([`most_at_once`]), of bodies that are no longer
//! than the rules say.

mod encode;

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use larder_policy::coding::Coding;
use tokio::task::spawn_blocking;

use self::encode::encode;
use super::{
    body::stored::StoredBody,
    cache::Parts,
    forms::{Coded, Form, Forms},
    stored::Stored,
};
use crate::{stats::Counter, sync};

/// How many forms may be asked for and not be made yet.
const MAX_WAITING: usize = 64;

/// A form has to be shorter than its response by this part of it: else it is not kept, and no other is made.
const LEAST_GAIN: usize = 10;

/// How many forms are made at once: the processors are there for readers in the first place.
fn most_at_once() -> usize {
    (thread::available_parallelism().map_or(1, NonZeroUsize::get) / 2).clamp(1, 4)
}

/// Makes coded forms.
pub(crate) struct Compressor {
    queue: Mutex<Queue>,
    most_at_once: usize,
    made: Counter,
    not_worth_it: Counter,
    turned_away: Counter,
    /// What all bodies that were coded were long, and what they are now.
    plain_bytes: AtomicU64,
    coded_bytes: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Those that wait, and those that are being made.
    under_way: HashSet<(usize, Coding)>,
    /// How many tasks take from it.
    workers: usize,
}

struct Job {
    key: Arc<str>,
    stored: Weak<Stored>,
    place: (usize, Coding),
}

/// What has become of the coded forms of stored responses that were asked for, since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressionStats {
    /// Forms that were made.
    pub made: u64,
    /// Responses whose forms would not be shorter by a tenth: none is made of those any more.
    pub not_worth_it: u64,
    /// Forms that were not made because too many waited; a later hit asks again.
    pub turned_away: u64,
    /// Forms that wait to be made, or are being made, now.
    pub under_way: usize,
    /// What the responses of all forms that were made are long, in bytes.
    pub plain_bytes: u64,
    /// What those forms are long.
    pub coded_bytes: u64,
}

impl Compressor {
    pub(crate) fn new() -> Compressor {
        Compressor {
            queue: Mutex::default(),
            most_at_once: most_at_once(),
            made: Counter::default(),
            not_worth_it: Counter::default(),
            turned_away: Counter::default(),
            plain_bytes: AtomicU64::new(0),
            coded_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn stats(&self) -> CompressionStats {
        CompressionStats {
            made: self.made.get(),
            not_worth_it: self.not_worth_it.get(),
            turned_away: self.turned_away.get(),
            under_way: self.queue().under_way.len(),
            plain_bytes: self.plain_bytes.load(Ordering::Relaxed),
            coded_bytes: self.coded_bytes.load(Ordering::Relaxed),
        }
    }

    /// Asks for a form of what is stored under `key`, unless that is under way. Nobody waits for it; outside a runtime it
    /// is not made.
    #[cold]
    pub(crate) fn want(cache: &Arc<Parts>, key: &str, stored: &Arc<Stored>, coding: Coding) {
        let Some(place) = stored.body.place() else { return };
        let tasks = cache.engine().tasks();
        if !sync::is_in_runtime() || tasks.is_closed() {
            return;
        }
        let this = &cache.compressor;
        let place = (place, coding);
        let mut queue = this.queue();
        if !queue.under_way.contains(&place) {
            if queue.waiting.len() >= MAX_WAITING {
                this.turned_away.increment();
            } else {
                queue.under_way.insert(place);
                let (key, stored) = (key.into(), Arc::downgrade(stored));
                queue.waiting.push_back(Job { key, stored, place });
            }
        }
        // Also where nothing was added: a worker may have come to a bad end.
        if !queue.waiting.is_empty() && queue.workers < this.most_at_once {
            queue.workers += 1;
            drop(queue);
            tasks.spawn(work(Worker { cache: Arc::downgrade(cache), is_over: false }));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each of its changes is a single call.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to take from the queue. It does not keep the cache alive.
struct Worker {
    cache: Weak<Parts>,
    is_over: bool,
}

impl Worker {
    /// The next job. `None`: there is none, and this worker is over. That is said under the lock under which none was
    /// found: whoever asks for a form a moment later finds that a worker is missing.
    fn next(&mut self, cache: &Parts) -> Option<Job> {
        let mut queue = cache.compressor.queue();
        let job = queue.waiting.pop_front();
        if job.is_none() {
            queue.workers -= 1;
            self.is_over = true;
        }
        job
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(cache) = self.cache.upgrade()
        {
            cache.compressor.queue().workers -= 1;
        }
    }
}

/// A job that is being done. Dropping it says that it is over, however it went.
struct UnderWay<'a> {
    cache: &'a Arc<Parts>,
    place: (usize, Coding),
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.cache.compressor.queue().under_way.remove(&self.place);
    }
}

/// Makes one form after the other, until none waits.
async fn work(mut worker: Worker) {
    while let Some(cache) = worker.cache.upgrade() {
        let Some(job) = worker.next(&cache) else { return };
        let under_way = UnderWay { cache: &cache, place: job.place };
        // If it is gone, so is who wanted a form of it.
        if let Some(stored) = job.stored.upgrade() {
            make(&cache, &job.key, &stored, job.place.1).await;
        }
        drop(under_way);
    }
}

async fn make(cache: &Arc<Parts>, key: &str, stored: &Stored, coding: Coding) {
    let chunks = stored.body.chunks();
    let len: usize = chunks.iter().map(Bytes::len).sum();
    let most = len - len / LEAST_GAIN;
    // A panic in there makes no form either.
    let coded = spawn_blocking(move || encode(coding, &chunks, most)).await.ok().flatten();
    let body = &stored.body;
    let this = &cache.compressor;
    let Some((bytes, account)) = coded.zip(body.account()) else {
        this.not_worth_it.increment();
        // Unless it is gone meanwhile.
        _ = cache.store.keep_forms(key, body, |_, _| Some(Forms::not_worth_it()));
        return;
    };
    let digest = digest_of(&bytes);
    let coded = StoredBody::copied(&[bytes.into()], account);
    let coded_len = coded.len();
    let coded = Coded { coding, digest, body: coded };
    let make = |plain: &Stored, forms: Option<&Forms>| {
        Some(Forms::with(forms, Form::of(plain, coded.clone())?))
    };
    match cache.store.keep_forms(key, body, make) {
        Some(_) => {
            this.made.increment();
            this.plain_bytes.fetch_add(len as u64, Ordering::Relaxed);
            this.coded_bytes.fetch_add(coded_len, Ordering::Relaxed);
        }
        // Where it is there still, the two are too much for one entry, and would be each time.
        None => _ = cache.store.keep_forms(key, body, |_, _| Some(Forms::not_worth_it())),
    }
}

/// Tells these bytes from others that the same response may be coded as.
fn digest_of(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let (first, _) = hash.as_bytes().split_first_chunk().expect("it has 32 bytes");
    u64::from_le_bytes(*first)
}
