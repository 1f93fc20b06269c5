//! rules: being written.
