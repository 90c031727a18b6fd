//! Records: how a response lies in the tier below memory: its head, and its body in pieces.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use larder_policy::{
    freshness::Lifetime,
    head::RequestHead,
    reason::Reason,
    record,
    reuse::{Variant, may_share},
    settings::Policy,
    stored::StoredHead,
};

use super::{
    hit_for_miss::memory_of_unshared,
    request::Retrieval,
    store::Store,
    stored::{Mark, Stored},
    tags::tags_of,
};
use crate::{
    clock::Moment,
    codec::CodecError,
    engine::lower::{Asked, Content, Lower, NewBody, NewRecord, OwnLease},
    purge::last::PurgeState,
    tier::lower::{Body, Position, Record},
};

/// When another process asked for a response is known to so much: both clocks go in steps, of 10 ms at most. It counts as
/// asked for so much earlier, so that nobody who wants what is younger than a moment is given what is older.
const UNSURE: Duration = Duration::from_millis(20);

/// The bytes of a BLAKE3 hash.
type Digest = [u8; blake3::OUT_LEN];

/// What lies beneath an HTTP cache.
pub(crate) struct Beneath {
    pub(crate) lower: Arc<Lower>,
    /// Whose records are read and written.
    name: String,
}

/// A response that lies below.
pub(crate) struct ResponseBelow<'a> {
    /// As it is to this process: received by its own clock.
    pub(crate) head: StoredHead,
    pub(crate) asked_at: Mark,
    /// What purges mean for it, as far as is known.
    pub(crate) state: PurgeState,
    marked_stale: Option<Mark>,
    pub(crate) record: &'a Record,
    body_digest: Digest,
}

impl ResponseBelow<'_> {
    /// As the rules look at it.
    pub(crate) fn variant(&self) -> Variant<'_> {
        Variant { head: &self.head, marked_stale: self.marked_stale.map(Mark::time) }
    }

    pub(crate) fn marked_stale(&self) -> Option<Mark> {
        self.marked_stale
    }
}

/// What it takes to write what a fetch brings.
pub(crate) struct MayWrite {
    /// Where the lower log was when the fetch began.
    fence: Position,
    /// Given back when it is written, or when it turns out that nothing will be.
    lease: Option<OwnLease>,
    /// The long bodies that lay below then: what is confirmed is not written again.
    there: Vec<BodyBelow>,
    /// So many records lay there.
    beside: usize,
}

struct BodyBelow {
    variant: String,
    digest: Digest,
    body: Body,
}

/// What is written, and of which key.
pub(crate) struct ToWrite<'a> {
    pub(crate) key: &'a Arc<str>,
    pub(crate) policy: &'a Policy,
    pub(crate) request: RequestHead<'a>,
    pub(crate) stored: &'a Arc<Stored>,
    pub(crate) cost: Duration,
}

impl Beneath {
    /// `name`: that of the cache. What another one has written is not this one's.
    pub(crate) fn new(lower: &Arc<Lower>, name: &str) -> Self {
        Beneath { lower: Arc::clone(lower), name: name.to_owned() }
    }

    /// Whose records are read and written, what their bytes mean, and by which rules they were stored: what a
    /// process with other rules has stored may be for one reader by these.
    fn format(&self, policy: &Policy) -> String {
        let rules = short_name(policy.of_storing().as_bytes());
        format!("{} response 1, {}, {rules}", self.name, record::FORMAT)
    }

    /// The same of a record without a response: it says that answers are for one reader each.
    fn format_of_apart(&self, policy: &Policy) -> String {
        let rules = short_name(policy.of_storing().as_bytes());
        format!("{} apart 1, {rules}", self.name)
    }

