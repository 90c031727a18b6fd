//! Entry: a stored value, and what a fetch says about the value it brings.

use std::{num::NonZeroU32, time::Duration};

use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};

use crate::{
    clock::Moment,
    purge::{
        Fence,
        tags::{TagId, TagKey},
    },
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    weigh::ALLOCATION_BYTES,
};

/// A stored value with what is needed to judge it. It lies in the tier's table as it is, so its
/// fields are kept small, and what a hit reads comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    /// Until when it is fresh. Its fetch ended, and its age counts from, `ttl` before.
    fresh_until: Moment,
    /// The last purge this entry is known to have outlived. Begins as what its fetch knew of.
    fence: AtomicU64,
    ttl: CompactDuration,
    cost_micros: u32,
    revalidate_window: CompactDuration,
    rescue_window: CompactDuration,
    /// In a box, for most entries have none of it.
    rare: Option<Box<Rare>>,
}

/// What few entries have.
#[derive(Debug, Default)]
struct Rare {
    tags: Box<[TagId]>,
    idle: Option<Idle>,
}

/// When an entry is over because nobody reads it.
#[derive(Debug)]
struct Idle {
    /// In seconds.
    time_to_idle: NonZeroU32,
    /// The second, as [`Moment::next_second`] counts them, after which it was last read.
    read: AtomicU32,
}

/// A duration in four bytes, exact to a microsecond below 17 minutes, to a millisecond below 12 days
/// and to a second below 34 years, where it ends. What is lost makes it shorter, never longer.
#[derive(Clone, Copy, Debug)]
struct CompactDuration(u32);

impl CompactDuration {
    /// Nanoseconds in a unit. The last is never needed; with it every number there can be has one.
    const UNITS: [u64; 4] = [1_000, 1_000_000, 1_000_000_000, 1_000_000_000];
    const UNIT_SHIFT: u32 = 30;
    const MAX_COUNT: u64 = (1 << CompactDuration::UNIT_SHIFT) - 1;

    fn new(duration: Duration) -> CompactDuration {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let fits = |unit: &u64| nanos / unit <= CompactDuration::MAX_COUNT;
        let unit = CompactDuration::UNITS.iter().position(fits).unwrap_or(2);
        let count = (nanos / CompactDuration::UNITS[unit]).min(CompactDuration::MAX_COUNT);
        CompactDuration((unit as u32) << CompactDuration::UNIT_SHIFT | count as u32)
    }

    fn get(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn nanos(self) -> u64 {
        let unit = CompactDuration::UNITS[(self.0 >> CompactDuration::UNIT_SHIFT) as usize];
        (u64::from(self.0) & CompactDuration::MAX_COUNT) * unit
    }
}

/// What is known about a value beside the value.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) lifetime: Lifetime,
    pub(crate) fetched: Moment,
    pub(crate) cost: Duration,
    pub(crate) tags: Box<[TagId]>,
    pub(crate) fence: Fence,
}

impl<V> Entry<V> {
    pub(crate) fn new(value: V, facts: Facts) -> Self {
        let Facts { lifetime, fetched, cost, tags, fence } = facts;
        let ttl = CompactDuration::new(lifetime.ttl());
        Entry {
            value,
            fresh_until: fetched.plus(ttl.get()),
            fence: AtomicU64::new(fence),
            ttl,
            cost_micros: u32::try_from(cost.as_micros()).unwrap_or(u32::MAX),
            revalidate_window: CompactDuration::new(lifetime.revalidate_window()),
            rescue_window: CompactDuration::new(lifetime.rescue_window()),
            rare: (!tags.is_empty()).then(|| Box::new(Rare { tags, idle: None })),
        }
    }

    /// It is over once nobody has read it for so many seconds, from now on.
    pub(crate) fn end_when_idle(&mut self, time_to_idle: NonZeroU32, now: Moment) {
        let read = AtomicU32::new(now.next_second());
        self.rare.get_or_insert_default().idle = Some(Idle { time_to_idle, read });
    }

    /// Somebody reads it. False, and nothing has changed, if nobody has for too long. Writes once a second at
    /// the most, so that those who read it on several processors do not wait for each other.
    pub(crate) fn read(&self, now: Moment) -> bool {
        let Some(Rare { idle: Some(idle), .. }) = self.rare.as_deref() else { return true };
        if idle.end() <= now {
            return false;
        }
        let second = now.next_second();
        if idle.read.load(Ordering::Relaxed) != second {
            idle.read.store(second, Ordering::Relaxed);
        }
        true
    }

    fn idle_end(&self) -> Moment {
        self.rare.as_ref().and_then(|rare| rare.idle.as_ref()).map_or(Moment::MAX, Idle::end)
    }

    /// When its fetch ended.
    pub(crate) fn fetched(&self) -> Moment {
        self.fresh_until.minus(self.ttl.get())
    }

    pub(crate) fn age(&self, now: Moment) -> Duration {
        now.since(self.fetched())
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime::fresh_for(self.ttl.get())
            .stale_while_revalidate(self.revalidate_window.get())
            .stale_if_error(self.rescue_window.get())
    }

