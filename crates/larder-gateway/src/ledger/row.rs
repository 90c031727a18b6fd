//! Row: what the requests of one route have come to.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use larder::http::{
    GivenUp, Handled, HitResponse, Verdict,
    policy::{class::Class, reason::Reason},
};

use larder_admin::routes::{Requests, Waits};

use super::{
    hits::HitCells,
    times::{Quantiles, Times},
    waits::WaitCounts,
};
use crate::origins::Unanswered;

const REASONS: usize = Reason::ALL.len();

/// The counts of one route. It takes 230 bytes, 350 more once a request was no hit, half a KiB once a hit was timed, and as
/// much and 112 bytes once one has waited; beside its cells for hits.
pub(crate) struct Row {
    /// What its requests have in common.
    pub(super) words: Arc<str>,
    pub(super) number: u16,
    hits: Arc<HitCells>,
    /// By verdict. Hits are counted elsewhere.
    requests: [AtomicU64; Verdict::ALL.len()],
    /// Of the hits, those that the shared tier had.
    shared_hits: AtomicU64,
    /// Why those that were no hits were none.
    reasons: OnceLock<Box<[AtomicU64; REASONS]>>,
    /// Whose readers got an error that was their service's doing.
    reader_errors: AtomicU64,
    /// By what was stale.
    saved_micros: AtomicU64,
    origin_calls: AtomicU64,
    origin_failures: AtomicU64,
    origin_micros: AtomicU64,
    /// Of hits, and of what was stale and at hand. Of plain hits one in 64.
    hit_times: Times,
    /// Of all that has waited for a service.
    waited_times: Times,
    waits: WaitCounts,
}

/// The counts at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts {
    /// Why those that were no hits were none, for each reason that there was.
    pub(super) reasons: Vec<(Reason, u64)>,
    /// How long until the head of an answer that was at hand. None before the first.
    pub(super) hit_times: Option<Quantiles>,
    /// How long until the head of an answer that its reader waited for. None before the first.
    pub(super) waited_times: Option<Quantiles>,
    /// The same in buckets.
    pub(super) waits: Waits,
    /// How often its service was asked.
    pub(super) origin_calls: u64,
    /// How often it gave no answer then, or one of 5xx.
    pub(super) origin_failures: u64,
    /// How long that took until the heads of the answers, all together.
    pub(super) origin_time: Duration,
    /// What fetching all that was answered from what was stored would have taken.
    pub(super) saved: Duration,
}

impl Row {
    pub(super) fn new(words: Arc<str>, number: u16, hits: Arc<HitCells>) -> Row {
        let zero = || AtomicU64::new(0);
        Row {
            words,
            number,
            hits,
            requests: std::array::from_fn(|_| zero()),
            shared_hits: zero(),
            reasons: OnceLock::new(),
            reader_errors: zero(),
            saved_micros: zero(),
            origin_calls: zero(),
            origin_failures: zero(),
            origin_micros: zero(),
            hit_times: Times::default(),
            waited_times: Times::default(),
            waits: WaitCounts::default(),
        }
    }

    /// By which number a cache accounts for what is stored for it.
    pub(super) fn class(&self) -> Class {
        Class::new(self.number)
    }

    /// Lets `look` answer a plain hit, which it may not be, and counts it.
    #[inline]
    pub(crate) fn plain_hit(
        &self,
        look: impl FnOnce() -> Option<HitResponse>,
    ) -> Option<HitResponse> {
        let cell = self.hits.of(self.number);
        let began = cell.is_sample().then(Instant::now);
        let served = look();
        // It stays where it lies: to take it out and put it back would copy it.
        if let Some(hit) = &served {
            cell.add(1, hit.saved_micros());
            if let Some(began) = began {
                self.hit_took(began);
            }
        }
        served
    }

    #[cold]
    fn hit_took(&self, began: Instant) {
        self.hit_times.record(began.elapsed());
    }

    /// A request was answered, with such a status.
    pub(crate) fn answered(&self, handled: &Handled, status: StatusCode) {
        let &Handled { verdict, reason, origin, began, saved, .. } = handled;
        let saved_micros = u64::try_from(saved.as_micros()).unwrap_or(u64::MAX);
        match verdict {
            Verdict::Hit => self.hits.of(self.number).add(1, saved_micros),
            verdict => {
                self.count(verdict);
                self.saved_micros.fetch_add(saved_micros, Relaxed);
            }
        }
        let is_of_service = matches!(verdict, Verdict::Miss | Verdict::Collapsed | Verdict::Pass);
        if is_of_service && status.is_server_error() {
            self.reader_errors.fetch_add(1, Relaxed);
        }
        if verdict != Verdict::Hit {
            self.count_reason(reason);
        } else if reason == Reason::Shared {
            self.shared_hits.fetch_add(1, Relaxed);
        }
        if origin.is_some() {
            let took = began.elapsed();
            self.waited_times.record(took);
            self.waits.record(took);
        } else if verdict != Verdict::Refused {
            self.hit_times.record(began.elapsed());
        }
    }

