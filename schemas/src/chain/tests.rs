//! Chains that must be taken, and chains that must be refused with every problem named.

mod brokers;
mod heeding;
mod processing;

use serde_json::{Value, json};

use super::*;
use crate::telemetry::Scope;

const PREFIX: &str = "org.thingsboard.rule.engine.";

fn node(class: &str, configuration: Value) -> Value {
    json!({ "type": format!("{PREFIX}{class}"), "name": class, "configuration": configuration })
}

fn log() -> Value {
    node("action.TbLogNode", json!({}))
}

fn generator() -> Value {
    let script = "return {msg: {}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};";
    let generate = json!({ "msgCount": 0, "periodInSeconds": 1, "scriptLang": "JS", "jsScript": script });
    node("debug.TbMsgGeneratorNode", generate)
}

fn edge(from: usize, to: usize, label: &str) -> Value {
    json!({ "fromIndex": from, "toIndex": to, "type": label })
}

fn chain(nodes: Vec<Value>, edges: Vec<Value>) -> Value {
    json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges })
}

/// `problems` are `path: beginning of the rule`, all of them, in order.
#[track_caller]
fn check(metadata: &Value, problems: &[&str]) -> Option<Chain> {
    match Chain::parse(&metadata.to_string()) {
        Ok(chain) => {
            assert!(problems.is_empty(), "taken, but expected {problems:?}");
            Some(chain)
        }
        Err(InvalidChain(found)) => {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), problems.len(), "{found:#?}");
            for (found, expected) in found.iter().zip(problems) {
                assert!(found.starts_with(expected), "{found}\nexpected: {expected}");
            }
            None
        }
    }
}

#[test]
fn default_root_chain_is_valid() {
    let chain = check(&default_root_chain(), &[]).expect("valid");
    assert_eq!(chain.first, Some(2));
    assert_eq!(chain.edges.len(), 5);
    let names: Vec<&str> = chain.nodes.iter().map(|node| node.name.as_str()).collect();
    let log = ["Log RPC from Device", "Log Other"];
    assert_eq!(names, ["Save Timeseries", "Save Client Attributes", "Message Type Switch", log[0], log[1], "RPC Call Request"]);
    let (scope, processing) = (Scope::Client, None);
    let attributes = SaveAttributes { scope, notify_device: false, only_on_change: true, tell_chain: false, processing };
    assert_eq!(chain.nodes[1].kind, NodeKind::SaveAttributes(attributes));
}

#[test]
fn an_empty_chain_does_nothing() {
    for empty in [json!({}), json!({ "firstNodeIndex": null, "nodes": [], "connections": null, "ruleChainConnections": [] })] {
        assert_eq!(check(&empty, &[]), Some(Chain::default()));
    }
}

#[test]
fn fields_of_thingsboard_are_passed_over() {
    let id = "6f8a1c1e-0000-4000-8000-000000000001";
    let metadata = json!({
        "ruleChainId": { "entityType": "RULE_CHAIN", "id": id }, "version": 7, "firstNodeIndex": 0, "notes": [],
        "nodes": [{
            "id": { "entityType": "RULE_NODE", "id": id }, "createdTime": 1, "ruleChainId": null, "externalId": null,
            "type": format!("{PREFIX}telemetry.TbMsgTimeseriesNode"), "name": "s", "singletonMode": true, "queueName": "Main",
            "debugSettings": { "failuresEnabled": true, "allEnabled": false, "allEnabledUntil": 0 }, "configurationVersion": 1,
            "configuration": { "defaultTTL": 60, "useServerTs": true, "processingSettings": { "type": "ON_EVERY_MESSAGE" } },
            "additionalInfo": { "layoutX": 1, "layoutY": 2, "description": "" },
        }],
        "connections": [],
    });
    let chain = check(&metadata, &[]).expect("valid");
    assert_eq!(chain.nodes[0].id, Uuid::parse_str(id).ok());
    let expected = SaveTimeseries { default_ttl_s: 60, use_server_ts: true, processing: None };
    assert_eq!(chain.nodes[0].kind, NodeKind::SaveTimeseries(expected));
    assert_eq!(chain.nodes[0].debug, DebugSettings { failures: true, all_until_ms: 0 });
}

