//! Drives all connections of a run from one thread: ramp, warm-up, measured load, what is still to be acknowledged, what the
//! server has still to do. The open loop: at a fixed rate a message's latency counts from when it was meant to leave.

use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::clock::{self, MILLI, SECOND};
use super::connection::{Connection, Heard, Phase, Shape};
use super::ledger::{Account, Ledger};
use super::live::Watcher;
use super::misuse::Misuse;
use super::options::{Plan, Rate};
use super::packet;
use super::process::{Cpu, Process};
use super::report::{self, Own, Quantiles, Report, Server, new_histogram};
use super::schedule::Schedule;

/// What a run leaves behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) ledger: Ledger,
}

const KEEP_ALIVE_S: u16 = 60;
/// How long the last acknowledgements are waited for.
const PATIENCE: u64 = 10 * SECOND;
const DRAIN: u64 = 120 * SECOND;
/// Unsent bytes of one connection beyond which QoS 0 messages wait.
const BACKLOG_BYTES_MAX: usize = 65_536;

/// Runs a plan from the first connection to the last acknowledgement.
///
/// # Errors
/// No connection can be made, or connections are refused.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut run = Run::new(plan)?;
    run.ramp()?;
    run.load(plan.warmup)?;
    run.begin_measuring()?;
    run.load(plan.duration)?;
    run.finish()
}

/// What the server's process had used at the beginning of the measurement.
#[derive(Debug)]
struct Before {
    process: Process,
    cpu: Cpu,
    rss: u64,
    fds: u64,
}

#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    acked: u64,
    refused: u64,
    lost: u64,
    reconnects: u64,
    disordered: u64,
}

