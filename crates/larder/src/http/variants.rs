//! Variants: the index of what is stored under one key: the variants of a response.
//!
//! A variant is replaced or confirmed by itself: the others, and a confirmed one's body, stay where they are. Memory
//! keeps the index as one entry, whose weight is the sum of its variants', which lives as long as one of them is of
//! use, and which has the tags of all. Every change makes a new index: who reads the old one is not disturbed.

use std::time::Duration;
use std::{sync::Arc, time::SystemTime};

use http::{HeaderValue, header::AGE};
use larder_policy::{
    head::{Exchange, RequestHead, ResponseHead},
    part::{Piece, combine},
    reason::Reason,
    response::storability,
    reuse::Variant,
    settings::Policy,
    stored::StoredHead,
};

use super::{
    body::stored::{Span, StoredBody},
    forms::Forms,
    stored::{Mark, Stored, part_of},
};
use crate::weigh::Weigh;

/// What an [`HttpCache`](super::HttpCache) keeps under one key: the variants of a response, each
/// chosen by the request's fields that its `Vary` names.
#[derive(Clone, Debug, Default)]
pub struct Variants(List);

/// Nearly always there is one, and then there is no list.
#[derive(Clone, Debug, Default)]
enum List {
    #[default]
    None,
    One(StoredVariant, IsEntry),
    Others(Arc<[StoredVariant]>, IsEntry),
}

/// Whether this is what the store holds, and not a copy of it.
#[derive(Debug)]
struct IsEntry(bool);

impl Clone for IsEntry {
    #[inline]
    fn clone(&self) -> Self {
        IsEntry(false)
    }
}

impl Drop for Variants {
    #[inline]
    fn drop(&mut self) {
        if let List::One(_, IsEntry(true)) | List::Others(_, IsEntry(true)) = self.0 {
            self.leave_store();
        }
    }
}

/// One of them, as it stands.
#[derive(Clone, Debug)]
pub(crate) struct StoredVariant {
    pub(crate) stored: Arc<Stored>,
    /// When a soft purge came over it.
    marked_stale: Option<Mark>,
    /// The same in content codings, as far as they were made.
    forms: Option<Arc<Forms>>,
}

impl StoredVariant {
    /// `marked_stale`: when a soft purge came over it, if one has.
    pub(crate) fn of(stored: Arc<Stored>, marked_stale: Option<Mark>) -> Self {
        StoredVariant { stored, marked_stale, forms: None }
    }

    pub(crate) fn forms(&self) -> Option<&Forms> {
        self.forms.as_deref()
    }

    /// All bodies that it has.
    fn bodies(&self) -> impl Iterator<Item = &StoredBody> {
        let forms = self.forms().into_iter().flat_map(Forms::iter);
        [&self.stored.body].into_iter().chain(forms.map(|form| &form.stored.body))
    }

    fn heap_bytes(&self) -> usize {
        self.stored.heap_bytes() + self.forms().map_or(0, Forms::heap_bytes)
    }

    pub(crate) fn marked_stale(&self) -> Option<Mark> {
        self.marked_stale
    }

    /// As the rules look at it.
    pub(crate) fn variant(&self) -> Variant<'_> {
        Variant { head: &self.stored.head, marked_stale: self.marked_stale.map(Mark::time) }
    }
}

impl From<Arc<Stored>> for StoredVariant {
    fn from(stored: Arc<Stored>) -> Self {
        StoredVariant::of(stored, None)
    }
}

impl Variants {
    pub(crate) fn of(variants: Vec<StoredVariant>) -> Self {
        Variants(match <[StoredVariant; 1]>::try_from(variants) {
            Ok([only]) => List::One(only, IsEntry(false)),
            Err(none) if none.is_empty() => List::None,
            Err(several) => List::Others(several.into(), IsEntry(false)),
        })
    }

    fn all(&self) -> &[StoredVariant] {
        match &self.0 {
            List::None => &[],
            List::One(only, _) => std::slice::from_ref(only),
            List::Others(variants, _) => variants,
        }
    }

    /// From now on this is what the store holds, and its bodies are counted there, until it is dropped.
    pub(crate) fn enter_store(&mut self) {
        let is_entry = match &mut self.0 {
            List::None => return,
            List::One(_, is_entry) | List::Others(_, is_entry) => is_entry,
        };
        if !std::mem::replace(&mut is_entry.0, true) {
            self.iter().flat_map(StoredVariant::bodies).for_each(StoredBody::enter_store);
        }
    }

