//! device: being written.
