//! Every bound of the data plane, unit last, and the memory they add up to. Uses nothing.

mod memory;

pub use memory::{CALL_BYTES, CLIENT_CALL_BYTES, LOGIN_RECORD_BYTES, PROCESS_BYTES, Pools, Term, memory_per_shard};

/// Largest MQTT packet accepted, in bytes; announced to MQTT 5 clients. ThingsBoard's own payload bound is 65,536.
pub const PACKET_BYTES_MAX: usize = 66_560;
/// Largest payload of one PUBLISH, in bytes; what `getSessionLimits` reports.
pub const PAYLOAD_BYTES_MAX: usize = 65_536;
/// Unsettled receipts of one connection: a 3.1.1 connection is not read beyond them (DESIGN 8.1, 4), an MQTT 5 client is
/// told this as its receive maximum.
pub const RECEIPTS_PER_CONNECTION_MAX: usize = 64;
/// Unacknowledged QoS 1 downlinks of one connection; further ones wait in the device's attributes, not in memory.
pub const DOWNLINKS_IN_FLIGHT_MAX: usize = 16;
/// Topic aliases of one connection, of each direction; announced to MQTT 5 clients.
pub const TOPIC_ALIASES_MAX: u16 = 16;
/// QoS 2 messages of one session that the client has not released; an MQTT 5 client may have no more than its receive maximum.
pub const UNRELEASED_PER_SESSION_MAX: usize = 1_024;
/// Longest a session is kept for an absent device, in seconds (7 days); also where the protocol knows no end.
pub const SESSION_EXPIRY_S_MAX: u32 = 604_800;
/// Subscriptions of one session by filters that are not in ThingsBoard's list.
pub const FILTERS_PER_SESSION_MAX: usize = 16;
/// Longest of those filters, and longest response topic, in bytes.
pub const FILTER_BYTES_MAX: usize = 256;
/// Longest correlation data of a request, in bytes; MQTT 5 clients get it back with the answer.
pub const CORRELATION_BYTES_MAX: usize = 256;
/// Requests of one session that are remembered because their answer has a form, a topic or correlation data of its own.
pub const REQUESTS_PER_SESSION_MAX: usize = 16;
/// Encoded bytes waiting for a peer that does not read; beyond it the connection is closed.
pub const OUTBOX_BYTES_MAX: usize = 262_144;
/// From accept to CONNECT, in milliseconds.
pub const CONNECT_DEADLINE_MS: u64 = 10_000;
/// Longest keep-alive granted, in seconds; a longer or absent one gets this (MQTT 5 clients are told).
pub const KEEP_ALIVE_S_MAX: u16 = 3_600;
/// Longest client id accepted, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 256;
/// Smallest maximum packet size an MQTT 5 client may announce, in bytes: CONNACK must fit.
pub const CLIENT_PACKET_BYTES_MIN: u32 = 128;
/// Longest access token accepted, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;

/// Largest head of an HTTP request (request line and headers), in bytes: 431 beyond it.
pub const HTTP_HEAD_BYTES_MAX: usize = 8_192;
/// Longest request line, in bytes: 414 beyond it.
pub const HTTP_REQUEST_LINE_BYTES_MAX: usize = 4_096;
/// Headers of one HTTP request: 431 beyond them.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Longest line before a chunk of a body, in bytes; what a client adds to the size means nothing here.
pub const HTTP_CHUNK_LINE_BYTES_MAX: usize = 256;
/// Largest body in chunks as it comes, in bytes: sizes, line ends and trailers beside a payload of [`PAYLOAD_BYTES_MAX`]. 413
/// beyond it.
pub const HTTP_CHUNKED_BYTES_MAX: usize = READ_BUFFER_BYTES - HTTP_HEAD_BYTES_MAX;
/// From the end of a request's head to the end of its body, in milliseconds: 408 beyond it.
pub const HTTP_BODY_DEADLINE_MS: u64 = 60_000;
/// How long an HTTP connection without an open request is kept, in milliseconds.
pub const HTTP_IDLE_MS: u64 = 60_000;
/// How long a long poll waits when the request does not say, in milliseconds (ThingsBoard's default request timeout).
pub const LONG_POLL_MS: u64 = 60_000;
/// Longest wait of a long poll, in milliseconds; who asks for more gets this.
pub const LONG_POLL_MS_MAX: u64 = 300_000;
/// Seconds after which a device that was refused for a while may try again.
pub const RETRY_AFTER_S: u32 = 1;
/// Longest header of the PROXY protocol, version 2, in bytes: addresses and what proxies add to them.
pub const PROXY_HEADER_BYTES_MAX: usize = 536;