    #[cold]
    fn leave_store(&self) {
        self.iter().flat_map(StoredVariant::bodies).for_each(StoredBody::leave_store);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StoredVariant> {
        self.all().iter()
    }

    /// One that the rules have named, which they only do of those that they were given.
    pub(crate) fn at(&self, index: usize) -> &StoredVariant {
        &self.all()[index]
    }

    /// Those that were chosen by fields like the request's.
    pub(crate) fn selected_by<'a>(
        &'a self,
        policy: &'a Policy,
        request: RequestHead<'a>,
    ) -> impl Iterator<Item = &'a StoredVariant> {
        self.iter().filter(move |variant| variant.stored.head.selects(policy, request.headers))
    }

    /// Whether this very response is one of them.
    pub(crate) fn contain(&self, stored: &Arc<Stored>) -> bool {
        self.iter().any(|variant| Arc::ptr_eq(&variant.stored, stored))
    }

    /// One of them, with the others let go.
    #[inline]
    pub(crate) fn into_variant(mut self, index: usize) -> Option<StoredVariant> {
        match std::mem::take(&mut self.0) {
            List::None => None,
            List::One(only, _) => (index == 0).then_some(only),
            List::Others(variants, _) => variants.get(index).cloned(),
        }
    }

    /// All of them marked stale, as of `at` or earlier.
    pub(crate) fn marked_stale(&self, at: SystemTime) -> Variants {
        let at = Mark::at(at);
        let marked = self.all().iter().map(|variant| StoredVariant {
            marked_stale: Some(variant.marked_stale.map_or(at, |earlier| earlier.min(at))),
            ..variant.clone()
        });
        Variants::of(marked.collect())
    }

    /// Those that the origin was asked for, or has confirmed, since then.
    pub(crate) fn asked_since(&self, since: Mark) -> Variants {
        let young = self.iter().filter(|variant| variant.stored.asked_at >= since);
        Variants::of(young.cloned().collect())
    }

    /// Their heads.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &StoredHead> {
        self.iter().map(|variant| &variant.stored.head)
    }

    /// How long any of them is of use, by these rules.
    pub(crate) fn keep_for(&self, policy: &Policy) -> Duration {
        self.heads().map(|head| head.keep_for(policy)).max().unwrap_or_default()
    }

    /// The index with `fresh` last, in the place of those it stands for, and before it those that stay, the
    /// oldest first. `updates` are the ones it was made of.
    ///
    /// # Errors
    ///
    /// It is older news: what it was made of is gone and something else has come in its place, or what is there
    /// was asked for later.
    pub(crate) fn with(
        &self,
        fresh: StoredVariant,
        updates: &[Arc<Stored>],
        request: RequestHead<'_>,
        policy: &Policy,
    ) -> Result<Variants, Reason> {
        let StoredVariant { stored: fresh, marked_stale, .. } = fresh;
        let is_update = |stored: &Arc<Stored>| updates.iter().any(|old| Arc::ptr_eq(old, stored));
        let is_replaced = !updates.is_empty() && !updates.iter().any(|old| self.contain(old));
        let is_in_the_way = |variant: &StoredVariant| {
            let stored = &variant.stored;
            (is_replaced || stored.asked_at > fresh.asked_at)
                && stored.is_whole()
                && !is_update(stored)
        };
        if self.selected_by(policy, request).any(is_in_the_way) {
            return Err(Reason::NotStorable);
        }
        let mut fresh = fresh;
        // Its bytes may be those of one that it confirms: then those of the forms are the same.
        let forms = self.iter().filter(|old| old.stored.body.is(&fresh.body));
        let forms = forms.filter_map(StoredVariant::forms).next();
        let may_have_forms = policy.compression().is_some_and(|rules| rules.may_code(&fresh.head));
        let forms = forms.filter(|_| may_have_forms).map(|forms| Arc::new(forms.under(&fresh)));
        let mut variants: Vec<StoredVariant> = Vec::with_capacity(self.len() + 1);
        for old in self.iter().filter(|old| !is_update(&old.stored)) {
            if !old.stored.head.selects(policy, request.headers) {
                variants.push(old.clone());
            } else if let Some(joined) = joined(policy, request, &old.stored, &fresh) {
                fresh = joined;
            } else if old.stored.is_whole() && !fresh.is_whole() {
                variants.push(old.clone());
            }
        }
        variants.sort_by_key(|variant| variant.stored.head.received_at());
        variants.push(StoredVariant { stored: fresh, marked_stale, forms });
        let max = policy.variant_limit().max(1);
        variants.drain(..variants.len().saturating_sub(max));
        Ok(Variants::of(variants))
    }

    /// The index with what `make` makes of the response with this body, and of the forms that it has until now.
    /// `None`: there is no such response any more, or nothing is made of it.
    pub(crate) fn with_forms(
        &self,
        body: &StoredBody,
        make: impl FnOnce(&Stored, Option<&Forms>) -> Option<Forms>,
    ) -> Option<Variants> {
        let place = self.iter().position(|variant| variant.stored.body.is(body))?;
        let mut variants = self.all().to_vec();
        let variant = &mut variants[place];
        let forms = make(&variant.stored, variant.forms())?;
        variant.forms = Some(Arc::new(forms));
        Some(Variants::of(variants))
    }

    /// The index without its oldest variant, if there is another: where all of them are too much for one entry,
    /// the new one is worth more than the old.
    pub(crate) fn without_the_oldest(&self) -> Option<Variants> {
        match self.all() {
            [] | [_] => None,
            [_, others @ ..] => Some(Variants::of(others.to_vec())),
        }
    }

    /// Lets `judge` look at them as the policy does. Nearly always there is one, and then nothing is
    /// allocated.
    pub(crate) fn judged<R>(&self, judge: impl FnOnce(&[Variant<'_>]) -> R) -> R {
        match self.all() {
            [] => judge(&[]),
            [only] => judge(&[only.variant()]),
            several => judge(&several.iter().map(StoredVariant::variant).collect::<Vec<_>>()),
        }
    }
}

impl Variants {
    /// The same with one more behind them.
    pub(crate) fn judged_beside<R>(
        &self,
        last: Variant<'_>,
        judge: impl FnOnce(&[Variant<'_>]) -> R,
    ) -> R {
        let all = self.iter().map(StoredVariant::variant).chain([last]);
        judge(&all.collect::<Vec<_>>())
    }
}

impl Weigh for Variants {
    fn heap_bytes(&self) -> usize {
        let list = match &self.0 {
            List::None | List::One(..) => 0,
            List::Others(variants, _) => size_of_val(&**variants) + 2 * size_of::<usize>(),
        };
        list + self.all().iter().map(StoredVariant::heap_bytes).sum::<usize>()
    }
}

/// Two parts as one (RFC 9111 §3.4), if they fit.
pub(crate) fn joined(
    policy: &Policy,
    request: RequestHead<'_>,
    old: &Stored,
    new: &Stored,
) -> Option<Arc<Stored>> {
    let (head, pieces) = joined_head(policy, request, &old.head, &new.head)?;
    let mut slices = Vec::new();
    for piece in &pieces {
        let (body, range) = match piece {
            Piece::Stored(range) => (&old.body, range),
            Piece::Newer(range) => (&new.body, range),
        };
        let span = Span { start: range.start, len: Some(range.end - range.start) };
        slices.extend(body.slices(span));
    }
    let account = old.body.account().or(new.body.account());
    let body = account.map(|account| StoredBody::copied(&slices, account)).unwrap_or_default();
    Some(Arc::new(Stored::new(head, body, new.asked_at)))
}

/// The head of two parts joined, and how their bodies make one, if they fit.
pub(crate) fn joined_head(
    policy: &Policy,
    request: RequestHead<'_>,
    old: &StoredHead,
    new: &StoredHead,
) -> Option<(StoredHead, Vec<Piece>)> {
    let parts = (part_of(old)?, part_of(new)?);
    let joined = combine((old.fields(), &parts.0), (new.fields(), &parts.1))?;
    let received_at = new.received_at();
    let exchange = Exchange { requested_at: received_at, received_at };
    // It is as old as its newer part was when that came; what is stored does not say so itself.
    let mut headers = joined.headers;
    let age = new.age(received_at).as_secs();
    headers.insert(AGE, HeaderValue::from(age));
    let response = ResponseHead { status: joined.status, headers: (&headers).into() };
    let head = storability(policy, request, response, exchange).ok()?;
    Some((head, joined.pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_one_variant_is_small() {
        assert!(size_of::<Variants>() <= 32, "{}", size_of::<Variants>());
    }
}
