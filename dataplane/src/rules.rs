//! Rules: a chain compiled to a plan, and a message evaluated by it to effects.
//!
//! Evaluation is a function of the message, the plan and what the world answers: no IO, no clock, no failure, no waiting. A fact that
//! the world has to find first ends it without effects; it begins anew when the fact is there. Knows no protocol and no store.

pub mod calculated;
mod carried;
mod evaluate;
mod fact;
pub mod harness;
mod node;
mod plan;
mod running;
mod sighting;
mod simple;
mod template;
#[cfg(test)]
mod tests;
mod world;

pub use evaluate::{Comes, Evaluation, Failed, begin, call, elapse, evaluate, evaluate_again, generator, resume, together, wish};
pub use fact::{Absent, Fact, Found, NAMES};
pub use node::timed::{Pack, Pending};
pub use plan::{Plan, Timer};
pub use running::{NodeCount, Running};
pub use sighting::{AtNode, Sighting};
pub use world::{Alone, World};
