//! One per core; owns everything above it in the import table, and is the only place that knows the order of things.

pub mod bell;
mod calculating;
pub mod event;
pub mod listening;
pub mod mesh;
pub mod placement;
pub mod run;

mod admitting;
mod alarming;
mod asking;
mod calling;
mod channel;
mod connection;
mod decoding;
mod delivering;
mod downloading;
mod dues;
mod elapsing;
mod fairness;
mod forwarding;
mod gateway;
mod inquiring;
mod known;
mod ledger;
mod letter;
mod limiting;
mod making;
mod needing;
mod operating;
mod outbox;
mod owing;
mod passages;
mod passing;
mod reads;
mod reporting;
mod requests;
mod residents;
mod resuming;
mod reviving;
mod saving;
mod serve;
mod shares;
mod sightings;
mod slab;
#[cfg(test)]
mod tests;
mod turn;
mod unanswered;
mod upkeep;
mod watching;
mod work;

pub use calling::Submit;
pub use event::{Applied, Doorbell, Event, Mailbox};
pub use placement::{Placement, Shards};
pub use sightings::{Seen, Trace};
