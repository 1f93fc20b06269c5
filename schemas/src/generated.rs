//! Checked-in output of the schema compilers. Nobody edits it: `schemas/codegen` writes it and checks it.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::allow_attributes_without_reason,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    elided_lifetimes_in_paths,
    reason = "generated code is judged by its compiler"
)]

#[rustfmt::skip]
#[path = "generated/tidegate.config.v1.rs"]
pub mod config;
#[rustfmt::skip]
#[path = "generated/tidegate.query.v1.rs"]
pub mod query;
#[rustfmt::skip]
#[path = "generated/tidegate.registry.v1.rs"]
pub mod registry;
#[rustfmt::skip]
#[path = "generated/tidegate.kept.v1.rs"]
pub mod kept;
#[rustfmt::skip]
#[path = "generated/record_generated.rs"]
pub mod record_generated;

pub use record_generated::tidegate::record;
