//! Purge: the order of steps of every purge.

use std::{
    cell::LazyCell,
    sync::{Arc, PoisonError, Weak},
    time::SystemTime,
};

use super::{
    Engine,
    flight::Flights,
    lower::{Cause, Outgoing, Sent},
};
use crate::{
    entry::Entry,
    purge::{Asked, Glob, MadePurge, Mode, PurgeFollower, Scope},
    stats::Event,
    sync::Mutex,
    tier::{
        lower::LowerPurge,
        memory::{Burial, RemovalCause},
    },
};

/// What a purge names, as it is stored. One key or prefix may be stored in several spellings.
#[derive(Clone, Copy)]
pub(crate) enum Named<'a> {
    Keys(&'a [&'a str]),
    /// A key, because of what a fetch of it has shown. The fetch with this number is the cause: what it brings
    /// is newer than the purge, and may be stored. Always hard.
    #[cfg(feature = "http")]
    KeyBeside(&'a str, u64),
    Prefixes(&'a [&'a str]),
    Globs(&'a [Glob]),
    Tag(&'a str),
    Everything,
}

/// What a purge has done.
pub(crate) struct Done {
    pub(crate) number: u64,
    /// How many entries could still be served; `None` where nobody looked.
    pub(crate) entries: Option<usize>,
    /// What has gone, and what its `Drop` had to say.
    pub(crate) burial: Burial,
    /// How far it is below, if there is anything.
    pub(crate) sent: Option<Sent>,
}

/// A conductor with flights under way, and whatever else a purge has to reach before memory.
pub(crate) trait Listener: Send + Sync {
    /// From now on nobody joins a flight of what is named, and those under way no longer store it. Failures
    /// that are remembered of it are forgotten.
    fn purge(&self, named: Named<'_>) -> Burial;
}

/// Those whom every purge reaches: the library's conductor, and the flights of HTTP caches that store here.
pub(crate) struct Listeners(Mutex<Arc<[Weak<dyn Listener>]>>);

impl Listeners {
    pub(crate) fn none() -> Self {
        Listeners(Mutex::new(Arc::new([])))
    }

    fn all(&self) -> Arc<[Weak<dyn Listener>]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R: Send + Sync + 'static> Listener for Flights<R> {
    /// A flight learns the tags of what it brings only in the end, and meets the table of purged tags then.
    fn purge(&self, named: Named<'_>) -> Burial {
        match named {
            Named::Keys(keys) => keys.iter().for_each(|key| self.revoke(key)),
            #[cfg(feature = "http")]
            Named::KeyBeside(key, number) => self.revoke_beside(key, number),
            Named::Prefixes(_) | Named::Globs(_) | Named::Everything => {
                self.revoke_where(|key| named.names(key));
            }
            Named::Tag(_) => {}
        }
        Burial::default()
    }
}

impl Named<'_> {
    pub(crate) fn names(&self, key: &str) -> bool {
        match self {
            Named::Keys(keys) => keys.contains(&key),
            #[cfg(feature = "http")]
            Named::KeyBeside(named, _) => *named == key,
            Named::Prefixes(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
            Named::Globs(globs) => globs.iter().any(|glob| glob.fits(key)),
            Named::Tag(_) => false,
            Named::Everything => true,
        }
    }

    /// The same for a tier below, or more: there a pattern is what it begins with.
    fn scopes(&self) -> Vec<Scope> {
        let keys = |keys: &[&str]| keys.iter().map(|key| Scope::Key((*key).to_owned())).collect();
        match self {
            Named::Keys(named) => keys(named),
            #[cfg(feature = "http")]
            Named::KeyBeside(key, _) => keys(&[key]),
            Named::Prefixes(prefixes) => {
                prefixes.iter().map(|prefix| Scope::Prefix((*prefix).to_owned())).collect()
            }
            Named::Globs(globs) => {
                globs.iter().map(|glob| Scope::Prefix(glob.prefix().to_owned())).collect()
            }
            Named::Tag(tag) => vec![Scope::Tag((*tag).to_owned())],
            Named::Everything => vec![Scope::Everything],
        }
    }
}

/// A scope, and the names under which what it names is stored.
pub(crate) struct Stored<'a> {
    scope: &'a Scope,
    names: Vec<&'a str>,
    globs: Vec<Glob>,
}

impl<'a> Stored<'a> {
    /// What is stored as it is named.
    pub(crate) fn of(scope: &'a Scope) -> Self {
        let names = match scope {
            Scope::Key(name) | Scope::Prefix(name) => vec![name.as_str()],
            Scope::Glob(_) | Scope::Tag(_) | Scope::Everything => Vec::new(),
        };
        let globs = match scope {
            Scope::Glob(glob) => vec![glob.clone()],
            _ => Vec::new(),
        };
        Stored { scope, names, globs }
    }

    /// A key, a prefix or a pattern that is stored in these spellings. Of other scopes there are none.
    #[cfg(feature = "http")]
    pub(crate) fn in_spellings(scope: &'a Scope, names: Vec<&'a str>, globs: Vec<Glob>) -> Self {
        Stored { scope, names, globs }
    }

    pub(crate) fn named(&self) -> Named<'_> {
        match self.scope {
            Scope::Key(_) => Named::Keys(&self.names),
            Scope::Prefix(_) => Named::Prefixes(&self.names),
            Scope::Glob(_) => Named::Globs(&self.globs),
            Scope::Tag(tag) => Named::Tag(tag),
            Scope::Everything => Named::Everything,
        }
    }
}

