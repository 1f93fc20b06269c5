//! Prometheus text exposition of the counters, the link and the process. Never invents a name: counters bring theirs.

use std::{
    fmt::{Display, Write},
    fs,
};

use crate::link;
use crate::metric::{Counter, ShardReport};

/// The whole page.
pub(super) fn render(shards: &[ShardReport], link: &link::Status) -> String {
    let mut page = Page(String::new());
    for counter in Counter::ALL {
        page.head(counter.name(), counter.help(), counter.is_gauge());
        for (shard, report) in shards.iter().enumerate() {
            page.sample(counter.name(), &format!("{{shard=\"{shard}\"}}"), report.counters.get(*counter));
        }
    }
    let position = link.position();
    page.gauge("tidegate_link_connected", "1 while the control plane is connected", u8::from(link.connected()));
    page.gauge("tidegate_link_configured", "1 once a configuration was loaded", u8::from(link.configured()));
    page.gauge("tidegate_link_from_cache", "1 when the start found a cached configuration", u8::from(link.from_cache()));
    page.gauge("tidegate_link_cache_behind", "1 while changes do not reach the cache", u8::from(link.cache_behind()));
    page.gauge("tidegate_link_revision", "configuration revision applied by all shards", position.revision);
    page.counter("tidegate_link_reconnects_total", "connections to the control plane that ended or failed", link.reconnects());
    page.counter("tidegate_link_changes_refused_total", "configuration changes refused", link.refused());
    page.head("tidegate_build_info", "version of the program", true);
    page.sample("tidegate_build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "resident memory", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "open file descriptors", open.count());
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, is_gauge: bool) {
        let kind = if is_gauge { "gauge" } else { "counter" };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, true);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, false);
        self.sample(name, "", value);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// From `VmRSS:   123 kB`.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