/// Readings of one message.
pub const READINGS_PER_MESSAGE_MAX: usize = 4_096;
/// Entries (distinct ts) of one message.
pub const ENTRIES_PER_MESSAGE_MAX: usize = 1_024;
/// Levels of objects and arrays inside one JSON value of a reading.
pub const JSON_DEPTH_MAX: u32 = 64;
/// Steps of a plan executed for one message; the check of a chain promises fewer.
pub const STEPS_PER_MESSAGE_MAX: u32 = 1_000;
/// How long these may take, in milliseconds: others wait meanwhile, and a step may copy a large message. Long enough for
/// a busy machine to come back to a message that is none too long itself.
pub const EVALUATION_MS_MAX: u64 = 200;
/// What a template may become by what is put into it, in bytes,
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// and what a name, or a path of names, may have that stands for something.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 512;
/// How long a message waits for the facts that its nodes need, in milliseconds (DESIGN 8.1, 1).
pub const FACT_MS: u64 = 2_000;
/// Facts of one message.
pub const FACTS_PER_MESSAGE_MAX: usize = 64;
/// One fact, in bytes.
pub const FACT_BYTES_MAX: usize = 1 << 20;
/// Rows that are visited for one fact of the past.
pub const FACT_ROWS_MAX: usize = 100_000;
/// Messages of one shard that wait for facts, or behind one that does.
pub const MESSAGES_PARKED_MAX: usize = 16_384;
/// The same, with the facts they have, in bytes.
pub const PARKED_BYTES_PER_SHARD_MAX: usize = 16 << 20;
/// Parked messages of one device beyond which its connection is not read.
pub const PARKED_PER_DEVICE_READ_MAX: usize = RECEIPTS_PER_CONNECTION_MAX;
/// Rule nodes that remember something of one device.
pub const NODE_STATES_PER_DEVICE_MAX: usize = 256;
/// Device profile nodes that remember alarm rules of one device.
pub const PROGRESS_NODES_PER_DEVICE_MAX: usize = 16;
/// Alarms of one entity that are not cleared, or whose end the control plane has not confirmed.
pub const ALARMS_PER_ENTITY_MAX: usize = 64;
/// The details of one alarm, in bytes of JSON.
pub const ALARM_DETAILS_BYTES_MAX: usize = 8 << 10;
/// Alarms in one message to the control plane; and their records, in bytes.
pub const ALARMS_AT_ONCE_MAX: usize = 256;
pub const ALARMS_AT_ONCE_BYTES_MAX: usize = 512 << 10;
/// Changed alarms of one shard that wait in memory, in bytes; further ones wait on the disk alone.
pub const ALARMS_WAITING_BYTES_MAX: usize = 1 << 20;
/// Between two attempts to tell the control plane of alarms, in milliseconds: the first pause, and the longest.
pub const ALARMS_PAUSE_MS: u64 = 1_000;
pub const ALARMS_PAUSE_MS_MAX: u64 = 30_000;
/// What one call of a script may take, in microseconds.
pub const SCRIPT_US_MAX: u64 = 5_000;
/// What all scripts of one tenant may take of a second of their shard, in microseconds.
pub const SCRIPT_SHARE_US_PER_S: i64 = 250_000;
/// How often in a row a script goes beyond its time or memory before it rests.
pub const SCRIPT_CUTS_IN_A_ROW_MAX: u32 = 3;
/// How long it is not called then, in milliseconds; twice as long after each call that it is cut off in again.
pub const SCRIPT_REST_MS_MIN: u64 = 1_000;
/// Longest of these times, in milliseconds.
pub const SCRIPT_REST_MS_MAX: u64 = 60_000;
/// Scripts of one tenant and shard whose last call was cut off that are remembered.
pub const SCRIPTS_RESTING_MAX: usize = 64;
/// What scripts take while one connection is served before others are, in microseconds.
pub const SCRIPT_SERVE_US_MAX: u64 = 1_000;
/// The time of scripts as bytes of a turn and of a tenant's part of it: what messages take that run none, in bytes per microsecond.
pub const SCRIPT_BYTES_PER_US: usize = 64;
/// Memory of one tenant's scripts on one shard, in bytes.
pub const SCRIPT_MEMORY_BYTES_MAX: usize = 8 << 20;
/// Stack of a script, in bytes.
pub const SCRIPT_STACK_BYTES_MAX: usize = 256 << 10;
/// A message as a script's arguments, in bytes of JSON; as in ThingsBoard.
pub const SCRIPT_ARGUMENTS_BYTES_MAX: usize = 100 << 10;
/// A script's answer, in bytes of JSON; as in ThingsBoard.
pub const SCRIPT_RESULT_BYTES_MAX: usize = 300 << 10;
/// Longest text that a script makes without the engine, in bytes.
pub const SIMPLE_TEXT_BYTES_MAX: usize = 16 << 10;
/// Texts of what is shown of messages at a node, in characters; as in ThingsBoard.
pub const SIGHTING_TEXT_CHARS_MAX: usize = 4_096;
/// What a tenant may look at in an hour, on all shards of an instance together; as in ThingsBoard.
pub const SIGHTINGS_PER_TENANT_HOUR: u64 = 50_000;
/// What all tenants may look at, on one shard: each takes some ten microseconds of it.
pub const SIGHTINGS_PER_SHARD_S: u64 = 500;
/// Tenants of one shard of whose sightings something is kept.
pub const SIGHTINGS_TENANTS_MAX: usize = 64;
/// Sightings that a shard keeps, in bytes; beyond it the oldest of the tenant that has most is forgotten.
pub const SIGHTINGS_BYTES_PER_SHARD_MAX: usize = 4 << 20;
/// Messages that are waited for on a shard, to be looked at wherever they go, and how long each is waited for, in milliseconds.
pub const TRACES_PER_SHARD_MAX: usize = 64;
pub const TRACE_WAIT_MS_MAX: u64 = 15 * 60_000;
/// Sightings of one answer, in bytes; it has the newest.
pub const SIGHTINGS_ANSWER_BYTES_MAX: usize = 8 << 20;
/// Of so many messages one is timed at its nodes, so that what is always on costs next to nothing.
pub const MESSAGES_PER_TIMED_ONE: u32 = 16;
/// What a node that repeats parts of a message may make of its data, in bytes of JSON.
pub const DATA_BYTES_MAX: usize = SCRIPT_RESULT_BYTES_MAX;
/// Scripts of one tenant that stay compiled.
pub const SCRIPTS_COMPILED_MAX: usize = 256;
/// Tenants of one shard whose scripts stay compiled; a multiple of 16.
pub const SCRIPT_ENGINES_MAX: usize = 16;
/// Calculations that one message may lead to, each as often as something that it depends on is written.
pub const CALCULATIONS_PER_MESSAGE_MAX: u32 = 64;
/// Readings that a calculated field keeps of one device, in bytes; as in ThingsBoard.
pub const FIELD_STATE_BYTES_MAX: usize = 32 << 10;
/// One value of a calculated field's argument, in bytes; as in ThingsBoard.
pub const FIELD_ARGUMENT_BYTES_MAX: usize = 2 << 10;
/// Values of one device that only its calculated fields know, in bytes.
pub const TOLD_BYTES_PER_DEVICE_MAX: usize = 32 << 10;
/// Why a calculated field failed last, in bytes.
pub const FIELD_FAILURE_BYTES_MAX: usize = 512;
/// What a protobuf payload may become as JSON, in bytes: defaults are written out, and one message may have thousands of others in it.
pub const DECODED_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Longest key of a reading or attribute, in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// Keys of one device (DESIGN 8.5, 17).
pub const KEYS_PER_DEVICE_MAX: usize = 1_024;
/// How far ahead of the server a reading's ts may be, in milliseconds (DESIGN 8.5, 15).
pub const TS_AHEAD_MS_MAX: i64 = 86_400_000;

