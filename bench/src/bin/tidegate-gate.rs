//! `tidegate-gate [CASE]`: runs one case of the instruction gate, or lists them. For `bench/gate.sh`. Counts nothing itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the program's output")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        println!("iterations {}", bench::gate::ITERATIONS);
        bench::gate::cases().iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    if bench::gate::run(&name) {
        return ExitCode::SUCCESS;
    }
    eprintln!("tidegate-gate: there is no case \"{name}\"");
    ExitCode::from(2)
}
