//! The link against a control plane of the test's own: what it says, what it applies, what it remembers.

use std::{path::PathBuf, sync::Arc};

use schemas::generated::config::{
    EntityKind,
    feed_server::{Feed, FeedServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status, transport::Server};

use super::*;
use crate::link::sample::{Fleet, broken_chain, credential, credential_id, deleted, device, device_id, tenant};
use crate::link::{self, Position};
use crate::snapshot::Directory;
use crate::snapshot::directory::DirectoryWriter;

const TOKEN: &str = "join-token";

/// One call of the instance, handed to the test to be answered by hand.
struct Call {
    reports: Streaming<wire::InstanceFrame>,
    frames: mpsc::Sender<Result<wire::FeedFrame, Status>>,
}

struct FakeFeed(mpsc::Sender<Call>);

#[tonic::async_trait]
impl Feed for FakeFeed {
    type FollowStream = ReceiverStream<Result<wire::FeedFrame, Status>>;

    async fn follow(&self, request: Request<Streaming<wire::InstanceFrame>>) -> Result<Response<Self::FollowStream>, Status> {
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if shown != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("join token"));
        }
        let (frames, outgoing) = mpsc::channel(16);
        drop(self.0.send(Call { reports: request.into_inner(), frames }).await);
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Call {
    async fn next(&mut self) -> instance_frame::Kind {
        self.reports.message().await.unwrap().unwrap().kind.unwrap()
    }

    async fn hello(&mut self) -> wire::Hello {
        match self.next().await {
            instance_frame::Kind::Hello(hello) => hello,
            other => panic!("expected Hello, got {other:?}"),
        }
    }

    async fn send(&mut self, kind: feed_frame::Kind) {
        self.frames.send(Ok(wire::FeedFrame { kind: Some(kind) })).await.unwrap();
    }

    async fn applied(&mut self) -> wire::Applied {
        match self.next().await {
            instance_frame::Kind::Applied(applied) => applied,
            other => panic!("expected Applied, got {other:?}"),
        }
    }

    async fn begin(&mut self, epoch: &str, revision: u64) {
        self.send(feed_frame::Kind::FullBegin(wire::FullBegin { epoch: epoch.into(), revision, entities: 0 })).await;
    }

    async fn batch(&mut self, revision: u64, changes: Vec<wire::Change>) -> wire::Applied {
        self.send(feed_frame::Kind::Batch(wire::Batch { changes, revision })).await;
        self.applied().await
    }

    async fn full(&mut self, epoch: &str, revision: u64, changes: Vec<wire::Change>) -> wire::Applied {
        self.begin(epoch, revision).await;
        let inside = self.batch(0, changes).await;
        assert_eq!((inside.epoch.as_str(), inside.revision), (epoch, 0), "nothing counts before the end");
        self.send(feed_frame::Kind::FullEnd(wire::FullEnd { revision })).await;
        self.applied().await
    }
}

/// A control plane, an instance's link and its shards.
struct Rig {
    calls: mpsc::Receiver<Call>,
    endpoint: String,
    dir: tempfile::TempDir,
    fleet: Fleet,
    directory: Arc<Directory>,
    status: Arc<link::Status>,
    stop: watch::Sender<bool>,
}

impl Rig {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (answer, calls) = mpsc::channel(4);
        let server = Server::builder().add_service(FeedServer::new(FakeFeed(answer)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let (stop, _) = watch::channel(false);
        Self {
            calls,
            endpoint,
            dir: tempfile::tempdir().unwrap(),
            fleet: Fleet::new(2),
            directory: Directory::new(),
            status: link::Status::new(),
            stop,
        }
    }

    /// Forgets everything but the cache file, as a new process does.
    fn restart(&mut self) {
        self.fleet = Fleet::new(3);
        self.directory = Directory::new();
        self.status = link::Status::new();
        self.stop = watch::channel(false).0;
    }

    fn link(&self) -> Link {
        let settings = settings(&self.endpoint, self.dir.path().join("dataplane/config.cache"));
        let writer = DirectoryWriter::new(Arc::clone(&self.directory));
        Link::new(settings, self.fleet.shards.clone(), writer, Arc::clone(&self.status)).unwrap()
    }

    async fn follow(&mut self) -> (tokio::task::JoinHandle<()>, Call) {
        let mut link = self.link();
        link.load_cache().await;
        let following = link.follow(self.stop.subscribe());
        (following, self.calls.recv().await.unwrap())
    }

    fn admits(&self, token: u8) -> bool {
        self.directory.find(&[token; 32]).is_some()
    }
}

fn settings(endpoint: &str, cache: PathBuf) -> LinkSettings {
    LinkSettings {
        endpoint: endpoint.into(),
        join_token: TOKEN.into(),
        tls_ca: None,
        instance_id: "i1".into(),
        query_endpoint: "http://127.0.0.1:7071".into(),
        device_endpoint: "http://127.0.0.1:8081".into(),
        cache,
        shards: 2,
    }
}

fn position(epoch: &str, revision: u64) -> Position {
    Position { epoch: epoch.into(), revision }
}

#[tokio::test]
async fn takes_a_full_state_then_deltas_and_reports_both_and_what_it_refused() {
    let mut rig = Rig::new().await;
    let (following, mut call) = rig.follow().await;
    let hello = call.hello().await;
    assert_eq!((hello.epoch.as_str(), hello.revision, hello.instance_id.as_str()), ("", 0, "i1"));
    assert!(!rig.status.configured());

    let applied = call.full("e1", 5, vec![tenant(1), device(2, 10, "a"), credential(3, 20, 10, 1)]).await;
    assert_eq!((applied.epoch.as_str(), applied.revision, applied.refused.len()), ("e1", 5, 0));
    rig.fleet.settle();
    assert_eq!(rig.fleet.device_name(10).as_deref(), Some("a"));
    assert!(rig.admits(1) && rig.status.configured() && rig.status.connected());

    let applied = call.batch(7, vec![broken_chain(6, 30), device(7, 10, "b")]).await;
    assert_eq!((applied.epoch.as_str(), applied.revision), ("e1", 7), "one bad change does not stop the others");
    let [refusal] = applied.refused.as_slice() else { panic!("{:?}", applied.refused) };
    assert_eq!((refusal.revision, refusal.entity_type.as_str()), (6, "RULE_CHAIN"));
    assert!(refusal.reason.starts_with("rule chain: "), "{}", refusal.reason);
    rig.fleet.settle();
    assert_eq!(rig.fleet.device_name(10).as_deref(), Some("b"));
    assert_eq!(rig.status.refused(), 1);

    call.batch(8, vec![deleted(8, EntityKind::Device, 10)]).await;
    rig.fleet.settle();
    assert_eq!((rig.fleet.device_name(10), rig.admits(1)), (None, false));
    assert_eq!(rig.fleet.gone, [device_id(10).into()]);
    assert_eq!(*rig.status.position(), position("e1", 8));

    rig.stop.send(true).unwrap();
    following.await.unwrap();
}

#[tokio::test]
async fn calls_again_from_where_it_was() {
    let mut rig = Rig::new().await;
    let (_following, mut call) = rig.follow().await;
    call.hello().await;
    call.full("e1", 5, vec![tenant(1), device(2, 10, "a")]).await;
    call.batch(9, vec![device(9, 10, "b")]).await;
    drop(call);
    let mut call = rig.calls.recv().await.unwrap();
    let hello = call.hello().await;
    assert_eq!((hello.epoch.as_str(), hello.revision), ("e1", 9));
    assert_eq!(rig.status.reconnects(), 1);
    assert_eq!(call.batch(10, vec![device(10, 10, "c")]).await.revision, 10);
    rig.fleet.settle();
    assert_eq!(rig.fleet.device_name(10).as_deref(), Some("c"));
}

#[tokio::test]
async fn another_epoch_replaces_everything_even_when_its_first_attempt_breaks_off() {
    let mut rig = Rig::new().await;
    let (_following, mut call) = rig.follow().await;
    call.hello().await;
    let old = vec![tenant(1), device(2, 10, "kept"), device(2, 11, "gone"), credential(3, 20, 10, 1), credential(3, 21, 11, 2)];
    call.full("e1", 5, old).await;

    call.begin("e2", 2).await;
    // Sent in the attempt that breaks off, deleted before the next one.
    call.batch(0, vec![device(1, 12, "short-lived"), credential(1, 22, 12, 3)]).await;
    drop(call);
    let mut call = rig.calls.recv().await.unwrap();
    let hello = call.hello().await;
    assert_eq!((hello.epoch.as_str(), hello.revision), ("", 0), "half a full state is nothing to build on");
    assert_eq!(*rig.status.position(), position("e1", 5));
    assert!(rig.admits(1) && rig.admits(2), "and nothing is forgotten for it");

    let applied = call.full("e2", 3, vec![tenant(1), device(2, 10, "kept"), credential(3, 20, 10, 1)]).await;
    assert_eq!((applied.epoch.as_str(), applied.revision), ("e2", 3));
    rig.fleet.settle();
    assert_eq!(rig.fleet.device_name(10).as_deref(), Some("kept"));
    assert_eq!((rig.fleet.device_name(11), rig.fleet.device_name(12)), (None, None));
    assert_eq!([rig.admits(1), rig.admits(2), rig.admits(3)], [true, false, false]);
    assert!(rig.fleet.revoked.contains_key(&credential_id(21)) && !rig.fleet.revoked.contains_key(&credential_id(20)));
}

#[tokio::test]
async fn a_restart_serves_from_the_cache_and_resumes_there() {
    let mut rig = Rig::new().await;
    let (following, mut call) = rig.follow().await;
    call.hello().await;
    let state = vec![tenant(1), device(2, 10, "a"), device(2, 11, "b"), credential(3, 20, 10, 1), credential(3, 21, 11, 2)];
    call.full("e1", 5, state).await;
    call.batch(6, vec![broken_chain(6, 30), device(6, 10, "renamed"), deleted(6, EntityKind::Device, 11)]).await;
    rig.stop.send(true).unwrap();
    following.await.unwrap();

    rig.restart();
    let mut link = rig.link();
    link.load_cache().await;
    rig.fleet.settle();
    assert!(rig.status.configured() && rig.status.from_cache() && !rig.status.connected());
    assert_eq!(*rig.status.position(), position("e1", 6));
    assert_eq!((rig.fleet.device_name(10).as_deref(), rig.fleet.device_name(11)), (Some("renamed"), None));
    assert_eq!([rig.admits(1), rig.admits(2)], [true, false], "a cached credential does not outlive its device");
    drop(link);

    rig.restart();
    let (_following, mut call) = rig.follow().await;
    let hello = call.hello().await;
    assert_eq!((hello.epoch.as_str(), hello.revision), ("e1", 6));
    assert_eq!(call.batch(7, vec![device(7, 10, "again")]).await.revision, 7);
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_call_and_the_next_one_works() {
    let bad: [feed_frame::Kind; 4] = [
        feed_frame::Kind::Batch(wire::Batch { changes: vec![device(1, 10, "a")], revision: 1 }),
        feed_frame::Kind::FullEnd(wire::FullEnd { revision: 1 }),
        feed_frame::Kind::FullBegin(wire::FullBegin::default()),
        feed_frame::Kind::FullBegin(wire::FullBegin { epoch: "e".repeat(300), ..Default::default() }),
    ];
    let mut rig = Rig::new().await;
    let (_following, mut call) = rig.follow().await;
    for kind in bad {
        call.hello().await;
        call.send(kind.clone()).await;
        call = rig.calls.recv().await.unwrap();
        assert!(!rig.status.configured(), "{kind:?}");
    }
    call.hello().await;
    assert_eq!(call.full("e1", 5, vec![tenant(1)]).await.revision, 5);
}

#[tokio::test]
async fn refuses_settings_it_cannot_or_must_not_use() {
    let fleet = Fleet::new(1);
    let check = |endpoint: &str, token: &str, expected: Option<&str>| {
        let mut settings = settings(endpoint, PathBuf::from("config.cache"));
        settings.join_token = token.into();
        let made = Link::new(settings, fleet.shards.clone(), DirectoryWriter::new(Directory::new()), link::Status::new());
        match (made, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{endpoint}: {error}"),
            (made, expected) => panic!("{endpoint}: {made:?}, expected {expected:?}"),
        }
    };
    check("http://127.0.0.1:7070", TOKEN, None);
    check("http://[::1]:7070", TOKEN, None);
    check("http://localhost:7070", TOKEN, None);
    // DESIGN 27.
    check("http://10.0.0.1:7070", TOKEN, Some("plain text is allowed on loopback only"));
    check("http://127.0.0.1.example.org:7070", TOKEN, Some("plain text is allowed on loopback only"));
    check("http://localhost.example.org:7070", TOKEN, Some("plain text is allowed on loopback only"));
    check("https://control.example.org:7070", TOKEN, Some("certificate authority"));
    check("ftp://127.0.0.1", TOKEN, Some("expected http://host:port"));
    check("nonsense", TOKEN, Some("expected http://host:port"));
    check("http://127.0.0.1:7070", "", Some("join token"));
    check("http://127.0.0.1:7070", "two words", Some("join token"));
}

#[tokio::test]
async fn a_wrong_join_token_is_told_in_the_status() {
    let mut rig = Rig::new().await;
    let mut settings = settings(&rig.endpoint, rig.dir.path().join("config.cache"));
    settings.join_token = "wrong".into();
    let writer = DirectoryWriter::new(Arc::clone(&rig.directory));
    let mut link = Link::new(settings, rig.fleet.shards.clone(), writer, Arc::clone(&rig.status)).unwrap();
    let lost = follow_once(&mut link, &mut Backoff::new()).await;
    assert!(lost.to_string().contains("join token (Unauthenticated)"), "{lost}");
    assert!(rig.calls.try_recv().is_err());
}