/// Connections of one shard, if memory allows.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 65_536;
/// Read buffers of one shard: connections are served one after the other, so one is enough.
pub const READ_BUFFERS_PER_SHARD: usize = 1;
/// Bytes of one pooled read buffer; holds at least one whole packet.
pub const READ_BUFFER_BYTES: usize = 131_072;
/// Partial packets and packets behind unsettled receipts, all connections of one shard together, in bytes. The connection that
/// would exceed it is closed; one of a tenant that keeps more than its share already at seven eighths.
pub const PARTIAL_BYTES_PER_SHARD_MAX: usize = 64 << 20;
/// Bytes read at once from one connection while more than half of that is in use.
pub const SCARCE_READ_BYTES: usize = 4_096;
/// Ciphertext that one thread reads, decrypts or encrypts at once, in bytes.
pub const TLS_RECORDS_BYTES: usize = 65_536;
/// Largest plaintext of one TLS record, in bytes (RFC 8446, 5.1).
pub const TLS_RECORD_BYTES: usize = 16_384;
/// An unfinished record or handshake message of one connection, in bytes: a client's certificate chain must fit.
pub const TLS_PARTIAL_BYTES_MAX: usize = 32_768;
/// Ciphertext of one connection that its socket did not take, in bytes: our own certificate chain must fit.
pub const TLS_UNSENT_BYTES_MAX: usize = 131_072;
/// Sessions of TLS 1.2 clients that cannot keep tickets; the others keep their sessions themselves.
pub const TLS_SESSIONS_MAX: usize = 4_096;
/// Certificates that a client's chain is tried with.
pub const TLS_CHAIN_MAX: usize = 8;
/// Largest PEM file of a certificate chain or key, in bytes.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Bytes consumed in one turn before what was written is committed and others are heard.
pub const TURN_BYTES_MAX: usize = 256 << 10;
/// The same while more than one tenant is served.
pub const TURN_SHARED_BYTES_MAX: usize = 32 << 10;
/// How long a shard counts as shared after it served another tenant than before, in milliseconds.
pub const TURN_SHARED_MS: u64 = 1_000;
/// What a step of a TLS handshake takes of that: it costs as much as the messages in so many bytes.
pub const HANDSHAKE_TURN_BYTES: usize = 8 << 10;
/// Encoded bytes that peers do not take, all connections of one shard together, in bytes. The connection that would exceed it is
/// closed.
pub const OUTPUT_BYTES_PER_SHARD_MAX: usize = 32 << 20;
/// Receipts, answers and updates waiting for their ticket; a shard reads nothing beyond them.
pub const PROMISES_PER_SHARD_MAX: usize = 131_072;
/// Connections accepted in one turn.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Closed connections of one shard whose peer may still be reading our last words.
pub const LINGERING_PER_SHARD_MAX: usize = 4_096;
/// Mailbox events taken in one turn, and letters of other shards.
pub const EVENTS_PER_TURN_MAX: usize = 256;
/// Events waiting in a shard's mailbox.
pub const MAILBOX_EVENTS_MAX: usize = 4_096;
/// Connections in flight between one ordered pair of shards.
pub const MESH_SLOTS: usize = 256;
/// Messages waiting for their device's state to be loaded, connections of one shard.
pub const PARKED_PER_SHARD_MAX: usize = 16_384;

