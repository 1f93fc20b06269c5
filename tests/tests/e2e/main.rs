//! Whole-system tests: the real binary, third-party clients, plain HTTP. Each test has its own process, data and ports.
//! Never sleeps to synchronise and never asserts a speed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code: it reads the clock to report times, and panics and prints to report"
)]

mod attributes;
mod badinput;
mod chains;
mod connectivity;
mod diskfull;
mod drain;
mod idle;
mod independence;
mod isolation;
mod live;
mod load;
mod publish;
mod rest;
mod sdk;
mod settings;
mod shards;