    /// A request got no answer but the gateway's own: its service failed.
    pub(crate) fn failed(&self, verdict: Verdict) {
        self.count(verdict);
        self.reader_errors.fetch_add(1, Relaxed);
        self.count_reason(Reason::OriginError);
    }

    /// A request was not let through.
    pub(crate) fn refused(&self) {
        self.count(Verdict::Refused);
    }

    /// Its service is asked. Dropping what this gives says that nobody waits for its answer any more: by `given_up` because
    /// it took too long, otherwise because its readers have left.
    pub(crate) fn ask(self: &Arc<Row>, given_up: Option<GivenUp>) -> Asking {
        self.origin_calls.fetch_add(1, Relaxed);
        Asking { row: Arc::clone(self), began: Instant::now(), given_up }
    }

    fn count(&self, verdict: Verdict) {
        self.requests[verdict as usize].fetch_add(1, Relaxed);
    }

    fn count_reason(&self, reason: Reason) {
        self.reasons()[reason.index()].fetch_add(1, Relaxed);
    }

    fn reasons(&self) -> &[AtomicU64; REASONS] {
        self.reasons.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// Adds the counts of a route that is no more, whose cells are free from then on.
    pub(super) fn absorb(&self, gone: &Row) {
        let (hits, hits_saved) = self.hits.sum(gone.number);
        self.hits.of(self.number).add(hits, hits_saved);
        self.hits.reset(gone.number);
        let each = self.requests.iter().zip(&gone.requests);
        let further = [
            (&self.shared_hits, &gone.shared_hits),
            (&self.reader_errors, &gone.reader_errors),
            (&self.saved_micros, &gone.saved_micros),
            (&self.origin_calls, &gone.origin_calls),
            (&self.origin_failures, &gone.origin_failures),
            (&self.origin_micros, &gone.origin_micros),
        ];
        for (own, theirs) in each.chain(further) {
            own.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        if let Some(reasons) = gone.reasons.get() {
            for (own, theirs) in self.reasons().iter().zip(reasons.iter()) {
                own.fetch_add(theirs.load(Relaxed), Relaxed);
            }
        }
        self.hit_times.absorb(&gone.hit_times);
        self.waited_times.absorb(&gone.waited_times);
        self.waits.absorb(&gone.waits);
    }

    /// How many requests there were, by their verdicts, and what its plain hits have saved, in microseconds.
    fn requests(&self) -> ([u64; Verdict::ALL.len()], u64) {
        let (hits, hits_saved) = self.hits.sum(self.number);
        let mut requests = self.requests.each_ref().map(|count| count.load(Relaxed));
        requests[Verdict::Hit as usize] = hits;
        (requests, hits_saved)
    }

    /// How many requests there were, by their verdicts.
    pub(super) fn by_verdict(&self) -> Requests {
        let ([hit, stale, miss, collapsed, pass, refused], _) = self.requests();
        Requests { hit, stale, miss, collapsed, pass, refused }
    }

    /// How many of its hits the shared tier had.
    pub(super) fn shared_hits(&self) -> u64 {
        self.shared_hits.load(Relaxed)
    }

    /// How many of its readers got an error that was their service's doing.
    pub(super) fn reader_errors(&self) -> u64 {
        self.reader_errors.load(Relaxed)
    }

    /// How often its service was asked, how often in vain, and how long that took until the heads of the answers.
    pub(super) fn origin(&self) -> (u64, u64, Duration) {
        let took = Duration::from_micros(self.origin_micros.load(Relaxed));
        // In this order: of no call more has failed than was made.
        let failures = self.origin_failures.load(Relaxed);
        (self.origin_calls.load(Relaxed), failures, took)
    }

    /// The counts now.
    pub(super) fn counts(&self) -> Counts {
        let (_, hits_saved) = self.requests();
        let (origin_calls, origin_failures, origin_time) = self.origin();
        let reasons = self.reasons.get().map(|reasons| {
            let counts = reasons.iter().map(|count| count.load(Relaxed));
            Reason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
        });
        let saved_micros = hits_saved.saturating_add(self.saved_micros.load(Relaxed));
        Counts {
            reasons: reasons.unwrap_or_default(),
            hit_times: self.hit_times.quantiles(),
            waited_times: self.waited_times.quantiles(),
            waits: self.waits.so_far(),
            origin_calls,
            origin_failures,
            origin_time,
            saved: Duration::from_micros(saved_micros),
        }
    }
}

/// A service is being asked.
pub(crate) struct Asking {
    row: Arc<Row>,
    began: Instant,
    given_up: Option<GivenUp>,
}

impl Asking {
    /// It has answered, or failed to. An answer of 5xx is a failure as well.
    pub(crate) fn ended(mut self, answered: Result<StatusCode, &Unanswered>) {
        self.given_up = None;
        let has_failed = match answered {
            Ok(status) => status.is_server_error(),
            Err(error) => error.is_its_service_s(),
        };
        if has_failed {
            self.row.origin_failures.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.given_up.as_ref().is_some_and(GivenUp::took_too_long) {
            self.row.origin_failures.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.row.origin_micros.fetch_add(micros, Relaxed);
    }
}
