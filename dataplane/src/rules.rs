//! Rules: a chain compiled to a plan, and a message evaluated by it to effects.
//!
//! Evaluation is a function: no IO, no clock, no failure, no waiting, no string compared. Knows no protocol and no store.

mod evaluate;
mod node;
mod plan;
#[cfg(test)]
mod tests;

pub use evaluate::{Evaluation, NodeCounts, evaluate};
pub use plan::Plan;