    /// Until when it is fresh, as far as its own lifetime tells.
    pub(crate) fn fresh_until(&self) -> Moment {
        self.fresh_until
    }

    /// Whether its freshness is `Fresh`, in a few instructions: every hit asks this.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        now < self.fresh_until
    }

    /// Whether it has lived this fraction of its TTL.
    pub(crate) fn has_lived(&self, fraction: f64, now: Moment) -> bool {
        now.since(self.fetched()) >= self.ttl.get().mul_f64(fraction)
    }

    pub(crate) fn freshness(&self, now: Moment) -> Freshness {
        self.unless_idle(now, self.lifetime().at(self.age(now)))
    }

    pub(crate) fn freshness_marked_stale(&self, now: Moment, marked: Moment) -> Freshness {
        self.unless_idle(now, self.lifetime().at_marked_stale(self.age(now), now.since(marked)))
    }

    fn unless_idle(&self, now: Moment, freshness: Freshness) -> Freshness {
        if self.idle_end() <= now { Freshness::Expired } else { freshness }
    }

    /// From here on it is of no use to anybody, and its bytes may go.
    pub(crate) fn expires(&self) -> Moment {
        self.fetched().plus(self.lifetime().end()).min(self.idle_end())
    }

    /// The same if it was marked stale at `marked`: its windows begin there, unless they began earlier.
    pub(crate) fn expires_marked_stale(&self, marked: Moment) -> Moment {
        let windows = self.revalidate_window.get().max(self.rescue_window.get());
        self.fresh_until.min(marked).plus(windows).min(self.idle_end())
    }

    /// Its windows begin now, unless they began earlier.
    pub(crate) fn mark_stale(&mut self, now: Moment) {
        let age = self.age(now);
        if age < self.ttl.get() {
            let fetched = self.fetched();
            self.ttl = CompactDuration::new(age);
            self.fresh_until = fetched.plus(self.ttl.get());
        }
    }

    /// It is fresh for `ttl` from now on, and its windows follow. Its age stays what it is.
    pub(crate) fn renew(&mut self, now: Moment, ttl: Duration) {
        let fetched = self.fetched();
        self.ttl = CompactDuration::new(now.since(fetched).saturating_add(ttl));
        self.fresh_until = fetched.plus(self.ttl.get());
    }

    /// What fetching it cost in time; saturates at 71 minutes.
    pub(crate) fn cost(&self) -> Duration {
        Duration::from_micros(self.cost_micros.into())
    }

    pub(crate) fn cost_micros(&self) -> u64 {
        self.cost_micros.into()
    }

    pub(crate) fn tags(&self) -> &[TagId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.tags)
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence.load(Ordering::Relaxed)
    }

    /// What is known of it beside its value, for another form of the same value.
    #[cfg(feature = "http")]
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            lifetime: self.lifetime(),
            fetched: self.fetched(),
            cost: self.cost(),
            tags: self.tags().into(),
            fence: self.fence(),
        }
    }

    /// No purge up to `fence` named it; the next reader need not look again.
    pub(crate) fn outlived(&self, fence: Fence) {
        // Whoever read `fence` before this entry was stored may come late: an older one would bring
        // purges back that its fetch knew of.
        if fence > self.fence() {
            self.fence.store(fence, Ordering::Relaxed);
        }
    }

    /// What it owns on the heap beside what its value owns.
    pub(crate) fn own_heap_bytes(&self) -> usize {
        let Some(rare) = &self.rare else { return 0 };
        let tags = if rare.tags.is_empty() { 0 } else { ALLOCATION_BYTES };
        size_of::<Rare>() + ALLOCATION_BYTES + size_of_val(&*rare.tags) + tags
    }
}

impl Idle {
    fn end(&self) -> Moment {
        let read = u64::from(self.read.load(Ordering::Relaxed));
        Moment::of_second(read + u64::from(self.time_to_idle.get()))
    }
}

/// What a fetch brought, and whether and how long to keep it.
///
/// A fetch may simply return its value, which is then kept as the cache's settings say; this is for
/// fetches that know better.
///
/// ```
/// # use larder::{Cache, Fetched};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::<String>::builder().build();
/// let fetch = async || {
///     Fetched::new("for a moment".to_owned()).ttl(Duration::from_secs(5)).tags(["posts", "post:1"])
/// };
/// assert_eq!(cache.get_or_fetch("key", fetch).await, "for a moment");
/// # }
/// ```
#[derive(Debug)]
pub struct Fetched<V> {
    /// In a box, for on its way into the cache it is moved a dozen times, and may be large.
    pub(crate) value: Box<V>,
    pub(crate) keep: Keep,
    /// Why it is not to be stored, whatever else is said of it.
    pub(crate) skip: Option<Reason>,
    pub(crate) tags: Tags,
}

/// The tags of a value that is to be stored.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    pub(crate) named: Vec<String>,
    /// Those that it was stored with before.
    pub(crate) kept: Option<KeptTags>,
}

