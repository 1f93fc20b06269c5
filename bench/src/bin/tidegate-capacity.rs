//! The program `tidegate-capacity`: hands the arguments to the planner. Decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::capacity::main()
}
