//! Messages that need facts, on whole shards (DESIGN 8.1, 1): wherever the fact is, whatever happens meanwhile, what waits is evaluated
//! once, in order, and acknowledged after it.

use std::sync::Arc;
use std::time::Duration;

use schemas::chain::Chain;
use schemas::config::Device;
use schemas::id::{ChainId, CustomerId, EntityId, Partition, TenantId};
use schemas::telemetry::{Scope, Value};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::first_until;
use super::fleet::{CHILDREN, Client, Fleet, PUBACK, PUBREC, TENANT, TOKEN, device, engines, own_device};
use crate::clock::Timestamp;
use crate::limits;
use crate::metric::Counter;
use crate::query::{Query, Target};
use crate::rules::Plan;
use crate::shard::{Event, Placement};
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;
use crate::store::{Batch, Encoder, Engine, Family, key};

const OWN: &str = "v1/devices/me/telemetry";
const PACK: &str = "v1/gateway/telemetry";
/// What the customer's attribute says.
const LIMIT: i64 = 77;

/// A customer whose state belongs to this one of two shards.
fn customer(shard: u16) -> EntityId {
    let of = |n: u128| EntityId(Uuid::from_u128((9 << 64) + n));
    (0..).map(of).find(|id| Placement::new(2).shard_of(Partition::of(*id)) == shard).expect("there are enough")
}

/// Stores of two shards that hold the customers' attribute.
fn stores() -> Vec<Arc<MemoryEngine>> {
    let engines = engines(2);
    for (shard, engine) in (0..).zip(&engines) {
        let (mut batch, mut encoder) = (Batch::new(), Encoder::default());
        let key = key::attribute(customer(shard), Scope::Server, "limit");
        batch.put(Family::State, &key, encoder.attribute(Timestamp(1), &Value::Long(LIMIT)));
        engine.write(&batch).unwrap();
        engine.flush(true).unwrap();
    }
    engines
}

fn chain(nodes: &[(&str, Json)], edges: &[(usize, &str, usize)]) -> ShardChange {
    let node = |(class, configuration): &(&str, Json)| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration });
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let nodes: Vec<Json> = nodes.iter().map(node).collect();
    let edges: Vec<Json> = edges.iter().map(edge).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string();
    let plan = Arc::new(Plan::compile(&Chain::parse(&metadata).expect("valid")));
    ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }
}

/// Attributes are saved; so is telemetry, with the customer's limit, or without one where there is none.
fn with_limit(to: &str) -> ShardChange {
    let only = ("filter.TbMsgTypeFilterNode", json!({ "messageTypes": ["POST_TELEMETRY_REQUEST"] }));
    let limit = json!({ "dataMapping": { "limit": "limit" }, "dataToFetch": "ATTRIBUTES", "fetchTo": to });
    let enrich = ("metadata.TbGetCustomerAttributeNode", limit);
    let save = ("telemetry.TbMsgTimeseriesNode", json!({}));
    let client = ("telemetry.TbMsgAttributesNode", json!({ "scope": "CLIENT_SCOPE" }));
    let edges = [(0, "True", 1), (0, "False", 3), (1, "Success", 2), (1, "Failure", 2)];
    chain(&[only, enrich, save, client], &edges)
}

/// Every device is this customer's, and what it says is saved with the customer's limit.
fn assign(fleet: &mut Fleet, owner: EntityId, to: &str) {
    fleet.apply(&[with_limit(to)]);
    for name in CHILDREN.into_iter().chain([TOKEN]) {
        fleet.apply(&[ShardChange::Device(Device { customer: Some(CustomerId(owner.0)), ..own_device(name) })]);
    }
}

/// A fleet whose devices belong to the customer of this shard, and a client of the gateway's device.
fn begin(shard: u16, five: bool) -> (Fleet, Client) {
    let mut fleet = Fleet::start(stores(), 1);
    assign(&mut fleet, customer(shard), "DATA");
    let client = Client::connect(&mut fleet, five, false);
    (fleet, client)
}

