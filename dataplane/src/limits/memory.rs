//! The memory that the bounds add up to, and the pools that `memory_max` divides (DESIGN 8.2, 6). Adds; never measures anything.

use super::*;

/// One named term of the memory sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub name: &'static str,
    pub bytes: usize,
}

/// The bounds that `memory_max` divides: of one shard, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    pub connections: usize,
    pub partial_bytes: usize,
    pub output_bytes: usize,
    pub promises: usize,
    pub state_bytes: usize,
    /// Tenants whose scripts stay compiled.
    pub script_engines: usize,
    pub write_buffer_bytes: usize,
    /// Of the process.
    pub block_cache_bytes: usize,
}

impl Pools {
    /// Where memory is no question.
    pub const FULL: Self = Self {
        connections: CONNECTIONS_PER_SHARD_MAX,
        partial_bytes: PARTIAL_BYTES_PER_SHARD_MAX,
        output_bytes: OUTPUT_BYTES_PER_SHARD_MAX,
        promises: PROMISES_PER_SHARD_MAX,
        state_bytes: DEVICE_STATES_BYTES_PER_SHARD,
        script_engines: SCRIPT_ENGINES_MAX,
        write_buffer_bytes: WRITE_BUFFER_BYTES_PER_SHARD,
        block_cache_bytes: BLOCK_CACHE_BYTES,
    };

    /// The largest pools with which a process of `shards` shards stays within `memory_max` bytes: full ones, or as many
    /// sixteenths of them as fit.
    ///
    /// # Errors
    /// The bytes that the smallest pools need.
    pub fn within(memory_max: u64, shards: usize) -> Result<Self, u64> {
        let fits = |pools: &Self| pools.process_bytes(shards) <= memory_max;
        let smallest = Self::sixteenths(1);
        (1..=16).rev().map(Self::sixteenths).find(fits).ok_or_else(|| smallest.process_bytes(shards))
    }

    const fn sixteenths(parts: usize) -> Self {
        let full = Self::FULL;
        Self {
            connections: full.connections / 16 * parts,
            partial_bytes: full.partial_bytes / 16 * parts,
            output_bytes: full.output_bytes / 16 * parts,
            promises: full.promises / 16 * parts,
            state_bytes: full.state_bytes / 16 * parts,
            script_engines: full.script_engines / 16 * parts,
            write_buffer_bytes: full.write_buffer_bytes / 16 * parts,
            block_cache_bytes: full.block_cache_bytes / 16 * parts,
        }
    }

    /// What one shard may hold, term by term (DESIGN 8.2, 6).
    #[must_use]
    pub fn per_shard(&self, shards: usize) -> Vec<Term> {
        let term = |name, bytes| Term { name, bytes };
        vec![
            term("connections", self.connections * CONNECTION_BYTES),
            term("read buffers", READ_BUFFERS_PER_SHARD * READ_BUFFER_BYTES),
            term("TLS records", TLS_RECORDS_BYTES),
            term("partial packets", self.partial_bytes),
            term("output", self.output_bytes),
            term("promises", self.promises * PROMISE_BYTES),
            term("mailbox", MAILBOX_EVENTS_MAX * EVENT_BYTES),
            term("mesh rings", shards.saturating_sub(1) * MESH_SLOTS * MESH_SLOT_BYTES),
            term("device states", self.state_bytes),
            term("scripts", self.script_engines * SCRIPT_MEMORY_BYTES_MAX),
            term("batch", BATCH_BYTES_MAX * 2),
            term("parked messages", PARKED_BYTES_PER_SHARD_MAX),
            term("sightings", SIGHTINGS_BYTES_PER_SHARD_MAX),
            term(
                "calls",
                CALLS_PER_SHARD_MAX * CALL_BYTES + CALLS_BYTES_PER_SHARD_MAX + CLIENT_CALLS_PER_SHARD_MAX * CLIENT_CALL_BYTES,
            ),
            // Those on their way to the control plane and those on their way from the disk come on top.
            term("changed alarms", ALARMS_WAITING_BYTES_MAX + ALARMS_AT_ONCE_BYTES_MAX * 3),
            term("packs", FORWARDS_PER_SHARD_MAX * FORWARD_BYTES + FORWARD_BYTES_PER_SHARD_MAX),
            term(
                "outbox",
                OWED_CALLS_PER_SHARD_MAX * OWED_CALL_BYTES + CALLS_AT_ONCE_BYTES_MAX + CALLS_AT_ONCE_MAX * CALL_ANSWER_BYTES_MAX,
            ),
            // Those that wait together are read together.
            term(
                "waiting messages",
                WAITING_PER_SHARD_MAX * WAITING_BYTES + DUE_BYTES_AT_ONCE_MAX + WAITING_BYTES_PER_ENTITY_MAX,
            ),
            term(
                "messages to other originators",
                PASSAGES_PER_SHARD_MAX * PASSAGE_BYTES + PASSAGES_UNDER_WAY_BYTES + MARKS_BYTES,
            ),
            // Two memtables per column family can exist while one is flushed.
            term("write buffers", self.write_buffer_bytes * 2),
            term("block cache share", self.block_cache_bytes / shards.max(1)),
            term("key names", KEY_NAMES_PER_SHARD_MAX * KEY_NAME_BYTES),
            term("failed logins", 2 * THROTTLE_RECORDS_PER_SHARD * LOGIN_RECORD_BYTES + TRUSTED_LOGINS_PER_SHARD * 8),
            term("addresses", self.connections * ADDRESS_BYTES),
            term("query", QUERY_BYTES_MAX),
            term("requests", REQUESTS_PER_SHARD_MAX * REQUEST_BYTES),
        ]
    }