/// Tags whose names are not known any more. `key`: by which they became numbers, for under another one they would be
/// other tags.
#[derive(Debug)]
pub(crate) struct KeptTags {
    pub(crate) ids: Box<[TagId]>,
    pub(crate) key: TagKey,
}

impl From<Vec<String>> for Tags {
    fn from(named: Vec<String>) -> Self {
        Tags { named, kept: None }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// As the cache's settings say.
    Default,
    /// With another TTL, and the cache's stale windows.
    FreshFor(Duration),
    For(Lifetime),
}

impl<V> Fetched<V> {
    /// Keep `value` as the cache's settings say.
    pub fn new(value: V) -> Self {
        Fetched::of_boxed(Box::new(value))
    }

    pub(crate) fn of_boxed(value: Box<V>) -> Self {
        Fetched { value, keep: Keep::Default, skip: None, tags: Tags::default() }
    }

    /// Hand `value` to those who wait for it now, and do not store it, whatever TTL is given later.
    pub fn do_not_store(value: V) -> Self {
        Self::skip(value, Reason::NotStorable)
    }

    /// As [`do_not_store`](Fetched::do_not_store), and why.
    pub fn skip(value: V, reason: Reason) -> Self {
        Fetched { skip: Some(reason), ..Fetched::new(value) }
    }

    /// Hand `value` to those who wait for it now, and let go of what was stored: the origin says that there is
    /// nothing, or no more. As what [`do_not_store`](Fetched::do_not_store) is given, it is not there for later
    /// readers; but neither is what came before, to stand in when the next fetch fails.
    ///
    /// ```
    /// # use larder::{Cache, Fetched, ManualClock};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let clock = ManualClock::new();
    /// # let builder = Cache::<Option<String>>::builder().clock(clock.clock());
    /// # let minute = Duration::from_secs(60);
    /// let posts = builder.ttl(minute).stale_if_error(60 * minute).build();
    /// posts.insert("/posts/1", Some("a post".to_owned()));
    /// # clock.advance(minute);
    /// // A minute later it is deleted.
    /// let found = posts.get_or_fetch("/posts/1", async || Fetched::gone(None)).await;
    /// assert_eq!(found, None);
    /// let failed = posts.try_get_or_fetch("/posts/1", async || Err::<Option<String>, _>("down")).await;
    /// assert!(failed.is_err(), "it is not served again");
    /// # }
    /// ```
    pub fn gone(value: V) -> Self {
        // It takes the place of what was stored, as far as no purge came in between, and is over at once.
        Fetched::new(value).ttl(Duration::from_nanos(1))
    }

    /// Keep it for `ttl` and no longer: what is to be gone in five seconds is not served stale for an hour
    /// because other entries may be. Zero means not to store it. See [`fresh_for`](Fetched::fresh_for) and
    /// [`lifetime`](Fetched::lifetime) for values with stale windows. The last of the three counts.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.lifetime(Lifetime::fresh_for(ttl))
    }

    /// Keep it fresh for `ttl` in place of the cache's TTL; the cache's stale windows follow. Zero means
    /// not to store it.
    pub fn fresh_for(mut self, ttl: Duration) -> Self {
        self.keep =
            if ttl.is_zero() { Keep::For(Lifetime::default()) } else { Keep::FreshFor(ttl) };
        self
    }

    /// As [`fresh_for`](Fetched::fresh_for), unless it has been said already how long to keep it.
    pub fn or_fresh_for(self, ttl: Duration) -> Self {
        match self.keep {
            Keep::Default => self.fresh_for(ttl),
            Keep::FreshFor(_) | Keep::For(_) => self,
        }
    }

    /// Keep it for `lifetime` instead, windows included. One that ends at once means not to store it.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.keep = Keep::For(lifetime);
        self
    }

    /// It is purged with each of these tags. Replaces earlier ones; empty ones are left out, and
    /// more than 256 make it unstorable (a purge by one of them would otherwise miss it).
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = Tags::default();
        self.and_tags(tags)
    }

    /// As [`tags`](Fetched::tags), beside those that it has already.
    pub fn and_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags = tags.into_iter().map(Into::into);
        self.tags.named.extend(tags.filter(|tag: &String| !tag.is_empty()));
        self
    }
}

impl<V> From<V> for Fetched<V> {
    fn from(value: V) -> Self {
        Fetched::new(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_span_is_exact_where_it_says_so() {
        let exact = [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_secs(300),
            Duration::from_millis(86_400_001),
            Duration::from_secs(365 * 86_400),
        ];
        exact
            .into_iter()
            .for_each(|duration| assert_eq!(CompactDuration::new(duration).get(), duration));
        assert!(CompactDuration::new(Duration::MAX).get() > Duration::from_secs(34 * 365 * 86_400));
    }

    proptest! {
        #[test]
        fn a_span_is_never_longer_and_hardly_shorter(nanos in 0..u64::MAX / 32) {
            let span = CompactDuration::new(Duration::from_nanos(nanos)).get().as_nanos() as u64;
            prop_assert!(span <= nanos);
            prop_assert!(nanos - span < 1000 + nanos / 1_000_000);
        }
    }
}
