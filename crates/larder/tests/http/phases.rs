//! Phases: what is noted of a request for a server that wants to know.

use http::Request;
use larder::http::{
    Body, FlightName, Phase, PhaseKind, Phases,
    policy::reason::Reason::{self, Hit, UriMiss},
};

use crate::support::{Shape, Site, fresh, get, over_each_shape, read, settle};

fn phases(number: u8) -> Phases {
    Phases::new(FlightName([number; 24]), FlightName([number + 100; 24]))
}

fn noting(phases: &Phases) -> Request<Body> {
    let mut request = get("/a");
    request.extensions_mut().insert(phases.clone());
    request
}

fn look(why: Reason) -> PhaseKind {
    PhaseKind::Look { is_below: false, why: Some(why) }
}

/// What was noted but for looks below, once all of it has ended.
fn noted(phases: &Phases) -> Vec<PhaseKind> {
    let noted = phases.noted();
    let has_ended = |ended: Option<_>, began| ended.is_some_and(|ended| ended >= began);
    assert!(noted.iter().all(|phase| has_ended(phase.ended, phase.began)), "{noted:?}");
    let kinds = noted.into_iter().map(|phase| phase.kind);
    kinds.filter(|kind| !matches!(kind, PhaseKind::Look { is_below: true, .. })).collect()
}

over_each_shape!(who_leads_and_who_waits_is_noted_with_the_name_of_the_flight);
async fn who_leads_and_who_waits_is_noted_with_the_name_of_the_flight(shape: Shape) {
    let site = Site::new(shape);
    let all = [phases(1), phases(2), phases(3)];
    let [leads, waits, late] = &all;
    let leading = site.ask(noting(leads));
    settle().await;
    let waiting = site.ask(noting(waits));
    settle().await;
    assert!(leads.leads() && !waits.leads());
    site.origin.answer(fresh("a"));
    for reading in [leading, waiting] {
        assert_eq!(read(reading).await.text(), "a");
    }
    assert_eq!(site.send(noting(late)).await.text(), "a");
    let leader = Some(leads.name());
    let looks = look(UriMiss);
    assert_eq!(noted(waits), [looks, PhaseKind::Follow { leader }]);
    assert_eq!(noted(late), [look(Hit)]);
    assert_eq!(noted(leads), [looks, PhaseKind::Lead]);
    assert_eq!(site.origin.calls(), 1);
}

over_each_shape!(a_flight_that_nobody_has_named_has_no_name);
async fn a_flight_that_nobody_has_named_has_no_name(shape: Shape) {
    let site = Site::new(shape);
    let waits = phases(1);
    let leading = site.ask(get("/a"));
    settle().await;
    let waiting = site.ask(noting(&waits));
    settle().await;
    site.origin.answer(fresh("a"));
    read(leading).await;
    read(waiting).await;
    assert_eq!(noted(&waits), [look(UriMiss), PhaseKind::Follow { leader: None }]);
}

over_each_shape!(a_reader_who_leaves_ends_what_was_under_way_for_him);
async fn a_reader_who_leaves_ends_what_was_under_way_for_him(shape: Shape) {
    let site = Site::new(shape);
    let leaves = phases(1);
    let reading = site.ask(noting(&leaves));
    settle().await;
    let is_under_way = |phase: &Phase| phase.kind == PhaseKind::Lead && phase.ended.is_none();
    assert!(leaves.noted().iter().any(is_under_way));
    reading.abort();
    settle().await;
    assert_eq!(noted(&leaves).last(), Some(&PhaseKind::Lead));
}
