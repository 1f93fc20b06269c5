//! One per core; owns everything above it in the import table, and is the only place that knows the order of things.

pub mod event;
pub mod placement;

pub use event::{Applied, Doorbell, Event, Mailbox};
pub use placement::{Placement, Shards};
