//! `tidegate-load`: an open-loop MQTT load generator with an audit. Says what to run; the work is in the modules below it.

mod audit;
mod backoff;
mod clock;
mod connection;
mod crowd;
mod disk;
mod drive;
mod fleet;
mod floor;
mod handshakes;
mod idle;
mod ledger;
mod live;
mod misuse;
mod options;
mod packet;
mod payload;
mod process;
mod report;
mod rest;
mod schedule;
mod slow;
mod storm;
mod tls;
mod tokens;
mod wire;
mod witness;

use std::process::ExitCode;

use clap::Parser as _;

pub(crate) use clock::wall_ms;
pub(crate) use options::Duration;
use options::{Command, Options};
pub(crate) use process::Process;

/// The whole program: 0 when the run did what it was to do, 1 when it failed or the audit found something, 2 for arguments.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        None => run(&options),
        Some(Command::Fleet(fleet)) => fleet::run(fleet).map(|()| true),
        Some(Command::Idle(idle)) => idle::run(idle).map(|()| true),
        Some(Command::Handshakes(handshakes)) => handshakes::run(handshakes).map(|()| true),
        Some(Command::Storm(storm)) => storm::run(storm),
        Some(Command::Slow(slow)) => slow::run(slow),
        Some(Command::Disk(disk)) => disk::run(disk).map(|()| true),
        Some(Command::Floor(floor)) => floor::run(floor).map(|()| true),
        Some(Command::Verify(verify)) => audit::run(verify),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&error);
            if error.is::<misuse::Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// A message of a built-in payload (`meter`, `tracker`, `plc`), for other instruments.
///
/// # Panics
/// There is no payload of that name.
#[must_use]
pub fn sample(name: &str) -> Vec<u8> {
    let choice = match name {
        "meter" => payload::Choice::Meter,
        "tracker" => payload::Choice::Tracker,
        "plc" => payload::Choice::Plc,
        other => panic!("no built-in payload is called {other}"),
    };
    let readings = payload::Readings::of(&choice).unwrap_or_else(|misuse| panic!("built-in payloads are valid: {misuse}"));
    readings.plain().render(payload::Message::default())
}

/// One load, its accounting, its audit.
fn run(options: &Options) -> anyhow::Result<bool> {
    let plan = options.load.plan()?;
    if let Some(core) = options.load.core {
        process::pin(core)?;
    }
    let mut outcome = drive::run(&plan)?;
    if let Some(audit) = options.load.audit()? {
        ledger::write(&audit.ledger, &outcome.ledger)?;
        outcome.report.audit = Some(audit::verify(&audit.platform, &outcome.ledger)?);
    }
    if options.load.audit_later {
        ledger::write(&options.load.ledger, &outcome.ledger)?;
    }
    report::show(&outcome.report, options.load.json.as_deref())?;
    let clean = outcome.report.audit.as_ref().is_none_or(|audit| audit.is_clean());
    let lost = outcome.report.lost_connections > 0 && !options.load.reconnect;
    Ok(clean && !lost && outcome.report.unanswered == 0)
}