/// Sessions of one device at most, whatever its profile says (DESIGN 8.4, 12).
pub const SESSIONS_PER_DEVICE_MAX: usize = 16;
/// Connections accepted by one shard in a second; as many may come at once. Others wait in the kernel's queue.
pub const ACCEPTS_PER_SHARD_S: u64 = 5_000;
/// TLS handshakes begun by one shard in a second: what leaves it time for those who are connected.
pub const HANDSHAKES_PER_SHARD_S: u64 = 1_000;
/// For how long a handshake holds up others, in milliseconds; an older one waits for its peer.
pub const HANDSHAKE_FRESH_MS: u64 = 1_024;
/// Fresh handshakes under way on one shard.
pub const HANDSHAKES_FRESH_MAX: u32 = 512;
/// Handshakes under way on one shard, those that wait for their peer included.
pub const HANDSHAKES_MAX: u32 = 4_096;
/// Connections of one shard whose handshake was told to wait; beyond them none is accepted where TLS is spoken.
pub const HANDSHAKES_WAITING_MAX: u32 = 2_048;
/// From accept to CONNECT while newcomers crowd, in milliseconds; see [`CONNECT_DEADLINE_MS`].
pub const CROWDED_CONNECT_DEADLINE_MS: u64 = 3_000;

/// Failed logins of one address or credential within the next constant before it is no longer listened to, on one shard
/// (ThingsBoard's IP block: 10, then 60 s).
pub const LOGIN_FAILURES_MAX: u32 = 10;
pub const LOGIN_WINDOW_MS: u64 = 60_000;
/// For how long it is not listened to, in milliseconds.
pub const LOGIN_REFUSAL_MS: u64 = 60_000;
/// Addresses with failed logins that a shard remembers, and as many credentials.
pub const THROTTLE_RECORDS_PER_SHARD: usize = 8_192;
/// Logins with their address that a shard knows to be good.
pub const TRUSTED_LOGINS_PER_SHARD: usize = 16_384;

/// How long a block that a shard leases from a tenant's bucket should last, in milliseconds (DESIGN 8.4, 14).
pub const LEASE_MS: u64 = 20;
/// A shard's blocks are at most this part of its even share of a bucket: all leases together are an eighth of it.
pub const LEASE_PARTS: u64 = 8;
/// A lease that was not used for this long goes back, in milliseconds.
pub const LEASE_UNUSED_MS_MAX: u64 = 200;
/// A bucket that had no room is not asked again for this long, in milliseconds.
pub const LEASE_REFUSAL_MS: u64 = 10;

/// Resident state of one device, in bytes (DESIGN 8.5, 19).
pub const DEVICE_STATE_BYTES_MAX: usize = 65_536;
/// Resident device states of one shard, in bytes, before idle ones are evicted.
pub const DEVICE_STATES_BYTES_PER_SHARD: usize = 256 << 20;
/// Tombstones in one device's state record.
pub const TOMBSTONES_PER_DEVICE_MAX: usize = 256;
/// Rows after which a state record is rewritten (DESIGN 8.5, 16).
pub const ROWS_PER_STATE_RECORD: u32 = 256;
/// Default inactivity timeout, in milliseconds (ThingsBoard: 600 s).
pub const INACTIVITY_TIMEOUT_MS: i64 = 600_000;