struct Run<'p> {
    plan: &'p Plan,
    shape: Shape,
    ledger: Ledger,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Of the current phase with a fixed rate.
    schedule: Option<Schedule>,
    /// Messages of the schedule that were looked at.
    scheduled: u64,
    /// How many messages of the schedule each connection has sent.
    rows: Vec<u64>,
    stopped: bool,
    counts: Counts,
    latencies: Histogram<u64>,
    measuring_since: u64,
    cpu_before: u64,
    before: Option<Before>,
    rss_peak: u64,
    second: u64,
    shown: (u64, u64),
    churned: usize,
    watcher: Option<Watcher>,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan) -> anyhow::Result<Self> {
        let base_ts = clock::wall_ms();
        let template = match (plan.audited, plan.stamped) {
            (true, _) => plan.readings.audited(base_ts - 1),
            (false, true) => plan.readings.stamped(),
            (false, false) => plan.readings.plain(),
        };
        let publish = packet::publish(plan.protocol, plan.qos, &plan.topic, template.text());
        let ledger = Ledger::new(template.marked(), base_ts);
        let (server, tls, protocol) = (plan.server, plan.tls.clone(), plan.protocol);
        let shape = Shape { server, tls, protocol, template, publish, keep_alive_s: KEEP_ALIVE_S };
        // Two runs give unlike values.
        let seed = |index: usize| base_ts.rotate_left(20) ^ index as u64;
        let watcher = match &plan.watched {
            Some((count, platform)) => Some(Watcher::start(platform, plan, *count)?),
            None => None,
        };
        Ok(Self {
            plan,
            shape,
            ledger,
            poll: Poll::new()?,
            connections: (0..plan.devices.len()).map(|index| Connection::new(seed(index))).collect(),
            buffer: vec![0; 1 << 16],
            schedule: None,
            scheduled: 0,
            rows: vec![0; plan.devices.len()],
            stopped: true,
            counts: Counts::default(),
            latencies: new_histogram(),
            measuring_since: u64::MAX,
            cpu_before: 0,
            before: None,
            rss_peak: 0,
            second: clock::now(),
            shown: (0, 0),
            churned: 0,
            watcher,
        })
    }

    /// Opens all connections at the wanted pace.
    fn ramp(&mut self) -> anyhow::Result<()> {
        let start = clock::now();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.open_at = start + index as u64 * SECOND / self.plan.ramp;
        }
        let patience = start + self.connections.len() as u64 * SECOND / self.plan.ramp + 60 * SECOND;
        while !self.connections.iter().all(|connection| connection.phase == Phase::Up) {
            self.step(MILLI)?;
            self.open_due(clock::now())?;
            if clock::now() > patience {
                let up = self.connections.iter().filter(|connection| connection.phase == Phase::Up).count();
                bail!(
                    "only {up} of {} connections to {} were admitted within a minute",
                    self.connections.len(),
                    self.plan.server
                );
            }
        }
        Ok(())
    }

    /// Sends for so many nanoseconds.
    fn load(&mut self, nanos: u64) -> anyhow::Result<()> {
        let start = clock::now();
        self.stopped = false;
        if let Rate::PerSecond(rate) = self.plan.rate {
            self.schedule = Some(Schedule::new(start, rate, self.connections.len() as u64));
            self.scheduled = 0;
            self.rows.fill(0);
        }
        for index in 0..self.connections.len() {
            self.pump(index, start);
        }
        loop {
            let now = clock::now();
            if now >= start + nanos {
                break;
            }
            self.pump_due(now);
            let wait = self.schedule.map_or(SECOND, |schedule| schedule.at(self.scheduled).saturating_sub(clock::now()));
            self.step(wait.min(start + nanos - now))?;
            self.each_second()?;
        }
        self.stopped = true;
        Ok(())
    }

    fn begin_measuring(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.plan.process {
            let (rss, fds) = (process.resident_bytes()?, process.descriptors()?);
            self.before = Some(Before { process, cpu: process.cpu()?, rss, fds });
            self.rss_peak = rss;
        }
        self.counts = Counts { lost: self.counts.lost, ..Counts::default() };
        self.latencies.clear();
        self.cpu_before = clock::cpu();
        self.measuring_since = clock::now();
        if let Some(watcher) = &self.watcher {
            watcher.forget();
        }
        Ok(())
    }

    /// Waits for what is not acknowledged, lets the server come to rest, sums up.
    fn finish(mut self) -> anyhow::Result<Outcome> {
        let end = clock::now();
        let own_cpu = clock::cpu() - self.cpu_before;
        let unanswered = |run: &Self| run.connections.iter().map(|connection| connection.flights.len() as u64).sum::<u64>();
        while unanswered(&self) > 0 && clock::now() < end + PATIENCE {
            self.step(10 * MILLI)?;
            self.open_due(clock::now())?;
        }
        let loaded = self.before.as_ref().map(|before| before.process.cpu()).transpose()?;
        if self.plan.drain {
            self.drain()?;
        }
        let seconds = (end - self.measuring_since) as f64 / SECOND as f64;
        let messages = if self.plan.qos == 0 { self.counts.sent } else { self.counts.acked };
        let per_message = |seconds: f64| seconds * 1e6 / messages.max(1) as f64;
        let server = match (&self.before, loaded) {
            (Some(before), Some(loaded)) => Some(self.server(before, loaded, &per_message)?),
            _ => None,
        };
        if self.counts.disordered > 0 {
            report::progress(&format!("{} acknowledgements came out of order or for nothing", self.counts.disordered));
        }
        let report = Report {
            version: 1,
            label: self.plan.label.clone(),
            protocol: self.plan.protocol.name(),
            tls: self.plan.tls.is_some(),
            qos: self.plan.qos,
            connections: self.connections.len(),
            in_flight: self.plan.in_flight,
            rate_target: if let Rate::PerSecond(rate) = self.plan.rate { Some(rate) } else { None },
            payload: self.plan.readings.name.clone(),
            payload_bytes: self.shape.template.text().len(),
            duration_s: seconds,
            sent: self.counts.sent,
            acked: self.counts.acked,
            refused: self.counts.refused,
            unanswered: unanswered(&self),
            lost_connections: self.counts.lost,
            reconnects: self.counts.reconnects,
            rate_per_s: messages as f64 / seconds,
            ack_us: (self.plan.qos > 0).then(|| Quantiles::of(&self.latencies)),
            websocket_us: self.watcher.take().map(Watcher::finish).transpose()?,
            server,
            load: Own { cpu_us_per_message: per_message(own_cpu as f64 / SECOND as f64) },
            audit: None,
        };
        let accounts = self.plan.devices.iter().zip(&self.connections).filter_map(|(device, connection)| {
            let (id, refused) = (device.id?, connection.refused.clone());
            Some(Account { id, seed: connection.seed, sent: connection.next, acked: connection.acked, refused })
        });
        self.ledger.devices = accounts.collect();
        Ok(Outcome { report, ledger: self.ledger })
    }

    fn server(&self, before: &Before, loaded: Cpu, per_message: &impl Fn(f64) -> f64) -> anyhow::Result<Server> {
        let after = before.process.cpu()?;
        let used = after.since(before.cpu);
        let rss_end_bytes = before.process.resident_bytes()?;
        Ok(Server {
            cpu_us_per_message: per_message(used.total_s()),
            user_us_per_message: per_message(used.user_s),
            system_us_per_message: per_message(used.system_s),
            cpu_s: used.total_s(),
            drain_cpu_s: after.since(loaded).total_s(),
            rss_start_bytes: before.rss,
            rss_end_bytes,
            rss_peak_bytes: self.rss_peak.max(rss_end_bytes),
            fds_start: before.fds,
            fds_end: before.process.descriptors()?,
        })
    }

    /// Waits until the server's process uses less than 2 % of a core for two seconds.
    fn drain(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.plan.process else { return Ok(()) };
        let end = clock::now() + DRAIN;
        let mut calm = 0;
        while calm < 4 && clock::now() < end {
            let (before, at) = (process.cpu()?, clock::now());
            while clock::now() < at + SECOND / 2 {
                self.step(100 * MILLI)?;
                self.each_second()?;
            }
            calm = if process.cpu()?.since(before).total_s() <= 0.01 { calm + 1 } else { 0 };
        }
        Ok(())
    }

    /// Waits for sockets at most so long, and serves them.
    fn step(&mut self, nanos: u64) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1_024);
        // Rounded down to milliseconds: what is due sooner is looked for without sleeping.
        let wait = Duration::from_millis(nanos / MILLI);
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("poll")?,
        }
        let now = clock::now();
        for event in &events {
            let index = event.token().0;
            if event.is_writable() {
                self.writable(index, now)?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.ending |= event.is_read_closed();
                }
                self.readable(index, now)?;
            }
        }
        Ok(())
    }

    fn writable(&mut self, index: usize, now: u64) -> anyhow::Result<()> {
        let (protocol, keep_alive, anonymous) = (self.shape.protocol, self.shape.keep_alive_s, self.plan.anonymous);
        let token = self.plan.devices.get(index).map(|device| device.token.as_str()).filter(|_| !anonymous);
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        if connection.phase == Phase::Closed {
            return Ok(());
        }
        let alive = connection.writable(|| packet::connect(protocol, &format!("tg-load-{index}"), token, keep_alive));
        if !alive {
            return self.lost(index, now, "the connection broke");
        }
        if self.plan.qos == 0 {
            self.pump(index, now);
        }
        Ok(())
    }

    fn readable(&mut self, index: usize, now: u64) -> anyhow::Result<()> {
        let Self { connections, buffer, counts, latencies, measuring_since, shape, .. } = self;
        let Some(connection) = connections.get_mut(index) else { return Ok(()) };
        let (mut admitted, mut refused, mut ended) = (false, None, false);
        connection.readable(shape.protocol, buffer, |_, heard| match heard {
            Heard::Acked { at, code, .. } => {
                counts.acked += u64::from(code < 0x80);
                counts.refused += u64::from(code >= 0x80);
                if at >= *measuring_since {
                    latencies.saturating_record(now - at);
                }
            }
            Heard::Admitted => admitted = true,
            Heard::Refused(code) => refused = Some(code),
            Heard::Disordered => counts.disordered += 1,
            Heard::Ended => ended = true,
        });
        if let Some(code) = refused {
            let why = packet::refusal(self.shape.protocol, code);
            if self.plan.reconnect && packet::is_passing(self.shape.protocol, code) {
                return self.lost(index, now, why);
            }
            bail!("connection {index} to {} was refused: {why} (code {code})", self.plan.server);
        }
        if ended {
            let fault = connection.fault();
            return self.lost(index, now, fault.as_deref().unwrap_or("the server closed it"));
        }
        if admitted {
            connection_up(connection, &self.shape, now);
        }
        if connection.leaving && connection.flights.is_empty() {
            connection.leave();
            connection.open_at = now;
            self.counts.reconnects += 1;
            return self.open_due_one(index, now);
        }
        self.pump(index, now);
        Ok(())
    }

    /// Sends what one connection may send now.
    fn pump(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if self.stopped || connection.leaving || connection.phase != Phase::Up {
            return;
        }
        let depth = self.plan.in_flight.min(usize::from(connection.receive_maximum));
        let mut published = 0;
        while connection.flights.len() < depth && connection.backlog() < BACKLOG_BYTES_MAX {
            let at = match (&self.schedule, self.rows.get_mut(index)) {
                (Some(schedule), Some(row)) => {
                    let at = schedule.at(schedule.message_of(index as u64, *row));
                    if at > now {
                        break;
                    }
                    *row += 1;
                    at
                }
                _ => now,
            };
            let ts_ms = if self.plan.audited { self.ledger.base_ts + connection.next } else { clock::wall_ms() };
            let number = connection.publish(&self.shape, at, if self.plan.audited || self.plan.stamped { ts_ms } else { 0 });
            if let Some(watcher) = &self.watcher {
                watcher.published(index, number, at);
            }
            published += 1;
            // Without acknowledgements the depth is a burst.
            if self.plan.qos == 0 && published >= depth {
                break;
            }
        }
        if published > 0 {
            connection.spoke_at = now;
            self.counts.sent += published as u64;
            // A broken connection says so when it is read.
            connection.flush();
        }
    }

    /// Messages of the schedule whose time has come.
    fn pump_due(&mut self, now: u64) {
        let Some(schedule) = self.schedule else {
            if self.plan.qos == 0 {
                (0..self.connections.len()).for_each(|index| self.pump(index, now));
            }
            return;
        };
        let due = schedule.due(now);
        // More than one round behind: each connection is looked at once.
        let from = self.scheduled.max(due.saturating_sub(self.connections.len() as u64));
        self.scheduled = due;
        for message in from..due {
            self.pump(usize::try_from(schedule.connection_of(message)).unwrap_or(0), now);
        }
    }

    fn lost(&mut self, index: usize, now: u64, why: &str) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        if connection.phase == Phase::Closed {
            return Ok(());
        }
        let was_up = connection.phase == Phase::Up;
        connection.close();
        self.counts.lost += u64::from(was_up);
        if !self.plan.reconnect {
            if !was_up {
                bail!("connection {index} to {}: {why} before it was admitted", self.plan.server);
            }
            // Not opened again.
            connection.open_at = u64::MAX;
            return Ok(());
        }
        self.counts.reconnects += u64::from(was_up);
        // 50 ms to 3.2 s, with jitter from the connection's number.
        let wait = (50 * MILLI) << connection.attempts.min(6);
        connection.open_at = now + wait / 2 + (index as u64 * 7_919 * MILLI) % wait;
        Ok(())
    }

    fn open_due(&mut self, now: u64) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            self.open_due_one(index, now)?;
        }
        Ok(())
    }

    fn open_due_one(&mut self, index: usize, now: u64) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        if connection.phase != Phase::Closed || connection.open_at > now {
            return Ok(());
        }
        connection.open(&self.shape, self.poll.registry(), Token(index)).map_err(|error| {
            let rule =
                format!("connection {index} cannot be opened: {error}; `ulimit -n` and the range of local ports bound them");
            Misuse::new("--connections", self.plan.devices.len(), rule).into()
        })
    }

    /// Keep-alive, lost connections, churn, memory, the progress line.
    fn each_second(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        if self.plan.reconnect {
            self.open_due(now)?;
        }
        if now < self.second + SECOND {
            return Ok(());
        }
        let elapsed = (now - self.second) as f64 / SECOND as f64;
        self.second = now;
        for connection in &mut self.connections {
            if connection.phase == Phase::Up && now > connection.spoke_at + u64::from(KEEP_ALIVE_S) * SECOND / 2 {
                connection.say(&packet::PINGREQ);
                connection.flush();
                connection.spoke_at = now;
            }
        }
        if !self.stopped {
            self.churn();
        }
        if let Some(before) = &self.before {
            self.rss_peak = self.rss_peak.max(before.process.resident_bytes_now()?);
        }
        if !self.plan.quiet {
            let (sent, acked) = self.shown;
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / elapsed;
            let p99 = self.latencies.value_at_quantile(0.99) as f64 / 1e6;
            report::progress(&format!(
                "sent {:.0}/s acknowledged {:.0}/s p99 {p99:.2} ms lost {}",
                rate(self.counts.sent, sent),
                rate(self.counts.acked, acked),
                self.counts.lost
            ));
        }
        self.shown = (self.counts.sent, self.counts.acked);
        Ok(())
    }

    /// The next few connections leave and come back.
    fn churn(&mut self) {
        let churn = usize::try_from(self.plan.churn).unwrap_or(usize::MAX).min(self.connections.len());
        for _ in 0..churn {
            self.churned = (self.churned + 1) % self.connections.len();
            if let Some(connection) = self.connections.get_mut(self.churned)
                && connection.phase == Phase::Up
            {
                connection.leaving = true;
                // With nothing under way nothing will arrive that could be waited for: a ping brings an answer.
                connection.say(&packet::PINGREQ);
                connection.flush();
            }
        }
    }
}

fn connection_up(connection: &mut Connection, shape: &Shape, now: u64) {
    connection.spoke_at = now;
    connection.publish_again(shape);
    connection.flush();
}