    /// As [`read`](Beneath::read), and counts the records that cannot be: once for each answer of the tier.
    pub(crate) fn read_and_count<'a>(
        &self,
        store: &Store,
        policy: &Policy,
        key: &str,
        asked: &'a Asked,
    ) -> Vec<ResponseBelow<'a>> {
        let all = self.responses(store, policy, key, asked);
        let is_unreadable = |response: &&Option<ResponseBelow<'_>>| response.is_none();
        all.iter().filter(is_unreadable).for_each(|_| self.lower.count_unreadable());
        not_purged(all)
    }

    /// What of `asked` are responses of this cache that have not been purged.
    pub(crate) fn read<'a>(
        &self,
        store: &Store,
        policy: &Policy,
        key: &str,
        asked: &'a Asked,
    ) -> Vec<ResponseBelow<'a>> {
        not_purged(self.responses(store, policy, key, asked))
    }

    /// All whose bodies are there; `None` where one cannot be read.
    fn responses<'a>(
        &self,
        store: &Store,
        policy: &Policy,
        key: &str,
        asked: &'a Asked,
    ) -> Vec<Option<ResponseBelow<'a>>> {
        let (at, format) = (store.time_of_day(asked.at), self.format(policy));
        let of_apart = self.format_of_apart(policy);
        let read = |record: &'a Record| {
            let is_known = record.head.format == format;
            is_known.then(|| self.response(store, key, record, at)).flatten()
        };
        let is_there = |record: &&Record| {
            record.head.format != of_apart && !self.lower.is_lost(&record.head.body)
        };
        asked.records().iter().filter(is_there).map(read).collect()
    }

    /// For how long it is known, by what another process has found, that answers to such a request are for one reader
    /// each. Either it was told so, or what it has stored was not to be reused by others. What was found last counts.
    pub(crate) fn apart_for(
        &self,
        store: &Store,
        asked: &Retrieval,
        key: &str,
        below: &Asked,
    ) -> Option<Duration> {
        let (policy, request) = (&asked.policy, asked.request());
        let (format, variant) = (self.format_of_apart(policy), name_of_apart(asked.is_personal()));
        let is_told = |record: &&Record| {
            record.head.format == format
                && record.head.variant == variant
                && self.lower.state(key, &record.head) == PurgeState::Untouched
        };
        let told = below.records().iter().find(is_told).map(|record| {
            let most = memory_of_unshared(policy, Reason::Private);
            (record.age, most.map(|most| most.min(record.head.lifetime.ttl())))
        });
        let there = self.read(store, policy, key, below);
        let stored = there.iter().filter(|response| response.head.selects(policy, request.headers));
        let stored = stored.map(|response| {
            let came_at = response.head.received_at();
            let shared = may_share(policy, &response.head, request, came_at);
            let memory = shared.err().and_then(|reason| memory_of_unshared(policy, reason));
            (response.record.age, memory)
        });
        let (age, memory) = stored.chain(told).min_by_key(|(age, _)| *age)?;
        memory?.checked_sub(age).filter(|left| !left.is_zero())
    }

    fn response<'a>(
        &self,
        store: &Store,
        key: &str,
        record: &'a Record,
        at: SystemTime,
    ) -> Option<ResponseBelow<'a>> {
        let Record { head, age } = record;
        let (body_digest, rest) = head.extra.split_first_chunk()?;
        let (asked_before, rest) = rest.split_first_chunk()?;
        let received_at = at.checked_sub(*age)?;
        let asked_before = Duration::from_nanos(u64::from_le_bytes(*asked_before));
        let state = self.lower.state(key, head);
        let marked_stale = match state {
            PurgeState::MarkedStale(marked) => Some(Mark::at(store.time_of_day(marked))),
            PurgeState::Untouched | PurgeState::Purged => None,
        };
        Some(ResponseBelow {
            head: StoredHead::of_record(rest, received_at).ok()?,
            asked_at: Mark::at(received_at.checked_sub(asked_before.saturating_add(UNSURE))?),
            state,
            marked_stale,
            record,
            body_digest: *body_digest,
        })
    }

    /// What lets a fetch that begins now write. `None`: nothing was heard of the tier yet.
    pub(crate) fn may_write(
        &self,
        lease: Option<OwnLease>,
        there: &[ResponseBelow<'_>],
    ) -> Option<MayWrite> {
        let is_long = |response: &&ResponseBelow<'_>| {
            matches!(response.record.head.body, Body::Pieces { .. })
        };
        let body_below = |response: &ResponseBelow<'_>| BodyBelow {
            variant: response.record.head.variant.clone(),
            digest: response.body_digest,
            body: response.record.head.body.clone(),
        };
        let beside = there.len();
        let there = there.iter().filter(is_long).map(body_below).collect();
        self.lower.position().map(|fence| MayWrite { fence, lease, there, beside })
    }

    /// Writes a response, behind the readers' backs. A part is not written, nor what is of no use to anybody: then the
    /// right to write is given back.
    pub(crate) fn write(
        &self,
        store: &Store,
        may_write: Box<MayWrite>,
        to_write: ToWrite<'_>,
    ) -> Result<(), Box<MayWrite>> {
        let ToWrite { key, policy, request, stored, cost } = to_write;
        let keep_for = stored.head.keep_for(policy);
        let head = stored.head.to_record().filter(|_| !keep_for.is_zero());
        let Some(head) = head else { return Err(may_write) };
        let MayWrite { fence, lease, there, beside } = *may_write;
        let received_at = stored.head.received_at();
        let record = NewRecord {
            key: Arc::clone(key),
            variant: variant_of(&stored.head),
            most: policy.variant_limit().max(1),
            fence,
            lifetime: Lifetime::fresh_for(keep_for),
            fetched: store.moment(received_at),
            cost,
            tags: tags_of([&stored.head], request),
            format: self.format(policy),
            beside,
        };
        let (stored, variant) = (Arc::clone(stored), record.variant.clone());
        let encode = move || -> Result<Content, CodecError> {
            let chunks = stored.body.chunks();
            let digest = digest_of(&chunks);
            let asked_before = received_at.duration_since(stored.asked_at.time());
            let nanos = u64::try_from(asked_before.unwrap_or_default().as_nanos());
            let nanos = nanos.unwrap_or(u64::MAX).to_le_bytes();
            let extra = [&digest[..], &nanos[..], &head[..]].concat().into();
            let is_same = |below: &BodyBelow| below.variant == variant && below.digest == digest;
            let body = match there.into_iter().find(is_same) {
                Some(below) => NewBody::There(below.body),
                None => NewBody::Bytes(chunks),
            };
            Ok(Content { extra, body })
        };
        self.lower.write_behind(record, encode, lease);
        Ok(())
    }

    /// Writes, behind the readers' backs, that answers to such requests are for one reader each. Other processes that
    /// wait for this one's lease go at once then, and not one after the other.
    pub(crate) fn write_apart(&self, may_write: MayWrite, apart: Apart<'_>) {
        let Apart { key, policy, is_personal, memory, now } = apart;
        let MayWrite { fence, lease, beside, .. } = may_write;
        let record = NewRecord {
            key: Arc::clone(key),
            variant: name_of_apart(is_personal).to_owned(),
            // Beside all of the responses, and beside the other one of this kind.
            most: policy.variant_limit().max(1).saturating_add(2),
            fence,
            lifetime: Lifetime::fresh_for(memory),
            fetched: now,
            cost: Duration::ZERO,
            tags: Vec::new(),
            format: self.format_of_apart(policy),
            beside,
        };
        let encode = || Ok(Content { extra: Bytes::new(), body: NewBody::Bytes(Vec::new()) });
        self.lower.write_behind(record, encode, lease);
    }
}