/// Acknowledgements until there are so many: the identifiers, in order, with their codes.
fn acknowledged(fleet: &mut Fleet, client: &mut Client, count: usize) -> Vec<(u16, u8)> {
    let mut acknowledged = Vec::new();
    fleet.turn_until("acknowledgements", |_| {
        while let Some((kind, id, code)) = client.take() {
            assert!(kind == PUBACK || kind == PUBREC, "{kind}");
            acknowledged.push((id, if client.is_five() { code } else { 0 }));
        }
        assert!(!client.ended, "closed after {acknowledged:?}");
        acknowledged.len() >= count
    });
    acknowledged
}

/// How often this value is stored of a device.
fn times(fleet: &Fleet, name: &str, value: i64) -> usize {
    fleet.rows(name).get(&value).map_or(0, Vec::len)
}

/// Turns of the first shard alone until so many messages of the gateway's device wait.
fn waiting(fleet: &mut Fleet, count: usize) {
    first_until(fleet, "messages that wait", |fleet| fleet.shards[0].needs.waiting(device(TOKEN).into()) == count);
}

#[test]
fn a_fact_is_found_wherever_it_is() {
    for shard in [0, 1] {
        for five in [false, true] {
            let (mut fleet, mut client) = begin(shard, five);
            client.publish_at(1, OWN, 1, r#"{"n":1}"#);
            assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(1, 0)]);
            assert_eq!((times(&fleet, TOKEN, 1), times(&fleet, TOKEN, LIMIT)), (1, 1), "of shard {shard}, not in memory");
            assert_eq!(fleet.count(Counter::MessagesParked), 1);
            client.publish_at(1, OWN, 2, r#"{"n":2}"#);
            assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(2, 0)]);
            assert_eq!((times(&fleet, TOKEN, 2), times(&fleet, TOKEN, LIMIT)), (1, 2), "of shard {shard}, in memory");
            // What is in this shard's own memory is not waited for.
            assert_eq!(fleet.count(Counter::MessagesParked), 1 + u64::from(shard));
            assert_eq!(fleet.count(Counter::FactsMissed), 0);
            assert!(fleet.shards[0].needs.is_empty());
        }
    }
}

