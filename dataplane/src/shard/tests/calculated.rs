//! Calculated fields on whole shards: in the batch of what they depend on, with what they lack, wherever that is; and never in the way.

use std::sync::Arc;

use schemas::calculated::{Calculation, Written};
use schemas::chain::{Chain, default_root_chain};
use schemas::config::{CalculatedField, FieldOf};
use schemas::id::{ChainId, EntityId, FieldId, Partition, ProfileId, Revision};
use schemas::telemetry::{Scope, Value};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Client, Fleet, PUBACK, TENANT, TOKEN, device, engines};
use crate::clock::Timestamp;
use crate::metric::Counter;
use crate::query::{Query, Target};
use crate::rules::Plan;
use crate::shard::{Event, Placement};
use crate::snapshot::{FieldCount, ShardChange};
use crate::store::{Batch, Encoder, Engine, Family, key};

const OWN: &str = "v1/devices/me/telemetry";

pub(super) fn field(id: u128, of: FieldOf, configuration: &Json) -> ShardChange {
    let calculation = Calculation::parse(&configuration.to_string()).unwrap_or_else(|error| panic!("{configuration}: {error}"));
    let field = CalculatedField {
        id: FieldId(Uuid::from_u128(id)),
        tenant: TENANT,
        of,
        name: "mine".into(),
        calculation: Arc::new(calculation),
    };
    ShardChange::Field(Arc::new(field), Revision(1))
}

pub(super) fn own() -> FieldOf {
    FieldOf::Device(device(TOKEN))
}

pub(super) fn latest(key: &str) -> Json {
    json!({ "refEntityKey": { "key": key, "type": "TS_LATEST" } })
}

pub(super) fn simple(arguments: &Json, expression: &str, key: &str) -> Json {
    json!({ "type": "SIMPLE", "arguments": arguments, "expression": expression, "output": { "type": "TIME_SERIES", "name": key } })
}

fn script(arguments: &Json, expression: &str) -> Json {
    json!({ "type": "SCRIPT", "arguments": arguments, "expression": expression, "output": { "type": "TIME_SERIES" } })
}

/// Publishes and waits for the acknowledgement.
pub(super) fn say(fleet: &mut Fleet, client: &mut Client, id: u16, payload: &str) {
    client.publish_at(1, OWN, id, payload);
    fleet.turn_until("an acknowledgement", |_| client.take() == Some((PUBACK, id, 0)));
}

/// The latest value of a key as text, of what is in memory.
pub(super) fn value(fleet: &mut Fleet, key: &str) -> Option<String> {
    let shard = &mut fleet.shards[0];
    let state = shard.residents.get_mut(device(TOKEN).into(), shard.now.instant).expect("it is connected");
    state.latest_of(&shard.ledger.dictionary, key).map(|(_, value)| value.to_string())
}

pub(super) fn counts(fleet: &Fleet, id: u128) -> FieldCount {
    fleet.shards[0].table.field(TENANT, FieldId(Uuid::from_u128(id))).expect("it is known").counts()
}

