//! Measuring instruments as libraries; the programs in `bin` only call them.

pub mod gate;
pub mod load;
