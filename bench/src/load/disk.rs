//! What the file system takes to make appended bytes durable: append, fdatasync, again. The reference beside which durable
//! acknowledgements are read. Writes one file and removes it.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use anyhow::Context as _;
use serde_json::json;

use super::clock;
use super::options::Disk;
use super::report::{self, Quantiles, new_histogram};

/// Beyond this the file is overwritten from its beginning.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// # Errors
/// What the file system says.
pub(crate) fn run(options: &Disk) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    report::say(&format!(
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "bytes", "commits/s", "p50 us", "p99 us", "p99.9 us", "MB/s"
    ));
    for bytes in &options.batch {
        let (commits, seconds, quantiles) = measure(options, *bytes)?;
        let per_second = commits as f64 / seconds;
        let megabytes = per_second * f64::from(*bytes) / 1e6;
        let Quantiles { p50, p99, p999, .. } = quantiles;
        report::say(&format!("{bytes:>10} {per_second:>10.0} {p50:>10.0} {p99:>10.0} {p999:>10.0} {megabytes:>12.1}"));
        rows.push(json!({ "bytes": bytes, "commits_per_s": per_second, "commit_us": quantiles }));
    }
    report::write_json(&json!({ "version": 1, "disk": rows }), options.json.as_deref())
}

fn measure(options: &Disk, bytes: u32) -> anyhow::Result<(u64, f64, Quantiles)> {
    let shown = || format!("--dir {}", options.dir.display());
    let mut file: File = tempfile::tempfile_in(&options.dir).with_context(shown)?;
    let block = vec![0xA5; usize::try_from(bytes)?];
    let mut histogram = new_histogram();
    let start = clock::now();
    let (mut written, mut commits) = (0_u64, 0_u64);
    while clock::now() - start < options.duration.0 {
        if written >= FILE_BYTES_MAX {
            file.rewind().with_context(shown)?;
            written = 0;
        }
        let before = clock::now();
        file.write_all(&block).with_context(shown)?;
        file.sync_data().with_context(shown)?;
        histogram.saturating_record(clock::now() - before);
        written += u64::from(bytes);
        commits += 1;
    }
    let seconds = (clock::now() - start) as f64 / clock::SECOND as f64;
    Ok((commits, seconds, Quantiles::of(&histogram)))
}