    /// What the process may hold: its shards and what it holds without any, in bytes.
    #[must_use]
    pub fn process_bytes(&self, shards: usize) -> u64 {
        let per_shard: usize = self.per_shard(shards).iter().map(|term| term.bytes).sum();
        u64::try_from(per_shard.saturating_mul(shards).saturating_add(PROCESS_BYTES)).unwrap_or(u64::MAX)
    }
}

/// What one shard with full pools may hold, term by term; used by the capacity planner.
#[must_use]
pub fn memory_per_shard(shards: usize) -> Vec<Term> {
    Pools::FULL.per_shard(shards)
}

/// A process without devices: code, threads, the control plane and its database (35 MiB when idle, bench/README.md), and one
/// password hash in the making (46 MiB).
pub const PROCESS_BYTES: usize = 96 << 20;
/// User-space bytes of an idle connection: socket, session and slab entry (measured: 1.2 KiB, bench/README.md).
const CONNECTION_BYTES: usize = 1_536;
/// A receipt, an answer or an update with its ticket; what an update carries comes on top and is bounded per watcher.
const PROMISE_BYTES: usize = 128;
/// What is known of an address or a credential that failed.
pub const LOGIN_RECORD_BYTES: usize = 32;
/// How many connections an address has. Each could have another one, and a map doubles.
const ADDRESS_BYTES: usize = 40;
/// A key's name, shared by both directions of a dictionary, with its entries.
const KEY_NAME_BYTES: usize = 128;
/// What is remembered of a QoS 2 pack, its place in a map that doubles included.
const FORWARD_BYTES: usize = 256;
/// What is remembered of a call of the server beside what it says: its places in two trees, which may be half empty, its asker.
pub const CALL_BYTES: usize = 320;
/// What is remembered of a device's call that has no answer yet.
pub const CLIENT_CALL_BYTES: usize = 96;
/// What is remembered of a call that is owed, at worst one of its own queue.
const OWED_CALL_BYTES: usize = 256;
/// What is remembered of a message that waits, at worst the only one of its originator, and its place among the times.
const WAITING_BYTES: usize = 320;
/// What is remembered of a message on its way to another originator, at worst one of its own pair.
const PASSAGE_BYTES: usize = 256;
/// Those that are sent and not taken, the one that exceeds what is sent at once included.
const PASSAGES_UNDER_WAY_BYTES: usize = PASSAGE_PAIRS_AT_ONCE_MAX * (PASSAGES_AT_ONCE_BYTES_MAX + DATA_BYTES_MAX);
/// Up to which number each partition has taken messages of each, and of the control plane.
const MARKS_BYTES: usize = 1_024 * 1_025 * 8;
/// What is remembered of a request that waits, its place in a map that doubles included.
const REQUEST_BYTES: usize = 256;
const EVENT_BYTES: usize = 128;
const MESH_SLOT_BYTES: usize = 16;
