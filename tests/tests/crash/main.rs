//! Crash tests: `kill -9` at random moments and power cuts, under sustained load. Every acknowledged message is read back, what is
//! promised exactly once is counted, and what devices are owed arrives.
//! Never synchronises by time: a kill comes after a random number of acknowledgements.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code: it panics and prints to report"
)]

mod exactly_once;
mod kept;
mod kill;
mod owed;
mod powercut;

use tests::harness::fixture::{devices, tenant};
use tests::harness::instance::Instance;
use tests::harness::load::Ledger;
use tests::harness::mqtt::{V5, V311};

/// Ledgers of new devices, half of them 3.1.1 and half 5.
fn ledgers(instance: &Instance, count: usize) -> Vec<Ledger> {
    let made = devices(&tenant(instance), "crash", count);
    made.into_iter().zip([V311, V5].into_iter().cycle()).map(|(device, version)| Ledger::new(device, version)).collect()
}
