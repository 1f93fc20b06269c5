//! Counters of one shard: named by an enum, written by their owner without read-modify-write, read by the scraper.
//! Never a string at a call site, never a label per device.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;

macro_rules! counters {
    ($($variant:ident => $name:literal, $help:literal;)+) => {
        /// What is counted, per shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($variant,)+ }

        impl Counter {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The Prometheus name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }

            /// A gauge goes down as well.
            #[must_use]
            pub fn is_gauge(self) -> bool {
                !self.name().ends_with("_total")
            }
        }
    };
}

counters! {
    ConnectionsAccepted => "tidegate_connections_accepted_total", "TCP connections accepted";
    ConnectionsOpen => "tidegate_connections_open", "TCP connections open";
    ConnectionsHandedOver => "tidegate_connections_handed_over_total", "connections moved to the shard that owns their device";
    ConnectionsRefused => "tidegate_connections_refused_total", "connections refused because the shard is full or draining";
    HandshakesFailed => "tidegate_tls_handshakes_failed_total", "connections closed for what is no TLS, no common TLS or a broken frame";
    CertificatesRefused => "tidegate_tls_certificates_refused_total", "client certificates that are not in force, not for clients or not the client's own";
    ConnectionsShed => "tidegate_connections_shed_total", "connections closed because all together kept too many unread bytes";
    SessionsAdmitted => "tidegate_sessions_admitted_total", "CONNECTs accepted";
    SessionsRefused => "tidegate_sessions_refused_total", "CONNECTs refused for their credential";
    SessionsTakenOver => "tidegate_sessions_taken_over_total", "sessions closed because their device connected again";
    SessionsRevoked => "tidegate_sessions_revoked_total", "sessions closed because their device or credential was deleted";
    KeepAliveExpired => "tidegate_keep_alive_expired_total", "connections closed after 1.5 keep-alive periods of silence";
    ProtocolErrors => "tidegate_protocol_errors_total", "connections closed for bytes that are not the protocol";
    MessagesReceived => "tidegate_messages_received_total", "messages of devices that reached evaluation";
    PartsRepeated => "tidegate_pack_parts_repeated_total", "parts of gateways' QoS 2 packs that came again and were stored already";
    CallsOwed => "tidegate_calls_owed", "calls that rule nodes owe to the outside";
    CallsAnswered => "tidegate_calls_answered_total", "calls to the outside that were taken";
    CallsRetried => "tidegate_calls_retried_total", "attempts of calls to the outside that have to be made again";
    CallsFailed => "tidegate_calls_failed_total", "calls to the outside that were refused or given up";
    CallsLost => "tidegate_calls_lost_total", "calls to the outside whose node is gone";
    MessagesWaiting => "tidegate_messages_waiting", "messages that wait for time at rule nodes";
    WaitsOver => "tidegate_waits_over_total", "messages at rule nodes whose time has come";
    WaitsLost => "tidegate_waits_lost_total", "messages whose time has come at a node that is gone";
    PassagesOwed => "tidegate_messages_passing", "messages on their way to other originators";
    MessagesPassed => "tidegate_messages_passed_total", "messages taken for their new originators";
    MessagesLost => "tidegate_messages_lost_total", "messages whose new originator or node is gone, or that cannot be read";
    MessagesDiscarded => "tidegate_messages_discarded_total", "messages refused for their payload";
    TopicsUnknown => "tidegate_topics_unknown_total", "PUBLISHes to a topic that is not the device's";
    TimestampsRefused => "tidegate_timestamps_refused_total", "messages with a ts outside the accepted range";
    TimestampsShared => "tidegate_timestamps_shared_total", "messages that share a server ts (DESIGN 15)";
    ReadingsStored => "tidegate_readings_stored_total", "readings written";
    RowsStored => "tidegate_rows_stored_total", "telemetry rows written";
    BatchesWritten => "tidegate_batches_written_total", "atomic batches written";
    BatchesRefused => "tidegate_batches_refused_total", "batches the store refused for now";
    Commits => "tidegate_commits_total", "group commits";
    ReceiptsSettled => "tidegate_receipts_settled_total", "receipts settled after their durable ticket";
    Downlinks => "tidegate_downlinks_total", "messages sent to devices";
    DownlinksDropped => "tidegate_downlinks_dropped_total", "messages to devices that they could not take";
    StoreGenerationsEnded => "tidegate_store_generations_ended_total", "times the store was given up and reopened";
    ChangesApplied => "tidegate_changes_applied_total", "configuration changes applied";
    WatchesCut => "tidegate_watches_cut_total", "live watches cut because their reader was too slow";
    NodesFailed => "tidegate_nodes_failed_total", "messages that failed at a node without a way on from there";
    MessagesParked => "tidegate_messages_parked_total", "messages that waited for a fact of another entity or of the past";
    FactsMissed => "tidegate_facts_missed_total", "facts that did not come in time or could not be had";
    FieldsCalculated => "tidegate_fields_calculated_total", "calculated fields whose result was stored";
    FieldsUnready => "tidegate_fields_unready_total", "calculations for which an argument had no value yet";
    FieldArgumentsFailed => "tidegate_field_arguments_failed_total", "calculations whose arguments could not be had or are too large";
    FieldExpressionsFailed => "tidegate_field_expressions_failed_total", "calculations whose formula has no value or whose script failed";
    FieldResultsRefused => "tidegate_field_results_refused_total", "results of calculated fields that could not be stored";
    FieldsCut => "tidegate_fields_cut_total", "calculations left out because fields would have fed each other without end";
    SightingsMissed => "tidegate_debug_events_missed_total", "debug events that were not kept because there were too many";
    NodesLogged => "tidegate_nodes_logged_total", "messages seen by log nodes";
    StatesEvicted => "tidegate_states_evicted_total", "idle device states evicted";
    StatesResident => "tidegate_states_resident", "device states in memory";
    Turns => "tidegate_turns_total", "turns that did work";
    ReadingPaused => "tidegate_reading_paused", "1 while sockets are not read because the store refuses";
}

