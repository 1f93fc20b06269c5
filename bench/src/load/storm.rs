//! A reconnect storm: a fleet that is connected, loses all its connections at once, and comes back as devices do. How long that
//! takes, what the server refuses meanwhile, what it costs, and whether clients that stayed notice. Never tells the server.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};

use super::backoff::{Backoff, scattered};
use super::clock::{self, MILLI, SECOND};
use super::connection::Phase;
use super::crowd::{self, Crowd, News};
use super::options::Storm;
use super::packet;
use super::process::{self, Process};
use super::report::{self, Quantiles};
use super::schedule::Schedule;
use super::witness::{Seen, Witnesses};

/// Connections opened before their sockets are served again.
const OPENS_AT_ONCE: usize = 256;
/// Unacknowledged messages of one client.
const IN_FLIGHT_MAX: usize = 4;
/// Between two looks at the server's memory and at clients that wait too long.
const LOOK: u64 = 100 * MILLI;
/// When nobody was let in until then, nobody will be.
const NOBODY: u64 = 20 * SECOND;
const NO_ANSWER: &str = "no CONNACK in time";

/// True when all came back and nobody who stayed was lost.
///
/// # Errors
/// The fleet cannot be connected in the first place, or the process cannot be looked at.
pub(crate) fn run(options: &Storm) -> anyhow::Result<bool> {
    if let Some(core) = options.scene.core {
        process::pin(core)?;
    }
    let (count, witnesses) = (usize::try_from(options.connections)?, usize::from(options.witnesses.witnesses));
    crowd::descriptors(count + witnesses)?;
    let shape = options.scene.shape()?;
    let (devices, watching, anonymous) = options.scene.devices(count, witnesses)?;
    let mut run = Run::new(options, Crowd::new(shape.clone(), "tg-storm", (devices, anonymous), options.scene.sources)?)?;
    run.connect_all()?;
    let witnesses = Witnesses::start(shape, (watching, anonymous), u64::from(options.witnesses.witness_rate))?;
    crowd::step_back();
    run.calm()?;
    let before = run.look()?;
    witnesses.enter(1);
    let storm = run.drop_all()?;
    let after = run.look()?;
    witnesses.enter(2);
    run.calm()?;
    let seen = witnesses.finish()?;
    let report = Report { storm, before, after, peak: run.rss_peak, seen };
    report.show(&run)?;
    Ok(report.storm.back.is_some() && report.seen.lost_connections == 0)
}

/// What the server's process had used.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: u64,
    cpu_s: f64,
    rss: u64,
}

/// From the moment when all were dropped, in nanoseconds; `None`: not in time.
#[derive(Debug, Default)]
struct Recovery {
    /// Until everybody had begun a first attempt: the clients' own slowness, no lower bound of the rest is less.
    tried: Option<u64>,
    half: Option<u64>,
    nearly: Option<u64>,
    back: Option<u64>,
    admitted: u64,
    resumed: u64,
    attempts: u64,
    refusals: BTreeMap<&'static str, u64>,
}

struct Run<'o> {
    options: &'o Storm,
    crowd: Crowd,
    process: Option<Process>,
    backoff: Backoff,
    /// When each attempt under way began.
    begun: Vec<u64>,
    up: usize,
    counts: Recovery,
    schedule: Schedule,
    scheduled: u64,
    news: Vec<(usize, News)>,
    rss_peak: u64,
    looked_at: u64,
}

impl<'o> Run<'o> {
    fn new(options: &'o Storm, crowd: Crowd) -> anyhow::Result<Self> {
        let count = crowd.members.len();
        Ok(Self {
            options,
            process: options.scene.process()?,
            backoff: Backoff { least: options.backoff_min.0, most: options.backoff_max.0 },
            begun: vec![0; count],
            up: 0,
            counts: Recovery::default(),
            schedule: Schedule::new(clock::now(), u64::from(options.rate), count as u64),
            scheduled: 0,
            news: Vec::new(),
            rss_peak: 0,
            looked_at: 0,
            crowd,
        })
    }

