//! Rows of the nodes that are told of others and of the past, or find their way in the data, and what an evaluation is that lacks a fact.

use std::sync::Arc;

use schemas::chain::{MessageType, Owner};
use schemas::config::Details;
use schemas::id::{EntityId, uuid};
use serde_json::{Value as Json, json};

use super::{Known, chain, check, message, telemetry};
use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::message::{Body, Message, Scope, Value};
use crate::query::{Aggregation, History, Point, Series};
use crate::rules::{Absent, Fact, Found, Plan, Running, evaluate, evaluate_again};

/// What the world says of others.
#[derive(Default)]
pub(super) struct Told {
    /// Whose the originator is, if it is anybody's.
    owned: bool,
    details: Details,
    /// Fields of the originator; an empty one has no value.
    fields: Vec<(&'static str, &'static str)>,
    facts: Vec<(Fact, Found)>,
}

fn id(of: Owner) -> EntityId {
    EntityId(uuid("id", &[if of == Owner::Customer { 1 } else { 2 }; 16]).expect("16 bytes"))
}

impl Told {
    pub(super) fn owned() -> Self {
        Self { owned: true, ..Self::default() }
    }

    pub(super) fn owner(&self, of: Owner) -> Option<EntityId> {
        self.owned.then(|| id(of))
    }

    pub(super) fn details(&self, owner: EntityId) -> Option<&Details> {
        (owner == id(Owner::Customer)).then_some(&self.details)
    }

    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    pub(super) fn fact(&self, fact: &Fact) -> Result<&[Series], Absent> {
        match self.facts.iter().find(|(known, _)| known == fact) {
            Some((_, Ok(series))) => Ok(series),
            Some((_, Err(reason))) => Err(Absent::Never(reason.clone())),
            None => Err(Absent::NotYet),
        }
    }
}

