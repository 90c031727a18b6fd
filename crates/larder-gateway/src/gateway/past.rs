//! Past: what has become of the last requests, found again by the ids that their answers carry.
//!
//! A plain hit has an id only where it is asked for one, chance has chosen it, or somebody watches: for all others nothing is written. Rings are striped by thread: an event
//! loop meets no other at its ring's lock. Of a request is kept what tells why it was answered so: no field, no cookie, no
//! credential, and of its query the names.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, request::Parts};
use larder::http::{Handled, Verdict, policy::reason::Reason};
use larder_admin::{
    explain::{Onlookers, Passed, PastRequest, time},
    routes::{PastWait, Waits},
};

use super::{GatewayConfig, LetIn, Settings};
use crate::sample::{Drawn, Sample};

/// In it an answer carries its request's id.
pub(super) const LARDER_REQUEST: HeaderName = HeaderName::from_static("larder-request");

thread_local! {
    static COUNTDOWN: Cell<Option<Drawn>> = const { Cell::new(None) };
}

/// Chooses the plain hits that have an id. None: no plain hit does unless it is asked for.
pub(super) fn sampled_hits(config: &GatewayConfig) -> Option<Sample> {
    let is_any = config.request_ids && config.sampled_hits > 0.0;
    is_any.then(|| Sample::of(config.sampled_hits, &COUNTDOWN))
}

/// As many rings; loops beyond that share them.
const STRIPES: usize = 16;
/// So many requests each ring has, of so many bytes.
const RECORDS: usize = 512;
const BYTES: usize = 128 << 10;
/// So much of a URL is kept.
const URL_BYTES: usize = 512;

/// The last requests that were no plain hits.
pub(super) struct Past {
    /// Ids are keyed hashes of a counter, by keys that the system's random numbers seed: whoever has one can guess no other.
    keys: [RandomState; 2],
    of_urls: RandomState,
    last: AtomicU64,
    /// Each held to add one, or to look for one.
    stripes: Box<[Mutex<Ring>]>,
    /// Who watches them, plain hits among them.
    pub(super) onlookers: Onlookers,
}

/// How many of each ring one who watches was told.
pub(super) struct Seen([u64; STRIPES]);

#[derive(Default)]
struct Ring {
    /// How many were ever added.
    added: u64,
    records: VecDeque<Record>,
    bytes: usize,
}

struct Record {
    id: u128,
    /// Tells what was asked for apart, also where it is the same without what queries say.
    asked_hash: u64,
    /// Of its trace, where it is traced.
    trace: Option<[u8; 16]>,
    at: SystemTime,
    method: Method,
    url: Box<str>,
    route: Option<Arc<str>>,
    became: Became,
    status: StatusCode,
    took: Duration,
}

/// A request whose reader has waited.
#[derive(Clone)]
struct Waited {
    route: Arc<str>,
    id: u128,
    trace: Option<[u8; 16]>,
    took: Duration,
    at: SystemTime,
}

/// What has become of a request.
#[derive(Clone, Copy)]
enum Became {
    Answered(Handled),
    /// There was no answer.
    Failed,
}

/// Put into a request's extensions: its answer has an id also where it is a plain hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsksHow;

/// What is known of a request before it is answered. It copies nothing.
pub(super) struct Asked {
    /// Its answer has an id also where it is a plain hit.
    has_id: bool,
    method: Method,
    uri: Uri,
    settings: Arc<Settings>,
    place: usize,
    began: Instant,
}