/// Downlinks of a kept session that its device has not acknowledged; further ones are refused.
pub const KEPT_DOWNLINKS_PER_DEVICE_MAX: usize = 100;
/// Persistent calls to one device that are not over.
pub const OPEN_CALLS_PER_DEVICE_MAX: usize = 100;
/// What those say, in bytes; one alone may say [`PAYLOAD_BYTES_MAX`].
pub const OPEN_CALLS_BYTES_PER_DEVICE_MAX: usize = PAYLOAD_BYTES_MAX;
/// Calls of the server that have no outcome yet, all devices of one shard; a tenant may have half of them.
pub const CALLS_PER_SHARD_MAX: usize = 65_536;
/// What those say, in bytes; a tenant's may say half of it.
pub const CALLS_BYTES_PER_SHARD_MAX: usize = 16 << 20;
/// Persistent calls in one answer.
pub const CALLS_PER_ANSWER_MAX: usize = 10_000;
/// From a persistent call's arrival at the device to its answer, in milliseconds; it is sent again then, if it may be.
pub const CALL_ANSWER_MS: i64 = 30_000;
/// From a device's call of the server to the answer that there is none, in milliseconds.
pub const CLIENT_CALL_MS: u64 = 60_000;
/// Calls of one shard's devices that have no answer yet; a tenant's devices may have half of them.
pub const CLIENT_CALLS_PER_SHARD_MAX: usize = 32_768;
/// Longest long poll, in milliseconds.
pub const POLL_MS_MAX: u64 = 300_000;
/// Long polls of one device; the oldest is answered when there is another.
pub const POLLS_PER_DEVICE_MAX: usize = 16;
/// Questions of one shard to the control plane that are not answered.
pub const QUESTIONS_PER_SHARD_MAX: usize = 4_096;
/// Questions of all shards that the control plane is asked at once.
pub const QUESTIONS_AT_ONCE_MAX: usize = 256;
/// Largest piece of a package in one MQTT message, in bytes.
pub const PIECE_BYTES_MAX: usize = 192 << 10;
/// What of a download over HTTP is in memory at once, in bytes.
pub const STRETCH_BYTES: usize = 64 << 10;
/// Stretches of all downloads of a shard, asked for or unsent, have at most this part of the pool for output.
pub const DOWNLOADS_OUTPUT_PARTS: usize = 2;
/// Packages kept on this instance's disk, in bytes.
pub const PACKAGES_BYTES_MAX: u64 = 2 << 30;
/// From a question to its answer, in milliseconds (DESIGN 8.3, 10).
pub const QUESTION_MS: u64 = 30_000;
/// How long a connection may ask to be provisioned, in milliseconds.
pub const PROVISIONING_MS: u64 = 60_000;
/// Children in one pack of a gateway.
pub const CHILDREN_PER_PACK_MAX: usize = 1_024;
/// Packs of one gateway whose parts are not all answered.
pub const PACKS_PER_GATEWAY_MAX: usize = 64;
/// QoS 2 packs of one gateway from the oldest that is not finished to the newest; as many as a connection has receipts.
pub const FORWARDS_PER_GATEWAY_MAX: usize = RECEIPTS_PER_CONNECTION_MAX;
/// The same, all gateways of one shard; half of them of one tenant at most.
pub const FORWARDS_PER_SHARD_MAX: usize = 16_384;
/// QoS 2 packs of one shard that wait in memory for their ticket, in bytes; further ones are read from the disk again.
pub const FORWARD_BYTES_PER_SHARD_MAX: usize = 4 << 20;
/// QoS 2 packs of one shard that are being read from the disk.
pub const FORWARDS_READ_AT_ONCE_MAX: usize = 64;
/// From sending a pack's parts to sending them again because an answer is missing, in milliseconds.
pub const FORWARD_ANSWER_MS: u64 = 10_000;
/// From an owner's "not now" to sending the parts again, in milliseconds.
pub const FORWARD_PAUSE_MS: u64 = 1_000;
/// Messages of one shard that wait for time at rule nodes; a node at which another would wait fails (DESIGN 8.1, 2).
pub const WAITING_PER_SHARD_MAX: usize = 32_768;
/// The same of one tenant.
pub const WAITING_PER_TENANT_MAX: usize = WAITING_PER_SHARD_MAX / 2;
/// On disk, of one tenant and shard, in bytes.
pub const WAITING_BYTES_PER_TENANT_MAX: usize = 256 << 20;
/// Of one originator.
pub const WAITING_PER_ENTITY_MAX: usize = 4_096;
/// On disk, of one originator, in bytes.
pub const WAITING_BYTES_PER_ENTITY_MAX: usize = 4 << 20;
/// Of those that are due so many are read at once,
pub const DUE_AT_ONCE_MAX: usize = 64;
/// with so many bytes, in memory until they have gone on; one more may exceed it.
pub const DUE_BYTES_AT_ONCE_MAX: usize = 1 << 20;
/// How long after a call to a device has expired its message still waits for what came of it, in milliseconds.
pub const ANSWER_GRACE_MS: i64 = 5_000;
/// How often a persistent call that a rule makes is sent again when no answer comes, if the message does not say, as in ThingsBoard;
pub const CALL_RETRIES: u32 = 5;
/// and at most.
pub const CALL_RETRIES_MAX: u32 = 100;
/// From one word of a shard to the owner of its tenant about what it has counted to the next, in milliseconds.
pub const COUNT_TOLD_MS: u64 = 1_000;
/// Until a message that could not go on tries again, in milliseconds.
pub const DUE_PAUSE_MS: u64 = 1_000;
/// Calls that rule nodes of one shard owe to the outside; a node that would owe more fails (DESIGN 8.6, 22).
pub const OWED_CALLS_PER_SHARD_MAX: usize = 65_536;
/// The same of one tenant, so that its dead target leaves room for others.
pub const OWED_CALLS_PER_TENANT_MAX: usize = OWED_CALLS_PER_SHARD_MAX / 2;
/// On disk, of one tenant and shard, in bytes.
pub const OWED_BYTES_PER_TENANT_MAX: usize = 256 << 20;
/// Calls of one node and shard that are under way at once.
pub const CALLS_PER_NODE_AT_ONCE_MAX: u32 = 64;
/// The same of a node that wants something of the control plane, where one is done after the other.
pub const WISHES_PER_NODE_AT_ONCE_MAX: u32 = 16;
/// Calls of one shard that are under way at once; half of them, and of the bytes below, of one tenant at most.
pub const CALLS_AT_ONCE_MAX: usize = 256;
/// Of their messages, in bytes; one more may exceed it.
pub const CALLS_AT_ONCE_BYTES_MAX: usize = 8 << 20;
/// What comes back of one call, in bytes.
pub const CALL_ANSWER_BYTES_MAX: usize = 64 << 10;
/// How often a call is made that its target hears and does not take.
pub const CALL_ATTEMPTS_MAX: u32 = 8;
/// From such an attempt to the next, in milliseconds: the first pause, doubled each time, and the longest.
pub const CALL_PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// The same of a node whose target nobody hears.
pub const TARGET_PAUSE_MS: (u64, u64) = (250, 10_000);
/// For how long a call is tried before it is given up, in milliseconds.
pub const CALL_PATIENCE_MS: i64 = 3_600_000;
/// Until somebody answers who is called, in milliseconds.
pub const CALL_CONNECT_MS: u64 = 10_000;
/// How long a broker outside may leave publications unanswered, in milliseconds.
pub const BROKER_ANSWER_MS: u64 = 30_000;
/// Calls of an originator that were given up and are kept.
pub const DEAD_LETTERS_PER_ENTITY_MAX: u64 = 16;
/// Dead letters that one question looks at on a shard, and what lies in them, in bytes.
pub const DEAD_LETTERS_SCANNED_MAX: usize = 100_000;
pub const DEAD_LETTERS_SCANNED_BYTES_MAX: usize = 64 << 20;
/// Dead letters of a shard in one answer.
pub const DEAD_LETTERS_PER_ANSWER_MAX: usize = 10_000;
/// What is shown of a dead letter's reason in a list, in bytes.
pub const REASON_SHOWN_BYTES_MAX: usize = 1_024;
/// Dead letters that a shard ends in one turn, and what lies in them, in bytes; one more may exceed it.
pub const DEAD_LETTERS_ENDED_AT_ONCE_MAX: usize = 256;
pub const DEAD_LETTERS_ENDED_BYTES_MAX: usize = 4 << 20;
/// Originators whose dead letters changed last, as a shard remembers them.
pub const DEAD_LETTERS_CHANGED_MAX: usize = 4_096;
/// For how long one request goes on ending dead letters, in milliseconds.
pub const DEAD_LETTERS_END_MS: u64 = 8_000;
/// How long a connection to a broker outside is kept that nobody uses, in milliseconds.
pub const BROKER_IDLE_MS: u64 = 300_000;
/// Brokers outside that a process is connected to.
pub const BROKERS_MAX: usize = 256;
/// From a message for Slack to its answer, in milliseconds.
pub const SLACK_ANSWER_MS: u32 = 20_000;
/// Kafka clusters that a process has a producer for; each has a few threads.
pub const KAFKA_PRODUCERS_MAX: usize = 32;
/// What a Kafka broker may answer at once, in bytes.
pub const KAFKA_ANSWER_BYTES_MAX: usize = 128 << 10;
/// What a broker may say in one packet, in bytes.
pub const BROKER_PACKET_BYTES_MAX: usize = 64 << 10;
/// What is read of a broker at once, in bytes.
pub const BROKER_READ_BYTES: usize = 4 << 10;
/// What waits to be sent to a broker before no more calls are made, in bytes; one more may exceed it.
pub const BROKER_WRITE_BYTES_MAX: usize = 1 << 20;
/// From one word to a broker that a connection is used to the next, in milliseconds.
pub const BROKER_KEEP_ALIVE_MS: u64 = 15_000;
/// Publications waiting for one such broker.
pub const BROKER_CALLS_MAX: usize = 256;

