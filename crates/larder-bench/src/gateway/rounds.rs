//! Rounds: each case with each contestant in turn, over and over.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};

use super::{
    bench::{Bench, progress},
    case::{self, Case, PAGE},
    client::request,
    contestant::{Contestant, Who, installed},
    figure::{Samples, Unit},
    idle, load, memory, paced,
    server::find_program,
    slow::{self, SlowClients},
    stampede::{self, CROWDED, Crowded},
    syscalls,
};

/// On a busy machine, the load may not get a turn in a whole slice.
const ATTEMPTS: usize = 3;

const WARM_UP: Duration = Duration::from_millis(100);

/// Of the requests of a slice, this share may reach the origin without a word.
const MISSES: f64 = 0.001;

impl Bench {
    pub(super) async fn cpu_per_request(
        &mut self,
        running: &mut [Contestant],
        case: &Case,
    ) -> Result<()> {
        if load::needs_h2load(case) && find_program("h2load").is_none() {
            self.skip(format!("{}: needs h2load, apt-get install nghttp2-client", case.label));
            return Ok(());
        }
        let mut taking_part = Vec::new();
        for contestant in running.iter().filter(|contestant| case.has(contestant.who)) {
            match case.prepare(contestant, &mut self.origin).await {
                Ok(()) => {
                    // What a first slice fills, buffers and keys of another protocol, is not measured.
                    load::run(case, address(contestant, case), WARM_UP).await.ok();
                    taking_part.push((contestant, Samples::none(contestant.who)));
                }
                Err(why) => self.leave_out(case.id, contestant.who, &why),
            }
        }
        for round in 0..self.run.rounds {
            progress(&case.label, round + 1, self.run.rounds);
            // Nobody always comes after the same neighbour.
            if !taking_part.is_empty() {
                taking_part.rotate_left(1);
            }
            let mut left_out = Vec::new();
            for (contestant, seen) in &mut taking_part {
                let mut attempts = 1..ATTEMPTS;
                while let Err(why) = self.cpu_slice(contestant, case, seen).await {
                    if attempts.next().is_none() {
                        left_out.push((contestant.who, why));
                        break;
                    }
                }
            }
            for (who, why) in left_out {
                self.leave_out(case.id, who, &why);
                taking_part.retain(|(contestant, _)| contestant.who != who);
            }
        }
        let label = case.label.clone();
        self.note(case.id, &label, Unit::Microseconds, sorted(taking_part));
        Ok(())
    }

    async fn cpu_slice(
        &mut self,
        contestant: &Contestant,
        case: &Case,
        seen: &mut Samples,
    ) -> Result<()> {
        let large = contestant.address(slow::ANSWER);
        let mut slow = SlowClients::hang_on(large, case.slow_clients).await?;
        if case.slow_clients > 0 {
            quiet(contestant).await?;
        }
        let calls = case::calls(&mut self.origin, "").await?;
        let before = contestant.server.cpu_times();
        let requests = load::run(case, address(contestant, case), self.slice()).await?;
        let used = contestant.server.cpu_times().since(&before);
        let missed = case::calls(&mut self.origin, "").await? - calls;
        seen.samples.push(used as f64 / 1000.0 / requests as f64);
        if case.is_hit && missed as f64 > MISSES * requests as f64 {
            seen.note = Some(format!("{missed} of a slice's {requests} hits were none"));
        }
        let gone = slow.gone();
        if gone > 0 {
            seen.note = Some(format!("{gone} of {} slow clients were cut off", case.slow_clients));
        }
        Ok(())
    }

    /// No server answers in the open and over TLS at one address, so all are started once more.
    pub(super) async fn tls(&mut self) -> Result<()> {
        if !self.wants("tls") {
            return Ok(());
        }
        let case = case::over_tls();
        let mut running = Vec::new();
        for who in self.who.clone().into_iter().filter(|who| case.has(*who)) {
            match Contestant::start_over_tls(who, &self.setting) {
                Ok(contestant) => running.push(contestant),
                Err(why) => self.leave_out(case.id, who, &why),
            }
        }
        self.cpu_per_request(&mut running, &case).await
    }

