//! Alarm rules of a device profile, with a chain whose first node is the device profile node, as ThingsBoard drew its root chains:
//! alarms begin, get worse and end, by readings and by time, also across a kill, and reach a web hook and a mailbox. Never asserts how
//! long the way takes.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{Device, Fixture, device_with, id_of, limit_tenants, profile, root_chain, tenant};
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::python::Client;
use tests::harness::rest::Rest;
use tests::harness::websocket::Live;

/// A rule on the reading of a key.
fn rule(key: &str, operation: &str, value: i64, spec: &Value) -> Value {
    let predicate = json!({ "type": "NUMERIC", "operation": operation,
        "value": { "defaultValue": value, "userValue": null, "dynamicValue": null } });
    let filter =
        json!({ "key": { "type": "TIME_SERIES", "key": key }, "valueType": "NUMERIC", "value": null, "predicate": predicate });
    json!({ "condition": { "condition": [filter], "spec": spec }, "schedule": { "type": "ANY_TIME" },
        "alarmDetails": format!("{key} is ${{{key}}}"), "dashboardId": null })
}

fn simple(key: &str, operation: &str, value: i64) -> Value {
    rule(key, operation, value, &json!({ "type": "SIMPLE" }))
}

/// "Hot" above 50, critical from the second time above 80 on, over below 20; "Stuck" when `s` has been 1 for longer than three seconds.
fn alarms() -> Value {
    let twice = json!({ "type": "REPEATING", "predicate": { "defaultValue": 2, "userValue": null, "dynamicValue": null } });
    let lasting = json!({ "type": "DURATION", "unit": "SECONDS",
        "predicate": { "defaultValue": 3, "userValue": null, "dynamicValue": { "sourceType": null, "sourceAttribute": null } } });
    json!([
        { "id": "hot", "alarmType": "Hot", "createRules":
            { "CRITICAL": rule("t", "GREATER", 80, &twice), "WARNING": simple("t", "GREATER", 50) },
          "clearRule": simple("t", "LESS", 20), "propagate": false, "propagateRelationTypes": null },
        { "id": "stuck", "alarmType": "Stuck", "createRules": { "MAJOR": rule("s", "EQUAL", 1, &lasting) }, "clearRule": null },
    ])
}

/// A device of a profile with these rules.
fn device_of(rest: &Rest, token: &str, alarms: &Value) -> Device {
    let data =
        json!({ "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" }, "alarms": alarms });
    let _profile = profile(rest, &json!({ "name": "oven", "profileData": data }));
    device_with(rest, token, &json!({ "type": "oven" }))
}

/// The root chain: the device profile node in front; alarms go to a web hook, those that begin to a mailbox, too.
fn draw(rest: &Rest, ports: &Value) {
    let (http, smtp) = (&ports["http"], &ports["smtp"]);
    let call =
        json!({ "restEndpointUrlPattern": format!("http://localhost:{http}/alarm"), "requestMethod": "POST", "headers": {} });
    let email = json!({ "fromTemplate": "plant@example.org", "toTemplate": "ops@example.org", "subjectTemplate": "$[type] at ${deviceName}",
        "bodyTemplate": "$[severity]: $[details.data]", "mailBodyType": "false" });
    let mailer = json!({ "useSystemSmtpSettings": false, "smtpProtocol": "smtp", "smtpHost": "127.0.0.1", "smtpPort": smtp,
        "timeout": 5000, "enableTls": false });
    let state = json!({ "persistAlarmRulesState": false, "fetchAlarmRulesStateOnStart": false });
    let nodes = [
        ("profile.TbDeviceProfileNode", state),
        ("filter.TbMsgTypeSwitchNode", json!({})),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        ("rest.TbRestApiCallNode", call),
        ("mail.TbMsgToEmailNode", email),
        ("mail.TbSendEmailNode", mailer),
    ];
    let edges = [
        (0, "Success", 1),
        (1, "Post telemetry", 2),
        (0, "Alarm Created", 3),
        (0, "Alarm Severity Updated", 3),
        (0, "Alarm Cleared", 3),
        (0, "Alarm Created", 4),
        (4, "Success", 5),
    ];
    let node = |(class, configuration): &(&str, Value)| {
        json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration,
            "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let chain = json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": root_chain(rest) }, "firstNodeIndex": 0,
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(), "connections": edges.iter().map(edge).collect::<Vec<_>>() });
    let _saved = rest.post("/api/ruleChain/metadata", &chain).json();
}

/// What of a device's alarm of a type is shown, once it is like this.
fn alarm(rest: &Rest, device: &str, kind: &str, severity: &str, status: &str) -> Value {
    let path = format!("/api/v2/alarm/DEVICE/{device}?pageSize=10&page=0&typeList={kind}");
    eventually("the alarm is known", || {
        let found = rest.get(&path).json()["data"].as_array().expect("a page").clone();
        found.into_iter().find(|alarm| (&alarm["severity"], &alarm["status"]) == (&json!(severity), &json!(status)))
    })
}

