//! Turns: how many requests may wait for the origin's answer at once, and who is next.
//!
//! No path, host or client can have all turns. Each may hold so many for every one that is free
//! ([`PATH`], [`HOST`], [`CLIENT`]): one that is alone has most of them, several share, and a rest stays
//! free for who comes next. These are the dynamic thresholds of Choudhury and Hahne ("Dynamic queue length
//! thresholds for shared-memory packet switches", 1998). They need no knowledge of who will come, and
//! nothing is remembered of who is not here.
//!
//! With 1024 turns, and an origin that hangs:
//!
//! | who asks | each has at most | free for others |
//! | --- | --- | --- |
//! | one path | 768 | 256 |
//! | two paths | 438 | 146 |
//! | ten paths | 99 | 33 |
//! | one client, many paths | 896 | 128 |
//! | one host, many clients and paths | 960 | 64 |
//! | one host, clients that ask once each | 1016 | 8 |
//!
//! There may be only one host. So that three clients cannot keep all others from it, it may hold more for a
//! client that holds nothing yet ([`HOST_FOR_NEW`]).
//!
//! Who cannot have a turn waits in line, for so long and no longer. The line has places, which are shared
//! by the same rule. It is first come, first served, among those whose path, host and client may have
//! another turn.
//!
//! Not for a handful of turns: of two, a path may have one, and with one turn whoever has it has all.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    future::Future,
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::oneshot, time::timeout};

use super::error::NoAnswer;
use crate::stats::Counters;

/// How many turns a path may hold for each that is free. Its query does not count: whoever asks can
/// write any.
const PATH: usize = 3;
/// How many a client may hold. More than a path: one that hangs does not use up its client's share.
const CLIENT: usize = 7;
/// How many a host may hold. There may be only one.
const HOST: usize = 15;
/// How many it may hold where a client asks that holds no turn. More: with three clients that take what they
/// can, the host has what it may otherwise have. A few stay free for other hosts.
const HOST_FOR_NEW: usize = 127;

/// At most this many reasons why nobody in line may have a turn are remembered.
const MAX_BARRING: usize = 32;

/// Who asks, as far as turns are concerned: a server puts it among a request's extensions. Requests
/// without one are not told apart by it.
///
/// Behind a balancer it is who the balancer asks for, and not the balancer. An IPv6 address counts as its
/// /64 network, which is one client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(pub IpAddr);

impl Client {
    /// The address without what its owner can choose freely: the same for all that are one client.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let own: u128 = u128::from(u64::MAX);
                IpAddr::V6((address.to_bits() & !own).into())
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Why a request gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Too many wait already: of all, or of its own path, host or client.
    LineFull,
    /// It has waited for as long as it may.
    WaitedInVain,
}

/// For whom a turn is taken: a path, its host, and perhaps a client, each as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim([Option<Party>; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Party {
    hash: u64,
    /// How many turns it may hold for each that is free.
    per_free: usize,
}

/// The turns that there are.
pub(crate) struct Turns {
    /// Never held across an await.
    book: Mutex<Book<oneshot::Sender<Turn>>>,
    /// Parties are counted by hash: nobody who asks can tell which of them share one.
    hasher: RandomState,
}

/// The right to ask the origin. Dropping it gives it back, and the next in line has it.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    claim: Claim,
}

impl Turns {
    pub(crate) fn new(max: usize, max_waiting: usize) -> Arc<Self> {
        let book = Mutex::new(Book::new(max.max(1), max_waiting));
        Arc::new(Turns { book, hasher: RandomState::default() })
    }

    /// For whom a request for `url` takes its turn: an absolute one, or one that begins with its host.
    pub(crate) fn claim(&self, url: &str, client: Option<Client>) -> Claim {
        let url = url.as_bytes();
        // Behind "http://", "https://" or "//". Byte by byte: they are short, and looking for texts in them
        // costs more.
        let host_at = match url {
            [b'h', b't', b't', b'p', b':', b'/', b'/', ..] => 7,
            [b'h', b't', b't', b'p', b's', b':', b'/', b'/', ..] => 8,
            [b'/', b'/', ..] => 2,
            _ => 0,
        };
        let end = |from: usize, is_end: fn(&u8) -> bool| {
            url[from..].iter().position(is_end).map_or(url.len(), |at| from + at)
        };
        let host_end = end(host_at, |byte| matches!(byte, b'/' | b'?' | b' '));
        let path = &url[..end(host_end, |byte| matches!(byte, b'?' | b' '))];
        let host = &url[host_at..host_end];
        let client = client
            .map(|client| Party { hash: self.hasher.hash_one(client.network()), per_free: CLIENT });
        let path = Party { hash: self.hasher.hash_one(path), per_free: PATH };
        let host = Party { hash: self.hasher.hash_one(host), per_free: HOST };
        Claim([Some(path), Some(host), client])
    }

