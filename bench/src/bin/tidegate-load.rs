//! The program `tidegate-load`: hands the arguments to the load generator. Decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::load::main()
}