/// Messages of one shard on their way to other originators; a node that would send more fails (DESIGN 8.3, 8).
pub const PASSAGES_PER_SHARD_MAX: usize = 16_384;
/// The same of one tenant.
pub const PASSAGES_PER_TENANT_MAX: usize = PASSAGES_PER_SHARD_MAX / 2;
/// On disk, of one tenant and shard, in bytes.
pub const PASSAGE_BYTES_PER_TENANT_MAX: usize = 256 << 20;
/// Messages that are sent from one partition to another at once.
pub const PASSAGES_AT_ONCE_MAX: usize = 64;
/// The same in bytes; one more may exceed it.
pub const PASSAGES_AT_ONCE_BYTES_MAX: usize = 128 << 10;
/// Pairs of partitions of which one shard sends at once; half of them for one tenant at most.
pub const PASSAGE_PAIRS_AT_ONCE_MAX: usize = 32;
/// What the control plane may say of entities in one request, and of those of one partition at once.
pub const ANNOUNCEMENTS_AT_ONCE_MAX: usize = 1_000;
pub const ANNOUNCEMENTS_PER_PARTITION_MAX: usize = 64;
/// How long a shard has to take those, in milliseconds.
pub const ANNOUNCED_MS_MAX: u64 = 10_000;
/// Requests of people that wait on one shard for what a chain answers.
pub const REQUESTS_PER_SHARD_MAX: usize = 4_096;
/// How often one message leaves a node, for the outside, another originator or a time: a chain that enters itself behind such a node
/// ends, unless it waits for so many milliseconds at least. And with how many bytes, which the batch holds: each way has its own copy.
pub const DEPARTURES_PER_MESSAGE_MAX: u32 = 64;
pub const DEPARTED_WAIT_MS_MIN: i64 = 1_000;
pub const DEPARTED_BYTES_PER_MESSAGE_MAX: usize = BATCH_BYTES_MAX;