    /// Tells clients apart.
    pub(crate) fn client_number(&self, client: Option<Client>) -> u64 {
        client.map_or(0, |client| self.hasher.hash_one(client.network()))
    }

    /// A turn to ask for `url`, now or within `limit`; waiting and refusing are counted. Once `of_several`
    /// completes, others wait for what it brings as well.
    pub(crate) async fn take_counted(
        self: &Arc<Self>,
        (url, client): (&str, Option<Client>),
        limit: Duration,
        counters: &Counters,
        of_several: impl Future<Output = ()>,
    ) -> Result<Turn, NoAnswer> {
        let waits = || counters.turns_awaited.increment();
        let taken = self.take(self.claim(url, client), limit, waits, of_several).await;
        taken.map_err(|denied| {
            counters.turns_refused.increment();
            match denied {
                Denied::LineFull => NoAnswer::TooManyFetches,
                Denied::WaitedInVain => NoAnswer::NoTurn { waited: limit },
            }
        })
    }

    /// A turn, now or within `limit`. Dropping the future leaves the line. `waits` is called if it has to
    /// wait. Once `of_several` completes, it keeps its place and waits for nothing that only its client is
    /// the reason of.
    pub(crate) async fn take(
        self: &Arc<Self>,
        claim: Claim,
        limit: Duration,
        waits: impl FnOnce(),
        of_several: impl Future<Output = ()>,
    ) -> Result<Turn, Denied> {
        let (ticket, granted) = {
            let mut book = self.book();
            if book.take(&claim) {
                return Ok(Turn { turns: Arc::clone(self), claim });
            }
            let (grant, granted) = oneshot::channel();
            (book.line_up(claim, grant).ok_or(Denied::LineFull)?, granted)
        };
        // A turn that comes too late is dropped with `granted`.
        let _place = LinePlace { turns: self, ticket };
        waits();
        let mut granted = granted;
        let waiting = async {
            tokio::select! {
                biased;
                turn = &mut granted => return turn,
                () = of_several => self.change(|book| book.spare_client(ticket)),
            }
            granted.await
        };
        match timeout(limit, waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Denied::WaitedInVain),
        }
    }

    /// Changes the book, and gives turns to those in line who may have them now.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Book<oneshot::Sender<Turn>>)) {
        let granted = {
            let mut book = self.book();
            change(&mut book);
            book.grant()
        };
        // Outside the lock: the turn of who has left in this moment is given back right here.
        for (claim, grant) in granted {
            grant.send(Turn { turns: Arc::clone(self), claim }).ok();
        }
    }

    /// How many are taken, and how many requests wait for one.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        let book = self.book();
        (book.taken, book.line.len())
    }

    fn book(&self) -> MutexGuard<'_, Book<oneshot::Sender<Turn>>> {
        // Nothing under this lock can panic half-way through a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let claim = self.claim;
        self.turns.change(|book| book.give_back(&claim));
    }
}

/// A place in line. Dropping it leaves the line.
struct LinePlace<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Drop for LinePlace<'_> {
    fn drop(&mut self) {
        // The grant's other end is dropped outside the lock.
        let _grant = self.turns.book().leave(self.ticket);
    }
}

/// Who holds turns, and who waits: the rules, without any waiting. `G` is what a place in line is given.
struct Book<G> {
    max: usize,
    taken: usize,
    max_waiting: usize,
    /// By ticket, so in the order in which they came.
    line: BTreeMap<u64, (Claim, G)>,
    next_ticket: u64,
    /// Those that hold or want something: no more than three for each turn and each place.
    parties: HashMap<u64, Held, RandomState>,
    /// Why nobody in line may have a turn, as far as is known.
    barred: Option<Barred>,
}

