//! From publish to WebSocket: a thread that watches some of the fleet's devices as a dashboard does, and compares when an
//! update arrives with when its message was meant to leave.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::clock;
use super::misuse::Misuse;
use super::options::Plan;
use super::payload::COUNTER_BASE;
use super::report::{Quantiles, new_histogram};
use super::rest::{Platform, Rest};

/// Messages of one device whose time of sending is remembered.
const REMEMBERED: u64 = 4_096;
/// How long updates are waited for after the load.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the sender tells the watcher: when message n of a watched device was meant to leave.
type Times = Vec<Vec<AtomicU64>>;

#[derive(Debug)]
pub(crate) struct Watcher {
    times: Arc<Times>,
    ended: Arc<AtomicBool>,
    /// Updates of messages that were meant to leave before this do not count.
    since: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<Histogram<u64>>>,
}

impl Watcher {
    /// Subscribes to the first `count` devices.
    ///
    /// # Errors
    /// The platform refuses, or the payload has no number to recognise messages by.
    pub(crate) fn start(platform: &Platform, plan: &Plan, count: usize) -> anyhow::Result<Self> {
        let rule = "--websocket needs a built-in payload: its counter says which message an update is of";
        let counter = plan.readings.counter.ok_or_else(|| Misuse::new("--payload", &plan.readings.name, rule))?;
        let mut socket = open(platform)?;
        let commands: Vec<Value> = (0..)
            .zip(plan.devices.iter().take(count))
            .filter_map(|(index, device)| {
                let id = device.id?.to_string();
                Some(json!({ "cmdId": index + 1, "entityType": "DEVICE", "entityId": id, "scope": "LATEST_TELEMETRY", "keys": counter }))
            })
            .collect();
        for chunk in commands.chunks(100) {
            socket.send(Message::text(json!({ "tsSubCmds": chunk }).to_string())).context("subscribing")?;
        }
        for _ in 0..count {
            next(&mut socket)?.context("the server did not confirm every subscription")?;
        }
        let times: Arc<Times> = Arc::new((0..count).map(|_| (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect()).collect());
        let (ended, since) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&times), Arc::clone(&ended), Arc::clone(&since));
        let thread = std::thread::spawn(move || watch(socket, counter, &shared.0, &shared.1, &shared.2));
        Ok(Self { times, ended, since, thread })
    }

    /// A message leaves, or was meant to.
    pub(crate) fn published(&self, device: usize, number: u64, at: u64) {
        let slot = usize::try_from(number % REMEMBERED).unwrap_or(0);
        if let Some(time) = self.times.get(device).and_then(|times| times.get(slot)) {
            time.store(at, Ordering::Relaxed);
        }
    }

    /// The warm-up is over.
    pub(crate) fn forget(&self) {
        self.since.store(clock::now(), Ordering::Relaxed);
    }

    /// # Errors
    /// The socket was closed during the run.
    pub(crate) fn finish(self) -> anyhow::Result<Quantiles> {
        std::thread::sleep(PATIENCE);
        self.ended.store(true, Ordering::Relaxed);
        let histogram = self.thread.join().map_err(|_| anyhow!("the watching thread ended in a panic"))??;
        Ok(Quantiles::of(&histogram))
    }
}

fn open(platform: &Platform) -> anyhow::Result<WebSocket<TcpStream>> {
    let rest = Rest::login(platform.clone())?;
    let stream = TcpStream::connect(rest.authority()).with_context(|| format!("--rest {}", platform.origin))?;
    let url = format!("ws://{}/api/ws/plugins/telemetry?token={}", rest.authority(), rest.token());
    let (socket, _answer) = tungstenite::client(url, stream).map_err(|error| anyhow!("the WebSocket was refused: {error}"))?;
    socket.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// The next text; `None` when nothing came in time.
fn next(socket: &mut WebSocket<TcpStream>) -> anyhow::Result<Option<Value>> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(Some(serde_json::from_str(&text).context("the server sent no JSON")?)),
            Ok(Message::Close(frame)) => bail!("the server closed the WebSocket: {frame:?}"),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("the WebSocket broke"),
        }
    }
}

fn watch(
    mut socket: WebSocket<TcpStream>,
    counter: &str,
    times: &Times,
    ended: &AtomicBool,
    since: &AtomicU64,
) -> anyhow::Result<Histogram<u64>> {
    socket.get_ref().set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut histogram = new_histogram();
    let mut counted_since = 0;
    while !ended.load(Ordering::Relaxed) {
        let Some(update) = next(&mut socket)? else { continue };
        let now = clock::now();
        let since = since.load(Ordering::Relaxed);
        if since > counted_since {
            histogram.clear();
            counted_since = since;
        }
        for at in times_of(&update, counter, times) {
            if at >= since && at <= now {
                histogram.saturating_record(now - at);
            }
        }
    }
    Ok(histogram)
}

/// When the messages of an update were meant to leave.
fn times_of(update: &Value, counter: &str, times: &Times) -> Vec<u64> {
    let device = update.get("subscriptionId").and_then(Value::as_u64).and_then(|id| usize::try_from(id.checked_sub(1)?).ok());
    let points = update.pointer(&format!("/data/{counter}")).and_then(Value::as_array);
    let (Some(sent), Some(points)) = (device.and_then(|device| times.get(device)), points) else { return Vec::new() };
    let time = |point: &Value| {
        let value = point.get(1)?;
        let value = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        let slot = usize::try_from(value.checked_sub(COUNTER_BASE)? % REMEMBERED).ok()?;
        sent.get(slot).map(|time| time.load(Ordering::Relaxed))
    };
    points.iter().filter_map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_its_message() {
        let times: Times = vec![(0..REMEMBERED).map(AtomicU64::new).collect()];
        let update = |value: &str| json!({ "subscriptionId": 1, "errorCode": 0, "data": { "n": [[5, value]] } });
        assert_eq!(times_of(&update("10000007"), "n", &times), [7]);
        assert_eq!(times_of(&update("10004097"), "n", &times), [1]);
        assert_eq!(times_of(&update("x"), "n", &times), Vec::<u64>::new());
        assert_eq!(times_of(&json!({ "subscriptionId": 9, "data": { "n": [[5, "10000007"]] } }), "n", &times), Vec::<u64>::new());
        assert_eq!(times_of(&json!({}), "n", &times), Vec::<u64>::new());
    }
}