#[test]
fn later_messages_wait_behind_and_keep_their_order() {
    let (mut fleet, mut client) = begin(1, true);
    for n in 1..=5_u16 {
        client.publish_at(1, OWN, n, &format!(r#"{{"n":{n}}}"#));
    }
    waiting(&mut fleet, 5);
    assert_eq!(client.take(), None, "nothing is acknowledged before it is stored");
    assert_eq!(fleet.rows(TOKEN).len(), 0);
    let expected: Vec<(u16, u8)> = (1..=5).map(|n| (n, 0)).collect();
    assert_eq!(acknowledged(&mut fleet, &mut client, 5), expected);
    let rows = fleet.rows(TOKEN);
    let ts: Vec<Timestamp> = (1..=5).map(|n| rows[&n][0]).collect();
    assert!(ts.is_sorted_by(|a, b| a < b), "{ts:?}");
    assert_eq!(times(&fleet, TOKEN, LIMIT), 5);
}

#[test]
fn a_fact_that_does_not_come_is_the_nodes_failure() {
    let (mut fleet, mut client) = begin(1, true);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    client.publish_at(1, OWN, 2, r#"{"n":2}"#);
    waiting(&mut fleet, 2);
    let shard = &mut fleet.shards[0];
    shard.expire_facts();
    assert_eq!(shard.needs.waiting(device(TOKEN).into()), 2, "there is time");
    shard.now.instant = shard.now.instant.after_ms(limits::FACT_MS);
    shard.expire_facts();
    // The second waited as long, but its fact comes in time once it is asked for.
    first_until(&mut fleet, "the first is stored", |fleet| times(fleet, TOKEN, 1) == 1);
    assert_eq!(times(&fleet, TOKEN, LIMIT), 0, "without its limit");
    assert_eq!(acknowledged(&mut fleet, &mut client, 2), [(1, 0), (2, 0)]);
    assert_eq!((times(&fleet, TOKEN, 2), times(&fleet, TOKEN, LIMIT)), (1, 1));
    assert_eq!(fleet.count(Counter::FactsMissed), 1, "the late answer to the first is nobody's");
}

#[test]
fn who_has_waited_too_long_behind_others_does_not_wait_again() {
    let (mut fleet, mut client) = begin(1, true);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    client.publish_at(1, OWN, 2, r#"{"n":2}"#);
    waiting(&mut fleet, 2);
    std::thread::sleep(Duration::from_millis(limits::FACT_MS + 50));
    first_until(&mut fleet, "both are stored", |fleet| times(fleet, TOKEN, 1) + times(fleet, TOKEN, 2) == 2);
    assert_eq!(times(&fleet, TOKEN, LIMIT), 0);
    assert_eq!(acknowledged(&mut fleet, &mut client, 2), [(1, 0), (2, 0)]);
}

#[test]
fn messages_of_another_tenant_leave_places() {
    let (mut fleet, mut client) = begin(1, true);
    fleet.shards[0].needs.fill(TenantId(Uuid::from_u128(2)), true);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(1, 0)]);
    assert_eq!((times(&fleet, TOKEN, 1), times(&fleet, TOKEN, LIMIT)), (1, 1));
}

#[test]
fn without_room_a_node_fails_and_what_would_wait_behind_is_refused() {
    let (mut fleet, mut client) = begin(1, true);
    fleet.shards[0].needs.fill(TENANT, true);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(1, 0)], "the device is acknowledged all the same");
    assert_eq!((times(&fleet, TOKEN, 1), times(&fleet, TOKEN, LIMIT)), (1, 0));
    fleet.shards[0].needs.fill(TENANT, false);
    client.publish_at(1, OWN, 2, r#"{"n":2}"#);
    waiting(&mut fleet, 1);
    fleet.shards[0].needs.fill(TENANT, true);
    client.publish_at(1, OWN, 3, r#"{"n":3}"#);
    first_until(&mut fleet, "the third is refused", |fleet| fleet.count(Counter::MessagesDiscarded) == 1);
    fleet.shards[0].needs.fill(TENANT, false);
    assert_eq!(acknowledged(&mut fleet, &mut client, 2), [(2, 0), (3, 0x83)], "in the order in which they came");
    assert_eq!((times(&fleet, TOKEN, 2), times(&fleet, TOKEN, 3)), (1, 0));
}

#[test]
fn a_message_is_stored_though_its_connection_is_gone() {
    let (mut fleet, mut client) = begin(1, false);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    client.publish_at(0, OWN, 0, r#"{"n":2}"#);
    waiting(&mut fleet, 2);
    drop(client);
    first_until(&mut fleet, "the connection is over", |fleet| fleet.shards[0].sessions.is_empty());
    assert!(fleet.shards[0].needs.waiting(device(TOKEN).into()) >= 2, "what happened since waits behind");
    fleet.turn_until("both are stored", |fleet| times(fleet, TOKEN, 1) + times(fleet, TOKEN, 2) == 2);
    fleet.turn_until("nobody waits", |fleet| fleet.shards[0].needs.is_empty());
    assert_eq!(times(&fleet, TOKEN, LIMIT), 2);
}

#[test]
fn children_of_a_gateway_wait_for_themselves() {
    for shard in [0, 1] {
        let (mut fleet, mut client) = begin(shard, false);
        for n in 1..=3_u16 {
            let said: Vec<String> = CHILDREN.iter().map(|child| format!(r#""{child}":[{{"n":{n}}}]"#)).collect();
            client.publish_at(1, PACK, n, &format!("{{{}}}", said.join(",")));
        }
        assert_eq!(acknowledged(&mut fleet, &mut client, 3), [(1, 0), (2, 0), (3, 0)]);
        for child in CHILDREN {
            for n in 1..=3 {
                assert_eq!(times(&fleet, child, n), 1, "{child} {n}");
            }
            assert_eq!(times(&fleet, child, LIMIT), 3, "{child}");
        }
    }
}

/// A session whose messages wait is gone on with, begun anew, or its device is deleted.
#[test]
fn what_came_exactly_once_is_stored_once() {
    let (mut fleet, mut client) = begin(1, true);
    let both = r#"[{"ts":1,"values":{"n":1}},{"ts":2,"values":{"n":2}}]"#;
    client.publish(OWN, 1, both);
    waiting(&mut fleet, 1);
    drop(client);
    let mut client = connect_alone(&mut fleet, false);
    client.publish(OWN, 1, both);
    waiting(&mut fleet, 4);
    assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(1, 0)]);
    assert_eq!((times(&fleet, TOKEN, 1), times(&fleet, TOKEN, 2), times(&fleet, TOKEN, LIMIT)), (1, 1, 2));
    client.release(1);
    fleet.turn_until("the identifier is free", |_| client.take().is_some());
    // An identifier of a session that is over means another message.
    client.publish(OWN, 2, r#"{"n":3}"#);
    waiting(&mut fleet, 1);
    drop(client);
    let mut client = connect_alone(&mut fleet, true);
    client.publish(OWN, 2, r#"{"n":4}"#);
    assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(2, 0)]);
    assert_eq!((times(&fleet, TOKEN, 3), times(&fleet, TOKEN, 4)), (1, 1));
}

/// A connection while the second shard stands still.
fn connect_alone(fleet: &mut Fleet, clean: bool) -> Client {
    let second = fleet.shards.pop().expect("two shards");
    let client = Client::connect(fleet, true, clean);
    fleet.shards.push(second);
    client
}

#[test]
fn a_crash_leaves_all_of_a_message_or_nothing() {
    for turns in 0..16 {
        let mut fleet = Fleet::start(stores(), 1);
        assign(&mut fleet, customer(1), "METADATA");
        let mut packs = super::Packs::begin(&mut fleet, true);
        (1..=6).for_each(|id| packs.publish(id));
        for _ in 0..turns {
            fleet.turn();
            packs.take();
        }
        let left = fleet.crash(&[99, 0]);
        drop(fleet);
        let mut fleet = Fleet::start(left, 2);
        assign(&mut fleet, customer(1), "METADATA");
        packs.resume(&mut fleet);
        packs.finish(&mut fleet);
        super::check_once(&fleet, 6, &format!("{turns} turns"));
    }
}

#[test]
fn a_device_that_is_deleted_does_not_wait() {
    let (mut fleet, mut client) = begin(1, true);
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    waiting(&mut fleet, 1);
    fleet.apply(&[ShardChange::DeviceDeleted(device(TOKEN))]);
    assert!(fleet.shards[0].needs.is_empty());
    (0..50).for_each(|_| fleet.turn());
    assert_eq!(times(&fleet, TOKEN, 1), 0);
}

#[test]
fn a_store_that_is_lost_takes_what_waits_with_it() {
    let (mut fleet, mut client) = begin(1, true);
    (0..2).for_each(|shard| load(&mut fleet, shard));
    client.publish_at(1, OWN, 1, r#"{"n":1}"#);
    waiting(&mut fleet, 1);
    // The owner's store is lost, and its answer with it: the node fails when its time has passed.
    fleet.engines[1].fail_writes(true);
    save(&mut fleet, 1);
    fleet.shards[1].turn();
    assert!(!fleet.shards[1].ledger.is_open());
    assert_eq!(acknowledged(&mut fleet, &mut client, 1), [(1, 0)]);
    assert_eq!((times(&fleet, TOKEN, 1), times(&fleet, TOKEN, LIMIT)), (1, 0));
    fleet.engines[1].fail_writes(false);
    fleet.turn_until("it is open again", |fleet| fleet.shards[1].ledger.is_open());
    client.publish_at(1, OWN, 2, r#"{"n":2}"#);
    waiting(&mut fleet, 1);
    fleet.engines[0].fail_writes(true);
    save(&mut fleet, 0);
    fleet.shards[0].turn();
    assert!(!fleet.shards[0].ledger.is_open());
    assert!(fleet.shards[0].needs.is_empty() && fleet.shards[0].sessions.is_empty());
    fleet.engines[0].fail_writes(false);
    (0..50).for_each(|_| fleet.turn());
    assert_eq!(times(&fleet, TOKEN, 2), 0, "it was not acknowledged");
}

/// Has a customer's state in memory.
fn load(fleet: &mut Fleet, shard: u16) {
    let (reply, mut answer) = oneshot::channel();
    let target = Target { entity: customer(shard), tenant: TENANT };
    let query = Query::Attributes { scope: None, keys: Vec::new(), reply };
    fleet.shards[usize::from(shard)].take_event(Event::Query { target, query });
    fleet.turn_until("an answer", |_| answer.try_recv().is_ok());
}

/// An operator writes to a customer.
fn save(fleet: &mut Fleet, shard: u16) {
    let (reply, _) = oneshot::channel();
    let target = Target { entity: customer(shard), tenant: TENANT };
    let query = Query::SaveAttributes { scope: Scope::Server, payload: br#"{"other":1}"#.to_vec(), as_written: false, reply };
    fleet.shards[usize::from(shard)].take_event(Event::Query { target, query });
}

#[test]
fn a_connection_of_which_much_waits_is_not_read() {
    let (mut fleet, mut client) = begin(1, true);
    let most = limits::PARKED_PER_DEVICE_READ_MAX;
    (0..most + 30).for_each(|n| client.publish_at(0, OWN, 0, &format!(r#"{{"n":{n}}}"#)));
    waiting(&mut fleet, most);
    for _ in 0..50 {
        fleet.shards[0].turn();
    }
    assert_eq!(fleet.shards[0].needs.waiting(device(TOKEN).into()), most);
    fleet.turn_until("all are stored", |fleet| fleet.rows(TOKEN).len() == most + 31 - usize::from(most + 30 > 77));
    for n in 0..most + 30 {
        let n = i64::try_from(n).unwrap();
        assert!(times(&fleet, TOKEN, n) >= 1, "{n}");
    }
}

#[test]
fn the_past_is_what_was_written_before() {
    let mut fleet = Fleet::start(stores(), 1);
    let only = ("filter.TbMsgTypeFilterNode", json!({ "messageTypes": ["POST_TELEMETRY_REQUEST"] }));
    let last = json!({
        "latestTsKeyNames": ["n"], "fetchMode": "LAST", "startInterval": 1, "startIntervalTimeUnit": "HOURS", "endInterval": 0,
    });
    let times_thousand = json!({
        "operation": "MULT", "arguments": [
            { "type": "MESSAGE_METADATA", "key": "n", "name": "x" }, { "type": "CONSTANT", "key": "1000", "name": "y" },
        ],
        "result": { "type": "MESSAGE_BODY", "key": "before", "resultValuePrecision": 0 },
    });
    let nodes = [
        only,
        ("metadata.TbGetTelemetryNode", last),
        ("math.TbMathNode", times_thousand),
        ("telemetry.TbMsgTimeseriesNode", json!({})),
    ];
    let edges = [(0, "True", 1), (1, "Success", 2), (2, "Success", 3), (2, "Failure", 3)];
    fleet.apply(&[chain(&nodes, &edges)]);
    let mut client = Client::connect(&mut fleet, false, false);
    // All come in one turn, so each is read before it is durable.
    let now = fleet.clock.now().timestamp.0;
    for n in 1..=3_u16 {
        let ts = now - 10_000 + i64::from(n);
        client.publish_at(1, OWN, n, &format!(r#"{{"ts":{ts},"values":{{"n":{n}}}}}"#));
    }
    assert_eq!(acknowledged(&mut fleet, &mut client, 3), [(1, 0), (2, 0), (3, 0)]);
    let stored: Vec<i64> = fleet.rows(TOKEN).into_keys().collect();
    assert_eq!(stored, [1, 2, 3, 1_000, 2_000]);
}

#[test]
fn states_are_loaded_while_a_range_is_read() {
    let mut fleet = Fleet::start(engines(1), 1);
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let until = fleet.clock.now().instant.after_ms(limits::QUERY_DEADLINE_MS);
    assert!(fleet.shards[0].ledger.read(TENANT, until, Box::new(move |_| hold.recv().unwrap_or(()))));
    fleet.turn();
    let (reply, mut answer) = oneshot::channel();
    let target = Target { entity: device("B").into(), tenant: TENANT };
    fleet.shards[0].take_event(Event::Query { target, query: Query::Keys { reply } });
    fleet.turn_until("an answer", |_| answer.try_recv().is_ok_and(|keys| keys.is_ok()));
    drop(held);
}
