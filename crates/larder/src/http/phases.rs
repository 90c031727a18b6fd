//! Phases: what the cache did for one request, and when, for whoever tells of single requests.
//!
//! Whoever wants to know puts [`Phases`] into a request's extensions. The cache notes there what it does, as it does it, and
//! knows nothing of what becomes of that. A request without them costs one look into its extensions for each phase.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::Extensions;
use larder_policy::reason::Reason;

/// More phases of one request are not kept: it waits for a few flights at most, and leads one.
const MOST: usize = 16;

/// By what its server calls a flight. It means nothing to the cache, which tells it to those who wait for the flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightName(pub [u8; 24]);

/// Put into a request's extensions: what the cache does for the request is noted there. Clones are the same.
#[derive(Clone)]
pub struct Phases(Arc<Noted>);

struct Noted {
    /// Of the flight that the request leads, if it leads one.
    name: FlightName,
    /// Of the flight behind its reader's back, if it causes one.
    behind: FlightName,
    is_behind: bool,
    /// Held for moments: the request's own task and that of its flight write here.
    phases: Mutex<Vec<Phase>>,
}

/// Something that the cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What it was.
    pub kind: PhaseKind,
    /// When it began.
    pub began: Instant,
    /// When it ended. None while it goes on.
    pub ended: Option<Instant>,
}

/// What the cache may do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PhaseKind {
    /// It looks at what is stored.
    Look {
        /// Below memory, where other processes write as well.
        is_below: bool,
        /// What that has led to. None where nothing of use is below.
        why: Option<Reason>,
    },
    /// The request leads a flight, until its reader has the head of an answer.
    Lead,
    /// It waits for the flight of another.
    Follow {
        /// The other's name for it, once it has landed, and if that has one.
        leader: Option<FlightName>,
    },
}

impl Phases {
    /// For a request that calls the flight that it may lead `name`, and one that it may cause behind its reader's back
    /// `behind`.
    pub fn new(name: FlightName, behind: FlightName) -> Phases {
        Phases(Arc::new(Noted { name, behind, is_behind: false, phases: Mutex::default() }))
    }

    /// The name of the flight that the request leads, if it leads one.
    pub fn name(&self) -> FlightName {
        self.0.name
    }

    /// Whether the flight is behind its reader's back: the reader has an answer already.
    pub fn is_behind(&self) -> bool {
        self.0.is_behind
    }

    /// Whether the request has led a flight.
    pub fn leads(&self) -> bool {
        self.phases().iter().any(|phase| phase.kind == PhaseKind::Lead)
    }

    /// All so far, in the order in which they began; the first sixteen.
    pub fn noted(&self) -> Vec<Phase> {
        self.phases().clone()
    }

    /// For the flight behind the reader's back.
    pub(crate) fn behind(&self) -> Phases {
        let name = self.0.behind;
        Phases(Arc::new(Noted { name, behind: name, is_behind: true, phases: Mutex::default() }))
    }

    /// Nothing under this lock can panic half-way through a change.
    fn phases(&self) -> MutexGuard<'_, Vec<Phase>> {
        self.0.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Phases").field(&self.noted()).finish()
    }
}

/// The phases of a request, if anybody wants to know them.
pub(crate) fn phases_of(extensions: &Extensions) -> Option<&Phases> {
    extensions.get()
}

/// A phase that goes on until this is dropped, also if that is because the reader has left. It does nothing where nobody
/// wants to know.
pub(crate) struct Underway(Option<(Phases, usize)>);

impl Underway {
    pub(crate) fn begin(extensions: &Extensions, kind: PhaseKind) -> Underway {
        let begun = phases_of(extensions).and_then(|phases| {
            let began = Instant::now();
            let mut noted = phases.phases();
            let place = noted.len();
            (place < MOST).then(|| {
                noted.push(Phase { kind, began, ended: None });
                (phases.clone(), place)
            })
        });
        Underway(begun)
    }

    /// A part of another one.
    pub(crate) fn untold() -> Underway {
        Underway(None)
    }

    /// It is known now what it was.
    pub(crate) fn turns_out(&self, kind: PhaseKind) {
        if let Some((phases, place)) = &self.0
            && let Some(phase) = phases.phases().get_mut(*place)
        {
            phase.kind = kind;
        }
    }

    /// What a look has led to.
    pub(crate) fn found(&self, is_below: bool, why: Reason) {
        self.turns_out(PhaseKind::Look { is_below, why: Some(why) });
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some((phases, place)) = &self.0
            && let Some(phase) = phases.phases().get_mut(*place)
        {
            phase.ended = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: PhaseKind = PhaseKind::Look { is_below: false, why: None };

    fn phases() -> (Phases, Extensions) {
        let phases = Phases::new(FlightName([1; 24]), FlightName([2; 24]));
        let mut extensions = Extensions::new();
        extensions.insert(phases.clone());
        (phases, extensions)
    }

    #[test]
    fn a_phase_ends_when_it_is_dropped_and_is_what_it_turned_out_to_be() {
        let (phases, extensions) = phases();
        let look = Underway::begin(&extensions, LOOK);
        assert_eq!(phases.noted()[0].ended, None);
        look.found(false, Reason::UriMiss);
        drop(look);
        let leads = Underway::begin(&extensions, PhaseKind::Lead);
        let noted = phases.noted();
        assert_eq!(noted[0].kind, PhaseKind::Look { is_below: false, why: Some(Reason::UriMiss) });
        assert!(noted[0].ended.is_some_and(|ended| ended >= noted[0].began));
        assert!(phases.leads() && noted[1].ended.is_none());
        drop(leads);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let (phases, extensions) = phases();
        for _ in 0..MOST + 5 {
            Underway::begin(&extensions, LOOK);
        }
        assert_eq!(phases.noted().len(), MOST);
    }

    #[test]
    fn what_goes_on_behind_a_reader_has_a_name_and_phases_of_its_own() {
        let (phases, _) = phases();
        let behind = phases.behind();
        assert_eq!((behind.name(), behind.is_behind()), (FlightName([2; 24]), true));
        assert!(!phases.is_behind() && behind.noted().is_empty());
    }

    #[test]
    fn nothing_is_noted_where_nobody_wants_to_know() {
        let look = Underway::begin(&Extensions::new(), LOOK);
        look.found(false, Reason::Hit);
        assert!(look.0.is_none());
    }
}