/// What a node says of debugging, what it says once it is bounded to 900, and what that means.
#[test]
fn debugging_ends() {
    let settings = |failures: bool, all: bool, until: i64| json!({ "failuresEnabled": failures, "allEnabled": all, "allEnabledUntil": until });
    for (older, said, kept, debug) in [
        (json!(null), json!(null), json!(null), DebugSettings::default()),
        (json!(true), json!(null), settings(true, false, 900), DebugSettings { failures: true, all_until_ms: 900 }),
        (json!(false), json!(null), json!(null), DebugSettings::default()),
        (json!(null), settings(true, false, 0), settings(true, false, 0), DebugSettings { failures: true, all_until_ms: 0 }),
        (
            json!(null),
            settings(false, true, 0),
            settings(false, false, 900),
            DebugSettings { failures: false, all_until_ms: 900 },
        ),
        (
            json!(null),
            settings(false, false, 800),
            settings(false, false, 800),
            DebugSettings { failures: false, all_until_ms: 800 },
        ),
        (
            json!(null),
            settings(true, false, 901),
            settings(true, false, 900),
            DebugSettings { failures: true, all_until_ms: 900 },
        ),
        (json!(true), json!({}), json!({}), DebugSettings::default()),
    ] {
        let mut node = node("action.TbLogNode", json!({}));
        node["debugMode"] = older;
        node["debugSettings"] = said;
        let mut metadata = chain(vec![node], vec![]);
        debug::bound(&mut metadata, 900);
        assert_eq!(metadata["nodes"][0]["debugSettings"], kept);
        assert_eq!(check(&metadata, &[]).expect("valid").nodes[0].debug, debug);
    }
    let wrong = |settings: Value, problems: &[&str]| {
        let mut node = node("action.TbLogNode", json!({}));
        node["debugSettings"] = settings;
        let mut metadata = chain(vec![node], vec![]);
        debug::bound(&mut metadata, 900);
        check(&metadata, problems);
    };
    wrong(json!("on"), &["nodes[0].debugSettings: \"on\": expected an object"]);
    wrong(
        json!({ "failuresEnabled": 1, "allEnabledUntil": "soon" }),
        &["nodes[0].debugSettings.failuresEnabled: expected", "nodes[0].debugSettings.allEnabledUntil: expected"],
    );
}

#[test]
fn text_that_is_no_metadata() {
    check(&json!([1]), &["$: expected a JSON object"]);
    let error = Chain::parse("{").expect_err("no JSON");
    assert!(error.to_string().starts_with("$: not JSON: "), "{error}");
    check(&json!({ "nodes": 1, "connections": {} }), &["nodes: expected an array", "connections: expected an array"]);
}

#[test]
fn configurations() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let series = "telemetry.TbMsgTimeseriesNode";
    let attributes = "telemetry.TbMsgAttributesNode";
    let filter = "filter.TbMsgTypeFilterNode";
    one(series, json!({}), &[]);
    one(series, json!({ "defaultTTL": -1 }), &["nodes[0].configuration.defaultTTL: -1: expected seconds"]);
    one(series, json!({ "useServerTs": 3 }), &["nodes[0].configuration.useServerTs: 3: expected true or false"]);
    one(series, json!({ "skipLatestPersistence": "true" }), &["nodes[0].configuration.skipLatestPersistence: true is not"]);
    one(attributes, json!({ "scope": "SHARED_SCOPE", "notifyDevice": "true" }), &[]);
    one(attributes, json!({ "scope": "X" }), &["nodes[0].configuration.scope: \"X\": expected one of CLIENT_SCOPE, SERVER"]);
    let notification = json!({ "sendAttributesUpdatedNotification": 3 });
    one(attributes, notification, &["nodes[0].configuration.sendAttributesUpdatedNotification: 3: expected true or false"]);
    let side = json!({ "keys": ["a"], "fromMetadata": "perhaps" });
    let expected = "nodes[0].configuration.fromMetadata: \"perhaps\": expected DATA or METADATA";
    one("transform.TbDeleteKeysNode", side, &[expected]);
    one(filter, json!({ "messageTypes": ["ALARM", "ALARM"] }), &[]);
    one(filter, json!({ "messageTypes": ["alarm"] }), &[]);
    one(filter, json!({ "messageTypes": [7] }), &["nodes[0].configuration.messageTypes: expected at most"]);
    one(filter, json!({}), &["nodes[0].configuration.messageTypes: expected an array"]);
    let related = "filter.TbCheckRelationNode";
    let any = json!({ "checkForSingleEntity": "false", "direction": "TO", "relationType": "Contains" });
    one(related, any, &[]);
    one(
        related,
        json!({ "direction": "UP", "entityType": "TEAPOT", "entityId": "x" }),
        &[
            "nodes[0].configuration.direction: \"UP\": expected FROM or TO",
            "nodes[0].configuration.relationType: missing: expected a relation type",
            "nodes[0].configuration.entityType: \"TEAPOT\": expected one of DEVICE",
            "nodes[0].configuration.entityId: \"x\": expected a UUID",
        ],
    );
}

