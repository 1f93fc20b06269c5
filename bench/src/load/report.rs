//! What a run found, as a table for people and as JSON for programs. The only file that prints. Never measures.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the program's output")]

use hdrhistogram::Histogram;
use serde::Serialize;

/// Nanoseconds, three digits, up to an hour.
pub(crate) fn new_histogram() -> Histogram<u64> {
    // The bounds are constants that the library accepts.
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    pub(crate) count: u64,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p999: us(0.999),
            max: histogram.max() as f64 / 1e3,
            mean: histogram.mean() / 1e3,
            count: histogram.len(),
        }
    }
}

/// Of the server's process, between the end of the warm-up and the end of the run or, with --drain, of what it had to do.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Server {
    pub(crate) cpu_us_per_message: f64,
    pub(crate) user_us_per_message: f64,
    pub(crate) system_us_per_message: f64,
    pub(crate) cpu_s: f64,
    pub(crate) drain_cpu_s: f64,
    pub(crate) rss_start_bytes: u64,
    pub(crate) rss_end_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    pub(crate) fds_start: u64,
    pub(crate) fds_end: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Own {
    pub(crate) cpu_us_per_message: f64,
}

/// What reading back found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Audited {
    pub(crate) devices: u64,
    /// Acknowledged messages looked for.
    pub(crate) checked: u64,
    pub(crate) missing: u64,
    pub(crate) altered: u64,
    pub(crate) out_of_order: u64,
    /// The first findings, in words.
    pub(crate) findings: Vec<String>,
}

impl Audited {
    pub(crate) fn is_clean(&self) -> bool {
        self.missing == 0 && self.altered == 0 && self.out_of_order == 0
    }
}

/// One run. Counts are of messages between the end of the warm-up and the end of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) version: u32,
    pub(crate) label: String,
    pub(crate) protocol: &'static str,
    pub(crate) tls: bool,
    pub(crate) qos: u8,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) rate_target: Option<u64>,
    pub(crate) payload: String,
    pub(crate) payload_bytes: usize,
    pub(crate) duration_s: f64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    /// Sent and, ten seconds after the end, neither acknowledged nor refused.
    pub(crate) unanswered: u64,
    pub(crate) lost_connections: u64,
    pub(crate) reconnects: u64,
    pub(crate) rate_per_s: f64,
    /// None with QoS 0: nothing is acknowledged.
    pub(crate) ack_us: Option<Quantiles>,
    pub(crate) websocket_us: Option<Quantiles>,
    pub(crate) server: Option<Server>,
    pub(crate) load: Own,
    pub(crate) audit: Option<Audited>,
}

/// Prints the table, or the JSON in its place.
///
/// # Errors
/// The JSON file cannot be written.
pub(crate) fn show(report: &Report, json: Option<&str>) -> anyhow::Result<()> {
    if json != Some("-") {
        table(report);
    }
    write_json(report, json)
}

/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(value: &impl Serialize, path: Option<&str>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)?;
    if path == "-" {
        println!("{text}");
        return Ok(());
    }
    std::fs::write(path, text + "\n").map_err(|error| anyhow::anyhow!("--json {path}: {error}"))
}

pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// A line of progress.
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}

pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("tidegate-load: {error:#}");
}

fn table(report: &Report) {
    let target = report.rate_target.map_or_else(|| "max".to_owned(), |rate| format!("{rate}/s"));
    println!(
        "{} MQTT {}{} QoS {}, {} connections x {} in flight, rate {target}, payload {} ({} bytes), {:.1} s",
        report.label,
        report.protocol,
        if report.tls { " over TLS" } else { "" },
        report.qos,
        report.connections,
        report.in_flight,
        report.payload,
        report.payload_bytes,
        report.duration_s
    );
    println!(
        "  sent {}, acknowledged {}, refused {}, unanswered {}, connections lost {}, reconnects {}",
        report.sent, report.acked, report.refused, report.unanswered, report.lost_connections, report.reconnects
    );
    println!("  {:.0} messages/s; the generator took {:.2} us CPU each", report.rate_per_s, report.load.cpu_us_per_message);
    quantiles("acknowledged after", report.ack_us.as_ref());
    quantiles("seen on WebSocket after", report.websocket_us.as_ref());
    if let Some(server) = &report.server {
        println!(
            "  server: {:.2} us CPU per message ({:.2} user, {:.2} system), {:.1} s in all, {:.1} s of it after the load",
            server.cpu_us_per_message, server.user_us_per_message, server.system_us_per_message, server.cpu_s, server.drain_cpu_s
        );
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  server: RSS {:.1} -> {:.1} MiB (peak {:.1}), descriptors {} -> {}",
            mib(server.rss_start_bytes),
            mib(server.rss_end_bytes),
            mib(server.rss_peak_bytes),
            server.fds_start,
            server.fds_end
        );
    }
    if let Some(audit) = &report.audit {
        audited(audit);
    }
}

fn quantiles(what: &str, quantiles: Option<&Quantiles>) {
    if let Some(Quantiles { p50, p90, p99, p999, max, .. }) = quantiles {
        println!("  {what}: p50 {p50:.0} p90 {p90:.0} p99 {p99:.0} p99.9 {p999:.0} max {max:.0} us");
    }
}

pub(crate) fn audited(audit: &Audited) {
    let verdict = if audit.is_clean() { "PASSED" } else { "FAILED" };
    println!(
        "  audit {verdict}: {} acknowledged messages of {} devices checked, {} missing, {} altered, {} out of order",
        audit.checked, audit.devices, audit.missing, audit.altered, audit.out_of_order
    );
    for finding in &audit.findings {
        println!("    {finding}");
    }
}
