//! Fast hit: a hit answered from a request as it lies in a connection's buffer.
//!
//! Nothing is made of the request, and nothing of the answer but its bytes. The rules are those of the
//! whole way ([`decide`], preconditions, ranges), read from borrowed fields; what they would have more
//! to do with than to answer (no plain hit, several ranges, a body in many pieces) goes the whole way,
//! and nothing has been counted yet.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, StatusCode, header::RANGE};
use larder_policy::{
    cache_status::CacheStatus,
    compression::{Compression, asks_for_a_version},
    fields::{FieldLine, Fields, write_number},
    head::Asking,
    key::RequestKey,
    range::{self, ByteRange, Selection},
    reuse::decide,
    scheme::Scheme,
    settings::Policy,
    validate::{self, Precondition},
};

use super::{
    body::{account::Piece, readers::Loan},
    cache::{HttpCache, Parts},
    compress::Compressor,
    forms::choose,
    stored::Stored,
    targets::Targets,
    variants::StoredVariant,
};

/// A GET or HEAD for a host and a target, without content, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedRequest<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// How it came.
    pub scheme: Scheme,
    /// What `Host` says.
    pub host: &'a [u8],
    /// The path, with the query if there is one.
    pub target: &'a [u8],
    /// What the cache may go by: without the fields for one hop, and without what is not believed.
    pub fields: Fields<'a>,
    /// The answer tells under which key it is stored.
    pub shows_key: bool,
    /// The rules that hold for it instead of the cache's own ([`Rules`](super::Rules)).
    pub policy: Option<&'a Policy>,
}

/// The answer to it. Its body is shared with the store.
#[derive(Debug)]
pub struct HitResponse {
    stored: Arc<Stored>,
    is_head: bool,
    what: What,
    age: Duration,
    /// It has to say that there may be coded forms, which its own fields do not.
    varies: bool,
    /// What fetching it cost.
    cost_micros: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Whole,
    NotModified,
    Part(ByteRange),
}

thread_local! {
    /// Targets, without what does not matter of their queries.
    static TARGETS: RefCell<Targets> = RefCell::default();
    /// The key of the request at hand.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl HttpCache {
    /// Answers `request` from what is stored, counts the hit, and appends the answer's head to `head` as
    /// HTTP/1.1 writes it: status line and fields, `Content-Length` among them where the answer has one,
    /// none that are about the connection, and no blank line. `None`: it is no plain hit, `head` is as it
    /// was, and [`CacheService`](super::CacheService) has to look.
    ///
    /// Nothing is allocated, but for the short lists that a range, or entity tags to compare with, are
    /// read into.
    #[inline]
    pub fn fast_hit(
        &self,
        request: BorrowedRequest<'_>,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        let recipe = request.policy.unwrap_or(&self.parts().policy).query_recipe();
        if recipe.changes_nothing() {
            return self.hit_of(request, request.target, head);
        }
        TARGETS.with_borrow_mut(|targets| {
            let target = targets.written(recipe, request.target)?;
            self.hit_of(request, target, head)
        })
    }

    #[inline]
    fn hit_of(
        &self,
        request: BorrowedRequest<'_>,
        target: &[u8],
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        KEY.with_borrow_mut(|key| {
            let key = RequestKey::write(request.scheme, request.host, target, key)?;
            self.look_at(request, key, head)
        })
    }

    fn look_at(
        &self,
        request: BorrowedRequest<'_>,
        key: &str,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        let cache = self.parts();
        let tally = cache.counters().tally();
        let began = tally.is_sample().then(Instant::now);
        let (variants, cost_micros) = cache.engine().plain(key)?;
        let asking = Asking { method: request.method, headers: request.fields };
        let now = cache.now();
        let policy = request.policy.unwrap_or(&cache.policy);
        let index = variants.judged(|stored| decide(policy, stored, asking, now)).plain_hit()?;
        let variant = variants.into_variant(index)?;
        let (stored, varies) = match policy.compression() {
            None => (variant.stored, false),
            Some(rules) => form(cache, rules, asking, (key, variant))?,
        };
        let what = what(asking, &stored)?;
        let is_head = *request.method == Method::HEAD;
        let age = stored.head.age(now);
        let served = HitResponse { stored, is_head, what, age, varies, cost_micros };
        served.write(request.shows_key.then_some(key), policy, head);
        tally.hit(cost_micros);
        if let Some(began) = began {
            cache.counters().hit_took(began);
        }
        Some(served)
    }
}

/// The form of a response that answers the request, and whether it has to say that there may be others. `None`: which
/// one that is takes more than a glance.
fn form(
    cache: &Arc<Parts>,
    rules: &Compression,
    asking: Asking<'_>,
    (key, variant): (&str, StoredVariant),
) -> Option<(Arc<Stored>, bool)> {
    let (plain, head) = (&variant.stored, &variant.stored.head);
    if !plain.coding.has_forms(rules, head) {
        return Some((variant.stored, false));
    }
    let chosen = choose(rules, asking.headers, &variant);
    let form = chosen.form.unwrap_or(plain);
    // Of conditions only the news is told here that this very form has not changed.
    if asks_for_a_version(asking.headers)
        && (asking.headers.contains(RANGE.as_str())
            || what(asking, form) != Some(What::NotModified))
    {
        return None;
    }
    if let Some(coding) = chosen.wanted {
        Compressor::want(cache, key, plain, coding);
    }
    match chosen.form {
        Some(form) => Some((Arc::clone(form), false)),
        None => {
            let varies = plain.coding.lacks_vary(rules, head);
            Some((variant.stored, varies))
        }
    }
}