#[test]
fn configurations_of_nodes_that_ask_relations() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let change = "transform.TbChangeOriginatorNode";
    one(change, json!({ "originatorSource": "ALARM_ORIGINATOR" }), &[]);
    let filters = json!([{ "relationType": "", "entityTypes": ["ASSET"] }, { "relationType": "Contains", "negate": true }]);
    let query = json!({ "direction": "TO", "maxLevel": 1, "fetchLastLevelOnly": false, "filters": filters });
    one(change, json!({ "originatorSource": "RELATED", "relationsQuery": query }), &[]);
    one(
        change,
        json!({ "originatorSource": "RELATED" }),
        &["nodes[0].configuration.relationsQuery: missing: expected an object"],
    );
    one(change, json!({ "originatorSource": "SELF" }), &["nodes[0].configuration.originatorSource: \"SELF\": expected CUSTOMER"]);
    let filters = json!([{ "entityTypes": ["TEAPOT"] }, 7, { "relationType": 8, "negate": 9 }]);
    let query = json!({ "direction": "UP", "maxLevel": 2, "filters": filters });
    one(
        change,
        json!({ "originatorSource": "RELATED", "relationsQuery": query }),
        &[
            "nodes[0].configuration.relationsQuery.direction: \"UP\": expected FROM or TO",
            "nodes[0].configuration.relationsQuery.maxLevel: 2: expected 1",
            "nodes[0].configuration.relationsQuery.filters[0].entityTypes: [\"TEAPOT\"]: expected an array",
            "nodes[0].configuration.relationsQuery.filters[2].relationType: 8: expected a relation type",
            "nodes[0].configuration.relationsQuery.filters[2].negate: 9: expected true or false",
        ],
    );
    let related = "metadata.TbGetRelatedAttributeNode";
    let query = json!({ "direction": "FROM", "filters": [{ "relationType": "Contains" }] });
    one(related, json!({ "relationsQuery": query, "dataToFetch": "LATEST_TELEMETRY", "dataMapping": { "a": "b" } }), &[]);
    one(related, json!({ "relationsQuery": query, "attrMapping": { "a": "b" } }), &[]);
    one(related, json!({ "relationsQuery": query, "dataToFetch": "FIELDS", "dataMapping": { "name": "b", "colour": "c" } }), &[]);
    one(
        related,
        json!({ "dataToFetch": "ALL" }),
        &[
            "nodes[0].configuration.relationsQuery: missing",
            "nodes[0].configuration.attrMapping: missing",
            "nodes[0].configuration.dataToFetch: \"ALL\"",
        ],
    );
    let device = "metadata.TbGetDeviceAttrNode";
    let query = json!({ "direction": "FROM", "maxLevel": 1, "relationType": "Contains", "deviceTypes": ["default"] });
    one(device, json!({ "deviceRelationsQuery": query, "clientAttributeNames": ["a"], "fetchToData": false }), &[]);
    one(
        device,
        json!({ "deviceRelationsQuery": { "direction": 1, "deviceTypes": 2 } }),
        &[
            "nodes[0].configuration.deviceRelationsQuery.direction: 1: expected FROM or TO",
            "nodes[0].configuration.deviceRelationsQuery.deviceTypes: expected at most",
        ],
    );
}

#[test]
fn configurations_of_nodes_that_want_something_of_the_control_plane() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let (create, delete) = ("action.TbCreateRelationNode", "action.TbDeleteRelationNode");
    one("action.TbAssignToCustomerNode", json!({ "customerNamePattern": "c", "customerCacheExpiration": 300 }), &[]);
    one("action.TbAssignToCustomerNode", json!({}), &["nodes[0].configuration.customerNamePattern: missing"]);
    one("action.TbUnassignFromCustomerNode", json!({ "customerNamePattern": "" }), &[]);
    one(
        create,
        json!({ "direction": "UP", "relationType": "", "entityType": "DASHBOARD", "createEntityIfNotExists": 1 }),
        &[
            "nodes[0].configuration.direction: \"UP\": expected FROM or TO",
            "nodes[0].configuration.relationType: \"\": expected a name",
            "nodes[0].configuration.entityType: \"DASHBOARD\": expected one of DEVICE, ASSET, CUSTOMER, TENANT, USER; there are no others here",
            "nodes[0].configuration.entityNamePattern: missing",
            "nodes[0].configuration.createEntityIfNotExists: 1: expected true or false",
        ],
    );
    let to = |kind: &str, more: Value| {
        let mut to = json!({ "direction": "TO", "relationType": "a", "entityType": kind, "entityNamePattern": "n" });
        to.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        to
    };
    for kind in ["DEVICE", "ASSET"] {
        let problem = ["nodes[0].configuration.entityTypePattern: missing"];
        one(create, to(kind, json!({ "createEntityIfNotExists": true })), &problem);
    }
    one(create, to("CUSTOMER", json!({ "createEntityIfNotExists": true })), &[]);
    let becomes = json!({ "changeOriginatorToRelatedEntity": true });
    one(create, to("USER", becomes), &["nodes[0].configuration.changeOriginatorToRelatedEntity: a user's messages"]);
    one(delete, json!({ "direction": "TO", "relationType": "a", "entityType": "EDGE" }), &[]);
    one(delete, to("EDGE", json!({ "deleteForSingleEntity": true })), &["nodes[0].configuration.entityType: \"EDGE\""]);
    let by_name = |kind: &str| json!({ "originatorSource": "ENTITY", "entityType": kind, "entityNamePattern": "n" });
    one("transform.TbChangeOriginatorNode", by_name("ASSET"), &[]);
    let problem = ["nodes[0].configuration.entityType: \"EDGE\": expected one of DEVICE, ASSET;"];
    one("transform.TbChangeOriginatorNode", by_name("EDGE"), &problem);
    one("metadata.TbFetchDeviceCredentialsNode", json!({ "fetchTo": "X" }), &["nodes[0].configuration.fetchTo: \"X\""]);
}

