//! Crowd: 300 readers in three processes want one cold key at once.

use super::{
    Bench,
    fleet::{Fleet, all},
    report::{Bar, Figure, Unit},
    samples::{median, quantile},
};

const INSTANCES: usize = 3;
const READERS: usize = 100;
pub(super) const FETCH_MS: u64 = 500;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let rounds = if bench.is_short { 3 } else { 15 };
    let mut fleet = Fleet::of_larder(INSTANCES, &bench.server.url(), "crowd").await?;
    let (mut fetches, mut lasts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (fetched, last) = crowd(&mut fleet, round).await?;
        fetches.push(fetched);
        lasts.push(last);
    }
    let label = "300 readers of a cold key over three processes: fetches, at most";
    let most = quantile(fetches, 1.0)?;
    let figure = Figure::new("crowd", label, Unit::Count, most);
    bench.note(figure.bar(Bar::AtMost(1.0)));
    let label = "the last answer after the origin's, median";
    let note = format!("at most {}", Unit::Nanoseconds.show(quantile(lasts.clone(), 1.0)?));
    let figure = Figure::new("crowd", label, Unit::Nanoseconds, median(lasts)?);
    bench.note(figure.bar(Bar::AtMost(20e6)).note(note));
    Ok(())
}

/// How many fetches there were, and how long after the last of them the last answer came.
pub(super) async fn crowd(fleet: &mut Fleet, round: usize) -> anyhow::Result<(f64, f64)> {
    let answers = fleet.tell_all(&format!("crowd cold-{round} {READERS} {FETCH_MS}")).await?;
    let fetched = all(&answers, "fetched", f64::max)?;
    let last = all(&answers, "last", f64::max)?;
    Ok((all(&answers, "fetches", |one, other| one + other)?, last - fetched))
}