    /// The fleet as it was before: connected at a pace that the server stands.
    fn connect_all(&mut self) -> anyhow::Result<()> {
        let (start, ramp) = (clock::now(), u64::from(self.options.ramp));
        let count = self.crowd.members.len();
        for (index, member) in self.crowd.members.iter_mut().enumerate() {
            member.open_at = start + index as u64 * SECOND / ramp;
        }
        let end = start + count as u64 * SECOND / ramp + self.options.give_up.0;
        while self.up < count {
            self.pass()?;
            let now = clock::now();
            if let Some(fault) = &self.crowd.fault {
                bail!("{}: {fault}", self.crowd.shape.server);
            }
            if now > end || self.up == 0 && now > start + NOBODY {
                bail!(
                    "only {} of {count} connections to {} were admitted: {:?}",
                    self.up,
                    self.crowd.shape.server,
                    self.counts.refusals
                );
            }
        }
        Ok(())
    }

    /// Nothing but messages for a while.
    fn calm(&mut self) -> anyhow::Result<()> {
        let end = clock::now() + self.options.witnesses.calm.0;
        while clock::now() < end {
            self.pass()?;
        }
        Ok(())
    }

    /// The storm.
    fn drop_all(&mut self) -> anyhow::Result<Recovery> {
        let start = clock::now();
        for (index, member) in self.crowd.members.iter_mut().enumerate() {
            member.close();
            member.open_at = start + scattered(index as u64) % (self.options.within.0 + 1);
        }
        (self.up, self.counts) = (0, Recovery::default());
        let count = self.crowd.members.len();
        while self.counts.back.is_none() && clock::now() < start + self.options.give_up.0 {
            self.pass()?;
            let passed = clock::now() - start;
            if self.counts.attempts >= count as u64 {
                self.counts.tried.get_or_insert(passed);
            }
            if self.up * 2 >= count {
                self.counts.half.get_or_insert(passed);
            }
            if self.up * 100 >= count * 99 {
                self.counts.nearly.get_or_insert(passed);
            }
            if self.up == count {
                self.counts.back = Some(passed);
            }
        }
        Ok(std::mem::take(&mut self.counts))
    }

    /// Publishes, opens, serves, gives up, looks at the server: whatever is due.
    fn pass(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        self.publish(now);
        let busy = self.open_due(now)?;
        let mut news = std::mem::take(&mut self.news);
        self.crowd.step(if busy { 0 } else { 5 * MILLI }, &mut news)?;
        let now = clock::now();
        for (index, news) in news.drain(..) {
            self.hear(index, news, now);
        }
        self.news = news;
        if now >= self.looked_at + LOOK {
            self.looked_at = now;
            self.give_up_late(now);
            if let Some(process) = self.process {
                self.rss_peak = self.rss_peak.max(process.resident_bytes_now()?);
            }
        }
        Ok(())
    }

    fn publish(&mut self, now: u64) {
        let due = self.schedule.due(now);
        for message in self.scheduled..due {
            let index = usize::try_from(self.schedule.connection_of(message)).unwrap_or(0);
            let Some(member) = self.crowd.members.get_mut(index) else { continue };
            if member.phase == Phase::Up && member.flights.len() < IN_FLIGHT_MAX {
                member.publish(&self.crowd.shape, now, 0);
                // A broken connection says so when it is read.
                member.flush();
            }
        }
        self.scheduled = due;
    }

    /// Whether there are more to open.
    fn open_due(&mut self, now: u64) -> anyhow::Result<bool> {
        let mut opened = 0;
        for index in 0..self.crowd.members.len() {
            let member = &self.crowd.members[index];
            if member.phase != Phase::Closed || member.open_at > now {
                continue;
            }
            if opened == OPENS_AT_ONCE {
                return Ok(true);
            }
            opened += 1;
            self.counts.attempts += 1;
            self.begun[index] = now;
            self.crowd.open(index)?;
        }
        Ok(false)
    }

    fn hear(&mut self, index: usize, news: News, now: u64) {
        match news {
            News::Admitted { resumed } => {
                self.up += 1;
                self.counts.admitted += 1;
                self.counts.resumed += u64::from(resumed);
                let member = &mut self.crowd.members[index];
                member.publish_again(&self.crowd.shape);
                member.flush();
            }
            News::Refused(code) => self.failed(index, packet::refusal(self.crowd.shape.protocol, code), now),
            News::Gone(stage) => {
                self.up -= usize::from(stage == "closed after CONNACK");
                self.failed(index, stage, now);
            }
            News::Acked { .. } => {}
        }
    }

    /// An attempt has failed: the next one comes after a pause.
    fn failed(&mut self, index: usize, why: &'static str, now: u64) {
        *self.counts.refusals.entry(why).or_default() += 1;
        let member = &mut self.crowd.members[index];
        let dice = scattered(member.seed ^ u64::from(member.attempts).rotate_left(40));
        member.open_at = now + self.backoff.pause(member.attempts.max(1), dice);
    }