#[test]
fn configurations_of_nodes_that_call_outside() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let rest = "rest.TbRestApiCallNode";
    one(
        rest,
        json!({ "restEndpointUrlPattern": "http://x", "headers": { "A": "${b}" }, "queryParams": [{ "key": "a", "value": "${b}" }],
            "readTimeoutMs": 120_000, "maxParallelRequestsCount": 2_000_000, "maxInMemoryBufferSizeInKb": 25_000 }),
        &[],
    );
    one(
        rest,
        json!({ "restEndpointUrlPattern": "http://x", "queryParams": [{ "key": "a" }] }),
        &["nodes[0].configuration.queryParams: [{\"key\":\"a\"}]: expected an array of at most 64 parameters"],
    );
    let slow = json!({ "useSystemSmtpSettings": false, "smtpHost": "h", "enableTls": false, "timeout": 120_000 });
    one("mail.TbSendEmailNode", slow, &[]);
    one(
        rest,
        json!({ "restEndpointUrlPattern": "ftp://x", "requestMethod": "PULL", "enableProxy": true, "headers": { "a b": "" } }),
        &[
            "nodes[0].configuration.enableProxy: true: a proxy is not supported yet",
            "nodes[0].configuration.restEndpointUrlPattern: ftp://x: expected http:// or https://",
            "nodes[0].configuration.requestMethod: \"PULL\": expected GET, POST",
            "nodes[0].configuration.headers: expected an object of at most",
        ],
    );
    one("mail.TbSendEmailNode", json!({ "useSystemSmtpSettings": false }), &["nodes[0].configuration.smtpHost: missing"]);
    one(
        "aws.sqs.TbSqsNode",
        json!({}),
        &["nodes[0].type: node class org.thingsboard.rule.engine.aws.sqs.TbSqsNode is not supported yet; supported are org."],
    );
    one(
        "notification.TbSlackNode",
        json!({ "messageTemplate": "m", "conversation": {}, "botToken": "a b" }),
        &[
            "nodes[0].configuration.useSystemSettings: expected false, with a botToken",
            "nodes[0].configuration.botToken: \"a b\": expected a token of visible ASCII characters",
            "nodes[0].configuration.conversation: {}: expected an object with the id",
        ],
    );
}

#[test]
fn a_kafka_node_takes_no_property_that_reads_files_or_loads_code() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let kafka = "kafka.TbKafkaNode";
    let servers = "127.0.0.1:9092, kafka.example.org:9093";
    one(kafka, json!({ "topicPattern": "t", "bootstrapServers": servers, "acks": "1", "otherProperties": null }), &[]);
    one(
        kafka,
        json!({ "topicPattern": "t", "bootstrapServers": "h", "acks": "2", "linger": -1, "addMetadataKeyValuesAsKafkaHeaders": true,
            "kafkaHeadersCharset": "EBCDIC" }),
        &[
            "nodes[0].configuration.bootstrapServers: \"h\": expected 1 to 16 of host:port",
            "nodes[0].configuration.acks: \"2\": expected all, -1, 0 or 1",
            "nodes[0].configuration.linger: -1: expected a whole number from 0 to 10000",
            "nodes[0].configuration.kafkaHeadersCharset: \"EBCDIC\": expected one of UTF-8",
        ],
    );
    for (name, value, rule) in [
        ("plugin.library.paths", "/tmp/x.so", "is not supported; supported are client.id, compression.type"),
        ("ssl.truststore.location", "/etc/passwd", "is not supported"),
        ("ssl.ca.location", "/etc/passwd", "is not supported"),
        ("bootstrap.servers", "10.0.0.1:1", "is not supported"),
        ("security.protocol", "SASL_SSL", "SASL_SSL: TLS is not supported yet"),
        ("sasl.mechanism", "GSSAPI", "GSSAPI is not supported yet; supported are PLAIN"),
        (
            "sasl.jaas.config",
            "com.sun.security.auth.module.JndiLoginModule required;",
            "expected org.apache.kafka.common.security.plain",
        ),
        ("compression.type", "zstd", "zstd is not supported yet; supported are none, snappy, lz4"),
        ("request.timeout.ms", "0", "0: expected a number from 1 to 60000"),
    ] {
        let configuration = json!({ "topicPattern": "t", "bootstrapServers": servers, "otherProperties": { name: value } });
        one(kafka, configuration, &[&format!("nodes[0].configuration.otherProperties: {name}: {rule}")]);
    }
    let lone =
        json!({ "topicPattern": "t", "bootstrapServers": servers, "otherProperties": { "security.protocol": "SASL_PLAINTEXT" } });
    one(kafka, lone, &["nodes[0].configuration.otherProperties: security.protocol SASL_PLAINTEXT, sasl.mechanism and sasl.jaas"]);
    let hasty = json!({ "topicPattern": "t", "bootstrapServers": servers, "acks": "0", "otherProperties": { "enable.idempotence": true } });
    one(kafka, hasty, &["nodes[0].configuration.otherProperties: enable.idempotence: true needs acks \"all\""]);
}