impl<V> Engine<V> {
    /// Every purge reaches `listener` from now on, as long as it lives.
    pub(crate) fn listen<L: Listener + 'static>(&self, listener: &Arc<L>) {
        let new: Weak<L> = Arc::downgrade(listener);
        let new: Weak<dyn Listener> = new;
        let mut listeners = self.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |other: &&Weak<dyn Listener>| {
            other.strong_count() > 0 && !std::ptr::addr_eq(other.as_ptr(), new.as_ptr())
        };
        let others: Vec<_> = listeners.iter().filter(stays).cloned().collect();
        *listeners = others.into_iter().chain([new]).collect();
    }

    /// From now on no flight that began before stores what is named, and failures that are remembered of it
    /// are forgotten: a part of every purge, and of an insert.
    pub(crate) fn reach(&self, named: Named<'_>) -> Burial {
        let listeners = self.listeners.all();
        let reached = listeners.iter().filter_map(Weak::upgrade);
        reached.map(|listener| listener.purge(named)).fold(Burial::default(), Burial::and)
    }

    /// The same for all but `spared`.
    pub(crate) fn reach_all_but<L: Listener + 'static>(
        &self,
        spared: &Arc<L>,
        named: Named<'_>,
    ) -> Burial {
        let listeners = self.listeners.all();
        let others =
            listeners.iter().filter(|one| !std::ptr::addr_eq(one.as_ptr(), Arc::as_ptr(spared)));
        let reached = others.filter_map(Weak::upgrade);
        reached.map(|listener| listener.purge(named)).fold(Burial::default(), Burial::and)
    }

    /// How every purge that is made here goes: here, and then below. From the beginning on, what comes from
    /// below is judged by it ([`lower`](super::lower) says why).
    pub(crate) fn purge(
        &self,
        named: Named<'_>,
        mode: Mode,
        what: impl FnOnce() -> String,
    ) -> Done {
        let outgoing = self.enter(named, mode);
        let mut done = self.purge_here(named, mode, what);
        done.sent = outgoing.map(Outgoing::done);
        done
    }

    /// The same, hard, of what a request that anybody may send has changed. All of it has a key that begins with `within`.
    /// Below it is one purge, one of those that may not crowd out others.
    #[cfg(feature = "http")]
    pub(crate) fn invalidate(&self, named: &[Named<'_>], within: &str) {
        let outgoing = self.lower.as_ref().map(|lower| {
            let scopes = named.iter().flat_map(Named::scopes).collect();
            lower.enter(scopes, Mode::Hard, Cause::Reader { within })
        });
        for named in named {
            let what =
                || named.scopes().iter().map(Scope::to_string).collect::<Vec<_>>().join(", ");
            // What else panics here is not this request's fault.
            self.purge_here(*named, Mode::Hard, what).burial.pass_over();
        }
        // It is done, and may be sent.
        drop(outgoing);
    }

    /// Tells whoever follows the purges of one that was made.
    pub(crate) fn tell_followers(
        &self,
        named: Named<'_>,
        (mode, number): (Mode, u64),
        at: SystemTime,
        asked: Option<&Asked>,
    ) {
        let scopes = || named.scopes();
        let asked = asked.cloned();
        self.followers.tell(|| MadePurge { number, scopes: scopes(), mode, at, asked });
    }

    pub(crate) fn follow_purges(&self, follower: Arc<dyn PurgeFollower>) {
        self.followers.add(follower);
    }

    /// A hard purge of `key` that goes the same way, but that `remove` says what becomes of what is in memory.
    pub(crate) fn purge_key_by(
        &self,
        key: &str,
        remove: impl FnOnce() -> (Option<usize>, Burial),
    ) -> Done {
        let (named, mode) = (Named::Keys(&[key]), Mode::Hard);
        let outgoing = self.enter(named, mode);
        let mut done = self.purge_here_by(named, mode, || format!("key {key}"), |_| remove());
        done.sent = outgoing.map(Outgoing::done);
        self.tell_followers(named, (mode, done.number), SystemTime::now(), None);
        done
    }

    /// A purge that another process has made, which the lower tier has already.
    pub(crate) fn purge_too(&self, purge: &LowerPurge) {
        for scope in &purge.scopes {
            let stored = Stored::of(scope);
            self.purge_here(stored.named(), purge.mode, || scope.to_string()).burial.pass_over();
        }
    }

    /// Something else is stored under `key`: what is below is older, from now on. To be dropped when it is
    /// stored.
    pub(crate) fn replace_below(&self, key: &str) -> Option<Outgoing> {
        self.enter(Named::Keys(&[key]), Mode::Hard)
    }

    /// The same where a request that anybody may send has shown that.
    #[cfg(feature = "http")]
    pub(crate) fn drop_below(&self, key: &str) -> Option<Outgoing> {
        let scopes = Named::Keys(&[key]).scopes();
        let cause = Cause::Reader { within: key };
        self.lower.as_ref().map(|lower| lower.enter(scopes, Mode::Hard, cause))
    }

    fn enter(&self, named: Named<'_>, mode: Mode) -> Option<Outgoing> {
        self.lower.as_ref().map(|lower| lower.enter(named.scopes(), mode, Cause::Asked))
    }

    #[inline]
    fn purge_here(&self, named: Named<'_>, mode: Mode, what: impl FnOnce() -> String) -> Done {
        self.purge_here_by(named, mode, what, |number| self.purge_memory(named, mode, number))
    }

    /// The log, the flights under way, the failures that are remembered, memory. In this order: what is stored
    /// later is asked for its fence under the lock of its shard, and finds the purge.
    #[inline]
    fn purge_here_by(
        &self,
        named: Named<'_>,
        mode: Mode,
        what: impl FnOnce() -> String,
        purge_memory: impl FnOnce(u64) -> (Option<usize>, Burial),
    ) -> Done {
        let number = self.number_of(named, mode);
        let what = LazyCell::new(what);
        if let Some(gone) = self.memory.gone() {
            gone.note_purge(number, &what, mode, self.clock.now());
        }
        let forgotten = self.reach(named);
        self.forget_refreshes(named);
        let (entries, burial) = purge_memory(number);
        self.counters.purges.increment();
        self.counters.tell(|| Event::Purged {
            what: what.clone(),
            soft: mode == Mode::Soft,
            number,
        });
        Done { number, entries, burial: burial.and(forgotten), sent: None }
    }

    /// What is not looked for is written down in the table, where entries meet it.
    fn number_of(&self, named: Named<'_>, mode: Mode) -> u64 {
        match named {
            Named::Tag(tag) => self.purges.purge_tag(tag, mode, self.clock.now()),
            Named::Everything if mode == Mode::Soft => {
                self.purges.mark_everything_stale(self.clock.now())
            }
            #[cfg(feature = "http")]
            Named::KeyBeside(..) => self.purges.next(),
            Named::Keys(_) | Named::Prefixes(_) | Named::Globs(_) | Named::Everything => {
                self.purges.next()
            }
        }
    }

    /// Neither the refreshes under way keep others from being begun, nor those that failed.
    fn forget_refreshes(&self, named: Named<'_>) {
        let of_key = |key: &str| {
            self.backoffs.forget(key);
            self.refreshes.overtake(key);
        };
        match named {
            Named::Keys(keys) => keys.iter().for_each(|key| of_key(key)),
            #[cfg(feature = "http")]
            Named::KeyBeside(key, _) => of_key(key),
            // Which keys those are is not known: at worst some other refresh is tried again too soon.
            Named::Prefixes(_) | Named::Globs(_) | Named::Everything => {
                self.backoffs.forget_all();
                self.refreshes.overtake_all();
            }
            // That is looked up with their entries.
            Named::Tag(_) => {}
        }
    }

    fn purge_memory(&self, named: Named<'_>, mode: Mode, number: u64) -> (Option<usize>, Burial) {
        let judge = self.judge_now().for_purge(number);
        let remove = |keys: &[&str]| {
            keys.iter().fold((0, Burial::default()), |(entries, burial), key| {
                let (was_of_use, removed) = self.memory.remove(key, &judge, RemovalCause::Purged);
                (entries + usize::from(was_of_use), burial.and(removed))
            })
        };
        let mut marked = 0;
        let mut mark = |entry: &mut Entry<V>| {
            marked += usize::from(!judge.is_over(entry));
            entry.mark_stale(judge.now());
        };
        let (entries, burial) = match (named, mode) {
            (Named::Keys(keys), Mode::Hard) => remove(keys),
            #[cfg(feature = "http")]
            (Named::KeyBeside(key, _), _) => remove(&[key]),
            (Named::Prefixes(_) | Named::Globs(_), Mode::Hard) => {
                self.memory.remove_where(|key| named.names(key), &judge)
            }
            (Named::Everything, Mode::Hard) => self.memory.clear(&judge),
            (Named::Keys(keys), Mode::Soft) => {
                for key in keys {
                    self.memory.update(key, &mut mark);
                }
                (marked, Burial::default())
            }
            (Named::Prefixes(_) | Named::Globs(_), Mode::Soft) => {
                self.memory.update_where(|key| named.names(key), &judge, &mut mark);
                (marked, Burial::default())
            }
            // Nobody looks: what is there may be what it marks.
            (Named::Everything, Mode::Soft) => (self.memory.size().0, Burial::default()),
            (Named::Tag(_), _) => return (None, Burial::default()),
        };
        (Some(entries), burial)
    }
}
