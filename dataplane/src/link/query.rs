//! The Query service: reads, writes and live watches asked by the control plane, each answered by the shard that owns the
//! entity (DESIGN 3, 8.1 3). Checks who asks and that the question is well-formed; never reads a store itself.

mod calling;
mod convert;
mod dead_letters;
mod newest;
mod rules;
mod sightings;
mod watch;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{constant_time, digest};
use schemas::generated::query::{self as wire, query_server};
use tokio::{
    sync::{mpsc, oneshot, watch as stop},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use super::subscribe::with_causes;
use super::{LinkError, refuse_plain_text, stopped};
use crate::clock::Clock;
use crate::limits;
use crate::query::{Query, QueryError, Reply, Target};
use crate::shard::{Event, Mailbox, Shards};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` is true, then ends the watches and waits a while for the calls under way. `tls` names the PEM files of
/// certificate and key.
///
/// # Errors
/// [`LinkError`] when a listener beyond loopback has no TLS (DESIGN 27), a file cannot be read, or the socket fails.
pub async fn serve_queries(
    listener: TcpListener,
    join_token: String,
    tls: Option<(PathBuf, PathBuf)>,
    shards: Shards,
    shutdown: stop::Receiver<bool>,
) -> Result<(), LinkError> {
    let mut server = Server::builder()
        .max_concurrent_streams(limits::QUERY_STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_DEADLINE));
    match tls {
        Some((certificate, key)) => {
            let identity = Identity::from_pem(read(&certificate)?, read(&key)?);
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).map_err(|error| LinkError::Tls(with_causes(&error)))?;
        }
        None => refuse_plain_text("query listener", listener.local_addr()?)?,
    }
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let queries = query_server::QueryServer::new(Queries { shards, shutdown: shutdown.clone() })
        .max_decoding_message_size(limits::QUERY_REQUEST_BYTES_MAX);
    let guarded = InterceptedService::new(queries, Bearer::new(&join_token)?);
    let (mut end, mut last_end) = (shutdown.clone(), shutdown);
    let serving = server.add_service(guarded).serve_with_incoming_shutdown(incoming, async move { stopped(&mut end).await });
    tokio::select! {
        served = serving => served.map_err(|error| LinkError::Serve(with_causes(&error))),
        // A caller that does not read must not keep the process from ending.
        () = async { stopped(&mut last_end).await; sleep(Duration::from_millis(limits::SHUTDOWN_GRACE_MS)).await } => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    fs::read(path).map_err(|source| LinkError::File { path: path.to_owned(), source })
}

/// Lets only holders of the join token in.
#[derive(Clone)]
struct Bearer {
    expected: digest::Digest,
}

impl Bearer {
    fn new(join_token: &str) -> Result<Self, LinkError> {
        let value = super::subscribe::bearer(join_token)?;
        Ok(Self { expected: digest::digest(&digest::SHA256, value.as_bytes()) })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let shown = request.metadata().get("authorization").map_or(&b""[..], |value| value.as_bytes());
        // Hashes have one length, so the comparison tells nothing, not even how long the token is.
        let shown = digest::digest(&digest::SHA256, shown);
        match constant_time::verify_slices_are_equal(shown.as_ref(), self.expected.as_ref()) {
            Ok(()) => Ok(request),
            Err(_) => Err(Status::unauthenticated("authorization: expected \"Bearer <join token>\"")),
        }
    }
}

#[derive(Clone, Debug)]
struct Queries {
    shards: Shards,
    shutdown: stop::Receiver<bool>,
}

impl Queries {
    /// Asks the owner of the entity and waits for its answer. A reply dropped unanswered is an error, never a hang.
    async fn ask<T: Send>(&self, target: Target, query: impl FnOnce(Reply<T>) -> Query + Send) -> Result<T, Status> {
        self.ask_for(limits::QUERY_DEADLINE_MS, target, query).await
    }

    async fn ask_for<T: Send>(
        &self,
        deadline_ms: u64,
        target: Target,
        query: impl FnOnce(Reply<T>) -> Query + Send,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let event = Event::Query { target, query: query(reply) };
        let asked = async {
            post(self.shards.owner(target.entity), event).await?;
            match answer.await {
                Ok(answer) => answer.map_err(status),
                Err(_) => Err(Status::unavailable("the shard dropped the query unanswered")),
            }
        };
        timeout(Duration::from_millis(deadline_ms), asked)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("the shard did not answer within {deadline_ms} ms"))))
    }
}

/// Posts, and gives up when the mailbox stays full.
async fn post(mailbox: &Mailbox, event: Event) -> Result<(), Status> {
    let deadline = Duration::from_millis(limits::MAILBOX_WAIT_MS_MAX);
    timeout(deadline, mailbox.deliver(event))
        .await
        .map_err(|_| Status::unavailable(format!("the shard's mailbox was full for {} ms", limits::MAILBOX_WAIT_MS_MAX)))
}

fn status(error: QueryError) -> Status {
    let text = error.to_string();
    match error {
        QueryError::Invalid(_) => Status::invalid_argument(text),
        QueryError::TooLarge(_) => Status::resource_exhausted(text),
        QueryError::Unavailable(_) => Status::unavailable(text),
    }
}

#[tonic::async_trait]
impl query_server::Query for Queries {
    async fn keys(&self, request: Request<wire::KeysRequest>) -> Result<Response<wire::KeysReply>, Status> {
        let target = convert::target(request.into_inner().entity)?;
        let keys = self.ask(target, |reply| Query::Keys { reply }).await?;
        Ok(Response::new(wire::KeysReply { keys }))
    }

    async fn latest(&self, request: Request<wire::LatestRequest>) -> Result<Response<wire::LatestReply>, Status> {
        let request = request.into_inner();
        let target = convert::target(request.entity)?;
        let keys = convert::keys(request.keys)?;
        let series = self.ask(target, |reply| Query::Latest { keys, reply }).await?;
        Ok(Response::new(wire::LatestReply { series: convert::all_series(series) }))
    }

    type HistoryStream = tokio_stream::Iter<convert::Chunks>;

    async fn history(&self, request: Request<wire::HistoryRequest>) -> Result<Response<Self::HistoryStream>, Status> {
        let (target, history) = convert::history(request.into_inner())?;
        let series = self.ask(target, |reply| Query::History { history, reply }).await?;
        Ok(Response::new(tokio_stream::iter(convert::Chunks::new(series))))
    }

    async fn attributes(&self, request: Request<wire::AttributesRequest>) -> Result<Response<wire::AttributesReply>, Status> {
        let request = request.into_inner();
        let target = convert::target(request.entity)?;
        let scope = convert::any_scope(request.scope)?;
        let keys = convert::keys(request.keys)?;
        let attributes = self.ask(target, |reply| Query::Attributes { scope, keys, reply }).await?;
        Ok(Response::new(wire::AttributesReply { attributes: convert::all_attributes(attributes) }))
    }

    async fn save_timeseries(&self, request: Request<wire::SaveTimeseriesRequest>) -> Result<Response<wire::WriteReply>, Status> {
        let wire::SaveTimeseriesRequest { entity, payload, ttl_s, as_written } = request.into_inner();
        let target = convert::target(entity)?;
        self.ask(target, |reply| Query::SaveTimeseries { payload, ttl_s, as_written, reply }).await?;
        Ok(Response::new(wire::WriteReply {}))
    }

    async fn save_attributes(&self, request: Request<wire::SaveAttributesRequest>) -> Result<Response<wire::WriteReply>, Status> {
        let wire::SaveAttributesRequest { entity, scope, payload, as_written } = request.into_inner();
        let target = convert::target(entity)?;
        let scope = convert::one_scope(scope)?;
        self.ask(target, |reply| Query::SaveAttributes { scope, payload, as_written, reply }).await?;
        Ok(Response::new(wire::WriteReply {}))
    }

    async fn delete_timeseries(
        &self,
        request: Request<wire::DeleteTimeseriesRequest>,
    ) -> Result<Response<wire::WriteReply>, Status> {
        let (target, keys, range) = convert::deletion(request.into_inner())?;
        self.ask(target, |reply| Query::DeleteTimeseries { keys, range, reply }).await?;
        Ok(Response::new(wire::WriteReply {}))
    }

    async fn delete_attributes(
        &self,
        request: Request<wire::DeleteAttributesRequest>,
    ) -> Result<Response<wire::WriteReply>, Status> {
        let request = request.into_inner();
        let target = convert::target(request.entity)?;
        let scope = convert::one_scope(request.scope)?;
        let keys = convert::named_keys(request.keys)?;
        self.ask(target, |reply| Query::DeleteAttributes { scope, keys, reply }).await?;
        Ok(Response::new(wire::WriteReply {}))
    }

    /// The shard itself answers when the call expires; the deadline here is only for a shard that does not.
    async fn call(&self, request: Request<wire::CallRequest>) -> Result<Response<wire::CallReply>, Status> {
        let (target, call) = calling::call(request.into_inner())?;
        let called = self.ask_for(limits::CALL_MS_MAX, target, |reply| Query::Call { call, reply }).await?;
        Ok(Response::new(calling::called(called)))
    }

    async fn calls(&self, request: Request<wire::CallsRequest>) -> Result<Response<wire::CallsReply>, Status> {
        let request = request.into_inner();
        let status = request.status();
        let target = convert::target(request.entity)?;
        let id = if request.id.is_empty() { None } else { Some(calling::id(&request.id)?) };
        let calls = self.ask(target, |reply| Query::Calls { id, reply }).await?;
        Ok(Response::new(calling::calls(calls, status)))
    }

    async fn delete_call(&self, request: Request<wire::DeleteCallRequest>) -> Result<Response<wire::WriteReply>, Status> {
        let request = request.into_inner();
        let (target, id) = (convert::target(request.entity)?, calling::id(&request.id)?);
        self.ask(target, |reply| Query::DeleteCall { id, reply }).await?;
        Ok(Response::new(wire::WriteReply {}))
    }

    async fn change_alarm(&self, request: Request<wire::ChangeAlarmRequest>) -> Result<Response<wire::ChangeAlarmReply>, Status> {
        let (target, alarm, change) = calling::alarm_change(request.into_inner())?;
        let changed = self.ask(target, |reply| Query::ChangeAlarm { alarm: Box::new(alarm), change, reply }).await?;
        Ok(Response::new(calling::changed_alarm(&changed)))
    }

    async fn standing(&self, request: Request<wire::StandingRequest>) -> Result<Response<wire::StandingReply>, Status> {
        let target = convert::target(request.into_inner().entity)?;
        let standing = self.ask(target, |reply| Query::Standing { reply }).await?;
        Ok(Response::new(calling::standing(standing)))
    }

    async fn latest_of(&self, request: Request<wire::LatestOfRequest>) -> Result<Response<wire::LatestOfReply>, Status> {
        Ok(Response::new(newest::latest_of(self, request.into_inner()).await?))
    }

    async fn field_count(&self, request: Request<wire::FieldCountRequest>) -> Result<Response<wire::FieldCountReply>, Status> {
        rules::field_count(&self.shards, request.get_ref()).await.map(Response::new)
    }

    async fn node_counts(&self, request: Request<wire::NodeCountsRequest>) -> Result<Response<wire::NodeCountsReply>, Status> {
        Ok(Response::new(rules::node_counts(&self.shards, &request.into_inner()).await?))
    }

    async fn sightings(&self, request: Request<wire::SightingsRequest>) -> Result<Response<wire::SightingsReply>, Status> {
        Ok(Response::new(sightings::sightings(&self.shards, &request.into_inner()).await?))
    }

    async fn forget_sightings(
        &self,
        request: Request<wire::ForgetSightingsRequest>,
    ) -> Result<Response<wire::WriteReply>, Status> {
        Ok(Response::new(sightings::forget(&self.shards, &request.into_inner()).await?))
    }

    async fn trace(&self, request: Request<wire::TraceRequest>) -> Result<Response<wire::WriteReply>, Status> {
        Ok(Response::new(sightings::trace(&self.shards, request.into_inner()).await?))
    }

    async fn try_script(&self, request: Request<wire::TryScriptRequest>) -> Result<Response<wire::TryScriptReply>, Status> {
        Ok(Response::new(rules::try_script(request.into_inner()).await?))
    }

    async fn dead_letters(&self, request: Request<wire::DeadLettersRequest>) -> Result<Response<wire::DeadLettersReply>, Status> {
        Ok(Response::new(dead_letters::found(&self.shards, request.into_inner()).await?))
    }

    async fn end_dead_letters(
        &self,
        request: Request<wire::EndDeadLettersRequest>,
    ) -> Result<Response<wire::EndDeadLettersReply>, Status> {
        Ok(Response::new(dead_letters::end(&self.shards, request.into_inner(), Clock::start()).await?))
    }

    type WatchStream = ReceiverStream<Result<wire::WatchUpdate, Status>>;

    async fn watch(&self, request: Request<Streaming<wire::WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (frames, outgoing) = mpsc::channel(limits::WATCH_FRAMES_MAX);
        tokio::spawn(watch::run(request.into_inner(), frames, self.shards.clone(), self.shutdown.clone()));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

#[cfg(test)]
mod tests;