    /// Nobody asks one origin in two ways, so those are started once more for each.
    pub(super) async fn other_links(&mut self) -> Result<()> {
        for case in case::over_other_links() {
            if !self.wants(case.id) {
                continue;
            }
            let mut who: Vec<_> = self.who.iter().copied().filter(|who| case.has(*who)).collect();
            // Without a rival nothing would be said, so the short form has one here.
            if who == [Who::Larder] && installed(Who::Haproxy).is_ok() {
                who.push(Who::Haproxy);
            }
            let mut running = Vec::new();
            for who in who {
                match Contestant::start_before(who, &self.setting, case.link) {
                    Ok(contestant) => running.push(contestant),
                    Err(why) => self.leave_out(case.id, who, &why),
                }
            }
            self.cpu_per_request(&mut running, &case).await?;
        }
        Ok(())
    }

    pub(super) async fn paced(&mut self, running: &[Contestant]) -> Result<()> {
        if !self.wants("paced") {
            return Ok(());
        }
        let per_second = self.run.paced_per_second;
        let label = format!("{per_second}/s, 2.25 kB");
        let case = Case { path: "/fixed/2304/paced", ..page() };
        let mut taking_part = Vec::new();
        for contestant in running.iter().filter(|contestant| case.has(contestant.who)) {
            match case.prepare(contestant, &mut self.origin).await {
                Ok(()) => {
                    taking_part.push((contestant, [(); 3].map(|()| Samples::none(contestant.who))))
                }
                Err(why) => self.leave_out("paced", contestant.who, &why),
            }
        }
        let request = request(case.path, &[]);
        for round in 0..self.run.rounds {
            progress(&label, round + 1, self.run.rounds);
            let mut left_out = Vec::new();
            for (contestant, seen) in &mut taking_part {
                let address = contestant.address(case.answer);
                match paced::run(address, request.as_bytes(), per_second, self.slice()) {
                    Ok(latencies) => {
                        let [p50, p99, p999] = seen;
                        p50.samples.push(latencies.p50);
                        p99.samples.push(latencies.p99);
                        p999.samples.push(latencies.p999);
                    }
                    Err(why) => left_out.push((contestant.who, why)),
                }
                // What was dropped is closed, and signals are heard.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for (who, why) in left_out {
                self.leave_out("paced", who, &why);
                taking_part.retain(|(contestant, _)| contestant.who != who);
            }
        }
        let mut by_share = [Vec::new(), Vec::new(), Vec::new()];
        for (_, seen) in taking_part {
            seen.into_iter().zip(&mut by_share).for_each(|(seen, share)| share.push(seen));
        }
        for (share, seen) in ["p50", "p99", "p99.9"].into_iter().zip(by_share) {
            let case = format!("paced.{}", share.replace('.', ""));
            self.note(&case, &format!("{label}, {share}"), Unit::Microseconds, seen);
        }
        Ok(())
    }

    /// Once: a count does not depend on what else the machine does.
    pub(super) async fn syscalls(&mut self, running: &[Contestant]) -> Result<()> {
        if !self.wants("syscalls") {
            return Ok(());
        }
        if find_program("strace").is_none() {
            self.skip("syscalls are counted by strace: apt-get install strace".to_owned());
            return Ok(());
        }
        let case = Case { path: "/fixed/2304/syscalls", ..page() };
        let mut all = Vec::new();
        for contestant in running.iter().filter(|contestant| case.has(contestant.who)) {
            let address = contestant.address(case.answer);
            let slice = self.slice().max(Duration::from_secs(1));
            let counted = match case.prepare(contestant, &mut self.origin).await {
                Ok(()) => syscalls::per_hit(&contestant.server, &case, address, slice).await,
                Err(why) => Err(why),
            };
            match counted {
                Ok(count) => all.push(Samples::one(contestant.who, count)),
                Err(why) => self.leave_out("syscalls", contestant.who, &why),
            }
        }
        self.note(
            "syscalls",
            "syscalls per hit, waits for events aside (strace)",
            Unit::Times,
            all,
        );
        Ok(())
    }

    pub(super) async fn idle(&mut self) -> Result<()> {
        if !self.wants("idle") {
            return Ok(());
        }
        let mut all = Vec::new();
        for who in self.with_a_cache() {
            let bytes = match Contestant::start(who, &self.setting) {
                Ok(contestant) => idle::measure(&contestant, self.run.idle_connections).await,
                Err(why) => Err(why),
            };
            match bytes {
                Ok(bytes) => all.push(Samples::one(who, bytes)),
                Err(why) => self.leave_out("idle", who, &why),
            }
        }
        let label = format!("idle connection, of {}", self.run.idle_connections);
        self.note("idle", &label, Unit::Bytes, all);
        Ok(())
    }

