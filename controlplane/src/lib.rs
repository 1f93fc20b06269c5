//! Tidegate's control plane: tenants, people, devices, credentials and rule chains behind REST and WebSocket, stored with a
//! change log that is pushed to the data planes.
//!
//! `domain → entity → {access, feed} → telemetry → app → {rest, ws, push}`; arrows point at the user (DESIGN 4).

pub mod access;
pub mod app;
mod clock;
pub mod domain;
pub mod entity;
pub mod error;
pub mod feed;
pub mod migration;
pub mod push;
mod random;
pub mod rest;
pub mod settings;
pub mod start;
pub mod telemetry;
pub mod ws;