/// How long a pack with refused parts waits for its gateway to send it again, in milliseconds.
pub const FORWARD_HELD_MS: u64 = 3_600_000;
/// Gateways of which a child remembers the parts it took; the one it heard of longest ago is forgotten.
pub const MARKS_PER_DEVICE_MAX: usize = 32;
/// Longest name of a device or profile, in bytes (ThingsBoard's own bound).
pub const NAME_BYTES_MAX: usize = 255;
/// Children that one gateway may name.
pub const CHILDREN_PER_GATEWAY_MAX: usize = 10_000;

/// A batch the store refuses is offered again for this long before the store generation ends (DESIGN 8.2, 5).
pub const STORE_REFUSAL_MS_MAX: u64 = 10_000;
/// Effects bytes that make one turn's batch; the turn stops evaluating beyond it.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Between two group commits while a shard is busy, in microseconds.
pub const COMMIT_EVERY_US: u64 = 1_000;
/// Between two group commits of an idle shard, at least, and the longest it leaves bytes unread meanwhile, in microseconds.
pub const COMMIT_PAUSE_US: u64 = 500;
/// From a batch that the store refused to its next offer, in microseconds.
pub const REFUSAL_PAUSE_US: u64 = 1_000;
/// A turn that is long enough to rest after it, and the longest rest, in microseconds.
pub const LONG_TURN_US: u64 = 500;
pub const REST_US_MAX: u64 = 10_000;
/// Free space below which the store refuses writes, in bytes (DESIGN 8.2, 5).
pub const DISK_RESERVE_BYTES: u64 = 64 << 20;
/// Write buffers (memtables) of one shard's store, in bytes.
pub const WRITE_BUFFER_BYTES_PER_SHARD: usize = 64 << 20;
/// Files one shard's store keeps open.
pub const STORE_FILES_PER_SHARD: i32 = 256;
/// Writes between two looks at the free space, and the milliseconds after which it is looked at anyway.
pub const DISK_LOOK_WRITES: u64 = 64;
pub const DISK_LOOK_MS: u64 = 200;
/// From an unsynced flush of a `buffered` store to its sync, in milliseconds (DESIGN 3.5).
pub const BUFFERED_SYNC_MS: u64 = 1_000;
/// Bytes copied in one batch while a partition moves.
pub const MOVE_BATCH_BYTES: usize = 1 << 20;
/// A refused batch of a move is offered again for this long, in milliseconds.
pub const MOVE_REFUSAL_MS_MAX: u64 = 60_000;
/// Key names in the dictionaries of one shard (DESIGN 8.5, 17); half of them of one tenant at most.
pub const KEY_NAMES_PER_SHARD_MAX: usize = 262_144;
/// Block cache of the process, in bytes, shared by all shards' stores.
pub const BLOCK_CACHE_BYTES: usize = 128 << 20;
/// Jobs waiting for a shard's reader lane.
pub const READER_JOBS_MAX: usize = 1_024;
/// Reads of ranges that their lane has; the others wait for it tenant by tenant.
pub const LONG_READS_AT_ONCE_MAX: usize = 2;
/// Reads of ranges that wait on a shard; a tenant may have half of them.
pub const LONG_READS_WAITING_MAX: usize = 1_024;
/// Rows one history query may visit.
pub const QUERY_ROWS_MAX: usize = 5_000_000;
/// Bytes one history query may hold.
pub const QUERY_BYTES_MAX: usize = 64 << 20;
/// Intervals of one aggregation query (ThingsBoard's DATABASE_TS_MAX_INTERVALS).
pub const QUERY_INTERVALS_MAX: i64 = 700;