/// A web hook and a mailbox.
struct Outside {
    hook: Client,
    mailbox: Client,
    /// A call that is made once more after a kill has the same key.
    keys: Vec<Value>,
}

impl Outside {
    /// With the ports of both.
    fn start(home: &Home) -> (Self, Value) {
        let (mut hook, mut mailbox) = (Client::outside(home, 0), Client::outside_with_smtp(home));
        let ports = json!({ "http": hook.event("listening")["http"], "smtp": mailbox.event("listening")["smtp"] });
        (Self { hook, mailbox, keys: Vec::new() }, ports)
    }

    /// What the web hook is told next: the alarm's type, severity and status, and what it says.
    fn told(&mut self) -> [String; 4] {
        let mut call = self.hook.event("call");
        while self.keys.contains(&call["key"]) {
            call = self.hook.event("call");
        }
        self.keys.push(call["key"].clone());
        let body: Value = serde_json::from_str(call["body"].as_str().expect("a body")).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [text(&body["type"]), text(&body["severity"]), text(&body["status"]), text(&body["details"]["data"])]
    }

    /// The body of the mail with this subject.
    fn mail(&mut self, subject: &str) -> Value {
        loop {
            let mail = self.mailbox.event("mail");
            if mail["subject"] == subject {
                return mail["body"].clone();
            }
        }
    }
}

