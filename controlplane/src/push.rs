//! The gRPC that data planes speak with: the Feed they follow, and the Registry they ask. Whoever shows the join token is an
//! instance (DESIGN 27); anyone else gets nothing. Never decides what is sent: that is `feed`.

mod package;
mod registrar;
#[cfg(test)]
mod tests;

pub use registrar::Registrar;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use schemas::generated::config::{
    FeedFrame, Hello, InstanceFrame, feed_server::Feed as FeedService, instance_frame::Kind as FromInstance,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use uuid::Uuid;

use crate::{
    app::App,
    feed::{Follower, Instance, Joined, Refusal},
};

/// From connecting to Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// An instance that takes no frame for this long is cut; it comes back and resumes.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Frames on their way to one instance.
const FRAMES_MAX: usize = 4;
/// The longest text an instance says of itself, in bytes.
const TEXT_BYTES_MAX: usize = 256;

type Frames = mpsc::Sender<Result<FeedFrame, Status>>;

/// What instances show.
#[derive(Clone, Debug)]
pub struct JoinToken {
    digest: Vec<u8>,
}

impl JoinToken {
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { digest: digest(&SHA256, token.as_bytes()).as_ref().to_vec() }
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let shown = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        // Digests have one length, so that the comparison tells nothing about that of the token.
        let shown = digest(&SHA256, shown.as_bytes());
        verify_slices_are_equal(shown.as_ref(), &self.digest)
            .map_err(|_| Status::unauthenticated("the join token is missing or wrong"))
    }
}

/// The Feed service.
#[derive(Debug)]
pub struct Push {
    app: Arc<App>,
    token: JoinToken,
    stopping: watch::Receiver<bool>,
}

impl Push {
    /// Ends every stream once `stopping` says true.
    #[must_use]
    pub fn new(app: Arc<App>, token: JoinToken, stopping: watch::Receiver<bool>) -> Self {
        Self { app, token, stopping }
    }
}

#[tonic::async_trait]
impl FeedService for Push {
    type FollowStream = ReceiverStream<Result<FeedFrame, Status>>;

    async fn follow(&self, request: Request<Streaming<InstanceFrame>>) -> Result<Response<Self::FollowStream>, Status> {
        self.token.check(request.metadata())?;
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let (app, incoming, mut stopping) = (Arc::clone(&self.app), request.into_inner(), self.stopping.clone());
        tokio::spawn(async move {
            let end = tokio::select! {
                end = converse(&app, incoming, &frames) => end,
                _ = stopping.wait_for(|stopping| *stopping) => Status::unavailable("the control plane is stopping"),
            };
            // The instance may have gone already; then nobody is left to be told.
            let _ = frames.try_send(Err(end));
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Talks with one instance until either side ends it; says why.
async fn converse(app: &App, mut incoming: Streaming<InstanceFrame>, frames: &Frames) -> Status {
    let hello = match tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await {
        Ok(Ok(Some(InstanceFrame { kind: Some(FromInstance::Hello(hello)) }))) => hello,
        Ok(Ok(_)) => return Status::invalid_argument("an instance speaks first and says Hello"),
        Ok(Err(status)) => return status,
        Err(_) => return Status::deadline_exceeded("no Hello came"),
    };
    let follower = app.feed().follow(&hello.epoch, hello.revision);
    let instance = match introduced(hello) {
        Ok(instance) => instance,
        Err(status) => return status,
    };
    tracing::info!(instance = instance.instance_id, endpoint = instance.query_endpoint, "a data plane connected");
    let id = instance.instance_id.clone();
    let Some(joined) = app.registry().join(instance) else {
        return Status::resource_exhausted("too many instances are known");
    };
    let end = tokio::select! {
        end = send(follower, frames, &joined) => end,
        end = receive(incoming, &joined) => end,
    };
    tracing::info!(instance = id, reason = end.message(), "a data plane disconnected");
    end
}

async fn send(mut follower: Follower, frames: &Frames, joined: &Joined) -> Status {
    loop {
        let kind = match follower.next().await {
            Ok(kind) => kind,
            Err(cut) => return Status::unavailable(cut.to_string()),
        };
        if joined.superseded() {
            return Status::aborted("another connection speaks for this instance");
        }
        match tokio::time::timeout(SEND_TIMEOUT, frames.send(Ok(FeedFrame { kind: Some(kind) }))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Status::cancelled("the instance went away"),
            Err(_) => return Status::unavailable("the instance reads too slowly"),
        }
    }
}

async fn receive(mut incoming: Streaming<InstanceFrame>, joined: &Joined) -> Status {
    loop {
        match incoming.message().await {
            Ok(Some(InstanceFrame { kind: Some(FromInstance::Applied(applied)) })) => {
                let refused = applied.refused.into_iter().map(|refusal| Refusal {
                    revision: refusal.revision,
                    entity_type: shortened(refusal.entity_type),
                    entity_id: Uuid::from_slice(&refusal.entity_id).ok(),
                    reason: shortened(refusal.reason),
                });
                joined.applied(shortened(applied.epoch), applied.revision, refused.collect());
            }
            Ok(Some(_)) => return Status::invalid_argument("after Hello an instance says Applied and nothing else"),
            Ok(None) => return Status::cancelled("the instance said goodbye"),
            Err(status) => return status,
        }
    }
}

fn introduced(hello: Hello) -> Result<Instance, Status> {
    for (field, text) in [
        ("instance_id", &hello.instance_id),
        ("query_endpoint", &hello.query_endpoint),
        ("device_endpoint", &hello.device_endpoint),
        ("version", &hello.version),
    ] {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Status::invalid_argument(format!("hello.{field}: {} bytes, at most {TEXT_BYTES_MAX}", text.len())));
        }
    }
    if hello.instance_id.is_empty() {
        return Err(Status::invalid_argument("hello.instance_id: must not be empty"));
    }
    Ok(Instance {
        instance_id: hello.instance_id,
        query_endpoint: hello.query_endpoint,
        device_endpoint: hello.device_endpoint,
        shards: hello.shards,
        version: hello.version,
        connected: true,
        // What it holds counts as applied only once it says so: it may be about to take full state.
        applied_epoch: String::new(),
        applied_revision: 0,
        refused: Vec::new(),
    })
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
