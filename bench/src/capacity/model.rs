//! From a fleet to what it needs: plain arithmetic over measured costs and the data plane's bounds. Measures nothing.

use dataplane::limits::{self, Pools};
use serde::Serialize;

use super::costs::{self, Costs};
use super::options::Payload;

/// What is asked; everything of the whole fleet.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) devices: u64,
    pub(crate) every_s: f64,
    pub(crate) payload: Payload,
    pub(crate) readings: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) retention_s: f64,
    pub(crate) qos: u8,
    /// Share of devices connected at the same time.
    pub(crate) connected: f64,
    pub(crate) tenants: u32,
    pub(crate) chains: u32,
    pub(crate) rule_nodes: u32,
    pub(crate) nodes: u32,
    /// Share of a core that may be used.
    pub(crate) utilization: f64,
}

/// One figure of the answer, per node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) per_node: f64,
    pub(crate) total: f64,
    pub(crate) why: String,
}

/// Something the answer rests on, and where it comes from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Assumption {
    pub(crate) what: String,
    pub(crate) source: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) question: Question,
    pub(crate) figures: Vec<Figure>,
    pub(crate) assumptions: Vec<Assumption>,
    /// The memory sum of one shard, bytes.
    pub(crate) memory_terms: Vec<(&'static str, usize)>,
    pub(crate) warnings: Vec<String>,
    #[serde(skip)]
    pub(crate) shards: f64,
    #[serde(skip)]
    pub(crate) alone_us: f64,
    #[serde(skip)]
    pub(crate) rate_per_node: f64,
    #[serde(skip)]
    pub(crate) disk_bytes: f64,
}

/// Device state resident beside a connection: 10,000 connections with their states took 3,084 bytes each (README.md), less
/// the 1,157 of the connection alone (bench/README.md).
const STATE_BYTES: f64 = 1_927.0;
const CONNECTION_BYTES: f64 = 1_157.0;
/// One more latest value in a device's state.
const LATEST_BYTES: f64 = 96.0;
const SOCKET_KERNEL_BYTES: f64 = 4_096.0;
const TENANT_BYTES: f64 = 65_536.0;
const CHAIN_BYTES: f64 = 16_384.0;
/// A rule node: far more than the native ones take (bench/baseline.json), and what a script takes on average if one of four needs QuickJS.
const NODE_US: f64 = 1.2;
/// Ethernet, IPv4 and TCP with timestamps around one segment.
const FRAME_BYTES: f64 = 14.0 + 20.0 + 32.0;
/// PUBLISH: fixed header, topic length, `v1/devices/me/telemetry`, packet id.
const PUBLISH_BYTES: f64 = 2.0 + 2.0 + 23.0 + 2.0;
const PUBACK_BYTES: f64 = 4.0;
/// How often a byte of a row is written by merges in its life, its first flush included.
const REWRITES: f64 = 4.0;
/// Bytes of a row in the log and in a write buffer besides the payload's readings.
const LOG_ROW_BYTES: f64 = 64.0;

