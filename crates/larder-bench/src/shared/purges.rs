//! Purges: how fast tags are purged in one process so that it holds in three, and how soon one purge does.

use serde_json::Value;

use super::{
    Bench,
    fleet::{Fleet, all, number},
    report::{Bar, Figure, Unit},
};

const INSTANCES: usize = 3;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (burst, singles) = if bench.is_short { (60_000, 200) } else { (300_000, 1000) };
    let mut fleet = Fleet::of_larder(INSTANCES, &bench.server.url(), "purges").await?;
    fleet.first().tell(&format!("settle {INSTANCES}")).await?;

    let seen = fleet.first().tell(&format!("singles {singles}")).await?;
    for (label, quantile) in [("median", "p50"), ("p99", "p99")] {
        let label = format!("a purge by tag until it holds for three processes, {label}");
        let figure = Figure::new("purges", label, Unit::Nanoseconds, number(&seen, quantile)?);
        bench.note(figure.bar(Bar::AtMost(50e6)));
    }

    let before = fleet.tell_all("stats").await?;
    let seen = fleet.first().tell(&format!("burst {burst}")).await?;
    let after = fleet.tell_all("stats").await?;
    let more = |name| anyhow::Ok(sum(&after, name)? - sum(&before, name)?);
    let rate = f64::from(burst) / number(&seen, "took")? * 1e9;
    let label = "purges by tag in one process, applied by three";
    let note = format!("{burst} in a row, until all three have said that they have done the last");
    let figure = Figure::new("purges", label, Unit::PerSecond, rate);
    bench.note(figure.bar(Bar::AtLeast(10_000.0)).note(note));
    // Too many at once for the one who purges, or for those who read the log.
    let everything = number(&seen, "overflows")? + more("gaps")?;
    let label = "how often that made one of them let everything go";
    let note = format!(
        "of {} that the others had to learn, they learnt {} one by one",
        2 * burst,
        more("learnt")?
    );
    let everything = Figure::new("purges", label, Unit::Count, everything);
    bench.note(everything.bar(Bar::AtMost(0.0)).note(note));
    Ok(())
}

fn sum(answers: &[Value], name: &str) -> anyhow::Result<f64> {
    all(answers, name, |one, other| one + other)
}
