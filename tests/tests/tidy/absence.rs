//! What must not appear, and where the exceptions are.

use crate::source::{Finding, Marks, Source};
use crate::table::{ASYNC, CLOCKS, UNSAFE};

const DATAPLANE: &str = "dataplane/src/";
/// The checks name what they forbid.
const SELF: &str = "tests/tests/tidy";

/// Protocol, rules and store are plain functions over values.
pub(crate) fn asynchrony(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module(DATAPLANE) else { return Vec::new() };
    if ASYNC.contains(&module) {
        return Vec::new();
    }
    let says = format!("{module} may not wait: async belongs to {ASYNC:?}");
    Marks::of(source).asyncs.iter().map(|line| source.finding(*line, says.clone())).collect()
}

pub(crate) fn unsafety(source: &Source) -> Vec<Finding> {
    if UNSAFE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    Marks::of_all(source).unsafes.iter().map(|line| source.finding(*line, format!("unsafe belongs to {UNSAFE:?}"))).collect()
}

/// Time is an argument.
pub(crate) fn os_clock(source: &Source) -> Vec<Finding> {
    let judged = ["dataplane/src/", "controlplane/src/", "schemas/src/"].iter().any(|folder| source.is_in(folder));
    if !judged || CLOCKS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let marks = Marks::of(source);
    let reads = |path: &[String]| {
        let last_two = path.len().checked_sub(2).map(|start| (path[start].as_str(), path[start + 1].as_str()));
        matches!(last_two, Some(("Instant" | "SystemTime" | "Utc" | "Local" | "OffsetDateTime", "now" | "now_utc")))
            || path.iter().any(|segment| segment == "SystemTime")
    };
    let paths = marks.paths.iter().filter(|(path, _)| reads(path)).map(|(_, line)| *line);
    paths.map(|line| source.finding(line, format!("only {CLOCKS:?} read the clock"))).collect()
}

/// A shard owns what it works on; the tokio side uses channels.
pub(crate) fn locks(source: &Source) -> Vec<Finding> {
    if !source.is_in(DATAPLANE) {
        return Vec::new();
    }
    let is_lock = |segment: &String| matches!(segment.as_str(), "Mutex" | "RwLock" | "DashMap" | "parking_lot" | "Condvar");
    let marks = Marks::of(source);
    let paths = marks.paths.iter().filter(|(path, _)| path.iter().any(is_lock));
    paths.map(|(path, line)| source.finding(*line, format!("{} is a lock", path.join("::")))).collect()
}

/// What cannot be finished is left out and said, not promised in the code.
pub(crate) fn unfinished(source: &Source) -> Vec<Finding> {
    if source.is_in(SELF) {
        return Vec::new();
    }
    let macros = Marks::of_all(source).macros;
    let mut findings: Vec<Finding> = macros
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "todo" | "unimplemented"))
        .map(|(name, line)| source.finding(*line, format!("{name}!")))
        .collect();
    let words = ["TODO", "FIXME", "XXX:", "HACK:"];
    for (index, line) in source.text.lines().enumerate() {
        if let Some(word) = words.iter().find(|word| line.contains(*word)) {
            findings.push(source.finding(index + 1, *word));
        }
    }
    findings
}

/// The tree must mean the same on every machine.
pub(crate) fn machine_paths(source: &Source) -> Vec<Finding> {
    if source.is_in(SELF) {
        return Vec::new();
    }
    let prefixes = ["/work/", "/root/", "/home/", "/Users/"];
    let named = source.text.lines().enumerate().filter_map(|(index, line)| {
        let prefix = prefixes.iter().find(|prefix| line.contains(*prefix))?;
        Some(source.finding(index + 1, format!("{prefix} is a path of some machine")))
    });
    named.collect()
}
