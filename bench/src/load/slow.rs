//! Bad peers by the thousand, one kind after the other: those that send a byte a second, that never read, that begin and say no
//! more. What the server spends on them, when it closes them, and whether well-behaved clients notice. Each peer is slow, none is
//! malformed.

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};
use serde_json::{Value, json};

use super::clock::{self, MILLI, SECOND};
use super::connection::Shape;
use super::crowd;
use super::misuse::Misuse;
use super::options::{Kind, Slow};
use super::packet::{self, Protocol};
use super::process::{self, Process};
use super::report::{self, Quantiles, new_histogram};
use super::storm::witnesses;
use super::tokens::Device;
use super::wire::{Got, Route, Wire};
use super::witness::Witnesses;

/// Between two looks at the server's memory.
const LOOK: u64 = 100 * MILLI;
/// Peers speak once a second each, not all at once: every so often this part of them.
const SPEAKS_EVERY: u64 = SECOND / SLOTS as u64;
const SLOTS: usize = 50;
/// What the kernel keeps for a peer that never reads: as little as it allows.
const DEAF_RECEIVE_BYTES: usize = 2_304;
/// What a deaf peer asks for again and again, in bytes.
const DEAF_ATTRIBUTE_BYTES: usize = 16_384;
const DEAF_REQUESTS_EACH_TIME: usize = 2;

/// # Errors
/// The witnesses are not admitted, the operating system gives out, or the process cannot be looked at.
pub(crate) fn run(options: &Slow) -> anyhow::Result<bool> {
    if let Some(core) = options.scene.core {
        process::pin(core)?;
    }
    let kinds = options.kinds()?;
    let (count, watching) = (usize::try_from(options.connections)?, usize::from(options.witnesses.witnesses));
    crowd::descriptors(count + watching)?;
    let shape = options.scene.shape()?;
    let (devices, watching, anonymous) = options.scene.devices(count, watching)?;
    let (mut rows, mut clean) = (Vec::new(), true);
    for kind in kinds {
        let witnesses =
            Witnesses::start(shape.clone(), (watching.clone(), anonymous), u64::from(options.witnesses.witness_rate))?;
        let row = Run::new(options, kind, &shape, (&devices, anonymous))?.go(witnesses)?;
        clean &= row.get("witness_lost").and_then(Value::as_u64) == Some(0);
        rows.push(row);
    }
    report::write_json(&json!({ "version": 1, "slow": rows }), options.scene.json.as_deref())?;
    Ok(clean)
}

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// So many bytes of what it has to say are sent.
    Sending(usize),
    /// It reads no more.
    Deaf,
}

struct Peer {
    wire: Option<Wire>,
    opened: u64,
    stage: Stage,
    /// What it says first.
    words: Vec<u8>,
}

struct Run<'o> {
    options: &'o Slow,
    kind: Kind,
    shape: &'o Shape,
    devices: (&'o [Device], bool),
    process: Option<Process>,
    poll: Poll,
    peers: Vec<Peer>,
    /// How old those were that the server closed.
    closed: Histogram<u64>,
    failed: u64,
    rss_peak: u64,
    looked_at: u64,
    spoke_at: u64,
    /// Whose turn it was.
    slot: usize,
    buffer: Vec<u8>,
}