const COUNTERS: usize = Counter::ALL.len();

/// The counter block of one shard. Aligned so that no two shards share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardCounters([AtomicU64; COUNTERS]);

impl ShardCounters {
    #[must_use]
    pub fn new() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTERS])
    }

    /// Adds to a counter. Only the owning shard's thread calls this, hence load and store instead of a locked add.
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    pub fn increment(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Sets a gauge. Only the owning shard's thread calls this.
    pub fn set(&self, counter: Counter, value: u64) {
        self.0[counter as usize].store(value, Relaxed);
    }

    /// Read from anywhere.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Relaxed)
    }
}

impl Default for ShardCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a shard lives and whether it may be sent devices. Written by its shard, read by the admin side.
#[derive(Debug)]
pub struct ShardHealth {
    /// When the shard's loop last came round, in milliseconds of its clock's instant; idle shards come round too.
    pub heartbeat_ms: AtomicU64,
    /// Why the shard is not ready; `None` is ready.
    pub reason: ArcSwapOption<String>,
}

impl ShardHealth {
    /// Not ready: a shard is ready once it says so.
    #[must_use]
    pub fn new() -> Self {
        Self { heartbeat_ms: AtomicU64::new(0), reason: ArcSwapOption::from_pointee(String::from("starting")) }
    }

    /// The shard's loop came round.
    pub fn beat(&self, now_ms: u64) {
        self.heartbeat_ms.store(now_ms, Relaxed);
    }

    pub fn ready(&self) {
        self.reason.store(None);
    }

    pub fn not_ready(&self, reason: impl Into<String>) {
        self.reason.store(Some(Arc::new(reason.into())));
    }
}

impl Default for ShardHealth {
    fn default() -> Self {
        Self::new()
    }
}

/// What the admin side sees of one shard.
#[derive(Clone, Debug)]
pub struct ShardReport {
    pub counters: Arc<ShardCounters>,
    pub health: Arc<ShardHealth>,
}