/// What is written of answers that are for one reader each.
pub(crate) struct Apart<'a> {
    pub(crate) key: &'a Arc<str>,
    pub(crate) policy: &'a Policy,
    pub(crate) is_personal: bool,
    /// For so long it is gone by.
    pub(crate) memory: Duration,
    pub(crate) now: Moment,
}

/// Which of a key's records that is: no response's has such a name. That personal answers are for one reader each says
/// nothing of the others.
fn name_of_apart(is_personal: bool) -> &'static str {
    if is_personal { "apart personal" } else { "apart" }
}

fn not_purged(responses: Vec<Option<ResponseBelow<'_>>>) -> Vec<ResponseBelow<'_>> {
    let readable = responses.into_iter().flatten();
    readable.filter(|response| response.state != PurgeState::Purged).collect()
}

/// Which of a key's records a response is: that of all equal requests.
fn variant_of(head: &StoredHead) -> String {
    let selecting = head.selecting_bytes();
    match selecting.is_empty() {
        true => String::new(),
        false => short_name(&selecting),
    }
}

/// A name of a few letters for something longer.
pub(crate) fn short_name(of: &[u8]) -> String {
    blake3::hash(of).to_hex()[..32].to_owned()
}

fn digest_of(chunks: &[Bytes]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for chunk in chunks {
        hasher.update(chunk);
    }
    *hasher.finalize().as_bytes()
}
