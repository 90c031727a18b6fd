//! Below: what a leader asks the tier below memory before it fetches, and what is written there afterwards.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};
use tokio::time::Instant;

use super::{
    Library,
    landing::{Delivery, FlightResult},
};
use crate::{
    clock::Moment,
    codec::Codec,
    engine::{
        flight::Leader,
        look::{ANY_AGE, Lookup, MaxAge},
        lower::{Asked, Content, Lower, NewBody, NewRecord, OwnLease, Search},
        store::Dated,
    },
    entry::Facts,
    purge::last::PurgeState,
    rules::Rule,
    sync,
    tier::lower::{Head, Position, Record},
};

/// What lies beneath this cache, and how its values are written there.
pub(super) struct Beneath<V> {
    pub(super) lower: Arc<Lower>,
    codec: Arc<dyn Codec<V>>,
    /// Of whose values the bytes are, and what they mean.
    format: String,
}

impl<V: 'static> Beneath<V> {
    /// `name`: that of the cache. What another one has written is not this one's.
    pub(super) fn new(lower: &Arc<Lower>, codec: &Arc<dyn Codec<V>>, name: &str) -> Self {
        let format = format!("{name} {}", codec.format());
        Beneath { lower: Arc::clone(lower), codec: Arc::clone(codec), format }
    }
}

/// For whom a leader asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Readers, who have nothing fresh. What is older than this is not for the one who leads.
    Readers { max_age: MaxAge },
    /// A refresh: what is fresh has to be younger than what began it.
    Refresh,
    /// Somebody for whom only a fetch will do.
    Forced,
    /// Somebody who asks for several keys. He has the right to fetch some while he asks for the others, so
    /// he does not wait for those who have it: two such processes would wait for each other.
    Several,
    /// A thread that blocks. Nothing may drive what the tier does meanwhile, so it is not asked.
    Thread,
}

/// What asking below has come to.
pub(super) enum Found<V> {
    /// A fresh value.
    Value(Dated<V>),
    /// None. In a box, for the leader keeps it while it fetches, and where there is nothing below it is to take
    /// no room: a future is moved a dozen times.
    Nothing(Box<Looked>),
}

/// What a leader brings with it from having looked in vain.
pub(super) struct Looked {
    /// How long that took.
    pub(super) spent: Duration,
    /// What is fetched may be written down with this.
    may_write: Option<MayWrite>,
}

/// What it takes to write a fetched value.
struct MayWrite {
    /// Where the lower log was when the fetch began.
    fence: Position,
    lease: Option<OwnLease>,
}

/// A fetched value on its way down, without the value.
pub(super) struct ToWrite {
    record: NewRecord,
    lease: Option<OwnLease>,
}

/// A leader's search for a value.
struct ForValue<'a, V> {
    library: &'a Library<V>,
    beneath: &'a Beneath<V>,
    leader: &'a Leader<FlightResult<V>>,
    whom: For,
}

impl<V: Clone + Send + Sync + 'static> Search for ForValue<'_, V> {
    type Found = Dated<V>;

    async fn usable(&mut self, asked: &Asked) -> Option<Dated<V>> {
        self.library.usable(self.beneath, self.leader, self.whom, asked).await
    }

    fn wanted(&self, _: &Asked) -> String {
        String::new()
    }

    fn waits_for_others(&self) -> bool {
        self.whom != For::Several
    }
}

/// A record that is of use.
struct Usable {
    /// With the end that a soft purge has brought.
    lifetime: Lifetime,
    fetched: Moment,
    freshness: Freshness,
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    /// One read; where nothing fresh is there, the right to fetch, or what another process fetches meanwhile.
    /// The flight is within reach of purges afterwards ([`lower`](crate::engine::lower) has the pictures).
    ///
    /// What is stale there, and may still serve, is brought into memory: readers who come meanwhile get it as
    /// they get any stale entry, and those who wait if the fetch fails or takes too long.
    pub(super) async fn ask_below(
        &self,
        beneath: &Beneath<V>,
        leader: &Leader<FlightResult<V>>,
        whom: For,
    ) -> Found<V> {
        let (lower, began) = (&beneath.lower, Instant::now());
        let mut lease = None;
        // Whom nobody runs as a task, nobody would tell when a call takes too long.
        if whom != For::Thread && sync::is_in_runtime() {
            lower.send_behind();
            match self.look_in_time(beneath, leader, whom).await {
                Ok(dated) => {
                    lower.count_hit();
                    return Found::Value(dated);
                }
                Err(granted) => lease = granted,
            }
        }
        lower.count_miss();
        leader.begin(|| self.engine.position());
        // Read after purges reach the flight. Where the tier has not been read yet, nothing can be said to it.
        let may_write = lower.position().map(|fence| MayWrite { fence, lease });
        Found::Nothing(Box::new(Looked { spent: began.elapsed(), may_write }))
    }

    /// All of it together takes no longer than a fetch may, however many pieces a body has.
    async fn look_in_time(
        &self,
        beneath: &Beneath<V>,
        leader: &Leader<FlightResult<V>>,
        whom: For,
    ) -> Result<Dated<V>, Option<OwnLease>> {
        let mut search = ForValue { library: self, beneath, leader, whom };
        let looking = async {
            if whom == For::Forced {
                // What is fetched can be written down, now that it is known where the log is.
                _ = beneath.lower.heads(leader.key()).await;
                return Err(None);
            }
            beneath.lower.look(leader.key(), &mut search).await
        };
        match self.engine.hard_timeout {
            Some(limit) => {
                let deadline = sync::after(Instant::now(), limit);
                sync::until(deadline, looking).await.unwrap_or(Err(None))
            }
            None => looking.await,
        }
    }