/// What a fleet needs.
pub(crate) fn answer(question: &Question, costs: &Costs) -> Answer {
    let nodes = f64::from(question.nodes);
    let readings = f64::from(question.readings);
    let rate = question.devices as f64 / question.every_s / nodes;
    let alone_us = costs.alone_us(readings) + f64::from(question.rule_nodes) * NODE_US;
    let connections = (question.devices as f64 * question.connected / nodes).ceil();
    let for_cpu = (rate / costs.rate(question.utilization, alone_us)).ceil().max(1.0);
    let for_connections = (connections / limits::CONNECTIONS_PER_SHARD_MAX as f64).ceil().max(1.0);
    let shards = for_cpu.max(for_connections);
    let load = costs.load(rate / shards, alone_us);
    let busy = rate / shards / 1e6 * alone_us;
    let row = row_bytes(question, costs);
    let rows = rate * question.retention_s;
    let disk = rows * row;
    let mut answer = Answer {
        question: question.clone(),
        figures: Vec::new(),
        assumptions: assumptions(costs, readings, row),
        memory_terms: memory_terms(shards),
        warnings: warnings(question, shards),
        shards,
        alone_us,
        rate_per_node: rate,
        disk_bytes: disk,
    };
    let mut say = |name, unit, per_node: f64, why: String| {
        answer.figures.push(Figure { name, unit, per_node, total: per_node * nodes, why });
    };
    say("messages", "/s", rate, format!("{} devices, one every {} s", question.devices, question.every_s));
    let binding = if for_connections > for_cpu { "connections per shard decide" } else { "CPU decides" };
    say("cores (one shard each)", "", shards, format!("{for_cpu} for CPU, {for_connections} for connections: {binding}"));
    say("load of a core", "%", load * 100.0, format!("{:.1} us a message, wake-ups included", load * shards / rate * 1e6));
    let most = costs.rate(question.utilization, alone_us) * shards;
    say("messages these cores can take", "/s", most, format!("at {:.0} % of each", question.utilization * 100.0));
    let memory = memory(question, connections, shards);
    say("memory expected", "GiB", memory / GIB, "connections, states, caches, write buffers, tenants".to_owned());
    let bound = Pools::FULL.process_bytes(whole(shards)) as f64;
    say("memory at most (memory_max)", "GiB", bound / GIB, "the sum of all bounds, below".to_owned());
    say("kernel memory of sockets", "GiB", connections * SOCKET_KERNEL_BYTES / GIB, format!("{connections} connections"));
    say("rows kept", "million", rows / 1e6, format!("{:.0} days", question.retention_s / 86_400.0));
    say("disk, rows", "GB", disk / 1e9, format!("{row:.1} bytes a row at rest"));
    say("disk to provide", "GB", disk * 2.0 / 1e9, "as much again free: a full merge needs it".to_owned());
    disk_traffic(question, costs, (rate, busy, shards), &mut say);
    network(question, rate, &mut say);
    answer
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number, rounded up already")]
fn whole(shards: f64) -> usize {
    shards as usize
}

const GIB: f64 = (1_u64 << 30) as f64;

/// Bytes of a row at rest: what was measured for its payload, in proportion to its readings.
pub(crate) fn row_bytes(question: &Question, costs: &Costs) -> f64 {
    let measured = match question.payload {
        Payload::Meter => costs.row_bytes.meter,
        Payload::Tracker => costs.row_bytes.tracker,
        Payload::Plc => costs.row_bytes.plc,
    };
    measured * f64::from(question.readings) / f64::from(question.payload.readings())
}

fn memory(question: &Question, connections: f64, shards: f64) -> f64 {
    let latest = LATEST_BYTES * f64::from(question.readings);
    let caches = limits::BLOCK_CACHE_BYTES as f64 + limits::WRITE_BUFFER_BYTES_PER_SHARD as f64 * shards;
    let tenants = f64::from(question.tenants) * (TENANT_BYTES + CHAIN_BYTES * f64::from(question.chains));
    limits::PROCESS_BYTES as f64 + connections * (CONNECTION_BYTES + STATE_BYTES + latest) + caches + tenants
}

fn memory_terms(shards: f64) -> Vec<(&'static str, usize)> {
    limits::memory_per_shard(whole(shards)).into_iter().map(|term| (term.name, term.bytes)).collect()
}

type Say<'a> = dyn FnMut(&'static str, &'static str, f64, String) + 'a;

fn disk_traffic(question: &Question, costs: &Costs, (rate, busy, shards): (f64, f64, f64), say: &mut Say<'_>) {
    let commits = costs::commits(rate / shards, busy);
    say(
        "log flushes (fdatasync)",
        "/s",
        commits * shards,
        format!("at most {:.0} a shard", 1e6 / limits::COMMIT_PAUSE_US as f64),
    );
    let logged = rate * (LOG_ROW_BYTES + f64::from(question.payload_bytes));
    let merged = rate * row_bytes(question, costs) * REWRITES;
    let why = format!("log {:.1}, flushes and merges {:.1}", logged / 1e6, merged / 1e6);
    say("disk writes", "MB/s", (logged + merged) / 1e6, why);
}

fn network(question: &Question, rate: f64, say: &mut Say<'_>) {
    let publish = f64::from(question.payload_bytes) + PUBLISH_BYTES + FRAME_BYTES;
    let (inbound, outbound) =
        if question.qos == 0 { (publish, FRAME_BYTES) } else { (publish + FRAME_BYTES, FRAME_BYTES + PUBACK_BYTES) };
    say("network in", "Mbit/s", rate * inbound * 8.0 / 1e6, format!("{inbound:.0} bytes a message, one segment each"));
    say("network out", "Mbit/s", rate * outbound * 8.0 / 1e6, format!("{outbound:.0} bytes a message"));
}

fn assumptions(costs: &Costs, readings: f64, row: f64) -> Vec<Assumption> {
    let measured = || format!("measured {}", costs.measured);
    let one = |what: String, source: &str| Assumption { what, source: source.to_owned() };
    vec![
        Assumption { what: format!("reading from and writing to a connection: {:.2} us", costs.service_us), source: measured() },
        Assumption {
            what: format!("a message: {:.2} us + {:.3} us a reading", costs.message_us, costs.reading_us),
            source: measured(),
        },
        Assumption {
            what: format!("a shard that sleeps: {:.0} us a commit, waking up included", costs.commit_us),
            source: measured(),
        },
        Assumption { what: format!("{row:.1} bytes a row with {readings} readings at rest"), source: measured() },
        one(format!("a rule node beyond the default root chain: {NODE_US} us"), "upper estimate from bench/baseline.json"),
        one(format!("a connection: {CONNECTION_BYTES} bytes"), "measured, bench/README.md (tidegate-load idle)"),
        one(
            format!("a resident device state: {STATE_BYTES} bytes + {LATEST_BYTES} a key"),
            "measured with one key, README.md; per key assumed",
        ),
        one(format!("{} connections of one shard at most", limits::CONNECTIONS_PER_SHARD_MAX), "dataplane/src/limits.rs"),
        one(format!("a socket in the kernel: {SOCKET_KERNEL_BYTES} bytes"), "assumed; idle, small windows"),
        one(format!("a tenant {TENANT_BYTES} bytes, a chain {CHAIN_BYTES}"), "assumed"),
        one(format!("a row is written {REWRITES} times by flush and merges"), "assumed for universal compaction, width 4"),
        one("messages come evenly; QoS 0 costs the CPU of QoS 1".to_owned(), "assumed; provide for peaks by --utilization"),
        one("the control plane and its database have a core and a GiB of their own beside these".to_owned(), "assumed"),
    ]
}

fn warnings(question: &Question, shards: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if question.nodes > 1 {
        warnings.push("more than one data plane per control plane has not been exercised in this version".to_owned());
    }
    if shards > 64.0 {
        warnings.push(format!("one process has at most 64 shards and this needs {shards}: raise --nodes"));
    }
    warnings.push("this version hides readings older than their TTL and does not free their space yet".to_owned());
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meters() -> Question {
        Question {
            devices: 1_000_000,
            every_s: 60.0,
            payload: Payload::Meter,
            readings: 3,
            payload_bytes: 53,
            retention_s: 90.0 * 86_400.0,
            qos: 1,
            connected: 1.0,
            tenants: 1,
            chains: 1,
            rule_nodes: 0,
            nodes: 1,
            utilization: 0.5,
        }
    }

    fn figure(answer: &Answer, name: &str) -> f64 {
        answer.figures.iter().find(|figure| figure.name.starts_with(name)).unwrap().per_node
    }

    #[test]
    fn a_million_meters_are_16_667_messages_a_second_and_16_shards_of_connections() {
        let answer = answer(&meters(), &Costs::built_in());
        assert!((figure(&answer, "messages") - 16_666.7).abs() < 0.1);
        assert_eq!(figure(&answer, "cores"), 16.0);
        let rows = figure(&answer, "rows kept") * 1e6;
        assert!((rows - 1_000_000.0 * 60.0 * 24.0 * 90.0).abs() < 1.0);
        let bytes = figure(&answer, "disk, rows") * 1e9 / rows;
        assert!((bytes - Costs::built_in().row_bytes.meter).abs() < 1e-6);
    }

    #[test]
    fn more_of_anything_never_needs_less() {
        let costs = Costs::built_in();
        let least = answer(&meters(), &costs);
        let more: [fn(&mut Question); 5] = [
            |question| question.devices *= 2,
            |question| question.every_s /= 10.0,
            |question| question.readings = 60,
            |question| question.rule_nodes = 50,
            |question| question.utilization = 0.1,
        ];
        for change in more {
            let mut question = meters();
            change(&mut question);
            let answer = answer(&question, &costs);
            for name in ["cores", "memory expected", "disk, rows", "network in"] {
                assert!(figure(&answer, name) >= figure(&least, name), "{name} of {question:?}");
            }
        }
    }

    #[test]
    fn nodes_share_and_totals_add_up() {
        let mut question = meters();
        question.nodes = 4;
        let answer = answer(&question, &Costs::built_in());
        assert_eq!(figure(&answer, "cores"), 4.0);
        let disk = answer.figures.iter().find(|figure| figure.name == "disk, rows").unwrap();
        assert!((disk.total - disk.per_node * 4.0).abs() < 1e-9);
        assert!(answer.warnings[0].contains("more than one data plane"));
    }
}