#[derive(Clone, Copy, Default)]
struct Held {
    turns: usize,
    places: usize,
}

impl Held {
    fn is_nothing(self) -> bool {
        self.turns == 0 && self.places == 0
    }

    fn is_new_in_line(self) -> bool {
        self.turns == 0 && self.places > 0
    }
}

/// Nobody in line may have a turn while no more are free than this, and none of these parties gives one
/// back. So a crowd that cannot be helped is not looked through each time others come and go.
struct Barred {
    free: usize,
    by: Vec<Party>,
}

impl Barred {
    /// Somebody else in line, for whom there was no turn while so many were free. `None`: too many reasons
    /// to remember.
    fn also(mut self, free: usize, by: Party) -> Option<Barred> {
        self.free = self.free.min(free);
        if !self.by.contains(&by) {
            self.by.push(by);
        }
        (self.by.len() <= MAX_BARRING).then_some(self)
    }

    /// Whether this is one of the reasons, whatever it may hold.
    fn names(&self, party: &Party) -> bool {
        self.by.iter().any(|by| by.hash == party.hash)
    }
}

impl<G> Book<G> {
    fn new(max: usize, max_waiting: usize) -> Self {
        Book {
            max,
            taken: 0,
            max_waiting,
            line: BTreeMap::new(),
            next_ticket: 0,
            parties: HashMap::default(),
            barred: None,
        }
    }

    /// Takes a turn, if there is one for all of the claim's parties.
    fn take(&mut self, claim: &Claim) -> bool {
        if self.barring(claim).is_some() {
            return false;
        }
        self.taken += 1;
        self.change(claim, |held| held.turns += 1);
        true
    }

    fn give_back(&mut self, claim: &Claim) {
        self.taken -= 1;
        self.change(claim, |held| held.turns -= 1);
        self.barred.take_if(|barred| claim.parties().any(|party| barred.names(party)));
        // Who waits may have more now that it holds nothing.
        if claim.client().map(|client| self.holds(client)).is_some_and(Held::is_new_in_line) {
            self.barred = None;
        }
    }