    /// What of `asked` serves. Something stale, or too old, is brought into memory if nothing is there.
    async fn usable(
        &self,
        beneath: &Beneath<V>,
        leader: &Leader<FlightResult<V>>,
        whom: For,
        asked: &Asked,
    ) -> Option<Dated<V>> {
        let Record { head, age } = asked.record()?;
        let (lower, key) = (&beneath.lower, leader.key());
        if head.format != beneath.format {
            lower.count_unreadable();
            return None;
        }
        let fetched = asked.at.minus(*age);
        // Before its body is asked for.
        let usable = self.judge_record(lower, key, head, fetched)?;
        let bytes = lower.body(&head.body, self.engine.max_bytes()).await?;
        let value = beneath.decode(bytes)?;
        leader.begin(|| self.engine.position());
        let usable = match Rule::FoundIsJudgedWithinReach.holds() {
            true => self.judge_record(lower, key, head, fetched)?,
            false => usable,
        };
        let Usable { lifetime, fetched, freshness } = usable;
        let facts = Facts {
            lifetime,
            fetched,
            cost: head.cost,
            tags: self.engine.tag_ids(head.tags.iter().map(String::as_str)),
            fence: leader.fence(),
        };
        let dated = Dated::found(value, facts);
        match freshness {
            Freshness::Fresh { .. } => {
                let is_young = match whom {
                    For::Readers { max_age } => self.engine.now().since(fetched) <= max_age,
                    For::Refresh => !self.engine.is_to_be_refreshed(&dated),
                    For::Forced | For::Thread => false,
                    For::Several => true,
                };
                if is_young {
                    return Some(dated);
                }
            }
            Freshness::StaleWhileRevalidate { .. } | Freshness::StaleIfError { .. } => {}
            Freshness::Expired => return None,
        }
        if let Lookup::Miss(_) = self.engine.look(key, ANY_AGE) {
            self.engine.store(key, &dated, || leader.is_revoked());
            lower.count_rescue();
        }
        None
    }

    /// What of `asked` is good for something, for an onlooker: its freshness, and how long ago it was fetched.
    pub(super) fn judge_below(
        &self,
        beneath: &Beneath<V>,
        key: &str,
        asked: &Asked,
    ) -> Option<(Freshness, Duration)> {
        let Record { head, age } = asked.record()?;
        let fetched = asked.at.minus(*age);
        let is_ours = head.format == beneath.format;
        let usable = is_ours.then(|| self.judge_record(&beneath.lower, key, head, fetched))??;
        Some((usable.freshness, self.engine.now().since(usable.fetched)))
    }

    /// What a record is good for, if it is for anything.
    fn judge_record(
        &self,
        lower: &Lower,
        key: &str,
        head: &Head,
        fetched: Moment,
    ) -> Option<Usable> {
        let now = self.engine.now();
        let lifetime = match lower.state(key, head) {
            PurgeState::Untouched => head.lifetime,
            PurgeState::MarkedStale(at) => {
                let ttl = at.since(fetched).min(head.lifetime.ttl());
                Lifetime::fresh_for(ttl)
                    .stale_while_revalidate(head.lifetime.revalidate_window())
                    .stale_if_error(head.lifetime.rescue_window())
            }
            PurgeState::Purged => return None,
        };
        match lifetime.at(now.since(fetched)) {
            Freshness::Expired => None,
            freshness => Some(Usable { lifetime, fetched, freshness }),
        }
    }
}

impl<V: Send + Sync + 'static> Beneath<V> {
    /// How what was `fetched` after having `looked` in vain is written below. `None`: it is not, for nothing was
    /// heard of the tier, or because what kept it out of memory (`not_stored`) holds for every tier.
    pub(super) fn record(
        &self,
        looked: Looked,
        key: &Arc<str>,
        fetched: &Dated<V>,
        tags: Vec<String>,
        not_stored: Option<Reason>,
    ) -> Option<ToWrite> {
        let MayWrite { fence, lease } = looked.may_write?;
        match not_stored {
            None | Some(Reason::TooLarge | Reason::NoRoom) if fetched.is_to_be_stored() => {}
            _ => return None,
        }
        let &Facts { lifetime, fetched, cost, .. } = &fetched.facts;
        let (key, format) = (Arc::clone(key), self.format.clone());
        let (variant, most, beside) = (String::new(), 1, 1);
        let record =
            NewRecord { key, variant, most, fence, lifetime, fetched, cost, tags, format, beside };
        Some(ToWrite { record, lease })
    }

    /// Writes it, behind the readers' backs.
    pub(super) fn write(&self, to_write: ToWrite, delivery: &Arc<Delivery<V>>) {
        let ToWrite { record, lease } = to_write;
        let (codec, delivery) = (Arc::clone(&self.codec), Arc::clone(delivery));
        let encode = move || {
            let bytes = codec.encode(delivery.value())?;
            Ok(Content { extra: Bytes::new(), body: NewBody::Bytes(vec![bytes]) })
        };
        self.lower.write_behind(record, encode, lease);
    }

    /// The user's code may say no, or panic: then it is fetched.
    fn decode(&self, bytes: Bytes) -> Option<Box<V>> {
        let decoded = catch_unwind(AssertUnwindSafe(|| self.codec.decode(bytes)));
        match decoded {
            Ok(Ok(value)) => Some(Box::new(value)),
            Ok(Err(_)) | Err(_) => {
                self.lower.count_unreadable();
                None
            }
        }
    }
}
