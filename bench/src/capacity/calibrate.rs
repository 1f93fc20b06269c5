//! Measures a machine's costs by running `tidegate` and `tidegate-load` as a user would, and proves a prediction the same way.

use super::costs::{self, Costs, RowBytes};
use super::show::progress;
use crate::server::{CONNECTIONS, Run, Server};

/// Messages per read of a connection in the deep runs.
const DEPTH: f64 = 16.0;
/// Rates at which a shard sleeps most of the time and now and then, messages a second.
const SPARSE: &str = "3000";
const DENSE: &str = "30000";
/// What is predicted: another payload at another rate.
const PROOF: &str = "12000";
const PROOF_READINGS: f64 = 5.0;
const CPU_TOLERANCE: f64 = 0.25;
const DISK_TOLERANCE: f64 = 0.10;
const METER_READINGS: f64 = 3.0;
const PLC_READINGS: f64 = 60.0;

/// Measures this machine. Takes about a minute and a half; says on stderr how far it is.
///
/// # Errors
/// The programs are not beside this one, or a run fails.
pub(crate) fn calibrate() -> anyhow::Result<Costs> {
    let mut server = Server::start()?;
    // First, while there is nothing yet that could be merged beside them.
    progress("calibrating, 1 of 6: 3 readings, 3,000 a second");
    let sparse = server.load("meter", &["--rate", SPARSE])?;
    progress("calibrating, 2 of 6: 3 readings, 30,000 a second");
    let dense = server.load("meter", &["--rate", DENSE])?;
    progress("calibrating, 3 of 6: 3 readings, 1 in flight");
    let alone = server.load("meter", &["--in-flight", "1"])?.cpu_us;
    progress("calibrating, 4 of 6: 3 readings, 16 in flight");
    let deep = server.load("meter", &["--in-flight", "16"])?.cpu_us;
    let meter = server.bytes_per_row()?;
    progress("calibrating, 5 of 6: 5 readings, 16 in flight");
    let mut server = Server::start()?;
    server.load("tracker", &["--in-flight", "16"])?;
    let tracker = server.bytes_per_row()?;
    progress("calibrating, 6 of 6: 60 readings, 16 in flight");
    let mut server = Server::start()?;
    let controller = server.load("plc", &["--in-flight", "16"])?.cpu_us;
    let plc = server.bytes_per_row()?;
    let service_us = (alone - deep) / (1.0 - 1.0 / DEPTH);
    let reading_us = ((controller - deep) / (PLC_READINGS - METER_READINGS)).max(0.0);
    let message_us = (deep - service_us / DEPTH - reading_us * METER_READINGS).max(0.0);
    let commit_us = disturbance(&[sparse, dense], alone);
    Ok(Costs {
        measured: format!("{} on {}, tidegate {}", today(), processor(), env!("CARGO_PKG_VERSION")),
        service_us,
        message_us,
        reading_us,
        commit_us,
        row_bytes: RowBytes { meter, tracker, plc },
    })
}

/// Solves `Costs::load` for what a commit costs, in microseconds: the mean over runs.
fn disturbance(runs: &[Run], alone_us: f64) -> f64 {
    let commit_us = |run: &Run| {
        let busy = run.rate / 1e6 * alone_us;
        let disturbed = ((run.cores - busy) / (1.0 - busy)).max(0.0);
        disturbed * 1e6 / costs::commits(run.rate, busy)
    };
    runs.iter().map(commit_us).sum::<f64>() / runs.len() as f64
}

/// A prediction beside what a run measured.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) load: String,
    cpu_us: (f64, f64),
    row_bytes: (f64, f64),
}

impl Proof {
    /// What, predicted, measured, how far off it may be.
    pub(crate) fn rows(&self) -> [(&'static str, f64, f64, f64); 2] {
        let ((cpu, used), (bytes, taken)) = (self.cpu_us, self.row_bytes);
        [("CPU, us a message", cpu, used, CPU_TOLERANCE), ("disk, bytes a row", bytes, taken, DISK_TOLERANCE)]
    }

    pub(crate) fn holds(&self) -> bool {
        self.rows().iter().all(|(_, predicted, measured, tolerance)| (predicted / measured - 1.0).abs() <= *tolerance)
    }
}

/// Predicts a load that was not measured, and runs it.
///
/// # Errors
/// As [`calibrate`].
pub(crate) fn prove(costs: &Costs) -> anyhow::Result<Proof> {
    progress("proving: 5 readings, 12,000 a second");
    let mut server = Server::start()?;
    let alone = costs.alone_us(PROOF_READINGS);
    let run = server.load("tracker", &["--rate", PROOF])?;
    // Rows enough that a file's own bytes do not count.
    let _filling = server.load("tracker", &["--in-flight", "16"])?;
    let taken = server.bytes_per_row()?;
    Ok(Proof {
        load: format!("{CONNECTIONS} connections, 5 readings a message, {:.0} messages/s", run.rate),
        cpu_us: (costs.load(run.rate, alone) / run.rate * 1e6, run.cpu_us),
        row_bytes: (costs.row_bytes.tracker, taken),
    })
}

fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "an unnamed processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn today() -> String {
    let seconds = i64::try_from(crate::load::wall_ms() / 1_000).unwrap_or(0);
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| "an unknown day".to_owned(), |now| now.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disturbs_a_sleeping_shard_is_found_again() {
        let costs = Costs::built_in();
        let alone = costs.alone_us(3.0);
        let run = |rate: f64| Run { cpu_us: 0.0, rate, cores: costs.load(rate, alone) };
        let commit_us = disturbance(&[run(3_000.0), run(30_000.0)], alone);
        assert!((commit_us - costs.commit_us).abs() < 1e-6, "{commit_us}");
    }

    #[test]
    fn a_proof_holds_within_its_tolerances_only() {
        let proof = |cpu, disk| Proof { load: String::new(), cpu_us: (cpu, 10.0), row_bytes: (disk, 100.0) };
        assert!(proof(12.4, 109.0).holds() && proof(7.6, 91.0).holds());
        assert!(!proof(12.6, 100.0).holds() && !proof(10.0, 89.0).holds());
    }
}
