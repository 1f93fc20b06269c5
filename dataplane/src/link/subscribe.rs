//! The caller of the control plane's Feed: says what is held, applies what is sent, reports what was applied, and calls
//! again for as long as it takes (DESIGN 3.6, 25, 27). Never gives up and never loses a change it reported.

mod frames;

use std::{error::Error, fs, net::IpAddr, time::Duration};

use schemas::{
    config::Change,
    generated::config::{self as wire, feed_client::FeedClient, feed_frame, instance_frame},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::backoff::Backoff;
use super::cache::{Cache, CacheError};
use super::{Link, LinkError, LinkSettings, stopped};
use crate::limits;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(5);
const JOIN_TOKEN_BYTES_MAX: usize = 4_096;
/// Chunks of cached changes read ahead of the shards.
const CACHE_CHUNKS_AHEAD: usize = 4;

/// Why a connection to the control plane ended; another one follows.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("refused or broken off: {} ({:?})", .0.message(), .0.code())]
    Call(#[from] tonic::Status),
    #[error("no answer within {} s", ANSWER_DEADLINE.as_secs())]
    Silent,
    #[error("ended by the control plane")]
    Ended,
    #[error("not the protocol: {0}")]
    Protocol(String),
}

/// Where to call, with TLS where it is asked for and a refusal where it is needed (DESIGN 27).
pub(super) fn endpoint(settings: &LinkSettings) -> Result<Endpoint, LinkError> {
    let text = &settings.endpoint;
    let wrong = || LinkError::Endpoint { endpoint: text.clone() };
    let endpoint = Endpoint::from_shared(text.clone()).map_err(|_| wrong())?;
    let host = endpoint.uri().host().ok_or_else(wrong)?.to_owned();
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") if is_loopback(&host) => endpoint,
        Some("http") => return Err(LinkError::PlainText { what: "control plane endpoint", address: text.clone() }),
        Some("https") => {
            let path = settings.tls_ca.as_ref().ok_or_else(|| LinkError::AuthorityMissing { endpoint: text.clone() })?;
            let pem = fs::read(path).map_err(|source| LinkError::File { path: path.clone(), source })?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint.tls_config(tls).map_err(|error| LinkError::Tls(with_causes(&error)))?
        }
        _ => return Err(wrong()),
    };
    Ok(endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_DEADLINE)
        .keep_alive_while_idle(true))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn bearer(join_token: &str) -> Result<MetadataValue<Ascii>, LinkError> {
    let visible = !join_token.is_empty() && join_token.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || join_token.len() > JOIN_TOKEN_BYTES_MAX {
        return Err(LinkError::JoinToken);
    }
    let mut value = MetadataValue::try_from(format!("Bearer {join_token}")).map_err(|_| LinkError::JoinToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// See [`Link::load_cache`].
pub(super) async fn load_cache(link: &mut Link) {
    let path = link.settings.cache.clone();
    let (chunks, mut read) = mpsc::channel::<Vec<wire::Change>>(CACHE_CHUNKS_AHEAD);
    let loading = tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::new();
        let loaded = Cache::load(path, |change| {
            chunk.push(change);
            if chunk.len() == limits::CHANGES_PER_EVENT_MAX {
                // The other end is gone only when the process stops.
                drop(chunks.blocking_send(std::mem::take(&mut chunk)));
            }
        });
        drop(chunks.blocking_send(chunk));
        loaded
    });
    let mut entities = 0_usize;
    while let Some(chunk) = read.recv().await {
        let changes: Vec<Change> = chunk.into_iter().filter_map(accepted_from_cache).collect();
        entities += changes.len();
        link.applier.apply(&changes).await;
    }
    match loading.await {
        Ok(Ok((cache, position))) => {
            tracing::info!(entities, epoch = position.epoch, revision = position.revision, "configuration loaded from the cache");
            link.applier.whole().await;
            link.cache = Some(cache);
            link.position = position;
            link.status.set_position(&link.position);
            link.status.set_from_cache();
        }
        Ok(Err(error)) if error.is_absence() => tracing::info!("no configuration cache yet"),
        Ok(Err(error)) => tracing::warn!(%error, "configuration cache unusable: starting without it"),
        Err(error) => tracing::warn!(%error, "configuration cache: reading it failed: starting without it"),
    }
}

/// What an older version accepted and this one does not is left out, loudly.
fn accepted_from_cache(change: wire::Change) -> Option<Change> {
    Change::try_from(change).inspect_err(|error| tracing::warn!(%error, "cached change refused")).ok()
}