impl Asked {
    /// None where ids are not given.
    pub(super) fn of(head: &Parts) -> Option<Asked> {
        let LetIn { settings, place, .. } = head.extensions.get()?;
        // Each is counted, also where it is asked for.
        let is_chosen = settings.sampled_hits.is_some_and(Sample::take);
        settings.config.request_ids.then(|| Asked {
            has_id: is_chosen || head.extensions.get::<AsksHow>().is_some(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            settings: Arc::clone(settings),
            place: *place,
            began: Instant::now(),
        })
    }
}

thread_local! {
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

/// The stripe of this thread.
fn stripe() -> usize {
    STRIPE.get().unwrap_or_else(|| {
        let stripe = NEXT_STRIPE.fetch_add(1, Relaxed) % STRIPES;
        STRIPE.set(Some(stripe));
        stripe
    })
}

impl Past {
    pub(super) fn new() -> Past {
        let keys = [RandomState::new(), RandomState::new()];
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Past {
            keys,
            of_urls: RandomState::new(),
            last: AtomicU64::new(0),
            stripes,
            onlookers: Onlookers::default(),
        }
    }

    /// Remembers what has become of a request, and gives its answer an id. `has_failed`: there was none, and what is sent
    /// says so. A plain hit that nobody asks about is left alone.
    pub(super) fn note<B>(
        &self,
        asked: Asked,
        answer: &mut Response<B>,
        has_failed: bool,
        trace: Option<[u8; 16]>,
    ) {
        let handled = answer.extensions_mut().remove::<Handled>();
        let is_plain_hit =
            |handled: &Handled| handled.verdict == Verdict::Hit && handled.reason == Reason::Hit;
        let became = match (handled, has_failed) {
            (Some(handled), _)
                if is_plain_hit(&handled) && !asked.has_id && !self.onlookers.take_hit() =>
            {
                return;
            }
            (Some(handled), _) => Became::Answered(handled),
            (None, true) => Became::Failed,
            (None, false) => return,
        };
        let id = self.next_id();
        let text = HeaderValue::from_bytes(&hex(id)).expect("digits and letters");
        answer.headers_mut().insert(LARDER_REQUEST, text);
        let Asked { has_id: _, method, uri, settings, place, began } = asked;
        let written = settings.config.written.as_ref();
        let record = Record {
            id,
            asked_hash: self.asked_hash(&method, &uri),
            trace,
            at: SystemTime::now(),
            method,
            url: shown(&uri).into(),
            route: written.and_then(|written| written.words(place)).cloned(),
            became,
            status: answer.status(),
            took: began.elapsed(),
        };
        let gone = self.ring(stripe()).add(record);
        // Under no lock.
        drop(gone);
    }

    /// Another key than those of ids: a hash of a URL tells nothing of them.
    fn asked_hash(&self, method: &Method, uri: &Uri) -> u64 {
        let authority = uri.authority().map(|authority| authority.as_str());
        let target = uri.path_and_query().map(|target| target.as_str());
        self.of_urls.hash_one((method, uri.scheme_str(), authority, target))
    }

    /// What became of the last request of this method for this very URL, of those that are remembered.
    pub(super) fn last_of(&self, method: &Method, uri: &Uri) -> Option<PastRequest> {
        let wanted = self.asked_hash(method, uri);
        let of_each = (0..STRIPES).filter_map(|stripe| self.ring(stripe).last_of(wanted));
        of_each.max_by_key(|(at, _)| *at).map(|(_, told)| told)
    }

    fn next_id(&self) -> u128 {
        let number = self.last.fetch_add(1, Relaxed);
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(number)));
        high << 64 | low
    }

    /// What became of the request that was given this id.
    pub(super) fn find(&self, id: &str) -> Option<PastRequest> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wanted = u128::from_str_radix(id, 16).ok().filter(|_| is_id)?;
        (0..STRIPES).find_map(|stripe| self.ring(stripe).find(wanted))
    }

    /// The last request of each route in each bucket of its waits, of those that are remembered.
    pub(super) fn waits(&self) -> Vec<PastWait> {
        let mut last: HashMap<(Arc<str>, usize), Waited> = HashMap::new();
        for stripe in 0..STRIPES {
            // An event loop may wait for this ring.
            let waited = self.ring(stripe).waited();
            for waited in waited {
                let place = (Arc::clone(&waited.route), Waits::bucket_of(waited.took));
                let known = last.entry(place).or_insert_with(|| waited.clone());
                if known.at < waited.at {
                    *known = waited;
                }
            }
        }
        let waits = last.into_values().map(|Waited { route, id, trace, took, at }| PastWait {
            route,
            id: format!("{id:032x}"),
            trace_id: trace.map(trace_id),
            took,
            at,
        });
        waits.collect()
    }

    /// As far as one who begins to watch now was told.
    pub(super) fn seen(&self) -> Seen {
        Seen(std::array::from_fn(|stripe| self.ring(stripe).added))
    }

    /// What came since then, and is still remembered: of much some.
    pub(super) fn since(&self, Seen(seen): &mut Seen) -> Passed {
        let (mut requests, mut left_out) = (Vec::new(), 0);
        for (stripe, seen) in seen.iter_mut().enumerate() {
            // An event loop may wait for this ring.
            let ring = self.ring(stripe);
            let new = usize::try_from(ring.added - *seen).unwrap_or(usize::MAX);
            let new = ring.records.range(ring.records.len().saturating_sub(new)..);
            let chosen = Passed::choose(new.clone().map(|record| record.verdict().as_str()));
            left_out += ring.added - *seen - chosen.len() as u64;
            requests
                .extend(chosen.into_iter().filter_map(|at| new.clone().nth(at)).map(Record::told));
            *seen = ring.added;
        }
        Passed::of(requests, left_out)
    }

    /// It is whole after each step.
    fn ring(&self, stripe: usize) -> MutexGuard<'_, Ring> {
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Those that had to go for it.
    fn add(&mut self, record: Record) -> Vec<Record> {
        self.added += 1;
        self.bytes += record.bytes();
        self.records.push_back(record);
        let mut gone = Vec::new();
        while self.records.len() > RECORDS || self.bytes > BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            gone.push(oldest);
        }
        gone
    }

    fn last_of(&self, asked_hash: u64) -> Option<(SystemTime, PastRequest)> {
        let last = self.records.iter().rev().find(|record| record.asked_hash == asked_hash)?;
        Some((last.at, last.told()))
    }

    /// Those whose readers have waited for a service.
    fn waited(&self) -> Vec<Waited> {
        self.records.iter().filter_map(Record::waited).collect()
    }

    fn find(&self, id: u128) -> Option<PastRequest> {
        self.records.iter().rev().find(|record| record.id == id).map(Record::told)
    }
}

