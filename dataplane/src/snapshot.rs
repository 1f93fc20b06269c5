//! The configuration a data plane runs on: a shared directory (credential → device) read once per connection, and a
//! table per shard with everything else. Does no IO; changes arrive as checked domain values.

pub mod change;
pub mod directory;
pub mod related;
pub mod table;

pub use change::{ShardChange, compile};
pub use directory::Directory;
pub use table::{DeviceFacts, Table};
