//! The place of the threads that write out full buffers: behind shards, which rest when buffers pile up (`Ledger::rest_us`),
//! and before merges. RocksDB itself knows only the ends, as important as a shard or last of all.

use std::{fs, path::Path};

use rustix::process::{Pid, setpriority_process};

/// A tenth of what a shard on the same core gets.
const NICE: i32 = 10;
/// What RocksDB calls these threads.
const NAME: &str = "rocksdb:high";

/// Lowers the threads that write out buffers; false as long as there are none, since RocksDB starts them when it needs them.
pub(super) fn lower_flushes() -> bool {
    // Where there is no procfs or no permission, they keep the shard's priority and latency suffers.
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return true };
    let mut found = false;
    for task in tasks.flatten() {
        if is_flush(&task.path()) {
            found = true;
            let thread = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Err(error) = setpriority_process(thread, NICE) {
                tracing::debug!(%error, "a thread that writes out buffers keeps its priority");
            }
        }
    }
    found
}

fn is_flush(task: &Path) -> bool {
    fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(NAME))
}
