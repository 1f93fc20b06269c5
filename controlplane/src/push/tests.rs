//! The push over a real socket: who is let in, full state, resumption, and REST writes that wait for it (DESIGN 25 to 27).

mod package;

use std::{net::IpAddr, time::Duration};

use schemas::generated::{
    config::{
        Applied, Batch, FeedFrame, Hello, InstanceFrame, Refusal, change::Body, feed_client::FeedClient, feed_frame::Kind,
        instance_frame::Kind as FromInstance,
    },
    registry::{
        CertificateRequest, ChildRequest, ClaimRequest, PackageRequest, ProvisionRequest, child_reply::Outcome,
        registry_client::RegistryClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::{
    access::Caller,
    app::tests::settings,
    domain::{CredentialDraft, DeviceDraft},
    error::StartError,
    start::{Running, start},
};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A data plane's side of the line.
struct Line {
    said: mpsc::Sender<InstanceFrame>,
    frames: Streaming<FeedFrame>,
}

impl Line {
    async fn next(&mut self) -> Result<Kind, Status> {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.frames.message()).await.expect("a frame is due")?;
        Ok(frame.expect("the stream goes on").kind.expect("a frame has a body"))
    }

    async fn batch(&mut self) -> Batch {
        match self.next().await.unwrap() {
            Kind::Batch(batch) => batch,
            other => panic!("{other:?} where a batch was expected"),
        }
    }

    /// Reads a full state to its end; the epoch and the revision reached.
    async fn full(&mut self) -> (String, u64) {
        let Kind::FullBegin(begin) = self.next().await.unwrap() else { panic!("a full state begins") };
        loop {
            match self.next().await.unwrap() {
                Kind::FullEnd(end) => return (begin.epoch, end.revision),
                Kind::Batch(batch) => assert_eq!(batch.revision, 0),
                Kind::FullBegin(_) => panic!("twice"),
            }
        }
    }

    async fn say(&self, kind: FromInstance) {
        self.said.send(InstanceFrame { kind: Some(kind) }).await.unwrap();
    }

    async fn applied(&self, epoch: &str, revision: u64, refused: Vec<Refusal>) {
        self.say(FromInstance::Applied(Applied { epoch: epoch.to_owned(), revision, refused })).await;
    }
}

async fn connect(running: &Running, token: &str) -> Result<Line, Status> {
    let channel = Channel::from_shared(format!("http://{}", running.grpc)).unwrap().connect().await.unwrap();
    let (said, receiver) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let frames = FeedClient::new(channel).follow(request).await?.into_inner();
    Ok(Line { said, frames })
}

async fn follow(running: &Running, epoch: &str, revision: u64) -> Line {
    let line = connect(running, "join").await.unwrap();
    let hello = Hello {
        instance_id: "one".to_owned(),
        epoch: epoch.to_owned(),
        revision,
        query_endpoint: "http://127.0.0.1:7071".to_owned(),
        shards: 2,
        version: "0.1.0".to_owned(),
        device_endpoint: String::new(),
    };
    line.say(FromInstance::Hello(hello)).await;
    line
}

async fn demo() -> (tempfile::TempDir, Running, Caller) {
    let directory = tempfile::tempdir().unwrap();
    let running = start(settings(directory.path(), true)).await.unwrap();
    let pair = running.app().login("tenant@thingsboard.org", "tenant", LOCAL).await.unwrap();
    let caller = running.app().caller(&pair.token).await.unwrap();
    (directory, running, caller)
}

fn a_device(name: &str) -> DeviceDraft {
    DeviceDraft { name: name.to_owned(), ..DeviceDraft::default() }
}

#[tokio::test]
async fn only_the_join_token_opens_the_feed() {
    let (_directory, running, _) = demo().await;
    for token in ["", "wrong", "join ", "JOIN", "joi"] {
        let refused = connect(&running, token).await.err().expect("a wrong token is refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
    }
    let mut line = connect(&running, "join").await.unwrap();
    line.applied("x", 1, Vec::new()).await;
    assert_eq!(line.next().await.unwrap_err().code(), Code::InvalidArgument, "Hello comes first");
    let mut line = follow(&running, "", 0).await;
    line.full().await;
    line.say(FromInstance::Hello(Hello::default())).await;
    assert_eq!(line.next().await.unwrap_err().code(), Code::InvalidArgument, "Hello comes once");
    running.drain().await;
}

#[tokio::test]
async fn a_write_answers_when_the_data_plane_has_it() {
    let (_directory, running, admin) = demo().await;
    let app = running.app();
    assert!(!app.save_device(&admin, a_device("alone"), None).await.unwrap().applied);
    let mut line = follow(&running, "", 0).await;
    let (epoch, revision) = line.full().await;
    line.applied(&epoch, revision, Vec::new()).await;
    let write = tokio::spawn({
        let (app, admin) = (app.clone(), admin.clone());
        async move { app.save_device(&admin, a_device("pump"), Some(CredentialDraft::Token("PUMP".to_owned()))).await }
    });
    let batch = line.batch().await;
    assert!(batch.revision > revision);
    assert!(batch.changes.iter().any(|change| matches!(&change.body, Some(Body::Device(device)) if device.name == "pump")));
    assert!(!write.is_finished(), "it is sent, not applied");
    let refusal = Refusal { revision: 1, entity_type: "RULE_CHAIN".to_owned(), entity_id: vec![1; 16], reason: "no".to_owned() };
    line.applied(&epoch, batch.revision, vec![refusal]).await;
    let written = write.await.unwrap().unwrap();
    assert!(written.applied);
    let instance = app.registry().instances().remove(0);
    assert_eq!((instance.instance_id.as_str(), instance.shards, instance.connected), ("one", 2, true));
    assert_eq!((instance.applied_revision, instance.refused[0].reason.as_str()), (batch.revision, "no"));

    // An instance that says nothing costs two seconds and is told of in the answer.
    let id = written.value.id;
    let begun = tokio::time::Instant::now();
    assert!(!app.delete_device(&admin, id).await.unwrap().applied);
    assert!((1_900..4_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let batch = line.batch().await;
    assert!(batch.changes.iter().all(|change| matches!(change.body, Some(Body::Deleted(_)))), "{batch:?}");
    running.drain().await;
}

#[tokio::test]
async fn a_line_that_breaks_is_resumed() {
    let (directory, running, admin) = demo().await;
    let mut line = follow(&running, "", 0).await;
    let (epoch, revision) = line.full().await;
    line.applied(&epoch, revision, Vec::new()).await;
    drop(line);
    running.app().save_device(&admin, a_device("meanwhile"), None).await.unwrap();
    running.drain().await;
    // Another life of the process, the same database: no full state.
    let running = start(settings(directory.path(), true)).await.unwrap();
    let mut line = follow(&running, &epoch, revision).await;
    let batch = line.batch().await;
    assert_eq!((batch.revision, batch.changes.len()), (revision + 2, 2));
    // A newer line of the same instance takes over from the older one.
    let mut newer = follow(&running, &epoch, batch.revision).await;
    assert_eq!(newer.batch().await, Batch { revision: batch.revision, ..Batch::default() }, "what it is to say it runs with");
    let pair = running.app().login("tenant@thingsboard.org", "tenant", LOCAL).await.unwrap();
    let admin = running.app().caller(&pair.token).await.unwrap();
    running.app().save_device(&admin, a_device("later"), None).await.unwrap();
    assert_eq!(newer.batch().await.revision, batch.revision + 2);
    assert_eq!(running.app().registry().instances().len(), 1);
    running.drain().await;
}

type Asking = RegistryClient<Channel>;

async fn registry(running: &Running) -> Asking {
    RegistryClient::connect(format!("http://{}", running.grpc)).await.unwrap()
}

fn asked<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn only_the_join_token_may_ask() {
    let (_directory, running, _) = demo().await;
    let mut asking = registry(&running).await;
    for token in ["", "wrong", "JOIN"] {
        let refusals = [
            asking.child(asked(token, ChildRequest::default())).await.map(drop),
            asking.provision(asked(token, ProvisionRequest::default())).await.map(drop),
            asking.certificate(asked(token, CertificateRequest::default())).await.map(drop),
            asking.claim(asked(token, ClaimRequest::default())).await.map(drop),
            asking.package(asked(token, PackageRequest::default())).await.map(drop),
        ];
        for refused in refusals {
            assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "{token}");
        }
    }
    let refused = asking.child(asked("join", ChildRequest { gateway_id: vec![1], ..ChildRequest::default() })).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let refused = asking.claim(asked("join", ClaimRequest::default())).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let refused = asking.provision(asked("join", ProvisionRequest { payload: vec![b' '; 65_537] })).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    running.drain().await;
}

/// DESIGN 26: an answer that names a device leaves when the data plane has it.
#[tokio::test]
async fn what_is_asked_is_answered_when_it_is_applied() {
    let (_directory, running, admin) = demo().await;
    let app = running.app();
    let draft = DeviceDraft { additional_info: serde_json::json!({"gateway": true}), ..a_device("gate") };
    let gateway = app.save_device(&admin, draft, None).await.unwrap().value.id.into_bytes().to_vec();
    let mut line = follow(&running, "", 0).await;
    let (epoch, revision) = line.full().await;
    line.applied(&epoch, revision, Vec::new()).await;
    let mut asking = registry(&running).await;
    let child =
        |gateway_id: &[u8]| ChildRequest { gateway_id: gateway_id.to_vec(), name: "child".to_owned(), r#type: String::new() };
    let question = tokio::spawn({
        let (mut asking, message) = (asking.clone(), child(&gateway));
        async move { asking.child(asked("join", message)).await.unwrap().into_inner() }
    });
    let batch = line.batch().await;
    let named = batch.changes.iter().find_map(|change| match &change.body {
        Some(Body::Device(device)) if device.name == "child" => Some(change.id.clone()),
        _ => None,
    });
    assert!(!question.is_finished(), "it is sent, not applied");
    line.applied(&epoch, batch.revision, Vec::new()).await;
    assert_eq!(question.await.unwrap().outcome, named.clone().map(Outcome::DeviceId));
    let again = asking.child(asked("join", child(&gateway))).await.unwrap().into_inner();
    assert_eq!(again.outcome, named.clone().map(Outcome::DeviceId));
    let Some(Outcome::Refused(said)) = asking.child(asked("join", child(&named.unwrap()))).await.unwrap().into_inner().outcome
    else {
        panic!("a child is no gateway")
    };
    assert!(said.contains("is no gateway"), "{said}");
    let unknown = asking.certificate(asked("join", CertificateRequest { chain: vec![vec![0]] })).await.unwrap().into_inner();
    assert!(unknown.device_id.is_empty());
    let nobody = asking.provision(asked("join", ProvisionRequest { payload: b"{}".to_vec() })).await.unwrap().into_inner();
    assert_eq!(nobody.payload, br#"{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#);
    let claim = |secret: &str| ClaimRequest { device_id: gateway.clone(), secret_key: secret.to_owned(), duration_ms: 0 };
    assert_eq!(asking.claim(asked("join", claim("s"))).await.unwrap().into_inner().refused, "");
    let refused = asking.claim(asked("join", claim(&"s".repeat(256)))).await.unwrap().into_inner().refused;
    assert!(refused.contains("secretKey: \"***\""), "{refused}");
    running.drain().await;
}

#[tokio::test]
async fn stopping_ends_every_line() {
    let (_directory, running, _) = demo().await;
    let mut line = follow(&running, "", 0).await;
    line.full().await;
    let begun = tokio::time::Instant::now();
    running.drain().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(line.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let open = crate::settings::Settings { grpc_listen: "0.0.0.0:0".parse().unwrap(), ..settings(directory.path(), true) };
    let refused = start(open).await.expect_err("clear text beyond loopback is refused");
    assert!(matches!(refused, StartError::Insecure(_)) && refused.to_string().contains("grpc.listen"), "{refused}");
    let (_kept, running, _) = demo().await;
    let taken = crate::settings::Settings { http_listen: running.http, ..settings(directory.path(), true) };
    let refused = start(taken).await.expect_err("the address is taken");
    assert!(matches!(refused, StartError::Listen { what: "http.listen", .. }), "{refused}");
    let database = crate::settings::Settings {
        database_url: Some("sqlite:///nowhere/at/all.db".to_owned()),
        ..settings(directory.path(), true)
    };
    let refused = start(database).await.expect_err("there is no such directory");
    assert!(matches!(refused, StartError::Store(_)) && refused.to_string().contains("database_url"), "{refused}");
    running.drain().await;
}