/// Follows until told to stop.
pub(super) async fn run(mut link: Link, mut shutdown: watch::Receiver<bool>) {
    let mut backoff = Backoff::new();
    loop {
        let lost = tokio::select! {
            () = stopped(&mut shutdown) => return,
            lost = follow_once(&mut link, &mut backoff) => lost,
        };
        let pause = backoff.next(random());
        tracing::warn!(error = %lost, endpoint = link.settings.endpoint, ?pause, "control plane lost");
        link.status.set_lost(lost.to_string());
        link.broke_off();
        tokio::select! {
            () = stopped(&mut shutdown) => return,
            () = sleep(pause) => {}
        }
    }
}

async fn follow_once(link: &mut Link, backoff: &mut Backoff) -> Lost {
    match connect(link).await {
        Ok((reports, frames)) => {
            link.status.set_connected();
            tracing::info!(endpoint = link.settings.endpoint, "control plane connected");
            match take_frames(link, backoff, reports, frames).await {
                Ok(never) => match never {},
                Err(lost) => lost,
            }
        }
        Err(lost) => lost,
    }
}

type Reports = mpsc::Sender<wire::InstanceFrame>;

async fn connect(link: &Link) -> Result<(Reports, Streaming<wire::FeedFrame>), Lost> {
    let connecting = timeout(ANSWER_DEADLINE, link.endpoint.connect()).await.map_err(|_| Lost::Silent)?;
    let channel = connecting.map_err(|error| Lost::Connect(with_causes(&error)))?;
    let (reports, outgoing) = mpsc::channel(limits::FEED_REPORTS_MAX);
    report(&reports, instance_frame::Kind::Hello(link.hello())).await?;
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", link.bearer.clone());
    let mut client = FeedClient::new(channel).max_decoding_message_size(limits::FEED_FRAME_BYTES_MAX);
    let response = timeout(ANSWER_DEADLINE, client.follow(request)).await.map_err(|_| Lost::Silent)??;
    Ok((reports, response.into_inner()))
}

async fn take_frames(
    link: &mut Link,
    backoff: &mut Backoff,
    reports: Reports,
    mut frames: Streaming<wire::FeedFrame>,
) -> Result<std::convert::Infallible, Lost> {
    let healthy = sleep(Duration::from_millis(limits::RECONNECT_HEALTHY_MS));
    tokio::pin!(healthy);
    loop {
        let frame = tokio::select! {
            frame = frames.message() => frame?.ok_or(Lost::Ended)?,
            () = &mut healthy, if !healthy.is_elapsed() => {
                backoff.reset();
                continue;
            }
        };
        let kind = frame.kind.ok_or_else(|| Lost::Protocol(String::from("a frame of a kind this version does not know")))?;
        if let Some(applied) = link.take(kind).await? {
            report(&reports, instance_frame::Kind::Applied(applied)).await?;
        }
    }
}

async fn report(reports: &Reports, kind: instance_frame::Kind) -> Result<(), Lost> {
    let frame = wire::InstanceFrame { kind: Some(kind) };
    timeout(ANSWER_DEADLINE, reports.send(frame)).await.map_err(|_| Lost::Silent)?.map_err(|_| Lost::Ended)
}

impl Link {
    fn hello(&self) -> wire::Hello {
        // After half a full state nothing is held that deltas could build on.
        let position = if self.torn { Default::default() } else { self.position.clone() };
        wire::Hello {
            instance_id: self.settings.instance_id.clone(),
            epoch: position.epoch,
            revision: position.revision,
            query_endpoint: self.settings.query_endpoint.clone(),
            shards: u32::from(self.settings.shards),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device_endpoint: self.settings.device_endpoint.clone(),
        }
    }

    /// Applies one frame. What is to be reported comes back.
    async fn take(&mut self, frame: feed_frame::Kind) -> Result<Option<wire::Applied>, Lost> {
        match frame {
            feed_frame::Kind::FullBegin(begin) => self.begin_full(begin).await.map(|()| None),
            feed_frame::Kind::Batch(batch) => self.batch(batch).await.map(Some),
            feed_frame::Kind::FullEnd(end) => self.end_full(end).await.map(Some),
        }
    }

    /// Runs file work where it may block. A panic in it costs the cache, not the link.
    async fn with_cache(&mut self, work: impl FnOnce(&mut Cache) -> Result<(), CacheError> + Send + 'static) {
        let Some(mut cache) = self.cache.take() else { return };
        match tokio::task::spawn_blocking(move || (work(&mut cache), cache)).await {
            Ok((Ok(()), cache)) => {
                self.status.set_cache_behind(!cache.is_followed());
                self.cache = Some(cache);
            }
            Ok((Err(error), cache)) => {
                tracing::warn!(%error, "configuration cache not written: the next start begins with an older configuration");
                self.status.set_cache_behind(true);
                self.cache = Some(cache);
            }
            Err(error) => {
                tracing::warn!(%error, "configuration cache lost");
                self.status.set_cache_behind(true);
            }
        }
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the pauses lose their jitter and nothing else.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// tonic's own text says only "transport error"; what happened is in its sources.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