    /// Joins the line's end, if its parties have a place there. It was refused a turn just now.
    fn line_up(&mut self, claim: Claim, grant: G) -> Option<u64> {
        let free = self.max_waiting.saturating_sub(self.line.len());
        let has_place = |party: &Party| party.may_have(self.holds(party).places, free);
        if !claim.parties().all(has_place) {
            return None;
        }
        let (free, by) = (self.free(), self.barring(&claim));
        if self.line.is_empty() {
            self.barred = Some(Barred { free, by: Vec::new() });
        }
        self.barred = match (self.barred.take(), by) {
            (Some(barred), Some(by)) => barred.also(free, by),
            _ => None,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.change(&claim, |held| held.places += 1);
        self.line.insert(ticket, (claim, grant));
        Some(ticket)
    }

    /// Whoever has this place has it for others as well: its client's turns are counted, and no reason not to
    /// give it one.
    fn spare_client(&mut self, ticket: u64) {
        let Some((claim, _)) = self.line.get_mut(&ticket) else { return };
        if let Some(client) = &mut claim.0[2] {
            client.per_free = usize::MAX;
            self.barred = None;
        }
    }

    fn leave(&mut self, ticket: u64) -> Option<G> {
        let (claim, grant) = self.line.remove(&ticket)?;
        self.change(&claim, |held| held.places -= 1);
        Some(grant)
    }

    /// Gives turns to those in line who may have them, the first first.
    fn grant(&mut self) -> Vec<(Claim, G)> {
        let mut granted = Vec::new();
        while let Some(ticket) = self.next_in_line()
            && let Some((claim, grant)) = self.line.remove(&ticket)
        {
            self.change(&claim, |held| held.places -= 1);
            self.taken += 1;
            self.change(&claim, |held| held.turns += 1);
            granted.push((claim, grant));
        }
        granted
    }

    fn next_in_line(&mut self) -> Option<u64> {
        let free = self.free();
        if self.line.is_empty() || self.barred.as_ref().is_some_and(|barred| free <= barred.free) {
            return None;
        }
        let mut barred = Some(Barred { free, by: Vec::new() });
        let mut last = None;
        for (&ticket, (claim, _)) in &self.line {
            // Usually they are in line for the same reason.
            if last.is_some_and(|last| self.judged(claim).any(|party| party == last)) {
                continue;
            }
            last = self.barring(claim);
            let Some(by) = last else { return Some(ticket) };
            barred = barred.and_then(|barred| barred.also(free, by));
        }
        self.barred = barred;
        None
    }

    /// Why a claim gets no turn.
    fn barring(&self, claim: &Claim) -> Option<Party> {
        let free = self.free();
        let may_have = |party: &Party| party.may_have(self.holds(party).turns, free);
        self.judged(claim).find(|party| !may_have(party))
    }

    /// The parties of a claim, with what each may hold as things are.
    fn judged(&self, claim: &Claim) -> impl Iterator<Item = Party> {
        let Claim([path, host, client]) = *claim;
        let is_new = client.is_some_and(|client| self.holds(&client).turns == 0);
        let host = host.map(|host| match is_new {
            true => Party { per_free: HOST_FOR_NEW, ..host },
            false => host,
        });
        [path, host, client].into_iter().flatten()
    }

    fn free(&self) -> usize {
        self.max - self.taken
    }

    fn holds(&self, party: &Party) -> Held {
        self.parties.get(&party.hash).copied().unwrap_or_default()
    }

    fn change(&mut self, claim: &Claim, change: impl Fn(&mut Held)) {
        for party in claim.parties() {
            match self.parties.entry(party.hash) {
                Entry::Occupied(mut held) => {
                    change(held.get_mut());
                    if held.get().is_nothing() {
                        held.remove();
                    }
                }
                Entry::Vacant(place) => {
                    let mut held = Held::default();
                    change(&mut held);
                    if !held.is_nothing() {
                        place.insert(held);
                    }
                }
            }
        }
    }
}

impl Party {
    /// Whether one that has so many may have one more while so many are free.
    fn may_have(&self, held: usize, free: usize) -> bool {
        held < self.per_free.saturating_mul(free)
    }
}

impl Claim {
    fn client(&self) -> Option<&Party> {
        self.0[2].as_ref()
    }

    fn parties(&self) -> impl Iterator<Item = &Party> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn url(host: usize, path: usize) -> String {
        format!("http://h{host}.test/{path}")
    }

    fn client(number: u8) -> Client {
        Client(IpAddr::from([10, 0, 0, number]))
    }

    fn turns(max: usize) -> Arc<Turns> {
        Turns::new(max, 100)
    }

    /// Takes turns until there are no more for it.
    fn flood(book: &mut Book<()>, mut claim: impl FnMut(usize) -> Claim) -> usize {
        (0..10_000).take_while(|&number| book.take(&claim(number))).count()
    }

    #[test]
    fn what_each_may_have_is_what_the_table_says() {
        let turns = turns(1);
        let alone = |claim: &dyn Fn(usize) -> Claim| {
            let mut book = Book::<()>::new(1024, 0);
            (flood(&mut book, claim), book.free())
        };
        let clients = |number: usize| Some(client((number % 250) as u8));
        assert_eq!(alone(&|number| turns.claim(&url(0, 0), clients(number))), (768, 256));
        assert_eq!(alone(&|number| turns.claim(&url(0, number), Some(client(0)))), (896, 128));
        assert_eq!(alone(&|number| turns.claim(&url(0, number), clients(number))), (960, 64));
        assert_eq!(alone(&|number| turns.claim(&url(number, 0), clients(number))), (1024, 0));
        for (paths, most, free) in [(2, 438, 146), (10, 99, 33)] {
            let mut book = Book::<()>::new(1024, 0);
            let mut held = vec![0; paths];
            for number in 0..10_000 {
                let path = number % paths;
                held[path] += usize::from(book.take(&turns.claim(&url(path, path), None)));
            }
            assert!(held.iter().all(|held| held.abs_diff(most) <= 1), "{held:?}");
            assert!(book.free().abs_diff(free) <= paths, "{}", book.free());
        }
    }