    pub(super) async fn memory(&mut self) -> Result<()> {
        if !self.wants("memory") {
            return Ok(());
        }
        let mut all = Vec::new();
        for who in self.with_a_cache() {
            // Both keep the same files.
            if who == Who::NginxSendfile {
                continue;
            }
            let overhead = match Contestant::start(who, &self.setting) {
                Ok(contestant) => {
                    memory::measure(&contestant, &mut self.origin, self.run.objects).await
                }
                Err(why) => Err(why),
            };
            match overhead {
                Ok(overhead) => all.push(Samples {
                    note: (overhead.kept_share < 0.999).then(|| {
                        format!("only {:.1} % are found again", overhead.kept_share * 100.0)
                    }),
                    ..Samples::one(who, overhead.bytes_per_object)
                }),
                Err(why) => self.leave_out("memory", who, &why),
            }
        }
        let label = format!("object of 1 KiB beside its body, of {}", self.run.objects);
        self.note("memory", &label, Unit::Bytes, all);
        Ok(())
    }

    pub(super) async fn stampede(&mut self) -> Result<()> {
        if !self.wants("stampede") {
            return Ok(());
        }
        let mut all = CROWDED.map(|_| (Vec::new(), Vec::new()));
        for who in self.with_a_cache() {
            if who == Who::NginxSendfile {
                continue;
            }
            let contestant = match Contestant::start(who, &self.setting) {
                Ok(contestant) => contestant,
                Err(why) => {
                    self.leave_out("stampede", who, &why);
                    continue;
                }
            };
            for (crowded, (calls, last)) in CROWDED.iter().zip(&mut all) {
                let readers = self.run.stampede_readers;
                match stampede::run(&contestant, &mut self.origin, crowded.path, readers).await {
                    Ok(seen) => {
                        calls.push(Samples::one(who, seen.calls as f64));
                        last.push(Samples {
                            note: (seen.unanswered > 0).then(|| {
                                format!("{} of {readers} without an answer", seen.unanswered)
                            }),
                            ..Samples::one(who, seen.last_seconds)
                        });
                    }
                    Err(why) => self.leave_out(crowded.id, who, &why),
                }
            }
        }
        for (Crowded { id, label, .. }, (calls, last)) in CROWDED.iter().zip(all) {
            let label = format!("{} on a cold key, {label}", self.run.stampede_readers);
            self.note(
                &format!("{id}.calls"),
                &format!("{label}: origin calls"),
                Unit::Times,
                calls,
            );
            self.note(&format!("{id}.last"), &format!("{label}: last answer"), Unit::Seconds, last);
        }
        Ok(())
    }

    fn with_a_cache(&self) -> Vec<Who> {
        let all = self.who.iter().copied();
        all.filter(|who| !matches!(who, Who::Limit | Who::NginxUncached)).collect()
    }
}

/// Where a case's requests go.
fn address(contestant: &Contestant, case: &Case) -> SocketAddr {
    let http1 = contestant.address(case.answer);
    match case.protocol {
        case::Protocol::Http1 | case::Protocol::Tls => http1,
        case::Protocol::Http2 => contestant.http2.unwrap_or(http1),
    }
}

/// Returns once a server does next to nothing any more.
async fn quiet(contestant: &Contestant) -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    for _ in 0..100 {
        let before = contestant.server.cpu_times();
        tokio::time::sleep(STEP).await;
        let used = contestant.server.cpu_times().since(&before);
        if Duration::from_nanos(used) < STEP / 20 {
            return Ok(());
        }
    }
    bail!("is busy with slow clients all the time")
}

/// The case that all other ways of looking at a hit use.
fn page() -> Case {
    let page = case::all(1, 0).into_iter().find(|case| case.id == "hit-2k" && case.answer == PAGE);
    page.expect("it is one of the cases")
}

fn sorted(taking_part: Vec<(&Contestant, Samples)>) -> Vec<Samples> {
    let mut seen: Vec<_> = taking_part.into_iter().map(|(_, seen)| seen).collect();
    seen.sort_by_key(|seen| seen.who);
    seen
}
