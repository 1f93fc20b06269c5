//! Drives the real `tidegate` binary for the whole-system tests: processes, REST, WebSocket, MQTT by third-party clients.
//! Never links the product, so that the product cannot agree with itself; never sleeps to synchronise, it polls with deadlines.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test code: it reads the clock for deadlines, and panics and prints to report"
)]

pub mod harness;