#[test]
fn a_formula_follows_what_is_saved() {
    let mut fleet = Fleet::start(engines(2), 1);
    let both = json!({ "a": latest("a"), "b": latest("b") });
    fleet.apply(&[field(1, own(), &simple(&both, "a * b", "product"))]);
    let mut client = Client::connect(&mut fleet, true, false);
    say(&mut fleet, &mut client, 1, r#"{"a":6}"#);
    assert_eq!((value(&mut fleet, "product"), fleet.count(Counter::FieldsUnready)), (None, 1));
    say(&mut fleet, &mut client, 2, r#"{"b":7}"#);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("42.0"));
    // In the batch of the message: whatever is left after a crash has both or neither.
    let batches = fleet.count(Counter::BatchesWritten);
    say(&mut fleet, &mut client, 3, r#"{"a":1}"#);
    assert_eq!(fleet.count(Counter::BatchesWritten), batches + 1);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("7.0"));
    // What is older than the latest changes nothing; what is something else neither.
    say(&mut fleet, &mut client, 4, r#"{"ts":1000,"values":{"a":5}}"#);
    say(&mut fleet, &mut client, 5, r#"{"c":5}"#);
    assert_eq!(counts(&fleet, 1).calculated, 2);
    // Each time of a message is one of its own.
    let now = fleet.clock.now().timestamp.0;
    let later = format!(r#"[{{"ts":{},"values":{{"a":2}}}},{{"ts":{},"values":{{"a":3}}}}]"#, now + 1_000, now + 2_000);
    say(&mut fleet, &mut client, 6, &later);
    assert_eq!((value(&mut fleet, "product").as_deref(), counts(&fleet, 1).calculated), (Some("21.0"), 4));
    fleet.apply(&[ShardChange::FieldDeleted(FieldId(Uuid::from_u128(1)))]);
    say(&mut fleet, &mut client, 7, r#"{"b":0}"#);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("21.0"), "nobody calculates it any more");
}

#[test]
fn a_field_that_fails_says_why_and_stops_nothing() {
    let mut fleet = Fleet::start(engines(2), 1);
    let a = json!({ "a": latest("a") });
    fleet.apply(&[
        field(1, own(), &simple(&a, "a + 1", "one")),
        field(2, own(), &script(&a, "while (true) {}")),
        field(3, FieldOf::Profile(ProfileId(Uuid::from_u128(2))), &script(&a, "return {two: a + 2};")),
        field(4, own(), &script(&a, "return {ts: 9999999999999, values: {far: 1}};")),
    ]);
    let mut client = Client::connect(&mut fleet, true, false);
    say(&mut fleet, &mut client, 1, r#"{"a":"warm"}"#);
    assert_eq!((value(&mut fleet, "one"), value(&mut fleet, "two").as_deref()), (None, Some("warm2")));
    assert_eq!(counts(&fleet, 1).last_failure.expect("it failed").1, "argument a is not a number");
    assert_eq!(counts(&fleet, 2).last_failure.expect("it failed").1, "the script took more than 5 ms");
    assert!(counts(&fleet, 4).last_failure.expect("it failed").1.starts_with("the result: ts 9999999999999"));
    for counter in [Counter::FieldArgumentsFailed, Counter::FieldExpressionsFailed, Counter::FieldResultsRefused] {
        assert_eq!(fleet.count(counter), 1, "{counter:?}");
    }
    say(&mut fleet, &mut client, 2, &format!(r#"{{"a":"{}"}}"#, "x".repeat(3_000)));
    assert_eq!(counts(&fleet, 1).last_failure.expect("it failed").1, "argument a: 3000 bytes, at most 2048");
    say(&mut fleet, &mut client, 3, r#"{"a":1}"#);
    assert_eq!((value(&mut fleet, "one").as_deref(), value(&mut fleet, "two").as_deref()), (Some("2.0"), Some("3")));
    assert_eq!((counts(&fleet, 1).calculated, counts(&fleet, 1).failed), (1, 2));
}

#[test]
fn fields_feed_each_other_and_never_themselves() {
    let mut fleet = Fleet::start(engines(2), 1);
    fleet.apply(&[
        field(1, own(), &simple(&json!({ "b": latest("b"), "a": latest("a") }), "b + a", "c")),
        field(2, own(), &simple(&json!({ "a": latest("a") }), "a * 2", "b")),
        // What a script writes is only known when it has run.
        field(3, own(), &script(&json!({ "x": latest("x") }), "return {y: x + 1};")),
        field(4, own(), &script(&json!({ "y": latest("y") }), "return {x: y + 1};")),
    ]);
    let mut client = Client::connect(&mut fleet, true, false);
    say(&mut fleet, &mut client, 1, r#"{"a":5}"#);
    assert_eq!((value(&mut fleet, "b").as_deref(), value(&mut fleet, "c").as_deref()), (Some("10.0"), Some("15.0")));
    assert_eq!(fleet.count(Counter::FieldsCut), 0);
    say(&mut fleet, &mut client, 2, r#"{"x":0}"#);
    assert_eq!((value(&mut fleet, "x").as_deref(), value(&mut fleet, "y").as_deref()), (Some("2"), Some("1")), "once around");
    assert_eq!(fleet.count(Counter::FieldsCut), 1);
}

#[test]
fn a_window_is_filled_from_the_past_and_follows() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, true, false);
    let now = fleet.clock.now().timestamp.0;
    for (id, (ago, n)) in (1..).zip([(70_000, 100), (20_000, 1), (10_000, 2)]) {
        say(&mut fleet, &mut client, id, &format!(r#"{{"ts":{},"values":{{"n":{n}}}}}"#, now - ago));
    }
    let window = json!({ "t": { "refEntityKey": { "key": "n", "type": "TS_ROLLING" }, "limit": 3, "timeWindow": 60_000 } });
    fleet.apply(&[field(1, own(), &script(&window, "return {sum: t.sum(), count: t.count()};"))]);
    say(&mut fleet, &mut client, 4, r#"{"n":4}"#);
    assert_eq!((value(&mut fleet, "sum").as_deref(), value(&mut fleet, "count").as_deref()), (Some("7"), Some("3")));
    assert_eq!(fleet.count(Counter::MessagesParked), 1, "for the past");
    for n in [8, 16] {
        say(&mut fleet, &mut client, n, &format!(r#"{{"n":{n}}}"#));
    }
    assert_eq!(value(&mut fleet, "sum").as_deref(), Some("28"), "the newest three");
    assert_eq!(fleet.count(Counter::MessagesParked), 1, "the past is known");
    // An operator writes, too.
    let (reply, _answer) = oneshot::channel();
    let target = Target { entity: device(TOKEN).into(), tenant: TENANT };
    let payload = br#"{"n":32}"#.to_vec();
    fleet.shards[0]
        .take_event(Event::Query { target, query: Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply } });
    fleet.turn_until("it is calculated", |fleet| value(fleet, "sum").as_deref() == Some("56"));
    // What is deleted is read again.
    let (reply, _answer) = oneshot::channel();
    let query = Query::DeleteTimeseries { keys: vec!["n".to_owned()], range: None, reply };
    fleet.shards[0].take_event(Event::Query { target, query });
    say(&mut fleet, &mut client, 20, r#"{"n":64}"#);
    assert_eq!(value(&mut fleet, "sum").as_deref(), Some("64"));
    assert_eq!(fleet.count(Counter::FactsMissed), 0);
}

/// Everything goes to calculated fields, and nothing is stored.
fn told_alone() -> ShardChange {
    let class = "org.thingsboard.rule.engine.telemetry.TbCalculatedFieldsNode";
    let node = json!({ "type": class, "name": "fields", "configuration": {} });
    let chain = Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": [node], "connections": [] }).to_string()).expect("valid");
    let (id, plan) = (ChainId(Uuid::from_u128(3)), Arc::new(Plan::compile(&chain)));
    ShardChange::Chain { id, tenant: TENANT, root: true, plan }
}

#[test]
fn what_is_not_stored_is_known_to_fields_alone_after_a_crash_too() {
    let window = json!({ "t": { "refEntityKey": { "key": "a", "type": "TS_ROLLING" }, "limit": 3, "timeWindow": 60_000 } });
    let changes = [
        field(1, own(), &simple(&json!({ "a": latest("a"), "b": latest("b") }), "a * b", "product")),
        field(2, own(), &script(&window, "return {sum: t.sum()};")),
        told_alone(),
    ];
    let mut fleet = Fleet::start(engines(2), 1);
    fleet.apply(&changes);
    let mut client = Client::connect(&mut fleet, true, false);
    say(&mut fleet, &mut client, 1, r#"{"a":6,"unasked":1}"#);
    let batches = fleet.count(Counter::BatchesWritten);
    say(&mut fleet, &mut client, 2, r#"{"b":7}"#);
    assert_eq!(fleet.count(Counter::BatchesWritten), batches + 1, "in the batch of the message");
    assert_eq!((value(&mut fleet, "product").as_deref(), value(&mut fleet, "sum").as_deref()), (Some("42.0"), Some("6")));
    assert_eq!((value(&mut fleet, "a"), value(&mut fleet, "b")), (None, None));
    say(&mut fleet, &mut client, 3, r#"{"a":2}"#);
    assert_eq!((value(&mut fleet, "product").as_deref(), value(&mut fleet, "sum").as_deref()), (Some("14.0"), Some("8")));
    // What is older changes nothing; what is far ahead is not believed.
    say(&mut fleet, &mut client, 4, r#"{"ts":1000,"values":{"a":5}}"#);
    say(&mut fleet, &mut client, 5, r#"{"ts":9999999999999,"values":{"b":0}}"#);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("14.0"));
    assert_eq!(fleet.count(Counter::FieldArgumentsFailed), 1);
    let mut fleet = Fleet::start(fleet.crash(&[0]), 2);
    fleet.apply(&changes);
    let mut client = Client::connect(&mut fleet, true, false);
    say(&mut fleet, &mut client, 1, r#"{"b":8}"#);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("16.0"), "a is remembered");
    // The newer one counts, whether it is stored or not.
    let root = Chain::parse(&default_root_chain().to_string()).expect("valid");
    let (id, plan) = (ChainId(Uuid::from_u128(3)), Arc::new(Plan::compile(&root)));
    fleet.apply(&[ShardChange::Chain { id, tenant: TENANT, root: true, plan }]);
    say(&mut fleet, &mut client, 2, r#"{"a":3}"#);
    assert_eq!(value(&mut fleet, "product").as_deref(), Some("24.0"));
    assert_eq!(value(&mut fleet, "a").as_deref(), Some("3"));
    // What was told before is over, also when what was stored is deleted; so is what is deleted of what was told.
    let product = |fleet: &mut Fleet| counts(fleet, 1).calculated;
    let before = product(&mut fleet);
    let (reply, _answer) = oneshot::channel();
    let query = Query::DeleteTimeseries { keys: vec!["a".to_owned()], range: None, reply };
    let target = Target { entity: device(TOKEN).into(), tenant: TENANT };
    fleet.shards[0].take_event(Event::Query { target, query });
    say(&mut fleet, &mut client, 3, r#"{"b":9}"#);
    assert_eq!(product(&mut fleet), before, "there is no a");
    fleet.apply(&[told_alone()]);
    say(&mut fleet, &mut client, 4, r#"{"a":4}"#);
    assert_eq!((value(&mut fleet, "product").as_deref(), value(&mut fleet, "a")), (Some("36.0"), None));
    let (reply, _answer) = oneshot::channel();
    let query = Query::DeleteTimeseries { keys: vec!["a".to_owned()], range: None, reply };
    fleet.shards[0].take_event(Event::Query { target, query });
    let before = product(&mut fleet);
    say(&mut fleet, &mut client, 5, r#"{"b":10}"#);
    assert_eq!(product(&mut fleet), before, "there is no a");
}

#[test]
fn fields_remember_no_more_than_they_want_and_may() {
    let mut fleet = Fleet::start(engines(2), 1);
    let arguments = |keys: std::ops::Range<u32>| -> Json {
        keys.map(|n| (format!("a{n}"), latest(&format!("k{n}")))).collect::<serde_json::Map<_, _>>().into()
    };
    for n in 0..4 {
        fleet.apply(&[field(
            n,
            own(),
            &script(&arguments(u32::try_from(n).unwrap() * 8..u32::try_from(n).unwrap() * 8 + 8), "return null;"),
        )]);
    }
    fleet.apply(&[told_alone()]);
    let mut client = Client::connect(&mut fleet, true, false);
    let long = "x".repeat(2_000);
    for n in 0..32 {
        say(&mut fleet, &mut client, n + 1, &format!(r#"{{"k{n}":"{long}","other":1}}"#));
    }
    let told = |fleet: &mut Fleet, key: &str| {
        let shard = &mut fleet.shards[0];
        let state = shard.residents.get_mut(device(TOKEN).into(), shard.now.instant).expect("it is connected");
        state.told(Written::Series(key)).is_some()
    };
    assert_eq!((told(&mut fleet, "k0"), told(&mut fleet, "k31"), told(&mut fleet, "other")), (true, false, false));
    let refused = fleet.count(Counter::FieldArgumentsFailed);
    assert!(refused > 0, "32 KiB are full");
    // A field less, and there is room again.
    for n in 0..3 {
        fleet.apply(&[ShardChange::FieldDeleted(FieldId(Uuid::from_u128(n)))]);
    }
    say(&mut fleet, &mut client, 40, &format!(r#"{{"k31":"{long}"}}"#));
    assert_eq!((told(&mut fleet, "k0"), told(&mut fleet, "k31")), (false, true));
    assert_eq!(fleet.count(Counter::FieldArgumentsFailed), refused);
}

#[test]
fn arguments_of_others_are_found_wherever_they_are() {
    for shard in [0, 1] {
        let other = (0..).map(|n: u128| EntityId(Uuid::from_u128((9 << 64) + n)));
        let mut other = other.filter(|id| Placement::new(2).shard_of(Partition::of(*id)) == shard);
        let other = other.next().expect("there are enough");
        let stores = engines(2);
        let (mut batch, mut encoder) = (Batch::new(), Encoder::default());
        let limit = key::attribute(other, Scope::Server, "limit");
        batch.put(Family::State, &limit, encoder.attribute(Timestamp(1), &Value::Long(77)));
        stores[usize::from(shard)].write(&batch).unwrap();
        let mut fleet = Fleet::start(stores, 1);
        let of = json!({ "entityType": "CUSTOMER", "id": other.0 });
        let far = |key: &str| json!({ "refEntityId": of, "refEntityKey": { "key": key, "type": "ATTRIBUTE", "scope": "SERVER_SCOPE" } });
        fleet.apply(&[
            field(1, own(), &simple(&json!({ "n": latest("n"), "most": far("limit") }), "most - n", "left")),
            field(2, own(), &simple(&json!({ "n": latest("n"), "none": far("nothing") }), "none - n", "nothing")),
        ]);
        let mut client = Client::connect(&mut fleet, true, false);
        say(&mut fleet, &mut client, 1, r#"{"n":7}"#);
        assert_eq!(value(&mut fleet, "left").as_deref(), Some("70.0"), "of shard {shard}");
        assert_eq!((value(&mut fleet, "nothing"), fleet.count(Counter::FieldsUnready)), (None, 1));
    }
}
