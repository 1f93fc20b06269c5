//! The Query service over a real socket, with a shard that answers by the book of each test.

use std::sync::Arc;

use schemas::{
    generated::query::query_client::QueryClient,
    telemetry::{Scope, Value},
};
use tokio::sync::Notify;
use tonic::{Code, transport::Channel};
use uuid::Uuid;

use super::*;
use crate::clock::Timestamp;
use crate::query::{Aggregation, Attribute, Point, Series, Update, Watch, Watched};
use crate::shard::Placement;

const TOKEN: &str = "join-token";

/// One shard; its events come to the test.
struct Shard {
    mailbox: Mailbox,
    bell: Arc<Notify>,
}

impl Shard {
    fn new() -> (Self, Shards) {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let mailbox = Mailbox::new(Arc::new(move || ring.notify_one()));
        let shards = Shards::new(Placement::new(1), vec![mailbox.clone()]);
        (Self { mailbox, bell }, shards)
    }

    async fn next(&self) -> (Target, Query) {
        loop {
            match self.mailbox.take() {
                Some(Event::Query { target, query }) => return (target, query),
                Some(other) => panic!("{other:?}"),
                None => self.bell.notified().await,
            }
        }
    }

    async fn next_watch(&self) -> Watch {
        match self.next().await.1 {
            Query::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }
}

/// Dropped, it stops the server.
struct Rig {
    client: QueryClient<Channel>,
    shard: Shard,
    stop: stop::Sender<bool>,
    serving: tokio::task::JoinHandle<Result<(), LinkError>>,
}

impl Rig {
    async fn new() -> Self {
        let (shard, shards) = Shard::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, shutdown) = stop::channel(false);
        let serving = tokio::spawn(serve_queries(listener, TOKEN.to_owned(), None, shards, shutdown));
        Self { client: QueryClient::connect(endpoint).await.unwrap(), shard, stop, serving }
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

fn entity() -> Option<wire::Entity> {
    let bytes = |id| Uuid::from_u128(id).as_bytes().to_vec();
    Some(wire::Entity { r#type: "DEVICE".into(), id: bytes(10), tenant_id: bytes(1) })
}

fn series(key: &str, points: i64) -> Series {
    let point = |ts| Point { ts: Timestamp(ts), value: Value::Long(ts) };
    Series { key: key.into(), points: (0..points).map(point).collect() }
}

#[tokio::test]
async fn asks_the_owner_and_passes_the_answer_on() {
    let Rig { mut client, shard, stop: _running, .. } = Rig::new().await;
    let answering = tokio::spawn(async move {
        let (target, query) = shard.next().await;
        assert_eq!(target.entity.0, Uuid::from_u128(10));
        assert_eq!(target.tenant.0, Uuid::from_u128(1));
        let Query::Latest { keys, reply } = query else { panic!("{query:?}") };
        assert_eq!(keys, ["t"]);
        reply.send(Ok(vec![series("t", 1)])).unwrap();
        let (_, query) = shard.next().await;
        let Query::Attributes { scope, keys, reply } = query else { panic!("{query:?}") };
        assert_eq!((scope, keys.len()), (Some(Scope::Shared), 0));
        let value = Value::Json("[1]".into());
        reply.send(Ok(vec![Attribute { scope: Scope::Shared, key: "a".into(), last_update: Timestamp(7), value }])).unwrap();
        let (_, query) = shard.next().await;
        let Query::SaveAttributes { scope, payload, as_written: false, reply } = query else { panic!("{query:?}") };
        assert_eq!((scope, payload.as_slice()), (Scope::Server, &b"{}"[..]));
        reply.send(Ok(())).unwrap();
        let (_, query) = shard.next().await;
        let Query::DeleteTimeseries { range, reply, .. } = query else { panic!("{query:?}") };
        assert_eq!(range, None, "all data");
        reply.send(Ok(())).unwrap();
    });
    let latest = wire::LatestRequest { entity: entity(), keys: vec!["t".into()] };
    let reply = client.latest(request(latest)).await.unwrap().into_inner();
    assert_eq!((reply.series[0].key.as_str(), reply.series[0].points.len()), ("t", 1));
    let attributes = wire::AttributesRequest { entity: entity(), scope: wire::Scope::Shared.into(), keys: vec![] };
    let reply = client.attributes(request(attributes)).await.unwrap().into_inner();
    assert_eq!(reply.attributes[0].last_update_ts, 7);
    let save = wire::SaveAttributesRequest {
        entity: entity(),
        scope: wire::Scope::Server.into(),
        payload: b"{}".to_vec(),
        as_written: false,
    };
    client.save_attributes(request(save)).await.unwrap();
    let keys = vec!["t".into()];
    let delete = wire::DeleteTimeseriesRequest { entity: entity(), keys, start_ts: 9, end_ts: 1, all_data: true };
    client.delete_timeseries(request(delete)).await.unwrap();
    answering.await.unwrap();
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let Rig { mut client, shard, stop: _running, .. } = Rig::new().await;
    let keys = || wire::KeysRequest { entity: entity() };
    let denied = client.keys(Request::new(keys())).await.unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);
    let mut wrong = Request::new(keys());
    wrong.metadata_mut().insert("authorization", "Bearer join-tokem".parse().unwrap());
    assert_eq!(client.keys(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(shard.mailbox.is_empty(), "nothing of that reached the shard");

    for (error, code) in [
        (Some(QueryError::Invalid("x".into())), Code::InvalidArgument),
        (Some(QueryError::TooLarge("x".into())), Code::ResourceExhausted),
        (Some(QueryError::Unavailable("x".into())), Code::Unavailable),
        (None, Code::Unavailable),
    ] {
        let answer = async {
            let (_, query) = shard.next().await;
            let Query::Keys { reply } = query else { panic!("{query:?}") };
            // Without an error the reply is dropped: an answer that never comes is an error as well.
            if let Some(error) = error.clone() {
                reply.send(Err(error)).unwrap();
            }
        };
        let (status, ()) = tokio::join!(client.keys(request(keys())), answer);
        assert_eq!(status.unwrap_err().code(), code, "{error:?}");
    }

    let latest = |entity, keys: Vec<String>| wire::LatestRequest { entity, keys };
    for (message, expected) in [
        (latest(None, vec![]), "entity: missing"),
        (latest(Some(wire::Entity { id: vec![1], ..entity().unwrap() }), vec![]), "entity.id: expected 16 bytes"),
        (latest(Some(wire::Entity { tenant_id: vec![], ..entity().unwrap() }), vec![]), "entity.tenant_id"),
        (latest(entity(), vec![String::new()]), "key: 0 bytes"),
        (latest(entity(), vec!["k".repeat(256)]), "key: 256 bytes"),
        (latest(entity(), vec!["k".into(); 1_025]), "keys: 1025 of them"),
    ] {
        let status = client.latest(request(message)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(expected), "{} should say {expected}", status.message());
    }
}

#[test]
fn history_requests_are_checked() {
    let base = || wire::HistoryRequest { entity: entity(), start_ts: 0, end_ts: 1_000, limit: 10, ..Default::default() };
    let avg = i32::from(wire::Aggregation::Avg);
    let check = |request: wire::HistoryRequest, expected: Option<&str>| match (convert::history(request), expected) {
        (Ok(_), None) => {}
        (Err(status), Some(expected)) => assert!(status.message().contains(expected), "{}", status.message()),
        (made, expected) => panic!("{made:?}, expected {expected:?}"),
    };
    check(base(), None);
    check(wire::HistoryRequest { start_ts: i64::MIN, end_ts: i64::MAX, aggregation: avg, ..base() }, None);
    check(wire::HistoryRequest { interval_ms: 2, aggregation: avg, ..base() }, None);
    check(wire::HistoryRequest { start_ts: 1_001, ..base() }, Some("start 1001 lies after end 1000"));
    check(wire::HistoryRequest { limit: 0, ..base() }, Some("limit: 0"));
    check(wire::HistoryRequest { interval_ms: -1, ..base() }, Some("interval: -1 ms"));
    check(wire::HistoryRequest { interval_ms: 1, aggregation: avg, ..base() }, Some("1000 intervals, at most 700"));
    check(wire::HistoryRequest { aggregation: 77, ..base() }, Some("unknown number 77"));
    let (_, history) = convert::history(wire::HistoryRequest { aggregation: avg, ..base() }).unwrap();
    assert_eq!(history.aggregation, Aggregation::Avg);
}

#[tokio::test]
async fn a_long_history_comes_in_chunks_and_loses_nothing() {
    let Rig { mut client, shard, stop: _running, .. } = Rig::new().await;
    let history = wire::HistoryRequest { entity: entity(), start_ts: 0, end_ts: 100_000, limit: 100_000, ..Default::default() };
    let answer = async {
        let (_, query) = shard.next().await;
        let Query::History { reply, .. } = query else { panic!("{query:?}") };
        reply.send(Ok(vec![series("a", 25_000), series("b", 0), series("c", 3)])).unwrap();
    };
    let (chunks, ()) = tokio::join!(client.history(request(history)), answer);
    let mut chunks = chunks.unwrap().into_inner();
    let (mut count, mut seen) = (0, Vec::new());
    while let Some(chunk) = chunks.message().await.unwrap() {
        count += 1;
        assert!(chunk.series.iter().map(|series| series.points.len()).sum::<usize>() <= limits::HISTORY_CHUNK_POINTS_MAX);
        for series in chunk.series {
            seen.push((series.key.clone(), None));
            seen.extend(series.points.iter().map(|point| (series.key.clone(), Some(point.ts))));
        }
    }
    assert_eq!(count, 3);
    let points = |key: &str| -> Vec<i64> { seen.iter().filter(|(k, _)| k == key).filter_map(|(_, ts)| *ts).collect() };
    assert_eq!(points("a"), (0..25_000).collect::<Vec<i64>>());
    assert_eq!(points("c"), [0, 1, 2]);
    assert!(seen.contains(&("b".into(), None)), "a series without points is named");
}

#[test]
fn chunks_are_bounded_in_bytes_too() {
    let text = Value::Text("x".repeat(60_000).into());
    let points = (0..100).map(|ts| Point { ts: Timestamp(ts), value: text.clone() }).collect();
    let chunks: Vec<_> = convert::Chunks::new(vec![Series { key: "t".into(), points }]).map(Result::unwrap).collect();
    let counts: Vec<usize> = chunks.iter().map(|chunk| chunk.series[0].points.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 100);
    assert!(counts.iter().all(|count| count * 60_000 <= limits::HISTORY_CHUNK_BYTES_MAX + 60_000), "{counts:?}");
    let empty = vec![Series { key: "k".into(), points: vec![] }; 30_000];
    assert_eq!(convert::Chunks::new(empty).map(|chunk| chunk.unwrap().series.len()).collect::<Vec<_>>(), [10_000; 3]);
    assert_eq!(convert::Chunks::new(vec![]).count(), 0);
}

fn start(watch_id: u32) -> wire::WatchRequest {
    let start = wire::WatchStart { entity: entity(), timeseries: true, ..Default::default() };
    wire::WatchRequest { watch_id, kind: Some(wire::watch_request::Kind::Start(start)) }
}

fn update(watch: u32) -> Update {
    Update { watch, snapshot: false, series: vec![series("t", 1)], attributes: vec![], deleted: vec![], error: None }
}

/// A watch stream: what the test asks, and what it is told.
async fn watching(rig: &mut Rig) -> (mpsc::Sender<wire::WatchRequest>, Streaming<wire::WatchUpdate>) {
    let (ask, asked) = mpsc::channel(8);
    let updates = rig.client.watch(request(ReceiverStream::new(asked))).await.unwrap().into_inner();
    (ask, updates)
}

#[tokio::test]
async fn watches_of_one_stream_share_it_and_end_with_it() {
    let mut rig = Rig::new().await;
    let (ask, mut updates) = watching(&mut rig).await;
    ask.send(start(1)).await.unwrap();
    let first = rig.shard.next_watch().await;
    ask.send(start(2)).await.unwrap();
    let second = rig.shard.next_watch().await;
    assert_eq!(first.watcher, second.watcher);
    assert_eq!(first.what, Watched::Timeseries);
    first.updates.send(Update { snapshot: true, ..update(1) }).await.unwrap();
    second.updates.send(update(2)).await.unwrap();
    let told = updates.message().await.unwrap().unwrap();
    assert_eq!((told.watch_id, told.snapshot, told.series.len()), (1, true, 1));
    assert_eq!(updates.message().await.unwrap().unwrap().watch_id, 2);

    // A refused watch says so and takes nothing else with it.
    ask.send(start(3)).await.unwrap();
    let third = rig.shard.next_watch().await;
    third.updates.send(Update { error: Some("no room".into()), ..update(3) }).await.unwrap();
    drop(third);
    assert_eq!(updates.message().await.unwrap().unwrap().error, "no room");
    ask.send(wire::WatchRequest { watch_id: 4, kind: Some(wire::watch_request::Kind::Start(Default::default())) }).await.unwrap();
    assert_eq!(updates.message().await.unwrap().unwrap().error, "entity: missing");

    let stop = wire::WatchRequest { watch_id: 1, kind: Some(wire::watch_request::Kind::Stop(wire::WatchStop {})) };
    ask.send(stop).await.unwrap();
    let unwatched = |query| match query {
        Query::Unwatch { watcher, watch } if watcher == first.watcher => watch,
        other => panic!("{other:?}"),
    };
    assert_eq!(unwatched(rig.shard.next().await.1), 1);
    drop(first.updates);
    second.updates.send(update(2)).await.unwrap();
    assert_eq!(updates.message().await.unwrap().unwrap().watch_id, 2, "stopping one is not a cut");

    drop((ask, updates));
    assert!(matches!(rig.shard.next().await.1, Query::Unwatch { watch: 2, .. }));
    second.updates.closed().await;
}

#[tokio::test]
async fn a_cut_watch_ends_the_stream_after_what_was_sent_before() {
    let mut rig = Rig::new().await;
    let (ask, mut updates) = watching(&mut rig).await;
    ask.send(start(1)).await.unwrap();
    let watch = rig.shard.next_watch().await;
    let sent = (0..limits::WATCH_UPDATES_MAX * 4).take_while(|_| watch.updates.try_send(update(1)).is_ok()).count();
    assert!(sent >= limits::WATCH_UPDATES_MAX, "bounded, and not before its bound: {sent}");
    drop(watch);
    let mut received = 0;
    let end = loop {
        match updates.message().await {
            Ok(Some(_)) => received += 1,
            Ok(None) => panic!("ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!((received, end.code()), (sent, Code::ResourceExhausted));
}

#[tokio::test]
async fn misuse_and_shutdown_end_a_stream_with_their_reason() {
    let mut rig = Rig::new().await;
    let (ask, mut updates) = watching(&mut rig).await;
    ask.send(start(1)).await.unwrap();
    ask.send(start(1)).await.unwrap();
    assert_eq!(updates.message().await.unwrap_err().code(), Code::InvalidArgument);

    let (ask, mut updates) = watching(&mut rig).await;
    ask.send(start(1)).await.unwrap();
    rig.stop.send(true).unwrap();
    assert_eq!(updates.message().await.unwrap_err().code(), Code::Unavailable);
    drop((ask, updates, rig.client));
    rig.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_mailbox_is_unavailable_not_a_hang() {
    let (shard, shards) = Shard::new();
    while shard.mailbox.post(Event::Drain).is_ok() {}
    let queries = Queries { shards, shutdown: stop::channel(false).1 };
    let target = convert::target(entity()).unwrap();
    let status = queries.ask(target, |reply| Query::Keys { reply }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("mailbox was full"), "{}", status.message());
}

#[tokio::test]
async fn plain_text_beyond_loopback_is_refused() {
    // DESIGN 27.
    let (_, shards) = Shard::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let error = serve_queries(listener, TOKEN.to_owned(), None, shards, stop::channel(false).1).await.unwrap_err();
    assert!(matches!(error, LinkError::PlainText { .. }), "{error}");
}

/// A certificate for 127.0.0.1 that vouches for itself, and its key.
fn self_signed(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[tokio::test]
async fn both_ends_speak_tls_and_know_each_other() {
    // DESIGN 27. The caller's end is the one that calls the control plane: it is built by the same code.
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(dir.path());
    let (shard, shards) = Shard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_running, shutdown) = stop::channel(false);
    tokio::spawn(serve_queries(listener, TOKEN.to_owned(), Some((certificate.clone(), key)), shards, shutdown));
    let settings = |tls_ca| crate::link::LinkSettings {
        endpoint: format!("https://{address}"),
        join_token: TOKEN.into(),
        tls_ca: Some(tls_ca),
        instance_id: "i1".into(),
        query_endpoint: String::new(),
        device_endpoint: String::new(),
        cache: PathBuf::new(),
        shards: 1,
    };
    let channel = crate::link::subscribe::endpoint(&settings(certificate)).unwrap().connect().await.unwrap();
    let mut client = QueryClient::new(channel);
    let answer = async {
        let Query::Keys { reply } = shard.next().await.1 else { panic!("expected Keys") };
        reply.send(Ok(vec!["t".into()])).unwrap();
    };
    let (keys, ()) = tokio::join!(client.keys(request(wire::KeysRequest { entity: entity() })), answer);
    assert_eq!(keys.unwrap().into_inner().keys, ["t"]);

    let other = tempfile::tempdir().unwrap();
    let (stranger, _) = self_signed(other.path());
    let refused = crate::link::subscribe::endpoint(&settings(stranger)).unwrap().connect().await.unwrap_err();
    assert!(with_causes(&refused).contains("certificate"), "{}", with_causes(&refused));
    // TCP connects; the call itself finds no HTTP/2.
    let mut plain = QueryClient::connect(format!("http://{address}")).await.unwrap();
    let error = plain.keys(request(wire::KeysRequest { entity: entity() })).await.unwrap_err();
    assert!(error.code() != Code::InvalidArgument && shard.mailbox.is_empty(), "{error}");
}