impl Record {
    fn bytes(&self) -> usize {
        size_of::<Record>() + self.url.len()
    }

    fn verdict(&self) -> Verdict {
        match self.became {
            Became::Answered(Handled { verdict, .. }) => verdict,
            Became::Failed => Verdict::Miss,
        }
    }

    fn waited(&self) -> Option<Waited> {
        let Became::Answered(Handled { origin: Some(_), .. }) = self.became else { return None };
        let route = self.route.as_ref().map_or_else(|| "otherwise".into(), Arc::clone);
        Some(Waited { route, id: self.id, trace: self.trace, took: self.took, at: self.at })
    }

    fn told(&self) -> PastRequest {
        let (verdict, reason, says, origin, tier) = match self.became {
            Became::Failed => {
                let reason = Reason::OriginError;
                ("miss", reason, reason.says().to_owned(), None, "origin")
            }
            Became::Answered(Handled { verdict, why, reason, origin, .. }) => {
                let says = match why == reason {
                    true => reason.says().to_owned(),
                    false => format!("{} {}", why.says(), reason.says()),
                };
                (verdict.as_str(), reason, says, origin, tier(verdict, reason))
            }
        };
        PastRequest {
            id: format!("{:032x}", self.id),
            at: time(self.at),
            method: self.method.to_string(),
            url: self.url.to_string(),
            route: self.route.as_deref().unwrap_or("otherwise").to_owned(),
            verdict,
            reason: reason.as_str(),
            says,
            status: self.status.as_u16(),
            seconds: self.took.as_secs_f64(),
            origin_seconds: origin.map(|took| took.as_secs_f64()),
            tier,
            trace_id: self.trace.map(trace_id),
        }
    }
}

/// As `traceparent` has it.
fn trace_id(trace: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(trace))
}

