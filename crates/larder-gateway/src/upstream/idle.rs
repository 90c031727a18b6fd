//! Idle: the connections of a pool that can take a request, for each event loop: there are as many as cores.

use std::{sync::Arc, time::Duration};

use tokio::{runtime, time::Instant};

use super::{http2::Connection, link::Link};

#[derive(Default)]
pub(super) struct Idle {
    lists: Vec<OfLoop>,
}

/// Those of one event loop.
struct OfLoop {
    home: runtime::Id,
    /// Idle. The one used last is on top.
    links: Vec<Link>,
    /// Shared, idle and in use: each can take a request until its bound is reached.
    connections: Vec<Arc<Connection>>,
    /// Who holds it makes the next shared one.
    gate: Arc<tokio::sync::Mutex<()>>,
}

/// Any connection on which nothing is under way. It is dropped under no lock.
#[expect(dead_code, reason = "it is here to be dropped")]
pub(super) enum Unused {
    Link(Link),
    Connection(Arc<Connection>),
}

impl OfLoop {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.connections.is_empty()
    }
}

impl Idle {
    /// How many there are on which nothing is under way.
    pub(super) fn len(&self) -> usize {
        let of_loop = |of: &OfLoop| {
            let shared = of.connections.iter().filter(|one| one.idle_since().is_some());
            of.links.len() + shared.count()
        };
        self.lists.iter().map(of_loop).sum()
    }

    /// Whether there is nothing that may become idle, or is.
    pub(super) fn is_empty(&self) -> bool {
        self.lists.iter().all(OfLoop::is_empty)
    }

    pub(super) fn push(&mut self, link: Link) {
        self.of(link.home).links.push(link);
    }

    pub(super) fn share(&mut self, home: runtime::Id, connection: Arc<Connection>) {
        self.of(home).connections.push(connection);
    }

    pub(super) fn gate_of(&mut self, home: runtime::Id) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.of(home).gate)
    }

    pub(super) fn links_of(&mut self, home: runtime::Id) -> Option<&mut Vec<Link>> {
        self.known(home).map(|of| &mut of.links)
    }

    pub(super) fn connections_of(
        &mut self,
        home: runtime::Id,
    ) -> Option<&mut Vec<Arc<Connection>>> {
        self.known(home).map(|of| &mut of.connections)
    }

    fn known(&mut self, home: runtime::Id) -> Option<&mut OfLoop> {
        self.lists.iter_mut().find(|of| of.home == home)
    }

    fn of(&mut self, home: runtime::Id) -> &mut OfLoop {
        let known = self.lists.iter().position(|of| of.home == home);
        let index = known.unwrap_or_else(|| {
            let (links, connections) = (Vec::new(), Vec::new());
            self.lists.push(OfLoop { home, links, connections, gate: Arc::default() });
            self.lists.len() - 1
        });
        &mut self.lists[index]
    }

    /// The one that has been idle for longest.
    pub(super) fn oldest(&mut self) -> Option<Unused> {
        let links =
            self.lists.iter().enumerate().filter_map(|(index, of)| {
                of.links.first().map(|link| (link.idle_since, index, None))
            });
        let shared = self.lists.iter().enumerate().flat_map(|(index, of)| {
            let idle = of.connections.iter().enumerate();
            idle.filter_map(move |(at, one)| Some((one.idle_since()?, index, Some(at))))
        });
        let (_, index, at) = links.chain(shared).min_by_key(|(since, ..)| *since)?;
        let of = &mut self.lists[index];
        Some(match at {
            None => Unused::Link(of.links.remove(0)),
            Some(at) => Unused::Connection(of.connections.remove(at)),
        })
    }

    /// Those that have been idle for so long, and shared ones that are over.
    pub(super) fn older_than(&mut self, age: Duration) -> Vec<Unused> {
        let is_old = |since: Instant| since.elapsed() >= age;
        let mut old = Vec::new();
        for of in &mut self.lists {
            let first_good = of.links.iter().position(|link| !is_old(link.idle_since));
            let first_good = first_good.unwrap_or(of.links.len());
            old.extend(of.links.drain(..first_good).map(Unused::Link));
            let is_over =
                |one: &mut Arc<Connection>| one.idle_since().is_some_and(is_old) || !one.is_open();
            old.extend(of.connections.extract_if(.., is_over).map(Unused::Connection));
        }
        // A loop that has ended leaves an empty list.
        self.lists.retain(|of| !of.is_empty());
        old
    }
}
