//! A fake data plane that REST and WebSocket tests ask too, and the tests of the line to it. Never stores anything.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use schemas::{
    alarm::Alarm,
    generated::query::{
        self as wire,
        query_server::{Query, QueryServer},
    },
    telemetry::Value,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, broadcast, mpsc},
    task::JoinHandle,
};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::*;
use crate::{
    clock,
    domain::{Call, CallOutcome, CallStatus, StoredCall},
};

pub(crate) const JOIN_TOKEN: &str = "0123456789abcdef";
type Answer<T> = Result<Response<T>, Status>;

/// A data plane whose every entity has the series `temperature` (20.5 at 1000, 21 at 2000) and `door` (`true` at 1500), and the
/// server attribute `active`. The keys `wrong`, `huge` and `down` make it refuse; so do calls of the methods `wrong` and `full`.
/// Nobody takes `absent`, nobody answers `silent`, and every other call is answered with its parameters.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) endpoint: String,
    /// Where its devices would be served over HTTP; a test that serves them sets it.
    pub(crate) device_endpoint: String,
    /// What was written, as text.
    pub(crate) written: Arc<Mutex<Vec<String>>>,
    /// What to send to every watch.
    pub(crate) live: broadcast::Sender<wire::WatchUpdate>,
    pub(crate) calls: Arc<Mutex<Vec<wire::StoredCall>>>,
    /// What an entity has instead, for lists.
    pub(crate) latest: Arc<Mutex<HashMap<Uuid, wire::LatestOf>>>,
    pub(crate) alarms: Arc<Mutex<HashMap<Uuid, Alarm>>>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let (live, _) = broadcast::channel(16);
        let (calls, latest) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(HashMap::new())));
        let alarms = Arc::new(Mutex::new(HashMap::new()));
        let plane = Plane {
            written: Arc::clone(&written),
            live: live.clone(),
            calls: Arc::clone(&calls),
            latest: Arc::clone(&latest),
            alarms: Arc::clone(&alarms),
            forgotten: Mutex::default(),
        };
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder().add_service(QueryServer::new(plane)).serve_with_incoming(incoming).await.unwrap();
        });
        Self { endpoint, device_endpoint: String::new(), written, live, calls, latest, alarms, server }
    }
}

struct Plane {
    written: Arc<Mutex<Vec<String>>>,
    live: broadcast::Sender<wire::WatchUpdate>,
    calls: Arc<Mutex<Vec<wire::StoredCall>>>,
    latest: Arc<Mutex<HashMap<Uuid, wire::LatestOf>>>,
    alarms: Arc<Mutex<HashMap<Uuid, Alarm>>>,
    /// Ids of sightings.
    forgotten: Mutex<Vec<Vec<u8>>>,
}

impl Plane {
    async fn note(&self, text: String) -> Answer<wire::WriteReply> {
        self.written.lock().await.push(text);
        Ok(Response::new(wire::WriteReply {}))
    }
}

fn admit<T>(request: &Request<T>, keys: &[String]) -> Result<(), Status> {
    let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Bearer {JOIN_TOKEN}")) {
        return Err(Status::unauthenticated("wrong join token"));
    }
    match keys.first().map(String::as_str) {
        Some("wrong") => Err(Status::invalid_argument("keys: \"wrong\" is wrong")),
        Some("huge") => Err(Status::resource_exhausted("the answer is too large")),
        Some("down") => Err(Status::unavailable("store stalled")),
        _ => Ok(()),
    }
}

fn point(ts: i64, value: Value<'static>) -> wire::Point {
    wire::Point { ts, value: Some(value.into()) }
}