/// As a number is written in 32 hexadecimal digits, without what formatting any number takes: nearly every answer that is
/// no hit has one.
fn hex(id: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (byte, digits) in id.to_be_bytes().into_iter().zip(text.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// What has answered.
fn tier(verdict: Verdict, reason: Reason) -> &'static str {
    match verdict {
        Verdict::Hit if reason == Reason::Shared => "shared",
        Verdict::Hit | Verdict::Stale | Verdict::Refused => "memory",
        Verdict::Miss | Verdict::Collapsed | Verdict::Pass => "origin",
    }
}

/// A URL without what its query says.
fn shown(uri: &Uri) -> String {
    let mut text = String::with_capacity(64);
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        // Of who has put a name before it nothing is kept.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        text.extend([scheme, "://", host]);
    }
    text.push_str(uri.path());
    let mut sign = '?';
    for parameter in uri.query().into_iter().flat_map(|query| query.split('&')) {
        if text.len() > URL_BYTES {
            break;
        }
        text.push(std::mem::replace(&mut sign, '&'));
        match parameter.split_once('=') {
            Some((name, _)) => text.extend([name, "=…"]),
            // It may be a value without a name.
            None => text.push('…'),
        }
    }
    if text.len() > URL_BYTES {
        text.truncate(text.floor_char_boundary(URL_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u128, url: &str) -> Record {
        Record {
            id,
            asked_hash: 0,
            trace: None,
            at: SystemTime::UNIX_EPOCH,
            method: Method::GET,
            url: url.into(),
            route: None,
            became: Became::Failed,
            status: StatusCode::BAD_GATEWAY,
            took: Duration::from_millis(20),
        }
    }

    #[test]
    fn what_became_of_one_method_is_not_told_of_another() {
        let (past, uri) = (Past::new(), "https://a.example/me".parse().unwrap());
        let asked_hash = past.asked_hash(&Method::HEAD, &uri);
        past.ring(3).add(Record { asked_hash, ..record(7, "/me") });
        assert_eq!(past.last_of(&Method::HEAD, &uri).unwrap().id, format!("{:032x}", 7));
        assert!(past.last_of(&Method::GET, &uri).is_none());
    }

    #[test]
    fn whoever_watches_is_told_once_what_came_since_and_of_much_how_much_was_left_out() {
        let past = Past::new();
        past.ring(0).add(record(1, "/before"));
        let mut seen = past.seen();
        assert_eq!(past.since(&mut seen).requests.len(), 0);
        past.ring(0).add(record(2, "/a"));
        past.ring(5).add(record(3, "/b"));
        let urls = |passed: &Passed| -> Vec<String> {
            passed.requests.iter().map(|request| request.url.clone()).collect()
        };
        let passed = past.since(&mut seen);
        assert_eq!((urls(&passed), passed.left_out), (vec!["/a".into(), "/b".into()], 0));
        assert_eq!(past.since(&mut seen).requests.len(), 0);
        // More than a ring remembers.
        (0..RECORDS as u128 + 10).for_each(|id| _ = past.ring(0).add(record(id, "/c")));
        let passed = past.since(&mut seen);
        assert_eq!(passed.requests.len(), Passed::MOST);
        assert_eq!(passed.left_out, (RECORDS + 10 - Passed::MOST) as u64);
    }

    #[test]
    fn what_a_query_says_is_not_kept() {
        for (url, kept) in [
            ("https://a.example/p?token=secret&q=", "https://a.example/p?token=…&q=…"),
            ("https://a.example/p?secret", "https://a.example/p?…"),
            ("https://a.example/p?", "https://a.example/p?…"),
            ("https://a.example/p", "https://a.example/p"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), kept);
        }
        let long = format!("https://a.example/{}?{}", "p".repeat(400), "name=v&".repeat(200));
        assert!(shown(&long.parse().unwrap()).len() <= URL_BYTES + '…'.len_utf8());
    }

    #[test]
    fn a_ring_is_bounded_by_number_and_by_bytes_and_the_oldest_go() {
        let mut ring = Ring::default();
        for id in 0..RECORDS as u128 + 10 {
            ring.add(record(id, "/a"));
        }
        assert_eq!((ring.records.len(), ring.find(9).is_none()), (RECORDS, true));
        assert!(ring.find(10).is_some());
        let long = "p".repeat(URL_BYTES);
        for id in 1000..3000 {
            ring.add(record(id, &long));
            assert!(ring.bytes <= BYTES);
        }
        let bytes: usize = ring.records.iter().map(Record::bytes).sum();
        assert_eq!(ring.bytes, bytes);
        assert!(ring.find(2999).is_some() && ring.find(10).is_none());
    }

    #[test]
    fn ids_are_of_one_process_and_do_not_follow_each_other() {
        let (one, other) = (Past::new(), Past::new());
        let ids = [one.next_id(), one.next_id(), other.next_id(), other.next_id()];
        let mut all = ids.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
        assert!(ids[0].abs_diff(ids[1]) > 1 << 64);
        for id in ids.into_iter().chain([0, 1, u128::MAX]) {
            assert_eq!(str::from_utf8(&hex(id)).unwrap(), format!("{id:032x}"));
        }
        for id in ["", "x", "0", "+0000000000000000000000000000000", "é"] {
            assert!(one.find(id).is_none(), "{id}");
        }
    }
}