#[test]
fn all_problems_at_once() {
    let metadata = json!({
        "firstNodeIndex": 9,
        "nodes": [1, { "name": "", "type": "x", "id": "y" }, { "type": format!("{PREFIX}action.TbLogNode"), "name": 3 }, log()],
        "connections": [{ "fromIndex": -1 }, edge(3, 7, "Success"), edge(3, 0, "True")],
        "ruleChainConnections": [{}],
    });
    check(
        &metadata,
        &[
            "nodes[0]: expected an object",
            "nodes[1].id: \"y\": expected a UUID",
            "nodes[1].name: 0 bytes, expected 1 to 255",
            "nodes[1].type: node class x is not supported yet",
            "nodes[2].name: 3: expected a string",
            "connections[0].fromIndex: -1: expected the index of a node",
            "connections[0].toIndex: null: expected the index of a node",
            "connections[0].type: missing",
            "ruleChainConnections[0].fromIndex: null: expected the index of a node",
            "ruleChainConnections[0].type: missing",
            "ruleChainConnections[0].targetRuleChainId: expected the id of a rule chain",
            "firstNodeIndex: 9: there are 4 nodes",
            "connections[1].toIndex: 7: there are 4 nodes",
            "connections[2].type: True: org.thingsboard.rule.engine.action.TbLogNode has no such label",
        ],
    );
}

#[test]
fn connections() {
    let two = |edges| chain(vec![log(), log()], edges);
    check(&two(vec![edge(0, 1, "Success"), edge(0, 1, "failure")]), &[]);
    check(&two(vec![edge(0, 1, "Success"), edge(0, 1, "SUCCESS")]), &["connections[1]: node 0 is already connected to node 1"]);
    check(&two(vec![edge(0, 0, "Success")]), &["connections: a cycle, on the way to or through nodes[0]"]);
    check(&two(vec![edge(0, 1, "Success"), edge(1, 0, "Success")]), &["connections: a cycle, on the way to or through nodes[0]"]);
    check(&json!({ "nodes": [log()] }), &["firstNodeIndex: missing"]);
    // Nothing has to enter where a generator begins.
    check(&json!({ "firstNodeIndex": null, "nodes": [log(), generator()], "connections": [edge(1, 0, "Success")] }), &[]);
    let id = json!({ "id": "6f8a1c1e-0000-4000-8000-000000000001" });
    let mut twice = vec![log(), log()];
    twice.iter_mut().for_each(|node| node["id"] = id.clone());
    check(&chain(twice, vec![]), &["nodes[1].id: 6f8a1c1e-0000-4000-8000-000000000001: another node has it"]);
}

#[test]
fn old_connections_to_other_chains_become_nodes() {
    let other = "6f8a1c1e-0000-4000-8000-000000000001";
    let target = json!({ "entityType": "RULE_CHAIN", "id": other });
    let mut metadata = chain(vec![log()], vec![]);
    metadata["ruleChainConnections"] = json!([{ "fromIndex": 0, "targetRuleChainId": target, "type": "Success" }]);
    let found = check(&metadata, &[]).expect("valid");
    let chain = Target::Chain(crate::id::ChainId(Uuid::parse_str(other).expect("valid")));
    assert_eq!(found.nodes[1].kind, NodeKind::Nested { chain });
    assert_eq!(found.edges, [Edge { from: 0, to: 1, label: label::SUCCESS.to_owned() }]);
    metadata["ruleChainConnections"][0]["type"] = json!("True");
    check(&metadata, &["connections[0].type: True: org.thingsboard.rule.engine.action.TbLogNode has no such label"]);
}

