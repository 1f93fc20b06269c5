//! Rules: a chain compiled to a plan, and a message evaluated by it to effects.
//!
//! Evaluation is a function of the message, the plan and what the world answers: no IO, no clock, no failure, no waiting. Knows no
//! protocol and no store.

mod carried;
mod evaluate;
pub mod harness;
mod node;
mod plan;
mod running;
mod simple;
mod template;
#[cfg(test)]
mod tests;
mod world;

pub use evaluate::{Evaluation, Failed, evaluate};
pub use plan::Plan;
pub use running::{NodeCount, Running};
pub use world::{Alone, World};
