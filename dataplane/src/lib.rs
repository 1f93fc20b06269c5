//! The data plane: one shard per core.
//!
//! ```text
//!  socket ─ transport ─ codec ─ session ──► MESSAGE ──► rules ──► EFFECT ──┬─► store  ─► ticket ┐
//!               ▲                  ▲  ▲                                    │                    │
//!               │                  │  └──── downlink ◄─────────────────────┘                    │
//!               └── bytes ─────────┴──────── receipt settled ◄──────────────────────────────────┘
//! ```
//!
//! A shard works in turns of seven verbs: gather, advance, admit, evaluate, persist, settle, flush (`shard/turn.rs`).
//! This file owns no items, so that the import table can be checked line by line (`tests/tests/tidy.rs`).

pub mod action;
pub mod admin;
pub mod auth;
pub mod clock;
pub mod codec;
pub mod device;
pub mod effect;
pub mod limits;
pub mod link;
pub mod message;
pub mod metric;
pub mod owed;
pub mod payload;
pub mod progress;
pub mod query;
pub mod quota;
pub mod registry;
pub mod rules;
pub mod script;
pub mod session;
pub mod settings;
pub mod shard;
pub mod snapshot;
#[cfg(feature = "rocks")]
pub mod start;
pub mod store;
pub mod transport;
pub mod wheel;