#[test]
fn configurations_of_filters_and_keys() {
    #[track_caller]
    fn one(class: &str, configuration: Value, problems: &[&str]) {
        check(&chain(vec![node(class, configuration)], vec![]), problems);
    }
    let copy = "transform.TbCopyKeysNode";
    one(
        copy,
        json!({ "keys": ["a.*"], "copyFrom": "X" }),
        &["nodes[0].configuration.copyFrom: \"X\": expected DATA or METADATA"],
    );
    one(copy, json!({ "keys": ["a("] }), &["nodes[0].configuration.keys: a(: "]);
    one(copy, json!({ "keys": ["(a{1000}){1000}"] }), &["nodes[0].configuration.keys: (a{1000}){1000}: "]);
    one(copy, json!({ "keys": "a" }), &["nodes[0].configuration.keys: expected at most"]);
    let rename = "transform.TbRenameKeysNode";
    one(rename, json!({}), &["nodes[0].configuration.renameKeysMapping: missing: expected an object"]);
    one(rename, json!({ "renameKeysMapping": { "a": 1 } }), &["nodes[0].configuration.renameKeysMapping: {\"a\":1}: expected"]);
    let fields = "metadata.TbGetOriginatorFieldsNode";
    // ThingsBoard takes any name, too, and leaves out what an entity has not.
    one(fields, json!({ "fieldsMapping": { "label": "l", "additionalInfo.x": "x" } }), &[]);
    one(fields, json!({ "dataMapping": {} }), &["nodes[0].configuration.dataMapping: {}: expected an object of 1 to"]);
    let kinds = "filter.TbOriginatorTypeFilterNode";
    one(
        kinds,
        json!({ "originatorTypes": ["THING"] }),
        &["nodes[0].configuration.originatorTypes: [\"THING\"]: expected an array of"],
    );
    let fence = "geo.TbGpsGeofencingFilterNode";
    one(fence, json!({}), &["nodes[0].configuration.perimeterType: missing: expected CIRCLE or POLYGON"]);
    let circle =
        json!({ "perimeterType": "CIRCLE", "centerLatitude": 1, "centerLongitude": 2, "range": 3, "rangeUnit": "LEAGUE" });
    one(fence, circle, &["nodes[0].configuration.rangeUnit: LEAGUE: expected METER"]);
    let polygon = json!({ "perimeterType": "POLYGON", "polygonsDefinition": "[[1,2]]" });
    one(fence, polygon, &["nodes[0].configuration.polygonsDefinition: expected [[latitude,longitude],…]"]);
    let script = "filter.TbJsFilterNode";
    one(script, json!({ "scriptLang": "TBEL" }), &["nodes[0].configuration.tbelScript: missing: expected a script"]);
    one(script, json!({ "scriptLang": "LUA" }), &["nodes[0].configuration.scriptLang: \"LUA\": expected TBEL or JS"]);
    let broken = json!({ "scriptLang": "JS", "jsScript": "return 1;\nreturn (;" });
    one(script, broken, &["nodes[0].configuration.jsScript: line 2, column 9: "]);
    let log = json!({ "scriptLang": "TBEL", "tbelScript": "return [1;" });
    one("action.TbLogNode", log, &["nodes[0].configuration.tbelScript: line 1, column 8: a bracket that is not closed"]);
    let delta = "metadata.CalculateDeltaNode";
    one(delta, json!({ "outputValueKey": "d" }), &["nodes[0].configuration.inputValueKey: missing: expected a name"]);
    let math = "math.TbMathNode";
    let x = json!({ "name": "x", "type": "MESSAGE_BODY", "key": "a" });
    let result = json!({ "type": "MESSAGE_BODY", "key": "r" });
    let with = |operation: &str, formula: &str, x: &Value| json!({ "operation": operation, "customFunction": formula, "arguments": [x], "result": result });
    one(math, with("CUSTOM", "x * (", &x), &["nodes[0].configuration.customFunction: character 6: expected a value"]);
    one(math, with("CUSTOM", "x * q", &x), &["nodes[0].configuration.customFunction: character 5: q is neither"]);
    one(math, with("ADD", "", &x), &["nodes[0].configuration.arguments: ADD has 2"]);
    one(math, with("FOURIER", "", &x), &["nodes[0].configuration.operation: FOURIER is not supported yet"]);
    let y = json!({ "name": "x", "type": "MOON", "key": "a" });
    one(math, with("SIN", "", &y), &["nodes[0].configuration.arguments[0].type: MOON: expected MESSAGE_BODY"]);
    let nested = "flow.TbRuleChainInputNode";
    one(nested, json!({ "ruleChainId": "x" }), &["nodes[0].configuration.ruleChainId: \"x\": expected the id of a rule chain"]);
    one(nested, json!({ "forwardMsgToDefaultRuleChain": true }), &[]);
}