pub(crate) fn series_of(key: &str, points: Vec<(i64, Value<'static>)>) -> wire::Series {
    wire::Series { key: key.to_owned(), points: points.into_iter().map(|(ts, value)| point(ts, value)).collect() }
}

fn stored(keys: &[String]) -> Vec<wire::Series> {
    let all = vec![
        series_of("door", vec![(1_500, Value::Bool(true))]),
        series_of("temperature", vec![(2_000, Value::Double(21.0)), (1_000, Value::Double(20.5))]),
    ];
    all.into_iter().filter(|series| keys.is_empty() || keys.contains(&series.key)).collect()
}

fn newest(mut series: Vec<wire::Series>) -> Vec<wire::Series> {
    series.iter_mut().for_each(|one| one.points.truncate(1));
    series
}

fn active() -> wire::Attribute {
    wire::Attribute {
        scope: wire::Scope::Server.into(),
        key: "active".to_owned(),
        last_update_ts: 1_200,
        value: Some(Value::Bool(true).into()),
    }
}

#[tonic::async_trait]
impl Query for Plane {
    type HistoryStream = ReceiverStream<Result<wire::HistoryChunk, Status>>;
    type WatchStream = ReceiverStream<Result<wire::WatchUpdate, Status>>;

    async fn keys(&self, request: Request<wire::KeysRequest>) -> Answer<wire::KeysReply> {
        admit(&request, &[])?;
        Ok(Response::new(wire::KeysReply { keys: vec!["door".to_owned(), "temperature".to_owned()] }))
    }

    async fn latest(&self, request: Request<wire::LatestRequest>) -> Answer<wire::LatestReply> {
        admit(&request, &request.get_ref().keys)?;
        Ok(Response::new(wire::LatestReply { series: newest(stored(&request.get_ref().keys)) }))
    }

    /// One chunk per point, so that joining them is tested.
    async fn history(&self, request: Request<wire::HistoryRequest>) -> Answer<Self::HistoryStream> {
        admit(&request, &request.get_ref().keys)?;
        let (chunks, receiver) = mpsc::channel(16);
        for series in stored(&request.get_ref().keys) {
            for point in series.points {
                let series = vec![wire::Series { key: series.key.clone(), points: vec![point] }];
                chunks.send(Ok(wire::HistoryChunk { series })).await.unwrap();
            }
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn attributes(&self, request: Request<wire::AttributesRequest>) -> Answer<wire::AttributesReply> {
        admit(&request, &request.get_ref().keys)?;
        let wanted = [wire::Scope::Unspecified, wire::Scope::Server].contains(&request.get_ref().scope());
        Ok(Response::new(wire::AttributesReply { attributes: if wanted { vec![active()] } else { Vec::new() } }))
    }

    async fn save_timeseries(&self, request: Request<wire::SaveTimeseriesRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        let request = request.into_inner();
        self.note(format!("series {} ttl {}", String::from_utf8_lossy(&request.payload), request.ttl_s)).await
    }

    async fn save_attributes(&self, request: Request<wire::SaveAttributesRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        let request = request.into_inner();
        self.note(format!("{:?} {}", request.scope(), String::from_utf8_lossy(&request.payload))).await
    }

    async fn delete_timeseries(&self, request: Request<wire::DeleteTimeseriesRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        let wire::DeleteTimeseriesRequest { keys, start_ts, end_ts, all_data, .. } = request.into_inner();
        self.note(format!("delete {} {start_ts}..{end_ts} all {all_data}", keys.join("+"))).await
    }

    async fn delete_attributes(&self, request: Request<wire::DeleteAttributesRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        let request = request.into_inner();
        self.note(format!("delete {:?} {}", request.scope(), request.keys.join("+"))).await
    }

    async fn call(&self, request: Request<wire::CallRequest>) -> Answer<wire::CallReply> {
        use wire::call_reply::Outcome;
        admit(&request, &[])?;
        let call = request.into_inner();
        let outcome = match call.method.as_str() {
            "wrong" => return Err(Status::invalid_argument("method: \"wrong\" is wrong")),
            "full" => return Err(Status::resource_exhausted("the device has 100 calls, at most 100")),
            "absent" => Outcome::NoConnection(true),
            "silent" => Outcome::Timeout(true),
            _ if call.persistent => {
                let mut calls = self.calls.lock().await;
                if !calls.iter().any(|known| known.id == call.id) {
                    calls.push(stored_call(call));
                }
                Outcome::Queued(true)
            }
            _ if call.one_way => Outcome::Response(String::new()),
            _ => Outcome::Response(call.params),
        };
        Ok(Response::new(wire::CallReply { outcome: Some(outcome) }))
    }

    async fn calls(&self, request: Request<wire::CallsRequest>) -> Answer<wire::CallsReply> {
        admit(&request, &[])?;
        let asked = request.into_inner();
        let any = wire::CallStatus::Unspecified;
        let mut calls = self.calls.lock().await.clone();
        calls.retain(|call| asked.id.is_empty() || call.id == asked.id);
        calls.retain(|call| asked.status() == any || call.status() == asked.status());
        calls.reverse();
        Ok(Response::new(wire::CallsReply { calls }))
    }

    async fn delete_call(&self, request: Request<wire::DeleteCallRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        self.calls.lock().await.retain(|call| call.id != request.get_ref().id);
        Ok(Response::new(wire::WriteReply {}))
    }

    /// As a shard does it, except that nothing is told.
    async fn change_alarm(&self, request: Request<wire::ChangeAlarmRequest>) -> Answer<wire::ChangeAlarmReply> {
        use wire::AlarmChange::{Acknowledge, Assign, Clear, Delete, Save};
        admit(&request, &[])?;
        let (change, asked) = (request.get_ref().change(), request.into_inner());
        let known = Alarm::decode(&asked.alarm).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        let mut alarms = self.alarms.lock().await;
        let same = |alarm: &&Alarm| alarm.kind == known.kind && alarm.originator == known.originator && !alarm.is_cleared();
        let active = alarms.values().find(same).cloned();
        let created = change == Save && active.is_none();
        let mut alarm = match (change, active) {
            (Save, Some(active)) => Alarm { severity: known.severity, details: known.details, ..active },
            (Save, None) => Alarm { id: Uuid::now_v7(), created_ts: clock::now_ms(), start_ts: 7, ..known },
            _ => alarms.get(&known.id).cloned().unwrap_or(known),
        };
        let before = alarm.clone();
        match change {
            Acknowledge => alarm.ack_ts = alarm.ack_ts.or(Some(8)),
            Clear => alarm.clear_ts = alarm.clear_ts.or(Some(9)),
            Assign => alarm.assignee = Uuid::from_slice(&asked.assignee_id).ok(),
            Delete => alarm.deleted = true,
            _ => {}
        }
        let changed = change == Save || alarm != before;
        alarm.version += u64::from(changed);
        alarms.insert(alarm.id, alarm.clone());
        Ok(Response::new(wire::ChangeAlarmReply { alarm: alarm.encode(), changed, created }))
    }

    async fn standing(&self, request: Request<wire::StandingRequest>) -> Answer<wire::StandingReply> {
        admit(&request, &[])?;
        let refused = [("rate".to_owned(), 3)].into();
        Ok(Response::new(wire::StandingReply { connected: true, transport: "MQTT 5".to_owned(), refused }))
    }

    async fn node_counts(&self, request: Request<wire::NodeCountsRequest>) -> Answer<wire::NodeCountsReply> {
        admit(&request, &[])?;
        let node = wire::NodeCount {
            node_id: Uuid::from_u128(7).as_bytes().to_vec(),
            name: "save".to_owned(),
            executed: 3,
            failed: 1,
            left: [("Success".to_owned(), 2)].into(),
            timed: 2,
            timed_ns: 3_001,
        };
        Ok(Response::new(wire::NodeCountsReply { nodes: vec![node] }))
    }

    /// Nobody has given anything up here.
    async fn dead_letters(&self, request: Request<wire::DeadLettersRequest>) -> Answer<wire::DeadLettersReply> {
        admit(&request, &[])?;
        Ok(Response::new(wire::DeadLettersReply::default()))
    }

    async fn end_dead_letters(&self, request: Request<wire::EndDeadLettersRequest>) -> Answer<wire::EndDeadLettersReply> {
        admit(&request, &[])?;
        Ok(Response::new(wire::EndDeadLettersReply::default()))
    }

    async fn field_count(&self, request: Request<wire::FieldCountRequest>) -> Answer<wire::FieldCountReply> {
        admit(&request, &[])?;
        let last_failure = "argument a is not a number".to_owned();
        Ok(Response::new(wire::FieldCountReply { calculated: 2, failed: 1, last_failure, last_failure_ts: 7 }))
    }

    async fn trace(&self, request: Request<wire::TraceRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        let asked = request.into_inner();
        match asked.for_ms {
            60_000 if asked.msg_type == "POST_TELEMETRY_REQUEST" => Ok(Response::new(wire::WriteReply {})),
            _ => Err(Status::resource_exhausted("64 messages are waited for already")),
        }
    }

    /// One message that came to the node and one that failed there; of a chain one failure.
    async fn sightings(&self, request: Request<wire::SightingsRequest>) -> Answer<wire::SightingsReply> {
        admit(&request, &[])?;
        let of = Uuid::from_slice(&request.get_ref().of_id).unwrap();
        let forgotten = self.forgotten.lock().await.clone();
        let at_node = |left: bool, error: &str| {
            wire::sighting::What::AtNode(wire::AtNode {
                left,
                originator_type: "DEVICE".to_owned(),
                originator_id: Uuid::from_u128(8).as_bytes().to_vec(),
                message_id: Uuid::from_u128(9).as_bytes().to_vec(),
                msg_type: "POST_TELEMETRY_REQUEST".to_owned(),
                label: if left { "Failure".to_owned() } else { String::new() },
                data: r#"{"t":1}"#.to_owned(),
                metadata: "{}".to_owned(),
                error: error.to_owned(),
                node_id: Uuid::from_u128(7).as_bytes().to_vec(),
                node_name: "save".to_owned(),
            })
        };
        let whats = match [7, 9].map(Uuid::from_u128).contains(&of) {
            true => vec![at_node(false, ""), at_node(true, "no t")],
            false => vec![wire::sighting::What::Unled(wire::Unled { node: "save".to_owned(), reason: "no t".to_owned() })],
        };
        let sighting = |(n, what): (u8, _)| wire::Sighting {
            id: Uuid::from_u128(n.into()).as_bytes().to_vec(),
            at_ts: 1_000 + i64::from(n),
            what: Some(what),
        };
        let sightings = (0..).zip(whats).map(sighting).filter(|one| !forgotten.contains(&one.id)).collect();
        Ok(Response::new(wire::SightingsReply { sightings }))
    }

    async fn forget_sightings(&self, request: Request<wire::ForgetSightingsRequest>) -> Answer<wire::WriteReply> {
        admit(&request, &[])?;
        self.forgotten.lock().await.extend(request.into_inner().ids);
        Ok(Response::new(wire::WriteReply {}))
    }

    async fn try_script(&self, request: Request<wire::TryScriptRequest>) -> Answer<wire::TryScriptReply> {
        admit(&request, &[])?;
        let wire::TryScriptRequest { form, tbel, body, msg, metadata, msg_type } = request.into_inner();
        let outcome = match body.as_str() {
            "wrong" => wire::try_script_reply::Outcome::Failure("line 1: wrong".to_owned()),
            _ => wire::try_script_reply::Outcome::Answer(format!("{form} {tbel} {msg} {} {msg_type}", metadata.len())),
        };
        Ok(Response::new(wire::TryScriptReply { outcome: Some(outcome) }))
    }

    async fn latest_of(&self, request: Request<wire::LatestOfRequest>) -> Answer<wire::LatestOfReply> {
        admit(&request, &request.get_ref().series)?;
        let asked = request.into_inner();
        let latest = self.latest.lock().await;
        let whole = || wire::LatestOf { series: newest(stored(&[])), attributes: vec![active()] };
        let one = |entity: &wire::Entity| {
            let mut one = latest.get(&Uuid::from_slice(&entity.id).unwrap()).cloned().unwrap_or_else(whole);
            one.series.retain(|series| asked.series.contains(&series.key));
            one.attributes.retain(|attribute| asked.attributes.iter().any(|key| is_asked(key, attribute)));
            one
        };
        Ok(Response::new(wire::LatestOfReply { entities: asked.entities.iter().map(one).collect() }))
    }

    async fn watch(&self, request: Request<Streaming<wire::WatchRequest>>) -> Answer<Self::WatchStream> {
        admit(&request, &[])?;
        let mut requests = request.into_inner();
        let mut live = self.live.subscribe();
        let (updates, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let update = tokio::select! {
                    request = requests.next() => {
                        let Some(Ok(request)) = request else { return };
                        match request.kind {
                            Some(wire::watch_request::Kind::Start(start)) => {
                                open.push(request.watch_id);
                                snapshot(request.watch_id, &start)
                            }
                            _ => {
                                open.retain(|watch| *watch != request.watch_id);
                                continue;
                            }
                        }
                    }
                    Ok(update) = live.recv() => update,
                };
                let watches = if update.watch_id == 0 { open.clone() } else { vec![update.watch_id] };
                for watch_id in watches {
                    if updates.send(Ok(wire::WatchUpdate { watch_id, ..update.clone() })).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn is_asked(key: &wire::AttributeKey, attribute: &wire::Attribute) -> bool {
    key.key == attribute.key && [wire::Scope::Unspecified, attribute.scope()].contains(&key.scope())
}

fn stored_call(call: wire::CallRequest) -> wire::StoredCall {
    wire::StoredCall {
        id: call.id,
        created_ts: 1_000,
        expiration_ts: call.expiration_ts,
        status: wire::CallStatus::Queued.into(),
        method: call.method,
        params: call.params,
        one_way: call.one_way,
        retries: call.retries,
        response: String::new(),
        additional_info: call.additional_info,
    }
}

fn snapshot(watch_id: u32, start: &wire::WatchStart) -> wire::WatchUpdate {
    let empty = wire::WatchUpdate { watch_id, snapshot: true, ..wire::WatchUpdate::default() };
    match (start.keys.first().map(String::as_str), start.timeseries) {
        (Some("wrong"), _) => wire::WatchUpdate { error: "refused".to_owned(), ..empty },
        (_, true) => wire::WatchUpdate { series: newest(stored(&start.keys)), ..empty },
        (_, false) => wire::WatchUpdate { attributes: vec![active()], ..empty },
    }
}

fn entity() -> Entity {
    Entity { kind: "DEVICE", id: Uuid::from_u128(1), tenant: Uuid::from_u128(2) }
}

async fn client(fake: &Fake) -> Client {
    Pool::new(JOIN_TOKEN, None).unwrap().owner(std::slice::from_ref(&fake.endpoint)).await.unwrap()
}

#[tokio::test]
async fn reads_come_back_as_values() {
    let fake = Fake::start().await;
    let client = client(&fake).await;
    assert_eq!(client.keys(&entity()).await.unwrap(), ["door", "temperature"]);
    let latest = client.latest(&entity(), vec!["temperature".to_owned()]).await.unwrap();
    let point = |ts, value| Point { ts, value: Value::Double(value) };
    assert_eq!(latest, [Series { key: "temperature".to_owned(), points: vec![point(2_000, 21.0)] }]);
    let range = Range {
        keys: vec!["temperature".to_owned()],
        start: 0,
        end: 3_000,
        limit: 10,
        ascending: false,
        aggregation: Aggregation::None,
        interval_ms: 0,
    };
    let history = client.history(&entity(), range).await.unwrap();
    assert_eq!(history, [Series { key: "temperature".to_owned(), points: vec![point(2_000, 21.0), point(1_000, 20.5)] }]);
    let attributes = client.attributes(&entity(), Some(Scope::Server), Vec::new()).await.unwrap();
    assert_eq!(attributes.len(), 1);
    assert_eq!((attributes[0].scope, attributes[0].value.clone()), (Scope::Server, Value::Bool(true)));
}

#[tokio::test]
async fn refusals_keep_their_kind() {
    let fake = Fake::start().await;
    let client = client(&fake).await;
    let refusal = async |key: &str| client.latest(&entity(), vec![key.to_owned()]).await.unwrap_err();
    assert_eq!(refusal("wrong").await, Unanswered::Invalid("keys: \"wrong\" is wrong".to_owned()));
    assert!(refusal("huge").await.to_string().contains("narrow the time range"));
    assert!(matches!(refusal("down").await, Unanswered::Unavailable(_)));
    let stranger = Pool::new("another token!!!", None).unwrap().owner(std::slice::from_ref(&fake.endpoint)).await.unwrap();
    assert!(matches!(stranger.keys(&entity()).await, Err(Unanswered::Refused(_))));
}

fn a_call(method: &str) -> Call {
    Call {
        id: Uuid::from_u128(3),
        method: method.to_owned(),
        params: r#"{"b":1,"a":2}"#.to_owned(),
        one_way: false,
        persistent: false,
        expires_ms: clock::now_ms() + 10_000,
        retries: 5,
        additional_info: String::new(),
    }
}

#[tokio::test]
async fn calls_have_outcomes() {
    let fake = Fake::start().await;
    let client = client(&fake).await;
    let outcome = async |call: Call| client.call(&entity(), &call).await;
    // The device's words come back as they are, the order of members included.
    assert_eq!(outcome(a_call("sum")).await, Ok(CallOutcome::Answered(r#"{"b":1,"a":2}"#.to_owned())));
    assert_eq!(outcome(Call { one_way: true, ..a_call("sum") }).await, Ok(CallOutcome::Delivered));
    assert_eq!(outcome(a_call("absent")).await, Ok(CallOutcome::NoConnection));
    assert_eq!(outcome(a_call("silent")).await, Ok(CallOutcome::Timeout));
    assert!(matches!(outcome(a_call("wrong")).await, Err(Unanswered::Invalid(said)) if said.contains("is wrong")));
    assert!(matches!(outcome(a_call("full")).await, Err(Unanswered::Full(said)) if said.contains("at most 100")));
    let kept = Call { persistent: true, additional_info: "7".to_owned(), ..a_call("sum") };
    assert_eq!(outcome(kept.clone()).await, Ok(CallOutcome::Stored));
    let all = client.calls(&entity(), None, None).await.unwrap();
    assert_eq!(all, [StoredCall { call: kept.clone(), created_ms: 1_000, status: CallStatus::Queued, response: String::new() }]);
    assert_eq!(client.calls(&entity(), Some(kept.id), Some(CallStatus::Queued)).await.unwrap(), all);
    assert_eq!(client.calls(&entity(), Some(kept.id), Some(CallStatus::Failed)).await.unwrap(), []);
    assert_eq!(client.calls(&entity(), Some(Uuid::nil()), None).await.unwrap(), []);
    // A status of a later version is not made into another one.
    fake.calls.lock().await[0].status = 99;
    assert_eq!(client.calls(&entity(), None, None).await.unwrap(), []);
    client.delete_call(&entity(), kept.id).await.unwrap();
    assert!(fake.calls.lock().await.is_empty());
    let refused = BTreeMap::from([("rate".to_owned(), 3)]);
    let standing = Standing { connected: true, transport: "MQTT 5".to_owned(), refused };
    assert_eq!(client.standing(&entity()).await.unwrap(), standing);
}

#[tokio::test]
async fn many_entities_are_asked_in_few_questions() {
    let fake = Fake::start().await;
    let client = client(&fake).await;
    let entities: Vec<Entity> = (0..1_201).map(|id| Entity { id: Uuid::from_u128(id), ..entity() }).collect();
    fake.latest.lock().await.insert(Uuid::from_u128(1_200), wire::LatestOf::default());
    let active = AttributeKey { scope: Some(Scope::Server), key: "active".to_owned() };
    let latest = client.latest_of(&entities, &["door".to_owned()], std::slice::from_ref(&active)).await.unwrap();
    assert_eq!(latest.len(), entities.len());
    assert_eq!((latest[0].series.len(), latest[0].attributes.len()), (1, 1));
    assert_eq!(latest[1_200], Latest::default());
    let client_scope = AttributeKey { scope: Some(Scope::Client), ..active.clone() };
    assert_eq!(client.latest_of(&entities[..1], &[], &[client_scope]).await.unwrap(), [Latest::default()]);
    let any_scope = AttributeKey { scope: None, ..active };
    assert_eq!(client.latest_of(&entities[..1], &[], &[any_scope]).await.unwrap()[0].attributes.len(), 1);
    assert_eq!(client.latest_of(&[], &[], &[]).await.unwrap(), []);
    let refused = client.latest_of(&entities, &["huge".to_owned()], &[]).await;
    assert!(matches!(refused, Err(Unanswered::TooLarge(_))), "{refused:?}");
}

#[tokio::test]
async fn without_an_instance_nobody_is_asked() {
    let pool = Pool::new(JOIN_TOKEN, None).unwrap();
    assert_eq!(pool.owner(&[]).await.unwrap_err(), Unanswered::NoInstance);
    assert!(matches!(pool.owner(&["no url at all".to_owned()]).await, Err(Unanswered::Refused(_))));
    assert_eq!(Pool::new("line\nbreak", None).unwrap_err(), InvalidLine::JoinToken);
    // Nobody listens on port 1: the answer is a refusal in time, not a hang.
    let client = pool.owner(&["http://127.0.0.1:1".to_owned()]).await.unwrap();
    assert!(matches!(client.keys(&entity()).await, Err(Unanswered::Unavailable(_))));
}

#[tokio::test]
async fn a_watch_begins_with_its_snapshot() {
    let fake = Fake::start().await;
    let mut live = client(&fake).await.live().await.unwrap();
    live.start(7, &entity(), &Watch::Timeseries, vec!["door".to_owned()]).unwrap();
    let first = live.next().await.unwrap().unwrap();
    assert!(first.snapshot && first.watch == 7 && first.series.len() == 1, "{first:?}");
    let series = vec![series_of("door", vec![(1_700, Value::Bool(false))])];
    fake.live.send(wire::WatchUpdate { series, ..wire::WatchUpdate::default() }).unwrap();
    let second = live.next().await.unwrap().unwrap();
    assert!(!second.snapshot && second.watch == 7, "{second:?}");
    live.stop(7).unwrap();
    live.start(8, &entity(), &Watch::Attributes(None), vec!["wrong".to_owned()]).unwrap();
    assert_eq!(live.next().await.unwrap().unwrap().error.as_deref(), Some("refused"));
}