/// Live watches of one shard.
pub const WATCHES_PER_SHARD_MAX: usize = 65_536;
/// Updates waiting for one watcher; a slower one is cut and starts again.
pub const WATCH_UPDATES_MAX: usize = 1_024;

/// How long a closed connection may take to read our last words, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// Between two ticks of a shard, in milliseconds.
pub const TICK_MS: u64 = 100;
/// How long a start waits for the first configuration before it serves what its cache holds, in milliseconds.
pub const FIRST_CONFIGURATION_MS: u64 = 10_000;
/// How long a drain may take before the process ends anyway, in milliseconds.
pub const DRAIN_MS: u64 = 10_000;
/// Largest frame accepted from the control plane, and largest record of the configuration cache, in bytes.
pub const FEED_FRAME_BYTES_MAX: usize = 16 << 20;
/// Reports to the control plane waiting to be sent.
pub const FEED_REPORTS_MAX: usize = 16;
/// Longest epoch a control plane may announce, in bytes.
pub const EPOCH_BYTES_MAX: usize = 256;
/// Configuration changes of one mailbox event.
pub const CHANGES_PER_EVENT_MAX: usize = 512;
/// Longest reason reported for a refused change, in bytes.
pub const REFUSAL_REASON_BYTES_MAX: usize = 512;
/// Between two looks at the certificate files, in milliseconds.
pub const CERTIFICATES_LOOK_MS: u64 = 2_000;
/// First pause before the control plane is called again, in milliseconds; it doubles up to the next constant.
pub const RECONNECT_MS_MIN: u64 = 100;
/// Longest pause before the control plane is called again, in milliseconds.
pub const RECONNECT_MS_MAX: u64 = 10_000;
/// A connection that lasted this long makes the next pause the first one again, in milliseconds.
pub const RECONNECT_HEALTHY_MS: u64 = 60_000;

/// Largest request of the Query service, in bytes.
pub const QUERY_REQUEST_BYTES_MAX: usize = 4 << 20;
/// Calls open on one connection of the Query service; a live watch is one of them.
pub const QUERY_STREAMS_MAX: u32 = 16_384;
/// How long a query waits for room in a full mailbox, in milliseconds.
pub const MAILBOX_WAIT_MS_MAX: u64 = 1_000;
/// Entities and keys of one question for the newest values of many, and how many of them are asked at once.
pub const LISTED_ENTITIES_MAX: usize = 1_000;
pub const LISTED_KEYS_MAX: usize = 128;
pub const LISTED_AT_ONCE_MAX: usize = 64;
/// Longest that somebody waits for the outcome of a call to a device, in milliseconds.
pub const CALL_MS_MAX: u64 = 600_000;
/// From a query's arrival to its answer, in milliseconds.
pub const QUERY_DEADLINE_MS: u64 = 30_000;
/// Points of one chunk of a history answer.
pub const HISTORY_CHUNK_POINTS_MAX: usize = 10_000;
/// Bytes of text of one chunk of a history answer; one value more may exceed it.
pub const HISTORY_CHUNK_BYTES_MAX: usize = 1 << 20;
/// Live watches of one stream (one WebSocket session).
pub const WATCHES_PER_STREAM_MAX: usize = 1_024;
/// Encoded updates of one stream waiting for the network, besides [`WATCH_UPDATES_MAX`].
pub const WATCH_FRAMES_MAX: usize = 16;

/// How long the Query service and the admin pages wait for callers when the process stops, in milliseconds.
pub const SHUTDOWN_GRACE_MS: u64 = 2_000;
/// A shard whose loop has not come round for this long is taken for dead, in milliseconds.
pub const HEARTBEAT_MS_MAX: u64 = 5_000;

const _: () = assert!(PAYLOAD_BYTES_MAX < PACKET_BYTES_MAX, "a payload must fit a packet with its topic");
const _: () = assert!(PACKET_BYTES_MAX <= READ_BUFFER_BYTES, "a read buffer holds at least one whole packet");
const _: () = assert!(
    HTTP_HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX <= READ_BUFFER_BYTES && PAYLOAD_BYTES_MAX < HTTP_CHUNKED_BYTES_MAX,
    "a read buffer holds at least one whole request"
);
const _: () = assert!(STRETCH_BYTES < OUTBOX_BYTES_MAX / 2, "a stretch fits the output of a connection, its head included");
const _: () = assert!(TLS_PARTIAL_BYTES_MAX + SCARCE_READ_BYTES <= TLS_RECORDS_BYTES, "a partial record can be made whole");
const _: () = assert!(TLS_RECORD_BYTES + 2_048 < TLS_PARTIAL_BYTES_MAX, "a partial record can be kept");
const _: () = assert!(ENTRIES_PER_MESSAGE_MAX <= READINGS_PER_MESSAGE_MAX, "an entry has at least one reading");
