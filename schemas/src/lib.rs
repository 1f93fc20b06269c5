//! What crosses a wire or lies on disk. Both planes meet here and nowhere else.
//!
//! Wire messages (`generated`) are not domain values: `config` and `telemetry` convert them once, at the border,
//! and name what was wrong. Nothing here does IO, asks the time or knows a store.

pub mod alarm;
pub mod alarm_rule;
pub mod calculated;
pub mod chain;
pub mod condition;
pub mod config;
pub mod credential;
pub mod forwarded;
pub mod generated;
pub mod id;
pub mod protobuf;
pub mod rate;
pub mod script;
pub mod settings;
pub mod telemetry;
pub mod wish;
