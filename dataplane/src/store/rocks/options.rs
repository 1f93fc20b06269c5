//! How the databases are set up, and what they share. Values only; opens nothing.

use std::thread;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, DBRecoveryMode, Env, LogLevel, Options, SliceTransform,
    UniversalCompactOptions, WriteBufferManager,
};

use crate::{
    limits::{self, Pools},
    store::{Family, StoreError, key},
};

/// What the databases of a process share.
pub(super) struct Shared {
    env: Env,
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
}

impl Shared {
    pub(super) fn new(shards: u16, pools: &Pools) -> Result<Self, StoreError> {
        let mut env = Env::new().map_err(|error| StoreError::Failed(error.into_string()))?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = i32::try_from(cores.min(usize::from(shards).max(2))).unwrap_or(2);
        env.set_high_priority_background_threads(threads.min(2));
        env.set_low_priority_background_threads(threads);
        // A merge can wait, a shard on the same core cannot. Flushes are in between (`priority`).
        env.lower_thread_pool_cpu_priority();
        let cache = Cache::new_hyper_clock_cache(pools.block_cache_bytes, 0);
        // Never stalls: a stalled writer would be a shard's thread. Reaching the budget starts flushes early.
        let write_buffers = WriteBufferManager::new_write_buffer_manager(pools.write_buffer_bytes * usize::from(shards), false);
        Ok(Self { env, cache, write_buffers, write_buffer_bytes: pools.write_buffer_bytes })
    }

    /// Options of one database.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.write_buffers);
        // A write only appends to a buffer; the commit lane hands it over and syncs.
        options.set_manual_wal_flush(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_track_and_verify_wals_in_manifest(true);
        // One writer: its thread.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        options.set_max_open_files(limits::STORE_FILES_PER_SHARD);
        options.set_max_total_wal_size(2 * self.write_buffer_bytes as u64);
        options.set_max_background_jobs(4);
        options.set_bytes_per_sync(1 << 20);
        options.set_skip_stats_update_on_db_open(true);
        options.set_stats_dump_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        options
    }

    /// Options of one column family. Four memtables of each make the two budgets of `limits::memory_per_shard`.
    pub(super) fn family(&self, family: Family) -> Result<Options, StoreError> {
        let mut options = match family {
            Family::Rows => rows()?,
            Family::State => Options::default(),
        };
        let share = match family {
            Family::Rows => 3,
            Family::State => 1,
        };
        if family == Family::State {
            options.set_level_compaction_dynamic_level_bytes(true);
        }
        options.set_write_buffer_size(self.write_buffer_bytes / 8 * share);
        options.set_max_write_buffer_number(4);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        // Level 3, the default, costs twice the time for a few per cent of space.
        options.set_bottommost_compression_options(-14, 1, 0, 0, true);
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(key::ENTITY_PREFIX_BYTES));
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
        // Memory for indexes and filters is then part of the cache's bound.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_block_based_table_factory(&table);
        Ok(options)
    }
}

/// Rows come in at the end of many series at once, so every flush overlaps everything: merging runs of like size rewrites a
/// row a few times in its life, where levels would rewrite it ten times per level. A full merge may need as much free space
/// as the family takes.
fn rows() -> Result<Options, StoreError> {
    // Within an entity rows come in order of their keys: the place of the last one says where the next goes.
    let hint = format!("memtable_insert_with_hint_prefix_extractor=fixed:{}", key::ENTITY_PREFIX_BYTES);
    let mut options =
        Options::default().get_options_from_string(hint).map_err(|error| StoreError::Failed(error.into_string()))?;
    options.set_compaction_style(DBCompactionStyle::Universal);
    let mut merging = UniversalCompactOptions::default();
    merging.set_min_merge_width(4);
    merging.set_size_ratio(10);
    options.set_universal_compaction_options(&merging);
    options.set_level_zero_file_num_compaction_trigger(8);
    // Writes are refused, not delayed, from the first trigger on (`no_slowdown`).
    options.set_level_zero_slowdown_writes_trigger(40);
    options.set_level_zero_stop_writes_trigger(48);
    Ok(options)
}