    fn give_up_late(&mut self, now: u64) {
        for index in 0..self.crowd.members.len() {
            let waits = matches!(self.crowd.members[index].phase, Phase::Connecting | Phase::Greeting);
            if waits && now > self.begun[index] + self.options.patience.0 {
                self.crowd.members[index].close();
                self.failed(index, NO_ANSWER, now);
            }
        }
    }

    fn look(&self) -> anyhow::Result<Option<Look>> {
        let Some(process) = self.process else { return Ok(None) };
        Ok(Some(Look { at: clock::now(), cpu_s: process.cpu()?.total_s(), rss: process.resident_bytes()? }))
    }
}

struct Report {
    storm: Recovery,
    before: Option<Look>,
    after: Option<Look>,
    peak: u64,
    seen: Seen,
}

impl Report {
    fn show(&self, run: &Run<'_>) -> anyhow::Result<()> {
        let storm = &self.storm;
        let count = run.crowd.members.len();
        let shown = |nanos: Option<u64>| nanos.map_or_else(|| "never".to_owned(), |nanos| format!("{:.1} s", nanos as f64 / 1e9));
        let over = if run.crowd.shape.tls.is_some() { "TLS" } else { "TCP" };
        report::say(&format!("storm of {count} connections over {over}, all dropped at once"));
        report::say(&format!(
            "  all had tried after {}; back: 50 % after {}, 99 % after {}, all after {}",
            shown(storm.tried),
            shown(storm.half),
            shown(storm.nearly),
            shown(storm.back)
        ));
        report::say(&format!(
            "  {} attempts, {} admitted, {} of them with a resumed session; refused: {}",
            storm.attempts,
            storm.admitted,
            storm.resumed,
            refusals(&storm.refusals)
        ));
        if let (Some(before), Some(after)) = (self.before, self.after) {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            report::say(&format!(
                "  server: RSS {:.1} MiB before, {:.1} at most, {:.1} after; {:.2} s of CPU in {:.1} s",
                mib(before.rss),
                mib(self.peak),
                mib(after.rss),
                after.cpu_s - before.cpu_s,
                (after.at - before.at) as f64 / 1e9
            ));
        }
        witnesses(&self.seen, &["before", "during", "after"]);
        report::write_json(&self.json(count, over), run.options.scene.json.as_deref())
    }

    fn json(&self, count: usize, over: &str) -> Value {
        let seconds = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e9);
        let [before, during, after] = self.seen.acks.each_ref().map(Quantiles::of);
        let server = self.before.zip(self.after).map(|(from, to)| {
            json!({ "rss_before_bytes": from.rss, "rss_peak_bytes": self.peak, "rss_after_bytes": to.rss, "cpu_s": to.cpu_s - from.cpu_s })
        });
        let storm = &self.storm;
        json!({
            "version": 1, "connections": count, "over": over,
            "tried_s": seconds(storm.tried), "back_s": { "p50": seconds(storm.half), "p99": seconds(storm.nearly), "all": seconds(storm.back) },
            "attempts": storm.attempts, "admitted": storm.admitted, "resumed": storm.resumed, "refusals": storm.refusals,
            "server": server, "witness_ack_us": { "before": before, "during": during, "after": after },
            "witness_lost": self.seen.lost_connections, "witness_unanswered": self.seen.unanswered,
        })
    }
}

/// By kind, or none.
fn refusals(refusals: &BTreeMap<&'static str, u64>) -> String {
    let each: Vec<String> = refusals.iter().map(|(why, count)| format!("{why} {count}")).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

/// What the clients that stayed saw, a line for each phase.
pub(crate) fn witnesses(seen: &Seen, phases: &[&str]) {
    for (phase, acks) in phases.iter().zip(&seen.acks) {
        let Quantiles { p50, p99, max, count, .. } = Quantiles::of(acks);
        report::say(&format!(
            "  well-behaved {phase}: acknowledged after p50 {:.2} p99 {:.2} max {:.2} ms ({count} messages)",
            p50 / 1e3,
            p99 / 1e3,
            max / 1e3
        ));
    }
    if seen.lost_connections + seen.unanswered > 0 {
        report::say(&format!(
            "  well-behaved: {} connections lost, {} messages unanswered",
            seen.lost_connections, seen.unanswered
        ));
    }
}