#[test]
fn configurations_of_nodes_that_wait_for_time() {
    let one = |class, configuration, problems: &[&str]| {
        let problems: Vec<String> = problems.iter().map(|problem| format!("nodes[0].configuration.{problem}")).collect();
        let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
        check(&chain(vec![node(class, configuration)], vec![]), &problems).map(|chain| chain.nodes[0].kind.clone())
    };
    let delay = "delay.TbMsgDelayNode";
    // As ThingsBoard makes them anew, before and after its configuration version 1.
    let old = json!({ "periodInSeconds": 60, "maxPendingMsgs": 1000, "periodInSecondsPattern": null,
        "useMetadataPeriodInSecondsPatterns": false });
    let new = json!({ "periodValue": 1, "periodTimeUnit": "MINUTES", "maxPendingMsgs": 1000, "periodValuePattern": null,
        "periodTimeUnitPattern": null, "usePeriodValuePattern": false, "usePeriodTimeUnitPattern": false });
    assert_ne!((one(delay, old, &[]), one(delay, new, &[])), (None, None));
    one(delay, json!({ "maxPendingMsgs": 0 }), &["maxPendingMsgs: 0: expected a whole number from 1 to 100000"]);
    one(delay, json!({ "periodInSeconds": -1 }), &["periodInSeconds: -1: expected a whole number from 0"]);
    let days = json!({ "periodValue": 1, "periodTimeUnit": "DAYS" });
    one(delay, days, &["periodTimeUnit: \"DAYS\": expected SECONDS, MINUTES or HOURS"]);
    let pattern = json!({ "useMetadataPeriodInSecondsPatterns": true });
    one(delay, pattern, &["periodInSecondsPattern: missing: expected a name"]);

    let deduplicate = "deduplication.TbMsgDeduplicationNode";
    let usual = json!({ "interval": 60, "strategy": "FIRST", "outMsgType": null, "queueName": null, "maxPendingMsgs": 100,
        "maxRetries": 3 });
    one(deduplicate, usual, &[]);
    one(deduplicate, json!({ "strategy": "ALL" }), &["outMsgType: missing: expected a message type"]);
    one(deduplicate, json!({ "strategy": "SOME" }), &["strategy: \"SOME\": expected FIRST, LAST or ALL"]);
    let many = json!({ "interval": 0, "maxPendingMsgs": 1001 });
    one(deduplicate, many, &["interval: 0: expected", "maxPendingMsgs: 1001: expected a whole number from 1 to 1000"]);

    one("action.TbMsgCountNode", json!({ "telemetryPrefix": "messageCount", "interval": 1 }), &[]);
    one("action.TbMsgCountNode", json!({ "interval": 0 }), &["interval: 0: expected a whole number from 1"]);

    let generate = "debug.TbMsgGeneratorNode";
    let script = "let msg = prevMsg; return {msg: msg, metadata: prevMetadata, msgType: prevMsgType};";
    let made = |more: Value| {
        let mut with = json!({ "msgCount": 0, "periodInSeconds": 1, "scriptLang": "JS", "jsScript": script });
        with.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        with
    };
    let id = "6f8a1c1e-0000-4000-8000-000000000001";
    let maker = |kind| match kind {
        Some(NodeKind::Generate(generate)) => Some(generate.originator),
        _ => None,
    };
    let of = |more| maker(one(generate, made(more), &[]));
    assert_eq!(of(json!({ "originatorType": null, "originatorId": null })), Some(timed::Maker::Node));
    assert_eq!(of(json!({ "originatorType": "RULE_NODE", "originatorId": id })), Some(timed::Maker::Node));
    assert_eq!(of(json!({ "originatorType": "TENANT", "originatorId": id })), Some(timed::Maker::Tenant));
    assert!(matches!(of(json!({ "originatorType": "DEVICE", "originatorId": id })), Some(timed::Maker::Device(_))));
    one(generate, made(json!({ "originatorType": "ASSET" })), &["originatorType: ASSET is not supported yet"]);
    one(generate, made(json!({ "periodInSeconds": 0 })), &["periodInSeconds: 0: expected a whole number from 1"]);
    one(generate, json!({}), &["jsScript: missing: expected a script"]);

    let call = "rpc.TbSendRPCRequestNode";
    one(call, json!({ "timeoutInSeconds": 60 }), &[]);
    one(call, json!({ "timeoutInSeconds": -1 }), &["timeoutInSeconds: -1: expected a whole number from 0"]);

    let fence = json!({ "perimeterType": "CIRCLE", "centerLatitude": 1, "centerLongitude": 1, "range": 1,
        "minInsideDuration": -1, "minOutsideDurationTimeUnit": "YEARS" });
    let problems = ["minInsideDuration: -1: expected 0 to", "minOutsideDurationTimeUnit: \"YEARS\": expected MILLISECONDS"];
    one("geo.TbGpsGeofencingActionNode", fence, &problems);
}

