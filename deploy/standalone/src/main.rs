//! The program `tidegate`: arguments → settings → start → wait → drain. Wires the planes together, decides nothing.

mod arguments;
mod planes;
mod report;
mod run;
mod signal;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use planes::Planes;
use schemas::settings::Role;

/// `EX_USAGE` of sysexits(3): the settings were refused, nothing was started.
const EXIT_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (role, only_check) = match &arguments.command {
        None | Some(Command::Standalone) => (Role::Standalone, false),
        Some(Command::Dataplane) => (Role::Dataplane, false),
        Some(Command::Controlplane) => (Role::Controlplane, false),
        Some(Command::CheckSettings { role }) => ((*role).into(), true),
    };
    let planes = match Planes::gather(role, &arguments) {
        Ok(planes) => planes,
        Err(invalid) => {
            report::refused(&invalid);
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    if only_check {
        report::settings(&planes);
        return ExitCode::SUCCESS;
    }
    match run::run(planes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failed(&error);
            ExitCode::FAILURE
        }
    }
}