#[test]
fn a_profiles_rules_make_alarms_that_reach_people_and_a_kill_forgets_nothing() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
        let (mut outside, ports) = Outside::start(&fixture.home);
        draw(&fixture.tenant, &ports);
        let oven = device_of(&fixture.tenant, "oven", &alarms());
        let mut wire = Wire::session(fixture.instance.mqtt(), "oven");
        assert_eq!(wire.telemetry(1, r#"{"t":30,"s":0}"#), 0);
        assert_eq!(wire.telemetry(2, r#"{"t":60}"#), 0);
        assert_eq!(outside.told(), ["Hot", "WARNING", "ACTIVE_UNACK", "t is 60"]);
        assert_eq!(outside.mail("Hot at device oven"), "WARNING: t is 60");
        let begun = alarm(&fixture.tenant, &oven.id, "Hot", "WARNING", "ACTIVE_UNACK");
        // The first of two, and the begin of three seconds, of which only the disk knows from now on.
        assert_eq!(wire.telemetry(3, r#"{"t":90}"#), 0);
        assert_eq!(wire.telemetry(4, r#"{"s":1}"#), 0);
        let Fixture { instance, home, .. } = fixture;
        instance.kill();
        let instance = Setup::standalone(&home).driver(driver).shards(3).start();
        let fixture = Fixture { tenant: tenant(&instance), instance, home };
        // No message comes.
        assert_eq!(outside.told(), ["Stuck", "MAJOR", "ACTIVE_UNACK", "s is 1"]);
        assert_eq!(outside.mail("Stuck at device oven"), "MAJOR: s is 1");
        alarm(&fixture.tenant, &oven.id, "Stuck", "MAJOR", "ACTIVE_UNACK");
        let mut wire = Wire::session(fixture.instance.mqtt(), "oven");
        assert_eq!(wire.telemetry(1, r#"{"t":91}"#), 0);
        assert_eq!(outside.told(), ["Hot", "CRITICAL", "ACTIVE_UNACK", "t is 91"]);
        assert_eq!(wire.telemetry(2, r#"{"t":50}"#), 0);
        assert_eq!(wire.telemetry(3, r#"{"t":10}"#), 0);
        assert_eq!(outside.told(), ["Hot", "CRITICAL", "CLEARED_UNACK", "t is 10"]);
        let over = alarm(&fixture.tenant, &oven.id, "Hot", "CRITICAL", "CLEARED_UNACK");
        assert_eq!(over["id"], begun["id"], "one alarm all the way");
        fixture.instance.stop();
    }
}

#[test]
fn alarms_are_seen_live() {
    let fixture = Fixture::start();
    let (_outside, ports) = Outside::start(&fixture.home);
    draw(&fixture.tenant, &ports);
    let oven = device_of(&fixture.tenant, "oven", &alarms());
    let mut live = Live::connect(&fixture.tenant);
    let devices = json!({ "type": "entityList", "entityType": "DEVICE", "entityList": [oven.id] });
    let link = json!({ "pageSize": 10, "page": 0, "statusList": ["ACTIVE"], "timeWindow": 3_600_000 });
    let query = json!({ "entityFilter": devices, "pageLink": link, "entityFields": [{ "type": "ENTITY_FIELD", "key": "name" }],
        "latestValues": [], "alarmFields": [], "keyFilters": [] });
    live.send(&json!({ "alarmDataCmds": [{ "cmdId": 1, "query": query }], "alarmCountCmds": [{ "cmdId": 2, "query": link }] }));
    let (page, count) = (live.update(), live.update());
    assert_eq!((&page["data"]["totalElements"], &count["count"]), (&json!(0), &json!(0)));
    let mut wire = Wire::session(fixture.instance.mqtt(), "oven");
    assert_eq!(wire.telemetry(1, r#"{"t":60}"#), 0);
    let updates = [live.update(), live.update()];
    let page = updates.iter().find(|update| update["cmdUpdateType"] == "ALARM_DATA").expect("the page");
    let count = updates.iter().find(|update| update["cmdUpdateType"] == "ALARM_COUNT_DATA").expect("the count");
    let row = &page["data"]["data"][0];
    assert_eq!((&row["type"], &row["severity"], &count["count"]), (&json!("Hot"), &json!("WARNING"), &json!(1)));
    assert_eq!(row["latest"]["ENTITY_FIELD"]["name"]["value"], "device oven");
    assert_eq!(wire.telemetry(2, r#"{"t":81}"#), 0);
    assert_eq!(live.update()["update"][0]["details"]["data"], "t is 81");
    fixture.instance.stop();
}

/// A site contains a hall, which contains the oven; somebody else manages it.
#[test]
fn what_contains_a_device_sees_its_alarms_too() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let (_outside, ports) = Outside::start(&fixture.home);
    draw(rest, &ports);
    let mut rules = alarms();
    rules[0]["propagate"] = json!(true);
    rules[0]["propagateRelationTypes"] = json!(["Contains"]);
    let oven = device_of(rest, "oven", &rules);
    let [site, hall, shop] =
        ["Site", "Hall", "Shop"].map(|name| id_of(&rest.post("/api/asset", &json!({ "name": name, "type": "place" })).json()));
    for (from, kind, to, id) in
        [(&site, "Contains", "ASSET", &hall), (&hall, "Contains", "DEVICE", &oven.id), (&shop, "Manages", "DEVICE", &oven.id)]
    {
        let relation =
            json!({ "from": { "entityType": "ASSET", "id": from }, "type": kind, "to": { "entityType": to, "id": id } });
        rest.post("/api/relation", &relation).expect_text(200);
    }
    let seen = |asset: &str| rest.get(&format!("/api/v2/alarm/ASSET/{asset}?pageSize=10&page=0")).json()["data"].clone();
    let mut live = Live::connect(rest);
    let places = json!({ "type": "entityList", "entityType": "ASSET", "entityList": [site] });
    let link = json!({ "pageSize": 10, "page": 0, "searchPropagatedAlarms": true });
    let query = json!({ "entityFilter": places, "pageLink": link, "entityFields": [{ "type": "ENTITY_FIELD", "key": "name" }],
        "latestValues": [], "alarmFields": [], "keyFilters": [] });
    live.send(&json!({ "alarmDataCmds": [{ "cmdId": 1, "query": query }] }));
    assert_eq!(live.update()["data"]["totalElements"], 0);
    assert_eq!(Wire::session(fixture.instance.mqtt(), "oven").telemetry(1, r#"{"t":60}"#), 0);
    let row = live.update()["data"]["data"][0].clone();
    assert_eq!((&row["type"], &row["latest"]["ENTITY_FIELD"]["name"]["value"]), (&json!("Hot"), &json!("Site")));
    assert_eq!((&row["originator"]["id"], &row["entityId"]["id"]), (&json!(oven.id), &json!(site)));
    for place in [&site, &hall] {
        assert_eq!(seen(place)[0]["originator"]["id"], json!(oven.id));
    }
    assert_eq!(seen(&shop), json!([]), "it does not contain it");
    fixture.instance.stop();
}

#[test]
fn everything_that_is_wrong_with_rules_is_answered_at_once_and_changes_nothing() {
    let fixture = Fixture::start();
    let mut bad = alarms();
    bad[0]["createRules"]["CRITICAL"]["condition"]["condition"][0]["predicate"]["operation"] = json!("ABOVE");
    bad[1]["createRules"]["MAJOR"]["schedule"] = json!({ "type": "SPECIFIC_TIME", "timezone": "Nowhere", "daysOfWeek": [1] });
    let body = json!({ "name": "bad", "type": "DEFAULT", "transportType": "DEFAULT", "profileData": { "alarms": bad } });
    let message = fixture.tenant.post("/api/deviceProfile", &body).expect_text(400);
    for part in [
        "alarms[0].createRules.CRITICAL.condition.condition[0].predicate.operation: \\\"ABOVE\\\"",
        "alarms[1].createRules.MAJOR.schedule.timezone",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let names = fixture.tenant.get("/api/deviceProfiles?pageSize=10&page=0&textSearch=bad").json();
    assert_eq!(names["totalElements"], 0);
    fixture.instance.stop();
}
