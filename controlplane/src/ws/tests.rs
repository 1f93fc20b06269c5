//! Frames as data, updates as text, and a whole session over a real socket with a fake data plane behind it.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use schemas::{
    generated::query as wire,
    telemetry::{Scope, Value},
};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as SocketError, Message},
};
use uuid::Uuid;

use super::{
    alarms::Wanted,
    command::{Command, Refused, Span, Subject, Subscription, parse},
    update,
};
use crate::{
    rest::{self, tests::house::House},
    telemetry::{
        Aggregation, Attribute, Point, Series, Update, Watch,
        tests::{Fake, series_of},
    },
};

const ID: &str = "784f394c-42b6-435a-983c-b7beff2784f9";

fn check(text: &str, expected: Vec<Result<Command, Refused>>) {
    assert_eq!(parse(text).unwrap().commands, expected, "{text}");
}

fn subject(keys: &[&str]) -> Subject {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Subject { kind: "DEVICE".to_owned(), id: Uuid::parse_str(ID).unwrap(), keys }
}

fn subscribe(id: i64, keys: &[&str], what: Watch) -> Result<Command, Refused> {
    Ok(Command::Subscribe(Subscription { id, subject: subject(keys), what, window: None }))
}

#[test]
fn legacy_and_current_frames_mean_the_same() {
    let body = format!(r#""cmdId":1,"entityType":"DEVICE","entityId":"{ID}""#);
    let all = vec![subscribe(1, &[], Watch::Timeseries)];
    check(&format!(r#"{{"tsSubCmds":[{{{body},"scope":"LATEST_TELEMETRY"}}],"historyCmds":[],"attrSubCmds":[]}}"#), all.clone());
    check(&format!(r#"{{"cmds":[{{{body},"type":"TIMESERIES"}}]}}"#), all);
    let shared = vec![subscribe(1, &["a", "b"], Watch::Attributes(Some(Scope::Shared)))];
    check(&format!(r#"{{"attrSubCmds":[{{{body},"scope":"SHARED_SCOPE","keys":"a,b"}}]}}"#), shared.clone());
    check(&format!(r#"{{"cmds":[{{{body},"type":"ATTRIBUTES","scope":"SHARED_SCOPE","keys":"a, b"}}]}}"#), shared);
    check(&format!(r#"{{"attrSubCmds":[{{{body}}}]}}"#), vec![subscribe(1, &[], Watch::Attributes(None))]);
    let gone = vec![Ok(Command::Unsubscribe { id: 1 })];
    check(&format!(r#"{{"tsSubCmds":[{{{body},"unsubscribe":true}}]}}"#), gone.clone());
    check(r#"{"cmds":[{"cmdId":1,"type":"ATTRIBUTES_UNSUBSCRIBE"}]}"#, gone);
    let span = Span { start: Some(5), length_ms: 10, interval_ms: 2, limit: 7, aggregation: Aggregation::Max };
    let history = vec![Ok(Command::History { id: 1, subject: subject(&["a"]), span })];
    let range = r#""keys":"a","startTs":5,"endTs":15,"interval":2,"limit":7,"agg":"MAX""#;
    check(&format!(r#"{{"historyCmds":[{{{body},{range}}}]}}"#), history.clone());
    check(&format!(r#"{{"cmds":[{{{body},{range},"type":"TIMESERIES_HISTORY"}}]}}"#), history);
    let alarms = |wanted| vec![Ok(Command::Alarms { id: 2, wanted, query: json!({ "a": 1 }) })];
    let command = r#""cmdId":2,"query":{"a":1}"#;
    check(&format!(r#"{{"alarmDataCmds":[{{{command}}}]}}"#), alarms(Wanted::Page));
    check(&format!(r#"{{"cmds":[{{{command},"type":"ALARM_DATA"}}]}}"#), alarms(Wanted::Page));
    check(&format!(r#"{{"alarmCountCmds":[{{{command}}}]}}"#), alarms(Wanted::Count));
    check(&format!(r#"{{"cmds":[{{{command},"type":"ALARM_COUNT"}}]}}"#), alarms(Wanted::Count));
    let ended = vec![Ok(Command::Unsubscribe { id: 2 })];
    check(r#"{"alarmDataUnsubscribeCmds":[{"cmdId":2}]}"#, ended.clone());
    check(r#"{"cmds":[{"cmdId":2,"type":"ALARM_COUNT_UNSUBSCRIBE"}]}"#, ended);
    let signed = parse(r#"{"authCmd":{"cmdId":0,"token":"t"},"cmds":[]}"#).unwrap();
    assert_eq!((signed.token.as_deref(), signed.commands.len()), (Some("t"), 0));
}

#[test]
fn a_wrong_command_is_refused_under_its_id() {
    let body = format!(r#""cmdId":4,"entityType":"DEVICE","entityId":"{ID}""#);
    let refusals = [
        (r#"{"tsSubCmds":[{"cmdId":4,"entityType":"DEVICE"}]}"#.to_owned(), "entityId: missing"),
        (r#"{"tsSubCmds":[{"cmdId":4,"entityType":"DEVICE","entityId":"x"}]}"#.to_owned(), "entityId: \"x\" must be a UUID"),
        (format!(r#"{{"attrSubCmds":[{{{body},"scope":"MY_SCOPE"}}]}}"#), "scope: \"MY_SCOPE\" must be CLIENT_SCOPE"),
        (format!(r#"{{"historyCmds":[{{{body},"keys":"a"}}]}}"#), "startTs, endTs: both must be given"),
        (format!(r#"{{"historyCmds":[{{{body},"keys":"a","startTs":9,"endTs":3}}]}}"#), "startTs: 9 must be 0 or more"),
        (format!(r#"{{"tsSubCmds":[{{{body},"timeWindow":5}}]}}"#), "keys: must be named"),
        (format!(r#"{{"tsSubCmds":[{{{body},"keys":"a","timeWindow":5,"agg":"X"}}]}}"#), "agg: \"X\" must be NONE"),
        (r#"{"alarmDataCmds":[{"cmdId":4}]}"#.to_owned(), "query: missing"),
        (format!(r#"{{"cmds":[{{{body},"type":"ENTITY_DATA"}}]}}"#), "type: \"ENTITY_DATA\" is not offered"),
    ];
    for (text, says) in refusals {
        let commands = parse(&text).unwrap().commands;
        let [Err(Refused { id: 4, reason })] = commands.as_slice() else { panic!("{text}: {commands:?}") };
        assert!(reason.contains(says), "{text}: {reason}");
    }
    for no_frame in ["", "[]", "{", r#"{"tsSubCmds":7}"#, r#"{"entityDataCmds":[{}]}"#] {
        assert!(parse(no_frame).is_err(), "{no_frame}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_frame_or_a_refusal(text in ".{0,200}") {
        drop(parse(&text));
    }

    #[test]
    fn any_numbers_are_a_command_or_a_refusal(numbers in any::<[i64; 4]>()) {
        let [cmd, start, window, limit] = numbers;
        let body = json!({"cmdId": cmd, "entityType": "DEVICE", "entityId": ID, "keys": "a", "startTs": start,
            "timeWindow": window, "endTs": window, "limit": limit});
        let text = json!({"tsSubCmds": [body], "historyCmds": [body]}).to_string();
        prop_assert_eq!(parse(&text).unwrap().commands.len(), 2);
    }
}

#[test]
fn updates_have_thingsboards_shape() {
    let points = vec![Point { ts: 2, value: Value::Double(21.0) }, Point { ts: 1, value: Value::Bool(true) }];
    let series = [Series { key: "t".to_owned(), points }];
    let text = update::of_series(1, &series);
    let expected = json!({"subscriptionId": 1, "errorCode": 0, "errorMsg": null,
        "data": {"t": [[2, "21.0"], [1, "true"]]}, "latestValues": {"t": 2}});
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), expected);
    let attribute = Attribute { scope: Scope::Shared, key: "a".to_owned(), last_update: 5, value: Value::Text("x".into()) };
    let watched = Update {
        watch: 9,
        snapshot: false,
        series: Vec::new(),
        attributes: vec![attribute],
        deleted: vec!["b".to_owned()],
        error: None,
    };
    let shown = serde_json::from_str::<Json>(&update::of_watch(2, &watched)).unwrap();
    assert_eq!(shown["data"], json!({"a": [[5, "x"]], "b": [[0, ""]]}));
    let refusal = serde_json::from_str::<Json>(&update::of_error(3, update::UNAUTHORIZED, "no")).unwrap();
    let expected = json!({"subscriptionId": 3, "errorCode": 3, "errorMsg": "no", "data": {}, "latestValues": {}});
    assert_eq!(refusal, expected);
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A house whose router listens on loopback.
async fn serve(house: &House) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = rest::router(Arc::clone(&house.app));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("ws://{address}")
}

async fn say(client: &mut Client, frame: Json) {
    client.send(Message::Text(frame.to_string().into())).await.unwrap();
}

async fn hear(client: &mut Client) -> Json {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), client.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn close_code(client: &mut Client) -> Option<u16> {
    while let Some(Ok(message)) = tokio::time::timeout(Duration::from_secs(20), client.next()).await.unwrap() {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code.into());
        }
    }
    None
}

#[tokio::test]
async fn a_legacy_socket_gets_its_snapshot_and_then_what_happens() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&token).await;
    let url = serve(&house).await;
    let (mut client, _) = connect_async(format!("{url}/api/ws/plugins/telemetry?token={token}")).await.unwrap();
    let of = |id: i64, more: Json| {
        let mut command = json!({"cmdId": id, "entityType": "DEVICE", "entityId": device});
        command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        command
    };
    say(&mut client, json!({"tsSubCmds": [of(10, json!({"scope": "LATEST_TELEMETRY"}))]})).await;
    let first = hear(&mut client).await;
    assert_eq!(first["subscriptionId"], 10);
    assert_eq!(first["data"], json!({"door": [[1500, "true"]], "temperature": [[2000, "21.0"]]}));
    assert_eq!(first["latestValues"], json!({"door": 1500, "temperature": 2000}));
    let live = |ts| wire::WatchUpdate {
        series: vec![series_of("temperature", vec![(ts, Value::Long(7))])],
        ..wire::WatchUpdate::default()
    };
    fake.live.send(live(3_000)).unwrap();
    assert_eq!(hear(&mut client).await["data"], json!({"temperature": [[3000, "7"]]}));

    say(&mut client, json!({"attrSubCmds": [of(11, json!({"scope": "SERVER_SCOPE"}))]})).await;
    assert_eq!(hear(&mut client).await["data"], json!({"active": [[1200, "true"]]}));
    let window = json!({"keys": "temperature", "startTs": 500, "timeWindow": 5000, "agg": "NONE"});
    say(&mut client, json!({"tsSubCmds": [of(12, window)]})).await;
    let windowed = hear(&mut client).await;
    assert_eq!(windowed["subscriptionId"], 12);
    assert_eq!(windowed["data"], json!({"temperature": [[2000, "21.0"], [1000, "20.5"]]}));
    let span = json!({"keys": "temperature", "startTs": 0, "endTs": 5000});
    say(&mut client, json!({"historyCmds": [of(13, span)]})).await;
    assert_eq!(hear(&mut client).await["subscriptionId"], 13);

    // A refused watch and someone else's entity are told under their ids; the socket lives on.
    say(&mut client, json!({"tsSubCmds": [of(14, json!({"keys": "wrong"}))]})).await;
    let refusal = hear(&mut client).await;
    assert_eq!((&refusal["subscriptionId"], &refusal["errorCode"]), (&json!(14), &json!(2)));
    let foreign = json!({"cmdId": 15, "entityType": "DEVICE", "entityId": ID});
    say(&mut client, json!({"tsSubCmds": [foreign]})).await;
    let refusal = hear(&mut client).await;
    assert_eq!((&refusal["subscriptionId"], &refusal["errorCode"]), (&json!(15), &json!(3)));
    say(&mut client, json!("nonsense")).await;
    assert_eq!(hear(&mut client).await["errorCode"], 2);

    // After unsubscribing only what is still asked for arrives.
    say(&mut client, json!({"tsSubCmds": [of(10, json!({"unsubscribe": true})), of(12, json!({"unsubscribe": true}))]})).await;
    say(&mut client, json!({"historyCmds": [of(16, json!({"keys": "door", "startTs": 0, "endTs": 5000}))]})).await;
    assert_eq!(hear(&mut client).await["subscriptionId"], 16);
    fake.live.send(live(4_000)).unwrap();
    assert_eq!(hear(&mut client).await["subscriptionId"], 11);
}

#[tokio::test]
async fn a_current_socket_signs_in_with_its_first_frame() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&token).await;
    let url = serve(&house).await;
    let command = json!({"type": "TIMESERIES", "cmdId": 1, "entityType": "DEVICE", "entityId": device, "keys": "door"});
    let (mut client, _) = connect_async(format!("{url}/api/ws")).await.unwrap();
    say(&mut client, json!({"authCmd": {"cmdId": 0, "token": token}, "cmds": [command]})).await;
    assert_eq!(hear(&mut client).await["data"], json!({"door": [[1500, "true"]]}));

    for first in [json!({"cmds": [command]}), json!({"authCmd": {"cmdId": 0, "token": "garbage"}}), json!("nonsense")] {
        let (mut client, _) = connect_async(format!("{url}/api/ws")).await.unwrap();
        say(&mut client, first.clone()).await;
        assert_eq!(close_code(&mut client).await, Some(1008), "{first}");
    }
    for path in ["/api/ws?token=garbage", "/api/ws/plugins/telemetry?token=garbage", "/api/ws/plugins/telemetry"] {
        let refusal = connect_async(format!("{url}{path}")).await.unwrap_err();
        let SocketError::Http(response) = refusal else { panic!("{path}: {refusal}") };
        assert_eq!(response.status().as_u16(), 401, "{path}");
    }
}

#[tokio::test]
async fn bounds_of_a_socket_hold() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&token).await;
    let url = serve(&house).await;
    let (mut client, _) = connect_async(format!("{url}/api/ws/plugins/telemetry?token={token}")).await.unwrap();
    let commands: Vec<Json> =
        (0..101).map(|id| json!({"cmdId": id, "entityType": "DEVICE", "entityId": device, "keys": "door"})).collect();
    say(&mut client, json!({"tsSubCmds": commands})).await;
    let mut refusals = Vec::new();
    for _ in 0..101 {
        let update = hear(&mut client).await;
        if update["errorCode"] != 0 {
            refusals.push(update["subscriptionId"].clone());
        }
    }
    assert_eq!(refusals, [json!(100)], "only the hundred-and-first is refused");
    let (mut client, _) = connect_async(format!("{url}/api/ws/plugins/telemetry?token={token}")).await.unwrap();
    client.send(Message::Text(" ".repeat(40_000).into())).await.unwrap();
    assert_eq!(close_code(&mut client).await, Some(1009));
}

#[tokio::test]
async fn alarms_are_told_when_they_change_and_only_then() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&token).await;
    let url = serve(&house).await;
    let (mut client, _) = connect_async(format!("{url}/api/ws?token={token}")).await.unwrap();
    let begin = async |kind: &str, severity: &str| {
        let alarm = json!({ "type": kind, "originator": { "entityType": "DEVICE", "id": device }, "severity": severity });
        let answer = house.ask(&Method::POST, "/api/alarm", Some(&token), Some(&alarm.to_string())).await;
        answer.body["id"]["id"].as_str().unwrap().to_owned()
    };
    let cold = begin("cold", "MINOR").await;
    let devices = json!({ "type": "singleEntity", "singleEntity": { "entityType": "DEVICE", "id": device } });
    let sorted = json!({ "key": { "type": "ALARM_FIELD", "key": "severity" }, "direction": "ASC" });
    let link = json!({ "pageSize": 10, "page": 0, "sortOrder": sorted, "timeWindow": 86_400_000, "typeList": ["hot", "cold"],
        "severityList": [], "statusList": ["ACTIVE"], "searchPropagatedAlarms": false, "assigneeId": null });
    let query = json!({ "entityFilter": devices, "pageLink": link, "keyFilters": [], "alarmFields": [{ "type": "ALARM_FIELD", "key": "type" }],
        "entityFields": [{ "type": "ENTITY_FIELD", "key": "name" }], "latestValues": [{ "type": "TIME_SERIES", "key": "temperature" }] });
    let count = json!({ "statusList": ["ACTIVE"], "severityList": ["CRITICAL"] });
    say(&mut client, json!({ "alarmDataCmds": [{ "cmdId": 1, "query": query }] })).await;
    let first = hear(&mut client).await;
    assert_eq!((&first["cmdId"], &first["cmdUpdateType"], &first["update"]), (&json!(1), &json!("ALARM_DATA"), &Json::Null));
    let row = &first["data"]["data"][0];
    assert_eq!((&row["id"]["id"], &row["entityId"]["id"], &row["type"]), (&json!(cold), &json!(device), &json!("cold")));
    assert_eq!((&row["latest"]["ENTITY_FIELD"]["name"]["value"], &first["totalEntities"]), (&json!("Test Device A1"), &json!(1)));
    assert_eq!(row["latest"]["TIME_SERIES"]["temperature"]["value"], "21.0");
    say(&mut client, json!({ "cmds": [{ "type": "ALARM_COUNT", "cmdId": 2, "query": count }] })).await;
    let counted = hear(&mut client).await;
    assert_eq!((&counted["cmdUpdateType"], &counted["count"]), (&json!("ALARM_COUNT_DATA"), &json!(0)));

    // Another one is a page, a change of one that is there an update; what does not fit the query is not told.
    let hot = begin("hot", "CRITICAL").await;
    let mut told = [hear(&mut client).await, hear(&mut client).await];
    told.sort_by_key(|told| told["cmdId"].as_i64());
    let ids: Vec<&Json> = told[0]["data"]["data"].as_array().unwrap().iter().map(|row| &row["id"]["id"]).collect();
    assert_eq!((ids, &told[1]["count"]), (vec![&json!(hot), &json!(cold)], &json!(1)));
    begin("else", "MINOR").await;
    house.ask(&Method::POST, &format!("/api/alarm/{cold}/ack"), Some(&token), None).await;
    let changed = hear(&mut client).await;
    assert_eq!(
        (&changed["cmdId"], &changed["data"], changed["update"].as_array().map(Vec::len)),
        (&json!(1), &Json::Null, Some(1))
    );
    assert_eq!((&changed["update"][0]["id"]["id"], &changed["update"][0]["status"]), (&json!(cold), &json!("ACTIVE_ACK")));
    say(&mut client, json!({ "cmds": [{ "type": "ALARM_DATA_UNSUBSCRIBE", "cmdId": 1 }] })).await;
    house.ask(&Method::POST, &format!("/api/alarm/{hot}/clear"), Some(&token), None).await;
    let counted = hear(&mut client).await;
    assert_eq!((&counted["cmdId"], &counted["count"]), (&json!(2), &json!(0)));

    // What is wrong with a query is told under its id.
    for (query, says) in
        [(json!({}), "pageLink"), (json!({ "entityFilter": { "type": "relationsQuery" }, "pageLink": link }), "relationsQuery")]
    {
        say(&mut client, json!({ "alarmDataCmds": [{ "cmdId": 9, "query": query }] })).await;
        let refusal = hear(&mut client).await;
        assert_eq!((&refusal["cmdId"], &refusal["errorCode"]), (&json!(9), &json!(2)));
        assert!(refusal["errorMsg"].as_str().unwrap().contains(says), "{refusal}");
    }
    // The same over HTTP.
    let ask = async |path: &str, body: &Json| house.ask(&Method::POST, path, Some(&token), Some(&body.to_string())).await.body;
    let page = ask("/api/alarmsQuery/find", &query).await;
    assert_eq!((&page["totalElements"], &page["data"][0]["id"]["id"]), (&json!(1), &json!(cold)));
    assert_eq!(ask("/api/alarmsQuery/count", &json!({ "statusList": ["CLEARED"] })).await, json!(1));
    let none = json!({ "entityFilter": { "type": "entityList", "entityType": "DEVICE", "entityList": [ID] } });
    assert_eq!(ask("/api/alarmsQuery/count", &none).await, json!(0));
}