impl<'o> Run<'o> {
    fn new(options: &'o Slow, kind: Kind, shape: &'o Shape, devices: (&'o [Device], bool)) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            kind,
            shape,
            devices,
            process: options.scene.process()?,
            poll: Poll::new()?,
            peers: Vec::new(),
            closed: new_histogram(),
            failed: 0,
            rss_peak: 0,
            looked_at: 0,
            spoke_at: 0,
            slot: 0,
            buffer: vec![0; 1 << 16],
        })
    }

    /// Calm, the peers, calm again.
    fn go(mut self, witnesses: Witnesses) -> anyhow::Result<Value> {
        crowd::step_back();
        let calm = std::time::Duration::from_nanos(self.options.witnesses.calm.0);
        std::thread::sleep(calm);
        let before = self.look()?;
        self.rss_peak = before.map_or(0, |(_, rss)| rss);
        witnesses.enter(1);
        let start = clock::now();
        while clock::now() < start + self.options.duration.0 {
            self.pass(start)?;
        }
        let after = self.look()?;
        let open = self.peers.iter().filter(|peer| peer.wire.is_some()).count();
        let opened = self.peers.len();
        self.peers.clear();
        witnesses.enter(2);
        std::thread::sleep(calm);
        let gone = self.look()?;
        let seen = witnesses.finish()?;
        let closed = Quantiles::of(&self.closed);
        let name = format!("{:?}", self.kind).to_lowercase();
        report::say(&format!(
            "{name}: {opened} peers; the server closed {}, half of those within {:.1} s and all within {:.1} s; {open} still open, {} \
             never connected",
            closed.count,
            closed.p50 / 1e6,
            closed.max / 1e6,
            self.failed
        ));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let server = before.zip(after).zip(gone).map(|(((cpu, rss), (cpu_after, _)), (_, rss_after))| {
            report::say(&format!(
                "  server: RSS {:.1} MiB before, {:.1} at most, {:.1} afterwards; {:.2} s of CPU in {:.0} s",
                mib(rss),
                mib(self.rss_peak),
                mib(rss_after),
                cpu_after - cpu,
                self.options.duration.seconds()
            ));
            json!({ "rss_before_bytes": rss, "rss_peak_bytes": self.rss_peak, "rss_after_bytes": rss_after, "cpu_s": cpu_after - cpu })
        });
        self::witnesses(&seen, &["before", "during", "after"]);
        let [before, during, after] = seen.acks.each_ref().map(Quantiles::of);
        Ok(json!({
            "kind": name, "peers": opened, "closed_by_server": closed.count, "closed_after_us": closed, "still_open": open,
            "never_connected": self.failed, "duration_s": self.options.duration.seconds(), "server": server,
            "witness_ack_us": { "before": before, "during": during, "after": after },
            "witness_lost": seen.lost_connections, "witness_unanswered": seen.unanswered,
        }))
    }

    /// Opens, serves and speaks: whatever is due.
    fn pass(&mut self, start: u64) -> anyhow::Result<()> {
        let due = (clock::now() - start) * u64::from(self.options.ramp) / SECOND + 1;
        let due = usize::try_from(due)?.min(usize::try_from(self.options.connections)?);
        while self.peers.len() < due {
            self.open()?;
        }
        let mut events = Events::with_capacity(1_024);
        match self.poll.poll(&mut events, Some(std::time::Duration::from_millis(5))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => events.clear(),
            result => result?,
        }
        let now = clock::now();
        for event in &events {
            let (index, ended) = (event.token().0, event.is_error() || event.is_read_closed());
            if !self.serve(index, ended) {
                self.ended(index, now);
            }
        }
        if now >= self.spoke_at + SPEAKS_EVERY {
            self.spoke_at = now;
            self.slot = (self.slot + 1) % SLOTS;
            for index in (self.slot..self.peers.len()).step_by(SLOTS) {
                if !self.speak(index) {
                    self.ended(index, now);
                }
            }
        }
        if now >= self.looked_at + LOOK {
            self.looked_at = now;
            if let Some(process) = self.process {
                self.rss_peak = self.rss_peak.max(process.resident_bytes_now()?);
            }
        }
        Ok(())
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let index = self.peers.len();
        let mut route = Route::to(self.shape.server);
        if route.server.ip().is_loopback() && route.server.is_ipv4() {
            route.source = Some(crowd::source(index, self.options.scene.sources));
        }
        let mut words = self.connect(index);
        let mut tls = self.shape.tls.as_ref().map(|secure| secure.begin(&secure.of_device())).transpose()?;
        match self.kind {
            Kind::Byte => {}
            Kind::Half => words.truncate(1),
            Kind::Deaf => route.receive_bytes = Some(DEAF_RECEIVE_BYTES),
            Kind::Handshake => {
                // The ClientHello goes out as it is, and nobody is there to understand the answer.
                words.clear();
                if let Some(mut tls) = tls.take() {
                    tls.write_tls(&mut words)?;
                }
            }
        }
        let wire = Wire::connect(route, tls, (self.poll.registry(), Token(index))).map_err(|error| {
            let rule =
                format!("connection {index} cannot be opened: {error}; `ulimit -n` and the range of local ports bound them");
            Misuse::new("--connections", self.options.connections, rule)
        })?;
        self.peers.push(Peer { wire: Some(wire), opened: clock::now(), stage: Stage::Connecting, words });
        Ok(())
    }

    /// A CONNECT; that of those who send it by bytes is long.
    fn connect(&self, index: usize) -> Vec<u8> {
        let (devices, anonymous) = self.devices;
        let token = devices.get(index).map(|device| device.token.as_str()).filter(|_| !anonymous);
        let id = if self.kind == Kind::Byte { format!("tg-slow-{index:0>200}") } else { format!("tg-slow-{index}") };
        packet::connect(Protocol::V311, &id, token, 60)
    }

    /// False when the peer's connection is over.
    fn serve(&mut self, index: usize, ended: bool) -> bool {
        let Self { peers, buffer, kind, .. } = self;
        let Some(peer) = peers.get_mut(index) else { return true };
        let Some(wire) = &mut peer.wire else { return true };
        if peer.stage == Stage::Connecting {
            match wire.is_there() {
                Ok(true) => peer.stage = Stage::Sending(0),
                Ok(false) => return true,
                Err(_) => return false,
            }
            if *kind != Kind::Byte && !say(peer) {
                return false;
            }
        }
        let Some(wire) = &mut peer.wire else { return true };
        if wire.flush().is_err() {
            return false;
        }
        if peer.stage == Stage::Deaf {
            return !ended;
        }
        loop {
            match wire.receive(buffer) {
                Got::Bytes { count, more } => {
                    // CONNACK: that was the last thing it heard.
                    if *kind == Kind::Deaf && count > 0 {
                        peer.stage = Stage::Deaf;
                        return wire.send(&share()).is_ok();
                    }
                    if !more && !ended {
                        return true;
                    }
                }
                Got::Nothing => return true,
                Got::End => return false,
            }
        }
    }

    /// What is due each second. False when the peer's connection is over.
    fn speak(&mut self, index: usize) -> bool {
        let Some(peer) = self.peers.get_mut(index) else { return true };
        let Some(wire) = &mut peer.wire else { return true };
        match (self.kind, peer.stage) {
            (Kind::Byte, Stage::Sending(sent)) => {
                let Some(byte) = peer.words.get(sent..=sent) else { return true };
                let Ok(count) = wire.send(byte) else { return false };
                peer.stage = Stage::Sending(sent + count);
                true
            }
            (Kind::Deaf, Stage::Deaf) => (0..DEAF_REQUESTS_EACH_TIME).all(|_| wire.send(&ask()).is_ok()),
            _ => true,
        }
    }

    fn ended(&mut self, index: usize, now: u64) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        if peer.wire.take().is_some() {
            if peer.stage == Stage::Connecting {
                self.failed += 1;
            } else {
                self.closed.saturating_record(now - peer.opened);
            }
        }
    }

    fn look(&self) -> anyhow::Result<Option<(f64, u64)>> {
        let Some(process) = self.process else { return Ok(None) };
        Ok(Some((process.cpu()?.total_s(), process.resident_bytes()?)))
    }
}

/// Says the first words at once; a socket that has just connected takes them.
fn say(peer: &mut Peer) -> bool {
    let Some(wire) = &mut peer.wire else { return true };
    let sent = wire.send(&peer.words);
    peer.stage = Stage::Sending(peer.words.len());
    sent.is_ok()
}

/// What a deaf peer will ask for, and that it wants to hear the answers.
fn share() -> Vec<u8> {
    let much = format!(r#"{{"much":"{}"}}"#, "x".repeat(DEAF_ATTRIBUTE_BYTES));
    let mut bytes = packet::publish(Protocol::V311, 0, "v1/devices/me/attributes", much.as_bytes()).bytes;
    bytes.extend_from_slice(&packet::subscribe(1, "v1/devices/me/attributes/response/+"));
    bytes
}

fn ask() -> Vec<u8> {
    packet::publish(Protocol::V311, 0, "v1/devices/me/attributes/request/1", br#"{"clientKeys":"much"}"#).bytes
}