#[test]
fn configurations_of_alarms() {
    #[track_caller]
    fn one(class: &str, configuration: &Value, problems: &[&str]) {
        check(&chain(vec![node(class, configuration.clone()), log()], vec![edge(0, 1, "False")]), problems);
    }
    let create = "action.TbCreateAlarmNode";
    // As before there was TBEL, dynamic severity and propagation to owners.
    let old = json!({ "alarmType": "A", "alarmDetailsBuildJs": "return {};", "severity": "MINOR", "propagate": false });
    one(create, &old, &[]);
    one(create, &json!({ "useMessageAlarmData": true }), &[]);
    let overwrites = json!({ "useMessageAlarmData": true, "overwriteAlarmDetails": true });
    one(create, &overwrites, &["nodes[0].configuration.alarmDetailsBuildJs: missing: expected a script"]);
    let missing = [
        "nodes[0].configuration.alarmType: missing: expected a name",
        "nodes[0].configuration.severity: missing: expected one of CRITICAL, MAJOR, MINOR, WARNING, INDETERMINATE, or a template",
        "nodes[0].configuration.alarmDetailsBuildJs: missing: expected a script",
    ];
    one(create, &json!({}), &missing);
    let severity = |severity: &str, dynamic: bool| {
        let mut with = old.clone();
        with["severity"] = severity.into();
        with["dynamicSeverity"] = dynamic.into();
        with
    };
    one(create, &severity("BAD", false), &["nodes[0].configuration.severity: \"BAD\": expected one of CRITICAL"]);
    one(create, &severity("$[severity]", false), &[]);
    one(create, &severity("ss_severity", true), &[]);
    let clear = "action.TbClearAlarmNode";
    one(clear, &json!({ "alarmType": "A", "scriptLang": "TBEL", "alarmDetailsBuildTbel": "return msg;" }), &[]);
    one(clear, &json!({ "alarmType": "A" }), &["nodes[0].configuration.alarmDetailsBuildJs: missing: expected a script"]);
    let status = "filter.TbCheckAlarmStatusNode";
    one(status, &json!({ "alarmStatusList": ["ACTIVE_ACK", "ACTIVE_UNACK"] }), &[]);
    one(
        status,
        &json!({ "alarmStatusList": [] }),
        &["nodes[0].configuration.alarmStatusList: []: expected an array of 1 or more"],
    );
    one(
        status,
        &json!({ "alarmStatusList": ["ACTIVE"] }),
        &["nodes[0].configuration.alarmStatusList: [\"ACTIVE\"]: expected an array"],
    );
}

#[test]
fn labels_of_a_switch() {
    let switch = |label| {
        let nodes = vec![node("filter.TbMsgTypeSwitchNode", json!({ "version": 0 })), log()];
        chain(nodes, vec![edge(0, 1, label)])
    };
    for kind in MessageType::ALL {
        check(&switch(kind.label()), &[]);
    }
    check(&switch("Failure"), &[]);
    check(&switch("True"), &["connections[0].type: True: "]);
}

#[test]
fn bounds() {
    check(&chain(vec![log(); NODES_MAX], vec![]), &[]);
    check(&chain(vec![log(); NODES_MAX + 1], vec![]), &["nodes: 1001 entries, at most 1000"]);
    let too_many = vec![edge(0, 1, "Success"); EDGES_MAX + 1];
    check(&chain(vec![log(), log()], too_many), &["connections: 10001 entries, at most 10000"]);
    // A line of n nodes executes n; a ladder of n diamonds has 2^n ways through it.
    let line: Vec<Value> = (1..NODES_MAX).map(|to| edge(to - 1, to, "Success")).collect();
    check(&chain(vec![log(); NODES_MAX], line), &[]);
    let ladder = |diamonds: usize| {
        let step = |n: usize| {
            let from = 3 * n;
            [(from, from + 1), (from, from + 2), (from + 1, from + 3), (from + 2, from + 3)]
        };
        let edges = (0..diamonds).flat_map(step).map(|(from, to)| edge(from, to, "Success")).collect();
        chain(vec![log(); 3 * diamonds + 1], edges)
    };
    check(&ladder(7), &[]);
    check(&ladder(8), &["connections: one message could execute 1021 nodes, at most 1000"]);
    check(&ladder(300), &["connections: one message could execute 18446744073709551615 nodes"]);
    // Also from a generator on, though nothing enters there.
    let mut generated = ladder(8);
    generated["nodes"][0] = generator();
    generated["nodes"].as_array_mut().unwrap().push(log());
    generated["firstNodeIndex"] = json!(25);
    check(&generated, &["connections: one message could execute 1021 nodes, at most 1000"]);
}

#[test]
fn message_types_are_complete_and_distinct() {
    for (index, kind) in MessageType::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, index);
        assert_eq!(MessageType::parse(kind.name()), Some(*kind));
    }
    assert_eq!(MessageType::parse("Post telemetry"), None);
    let other = MessageType::ALL.iter().filter(|kind| kind.label() == label::OTHER).count();
    assert_eq!((MessageType::COUNT, other), (47, 6));
}

mod properties {
    //! Any text is taken or refused, never a panic, and a refusal always says something.
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_chain_or_refused(text in "\\PC{0,64}") {
            if let Err(InvalidChain(problems)) = Chain::parse(&text) {
                prop_assert!(!problems.is_empty());
            }
        }

        #[test]
        fn any_edges_are_taken_or_refused(edges in prop::collection::vec((0_usize..6, 0_usize..6, 0_usize..3), 0..12)) {
            let labels = ["Success", "Failure", "True"];
            let edges: Vec<Value> = edges.iter().map(|(from, to, label)| edge(*from, *to, labels[*label])).collect();
            match Chain::parse(&chain(vec![log(); 5], edges.clone()).to_string()) {
                Ok(chain) => prop_assert_eq!(chain.edges.len(), edges.len()),
                Err(InvalidChain(problems)) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}
