//! Measuring instruments as libraries; the programs in `bin` only call them.

pub mod capacity;
pub mod gate;
pub mod load;
pub mod server;