/// What of it answers the request. `None`: that takes more than a glance.
fn what(asking: Asking<'_>, stored: &Stored) -> Option<What> {
    let body = &stored.body;
    let has_content = !matches!(
        stored.head.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    let is_one_piece = body.len() == 0 || body.piece().is_some();
    let named = stored.head.named_length();
    if !(stored.is_whole()
        && stored.head.is_verbatim()
        && has_content
        && is_one_piece
        // Elsewhere the connection cuts, or breaks off.
        && named.is_none_or(|named| named == body.len()))
    {
        return None;
    }
    let head = stored.response_head();
    let received_at = stored.head.received_at();
    if validate::precondition(asking, head, received_at) == Precondition::NotModified {
        return Some(What::NotModified);
    }
    match range::select(asking, head, body.len()) {
        Selection::Whole => Some(What::Whole),
        Selection::Part(range) => Some(What::Part(range)),
        Selection::Parts(_) | Selection::Unsatisfiable => None,
    }
}

impl HitResponse {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self.what {
            What::Whole => self.stored.head.status(),
            What::NotModified => StatusCode::NOT_MODIFIED,
            What::Part(_) => StatusCode::PARTIAL_CONTENT,
        }
    }

    /// How old it is.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// What fetching it took, in microseconds: this hit has saved as much.
    pub fn saved_micros(&self) -> u64 {
        self.cost_micros
    }

    /// The bytes to send after the head.
    pub fn content(&self) -> &[u8] {
        let Some(piece) = self.piece().map(|piece| piece.bytes()) else { return &[] };
        match self.what {
            What::Whole => piece,
            What::Part(range) => &piece[bounds(range)],
            What::NotModified => &[],
        }
    }

    /// The same bytes, from `start` on, as a value that keeps them.
    pub fn content_from(&self, start: usize) -> Bytes {
        let Some(piece) = self.piece() else { return Bytes::new() };
        match self.what {
            What::Whole => piece.slice(start..piece.len()),
            What::Part(range) => {
                let std::ops::Range { start: first, end } = bounds(range);
                piece.slice(first + start..end)
            }
            What::NotModified => Bytes::new(),
        }
    }

    /// What a connection holds that keeps [`content_from`](HitResponse::content_from).
    pub fn loan(&self) -> Loan {
        self.piece().map(Loan::of_piece).unwrap_or_default()
    }

    fn piece(&self) -> Option<&Arc<Piece>> {
        if self.is_head { None } else { self.stored.body.piece() }
    }

    fn whole_bytes(&self) -> u64 {
        self.stored.body.len()
    }

    fn write(&self, key: Option<&str>, policy: &Policy, out: &mut Vec<u8>) {
        let age = self.age;
        let left = self.stored.head.ttl(policy).saturating_sub(age);
        write_status_line(self.status(), out);
        out.extend_from_slice(b"cache-status: ");
        CacheStatus::write_hit(left, key, out);
        out.extend_from_slice(b"\r\nage: ");
        write_number(age.as_secs(), out);
        // How long it took is not told: to look at a clock for that would take a good part of it.
        out.extend_from_slice(b"\r\n");
        let changes = policy.fields_of_hits();
        if changes.change_nothing() || !changes.hide(b"server-timing") {
            out.extend_from_slice(b"server-timing: cache;desc=hit\r\n");
        }
        if self.varies {
            out.extend_from_slice(b"vary: accept-encoding\r\n");
        }
        let fields = self.stored.head.field_block();
        let write_block = |block: &[u8], out: &mut Vec<u8>| match changes.change_nothing() {
            true => out.extend_from_slice(block),
            false => changes.write(block, out),
        };
        match self.what {
            What::Whole => {
                write_block(fields.as_bytes(), out);
                if self.stored.head.named_length().is_none() {
                    write_length(self.whole_bytes(), out);
                }
            }
            What::NotModified => write_block(self.stored.head.not_modified_block(), out),
            What::Part(range) => {
                let lines = range::part_lines(fields);
                write_lines(lines.filter(|line| !changes.hide(line.name)), out);
                changes.write_set(out);
                out.extend_from_slice(b"content-range: bytes ");
                write_number(range.first(), out);
                out.push(b'-');
                write_number(range.last(), out);
                out.push(b'/');
                write_number(self.whole_bytes(), out);
                out.extend_from_slice(b"\r\n");
                write_length(range.len(), out);
            }
        }
    }
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bounds(range: ByteRange) -> std::ops::Range<usize> {
    // It was selected from a body that is in memory.
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    at(range.first())..at(range.last()) + 1
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    write_number(length, out);
    out.extend_from_slice(b"\r\n");
}

fn write_lines<'a>(lines: impl Iterator<Item = FieldLine<'a>>, out: &mut Vec<u8>) {
    for line in lines {
        out.extend_from_slice(line.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.value);
        out.extend_from_slice(b"\r\n");
    }
}
