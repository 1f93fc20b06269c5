//! start: being written.
