//! admin: being written.