    #[test]
    fn a_few_clients_keep_no_other_from_the_only_host() {
        let turns = turns(1);
        let client = |number: usize| {
            Some(Client(IpAddr::from([10, 0, (number / 250) as u8, (number % 250) as u8])))
        };
        let mut book = Book::<()>::new(1024, 0);
        let of_few = |number: usize| turns.claim(&url(0, number), client(number % 3));
        assert_eq!((flood(&mut book, of_few), book.free()), (960, 64));
        let stranger = |path: usize| turns.claim(&url(0, path), client(3));
        assert!(book.take(&stranger(2000)), "it holds none");
        assert!(!book.take(&stranger(2001)), "it holds one, and the host as many as it may");
        book.give_back(&stranger(2000));
        assert!(book.take(&stranger(2001)));
        let of_new = |number: usize| turns.claim(&url(0, 3000 + number), client(4 + number));
        flood(&mut book, of_new);
        assert_eq!(book.free(), 8);
        assert!(book.take(&turns.claim(&url(1, 0), client(1500))), "and another host has some");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_has_a_turn_as_soon_as_it_holds_none() {
        let turns = turns(64);
        let take = |host: usize, path: usize, number: u8| {
            let (turns, claim) =
                (Arc::clone(&turns), turns.claim(&url(host, path), Some(client(number))));
            tokio::spawn(async move {
                turns.take(claim, Duration::from_secs(5), || (), pending()).await
            })
        };
        let elsewhere = take(1, 0, 9).await.unwrap().ok().unwrap();
        let mut held = Vec::new();
        for number in 0..60 {
            held.push(take(0, number, (number % 5) as u8).await.unwrap().ok().unwrap());
        }
        let waits = take(0, 100, 9);
        let later = take(0, 101, 0);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        // Then fewer are free than when it was refused.
        for number in [20, 21] {
            held.push(take(0, 200, number).await.unwrap().ok().unwrap());
        }
        drop(elsewhere);
        assert!(waits.await.unwrap().is_ok());
        assert!(!later.is_finished());
    }

    #[test]
    fn the_query_is_no_path_of_its_own_and_a_network_is_one_client() {
        let turns = turns(1);
        let of = |url: &str| turns.claim(url, None);
        assert_eq!(of("http://a.test/x?1"), of("http://a.test/x?2"));
        assert_ne!(of("http://a.test/x").0[0], of("http://a.test/y").0[0]);
        assert_eq!(of("http://a.test/x").0[1], of("http://a.test/y/z").0[1]);
        assert_ne!(of("http://a.test/x").0[1], of("http://b.test/x").0[1]);
        let six = |text: &str| Client(text.parse::<Ipv6Addr>().unwrap().into()).network();
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
        assert_eq!(six("::ffff:10.0.0.1"), client(1).network());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_to_the_first_in_line_that_may_have_it() {
        let turns = turns(4);
        let take = |path: usize| {
            let (turns, claim) = (Arc::clone(&turns), turns.claim(&url(path, path), None));
            tokio::spawn(async move {
                turns.take(claim, Duration::from_secs(5), || (), pending()).await
            })
        };
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(take(1).await.unwrap().unwrap());
        }
        let same_path = take(1);
        tokio::task::yield_now().await;
        // It is the last one that is free, and the path before it may not have it.
        let other = take(2).await.unwrap().unwrap();
        let third = take(3);
        tokio::task::yield_now().await;
        assert!(!same_path.is_finished() && !third.is_finished());
        drop(other);
        // The path has three for the one that is free now.
        let third = third.await.unwrap().unwrap();
        assert!(!same_path.is_finished());
        drop(held.pop());
        drop(third);
        let first_in_line = same_path.await.unwrap();
        assert!(first_in_line.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn whom_others_join_keeps_its_place_and_its_client_is_no_reason_to_wait() {
        let turns = turns(8);
        let take = |path: usize, number: u8, joined: oneshot::Receiver<()>| {
            let (turns, claim) =
                (Arc::clone(&turns), turns.claim(&url(0, path), Some(client(number))));
            let joined = async move { _ = joined.await };
            tokio::spawn(
                async move { turns.take(claim, Duration::from_secs(5), || (), joined).await },
            )
        };
        let never = || {
            let (sender, joined) = oneshot::channel();
            std::mem::forget(sender);
            joined
        };
        let mut held = Vec::new();
        for path in 0..7 {
            held.push(take(path, 0, never()).await.unwrap().ok().unwrap());
        }
        // One is free, and the client has seven.
        let (join, joined) = oneshot::channel();
        let first = take(10, 0, joined);
        tokio::task::yield_now().await;
        let eighth = take(11, 1, never()).await.unwrap().ok().unwrap();
        let second = take(12, 2, never());
        tokio::task::yield_now().await;
        join.send(()).unwrap();
        tokio::task::yield_now().await;
        assert!(!first.is_finished() && !second.is_finished(), "none is free");
        drop(eighth);
        let first = first.await.unwrap().ok().unwrap();
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it came later");
        // It is counted among its client's.
        assert_eq!(turns.book().holds(first.claim.client().unwrap()).turns, 8);
        drop((first, held));
        let second = second.await.unwrap().ok().unwrap();

        drop(second);
        assert_eq!(turns.in_use(), (0, 0));
        assert!(turns.book().parties.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_or_leaves_takes_nothing_along() {
        let turns = Turns::new(1, 2);
        let claim = |path| turns.claim(&url(path, path), None);
        let limit = Duration::from_secs(5);
        let held =
            turns.take(claim(0), limit, || panic!("it is free"), pending()).await.ok().unwrap();
        let began = tokio::time::Instant::now();
        let mut has_waited = false;
        let denied = turns.take(claim(1), limit, || has_waited = true, pending()).await.err();
        assert_eq!((denied, began.elapsed()), (Some(Denied::WaitedInVain), limit));
        assert!(has_waited);
        let at_once = turns.take(claim(1), Duration::ZERO, || (), pending()).await.err();
        assert_eq!((at_once, began.elapsed()), (Some(Denied::WaitedInVain), limit));
        // There are two places, and they are taken by who waits, not by who has waited.
        let wait = |path| {
            let (turns, claim) = (Arc::clone(&turns), claim(path));
            tokio::spawn(async move { turns.take(claim, Duration::MAX, || (), pending()).await })
        };
        let (leaving, staying) = (wait(2), wait(3));
        tokio::task::yield_now().await;
        assert_eq!(
            turns.take(claim(4), limit, || (), pending()).await.err(),
            Some(Denied::LineFull)
        );
        leaving.abort();
        tokio::task::yield_now().await;
        drop(held);
        let turn = staying.await.unwrap().ok().unwrap();
        drop(turn);
        let book = turns.book();
        assert_eq!((book.taken, book.line.len(), book.parties.len()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn the_book_adds_up_and_nobody_waits_who_need_not(
            max in 1..40_usize,
            steps in prop::collection::vec(
                (0..4_usize, 0..3_usize, 0..3_u8, any::<prop::sample::Index>(), 0..4_u8),
                0..300,
            ),
        ) {
            let turns = turns(1);
            let mut book = Book::new(max, 20);
            let (mut held, mut line) = (Vec::new(), Vec::new());
            for (path, host, number, at, step) in steps {
                let claim = turns.claim(&url(host, path), Some(client(number)));
                match step {
                    0 | 1 if book.take(&claim) => held.push(claim),
                    0 | 1 => line.extend(book.line_up(claim, ())),
                    2 if !held.is_empty() => {
                        let claim = held.swap_remove(at.index(held.len()));
                        book.give_back(&claim);
                        held.extend(book.grant().into_iter().map(|(claim, ())| claim));
                        line.retain(|ticket| book.line.contains_key(ticket));
                    }
                    _ if !line.is_empty() => {
                        let ticket = line.swap_remove(at.index(line.len()));
                        prop_assert!(book.leave(ticket).is_some());
                    }
                    _ => {}
                }
                prop_assert!(book.taken == held.len() && book.taken <= max);
                prop_assert!(book.line.len() == line.len() && line.len() <= 20);
                // However that is found out.
                prop_assert!(book.line.values().all(|(claim, ())| book.barring(claim).is_some()));
                let sum = |held: fn(&Held) -> usize| book.parties.values().map(held).sum::<usize>();
                prop_assert_eq!(sum(|held| held.turns), 3 * held.len());
                prop_assert_eq!(sum(|held| held.places), 3 * line.len());
            }
        }
    }
}