pub(super) fn series(key: &str, points: &[(i64, Value<'static>)]) -> Series {
    let point = |(ts, value): &(i64, Value<'static>)| Point { ts: Timestamp(*ts), value: value.clone() };
    Series { key: key.to_owned(), points: points.iter().map(point).collect() }
}

fn attributes(of: Owner, keys: &[&str]) -> Fact {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Fact::Attributes { entity: id(of), scope: Scope::Server, keys }
}

/// A world that knows these facts and no others.
pub(super) fn knowing(facts: Vec<(Fact, Found)>) -> Known {
    Known { told: Told { owned: true, facts, ..Told::default() }, ..Known::default() }
}

/// A world in which the originator has these fields.
pub(super) fn with_fields(fields: &[(&'static str, &'static str)]) -> Known {
    Known { told: Told { fields: fields.to_vec(), ..Told::default() }, ..Known::default() }
}

/// The data and this metadata behind one node, or why it failed.
#[track_caller]
pub(super) fn behind(
    class: &str,
    configuration: &Json,
    message: &Message<'_>,
    world: &mut Known,
    metadata: &[&str],
) -> Result<Vec<String>, String> {
    let templates: Vec<String> = metadata.iter().map(|name| format!("{name}=${{{name}}}")).collect();
    let reply = ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": "ts" }));
    let delete = ("telemetry.TbMsgDeleteAttributesNode", json!({ "scope": "SERVER_SCOPE", "keys": templates }));
    let nodes = [(class, configuration.clone()), reply, delete];
    let running = Running::new(Arc::new(Plan::compile(&chain(&nodes, &[(0, "Success", 1), (1, "Success", 2)]))));
    let mut effects = Vec::new();
    let evaluation = evaluate(&running, message, world, &mut effects);
    assert_eq!(evaluation.needs, None, "{class}");
    if let Some(failed) = evaluation.failed {
        return Err(failed.reason);
    }
    let mut shown = Vec::new();
    for effect in effects {
        match effect {
            Effect::Answer { json, .. } => shown.push(json),
            Effect::DeleteAttributes { keys, .. } => shown.extend(keys),
            other => panic!("{other:?}"),
        }
    }
    Ok(shown)
}

#[test]
fn values_of_owners() {
    let post = telemetry(r#"{"t":1}"#);
    let known = vec![series("A-limit", &[(9, Value::Long(7))]), series("city", &[(9, Value::Text("Ulm".into()))])];
    let classes =
        [(Owner::Customer, "metadata.TbGetCustomerAttributeNode"), (Owner::Tenant, "metadata.TbGetTenantAttributeNode")];
    for (of, class) in classes {
        let mapping = json!({ "${deviceName}-limit": "${deviceName}Most", "city": "where", "none": "nothing" });
        let mut keys = vec!["A-limit", "city", "none"];
        keys.sort_unstable();
        let new = json!({ "dataMapping": mapping, "dataToFetch": "ATTRIBUTES", "fetchTo": "DATA" });
        let told = behind(class, &new, &post, &mut knowing(vec![(attributes(of, &keys), Ok(known.clone()))]), &[]);
        assert_eq!(told, Ok(vec![r#"{"AMost":7,"t":1,"where":"Ulm"}"#.to_owned()]), "{class}");
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let latest = Fact::Latest { entity: id(of), keys };
        let old = json!({ "attrMapping": mapping, "telemetry": true });
        let told = behind(class, &old, &post, &mut knowing(vec![(latest, Ok(known.clone()))]), &["AMost", "where", "nothing"]);
        let expected = [r#"{"t":1}"#, "AMost=7", "where=Ulm", "nothing=${nothing}"].map(str::to_owned);
        assert_eq!(told, Ok(expected.to_vec()), "{class}");
        let one = json!({ "dataMapping": { "a": "b" } });
        let late = vec![(attributes(of, &["a"]), Err("late".to_owned()))];
        assert_eq!(behind(class, &one, &post, &mut knowing(late), &[]), Err("late".to_owned()), "{class}");
        let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[1]".into(), id: None });
        let there = vec![(attributes(of, &["a"]), Ok(vec![series("a", &[(1, Value::Long(1))])]))];
        let to_data = json!({ "dataMapping": { "a": "b" }, "fetchTo": "DATA" });
        let refused = behind(class, &to_data, &list, &mut knowing(there), &[]).expect_err("no object");
        assert!(refused.contains("no JSON object"), "{refused}");
        // Nobody's device.
        check(class, one, &post, &["Failure"]);
    }
}

#[test]
fn details_of_owners() {
    let post = telemetry(r#"{"t":1}"#);
    let class = "metadata.TbGetCustomerDetailsNode";
    let details = Details { title: "Acme".into(), city: "Ulm".into(), description: "Both".into(), ..Details::default() };
    let world = || Known { told: Told { owned: true, details: details.clone(), ..Told::default() }, ..Known::default() };
    let list = ["ID", "TITLE", "CITY", "PHONE", "ADDITIONAL_INFO"];
    let told = behind(class, &json!({ "detailsList": list, "fetchTo": "DATA" }), &post, &mut world(), &[]);
    let expected = json!({
        "t": 1, "customer_id": id(Owner::Customer).to_string(), "customer_title": "Acme", "customer_city": "Ulm",
        "customer_additionalInfo": "Both",
    });
    assert_eq!(told, Ok(vec![expected.to_string()]));
    let old = json!({ "detailsList": ["TITLE"], "addToMetadata": true });
    let told = behind(class, &old, &post, &mut world(), &["customer_title"]);
    assert_eq!(told, Ok(vec![r#"{"t":1}"#.to_owned(), "customer_title=Acme".to_owned()]));
    check(class, old.clone(), &post, &["Failure"]);
    // Nothing was pushed of this tenant.
    let told = behind("metadata.TbGetTenantDetailsNode", &old, &post, &mut world(), &[]);
    assert!(told.is_err_and(|reason| reason.starts_with("nothing is known")));
}

#[test]
fn the_past_of_the_originator() {
    let class = "metadata.TbGetTelemetryNode";
    let post = telemetry(r#"{"t":1,"from":"-100"}"#);
    let now = post.received.0;
    let asked = |keys: &[&str], (start, end): (i64, i64), limit, ascending, aggregation| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let (start, end, interval_ms) = (Timestamp(start), Timestamp(end), 0);
        Fact::History(History { keys, start, end, limit, ascending, aggregation, interval_ms })
    };
    let found = vec![series("A.t", &[(5, Value::Double(2.5)), (6, Value::Long(3))])];
    let text = vec![series("A.t", &[(5, Value::Text("on".into()))])];
    let interval = (now - 7_200_000, now - 5_000);
    let fetch = |more: Json| {
        let mut configuration = json!({
            "latestTsKeyNames": ["${deviceName}.t"], "startInterval": 2, "startIntervalTimeUnit": "HOURS", "endInterval": 5,
            "endIntervalTimeUnit": "SECONDS",
        });
        let Json::Object(more) = more else { panic!() };
        configuration.as_object_mut().expect("an object").extend(more);
        configuration
    };
    let rows = [
        (json!({ "fetchMode": "FIRST" }), asked(&["A.t"], interval, 1, true, Aggregation::None), "2.5"),
        (json!({ "fetchMode": "LAST" }), asked(&["A.t"], interval, 1, false, Aggregation::None), "2.5"),
        (
            json!({ "fetchMode": "ALL", "orderBy": "DESC", "limit": 2 }),
            asked(&["A.t"], interval, 2, false, Aggregation::None),
            r#"[{"ts":5,"value":2.5},{"ts":6,"value":3}]"#,
        ),
        (
            json!({ "fetchMode": "ALL", "aggregation": "MAX", "limit": 0 }),
            asked(&["A.t"], interval, 1_000, true, Aggregation::Max),
            r#"[{"ts":5,"value":2.5},{"ts":6,"value":3}]"#,
        ),
        (
            json!({ "useMetadataIntervalPatterns": true, "startIntervalPattern": "$[from]", "endIntervalPattern": "${ts}" }),
            asked(&["A.t"], (-100, now), 1, true, Aggregation::None),
            "2.5",
        ),
    ];
    // A text has its quotation marks, as in ThingsBoard.
    let (last, fact) = (json!({ "fetchMode": "LAST" }), asked(&["A.t"], interval, 1, false, Aggregation::None));
    let told = behind(class, &fetch(last), &post, &mut knowing(vec![(fact, Ok(text))]), &["A.t"]);
    assert_eq!(told.expect("it is known"), [r#"{"from":-100,"t":1}"#, "A.t=\"on\""]);
    for (more, fact, expected) in rows {
        let told = behind(class, &fetch(more.clone()), &post, &mut knowing(vec![(fact, Ok(found.clone()))]), &["A.t", "u"]);
        let expected = [r#"{"from":-100,"t":1}"#.to_owned(), format!("A.t={expected}"), "u=${u}".to_owned()];
        assert_eq!(told, Ok(expected.to_vec()), "{more}");
    }
    let patterns = |start: &str, end: &str| {
        fetch(json!({ "useMetadataIntervalPatterns": true, "startIntervalPattern": start, "endIntervalPattern": end }))
    };
    check(class, patterns("$[no]", "${ts}"), &post, &["Failure"]);
    check(class, patterns("5", "${ts}"), &post, &["Failure"]);
}

#[test]
fn paths_into_the_data() {
    let class = "transform.TbJsonPathNode";
    let post = telemetry(r#"{"t":1,"deep":{"a":[1,2]}}"#);
    let rows = [("$", r#"{"deep":{"a":[1,2]},"t":1}"#), ("$.deep.a[1]", "2"), ("$.deep.a[?@ > 5]", "[]"), ("$..a", "[[1,2]]")];
    for (path, expected) in rows {
        let told = behind(class, &json!({ "jsonPath": path }), &post, &mut Known::default(), &[]);
        assert_eq!(told, Ok(vec![expected.to_owned()]), "{path}");
    }
    check(class, json!({ "jsonPath": "$.no" }), &post, &["Failure"]);
    check(class, json!({}), &post, &["Success"]);
}

#[test]
fn an_evaluation_that_lacks_a_fact_leaves_nothing_and_is_counted_once() {
    let log = ("action.TbLogNode", json!({}));
    let enrich = ("metadata.TbGetTenantAttributeNode", json!({ "dataMapping": { "a": "b" } }));
    let save = ("telemetry.TbMsgTimeseriesNode", json!({}));
    let nodes = [log.clone(), enrich.clone(), save, enrich, log];
    let edges = [(0, "Success", 1), (1, "Success", 2), (2, "Success", 3), (3, "Success", 4), (3, "Failure", 4)];
    let running = Running::new(Arc::new(Plan::compile(&chain(&nodes, &edges))));
    assert!(running.plan().asks());
    let post = telemetry(r#"{"t":1}"#);
    let (mut world, mut effects) = (knowing(Vec::new()), vec![Effect::Log { node: "before".into() }]);
    let first = evaluate(&running, &post, &mut world, &mut effects);
    assert_eq!((first.executed, first.failed), (2, None));
    assert_eq!(effects.len(), 1, "what was there before stays");
    let fact = *first.needs.expect("a fact");
    assert_eq!((&fact, fact.entity()), (&attributes(Owner::Tenant, &["a"]), Some(id(Owner::Tenant))));
    world.told.facts.push((fact, Ok(vec![series("a", &[(1, Value::Long(1))])])));
    let second = evaluate_again(&running, &post, &mut world, &mut effects, first.executed);
    assert_eq!((second.executed, second.failed, second.needs), (5, None, None));
    assert_eq!(effects.len(), 4);
    let counts: Vec<_> = running.counts().iter().map(|count| (count.executed, count.left.clone())).collect();
    let once = (1, vec![("Success".to_owned(), 1)]);
    assert_eq!(counts, vec![once; 5]);
}
