//! The calls of the Query service, as functions of domain values. Each has a deadline and a bounded answer.

use std::{future::Future, time::Duration};

use schemas::{
    generated::query::{self as wire, query_client::QueryClient},
    telemetry::{Scope, value_from_wire},
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::telemetry::{Aggregation, Attribute, Entity, Live, Point, Range, Series, Unanswered};

/// From asking to the whole answer.
pub(in crate::telemetry) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A write is answered when durable; longer than this and the caller is told it is unknown.
pub(in crate::telemetry) const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// One message of an answer, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Points of one answer, over all keys and chunks.
const POINTS_PER_ANSWER_MAX: usize = 1_000_000;

/// Shows the join token with every call (DESIGN 27).
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(in crate::telemetry) type Stub = QueryClient<InterceptedService<Channel, Bearer>>;

/// JSON to store.
#[derive(Debug)]
pub struct Values {
    payload: Vec<u8>,
    /// Strings stay strings.
    as_written: bool,
}

impl Values {
    /// From a user: a string that is a number is stored as one where the tenant's device API says so.
    #[must_use]
    pub const fn given(payload: Vec<u8>) -> Self {
        Self { payload, as_written: false }
    }

    /// From the platform itself: firmware version "2.0" is no number.
    #[must_use]
    pub fn own(value: &serde_json::Value) -> Self {
        Self { payload: value.to_string().into_bytes(), as_written: true }
    }
}

/// A line to one instance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(pub(in crate::telemetry) Stub);

impl Client {
    pub(in crate::telemetry) fn new(channel: Channel, bearer: MetadataValue<Ascii>) -> Self {
        Self(QueryClient::with_interceptor(channel, Bearer(bearer)).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The keys of every series of `entity`.
    ///
    /// # Errors
    /// [`Unanswered`]; so do all calls here.
    pub async fn keys(&self, entity: &Entity) -> Result<Vec<String>, Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::KeysRequest { entity: Some(to_wire(entity)) };
        Ok(within(READ_TIMEOUT, stub.keys(request)).await?.keys)
    }

    /// The newest point of each of `keys`; empty = all.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn latest(&self, entity: &Entity, keys: Vec<String>) -> Result<Vec<Series>, Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::LatestRequest { entity: Some(to_wire(entity)), keys };
        let reply = within(READ_TIMEOUT, stub.latest(request)).await?;
        Ok(reply.series.into_iter().map(series).collect())
    }

    /// The points of a range. Chunks of one key are joined in the order they came.
    ///
    /// # Errors
    /// [`Unanswered`], among them an answer of more than a million points.
    pub async fn history(&self, entity: &Entity, range: Range) -> Result<Vec<Series>, Unanswered> {
        let request = wire::HistoryRequest {
            entity: Some(to_wire(entity)),
            keys: range.keys,
            start_ts: range.start,
            end_ts: range.end,
            limit: range.limit,
            ascending: range.ascending,
            aggregation: aggregation(range.aggregation).into(),
            interval_ms: range.interval_ms,
        };
        let mut stub = self.0.clone();
        let collect = async move {
            let mut chunks = stub.history(request).await?.into_inner();
            let mut answer: Vec<Series> = Vec::new();
            let mut points = 0_usize;
            while let Some(chunk) = chunks.message().await? {
                for next in chunk.series.into_iter().map(series) {
                    points += next.points.len();
                    if points > POINTS_PER_ANSWER_MAX {
                        return Err(Unanswered::TooLarge(format!("the answer has more than {POINTS_PER_ANSWER_MAX} points")));
                    }
                    match answer.iter_mut().find(|known| known.key == next.key) {
                        Some(known) => known.points.extend(next.points),
                        None => answer.push(next),
                    }
                }
            }
            Ok(answer)
        };
        tokio::time::timeout(READ_TIMEOUT, collect).await.unwrap_or_else(|_| Err(late(READ_TIMEOUT)))
    }

    /// The attributes of one scope, or of every scope; empty `keys` = all.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn attributes(
        &self,
        entity: &Entity,
        scope: Option<Scope>,
        keys: Vec<String>,
    ) -> Result<Vec<Attribute>, Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::AttributesRequest { entity: Some(to_wire(entity)), scope: scope_to_wire(scope), keys };
        let reply = within(READ_TIMEOUT, stub.attributes(request)).await?;
        Ok(reply.attributes.into_iter().filter_map(attribute).collect())
    }

    /// Stores telemetry JSON, any of its three forms. `ttl_s` 0 = kept.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn save_timeseries(&self, entity: &Entity, values: Values, ttl_s: u32) -> Result<(), Unanswered> {
        let mut stub = self.0.clone();
        let Values { payload, as_written } = values;
        let request = wire::SaveTimeseriesRequest { entity: Some(to_wire(entity)), payload, ttl_s, as_written };
        within(WRITE_TIMEOUT, stub.save_timeseries(request)).await.map(drop)
    }

    /// Stores the members of a flat JSON object.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn save_attributes(&self, entity: &Entity, scope: Scope, values: Values) -> Result<(), Unanswered> {
        let mut stub = self.0.clone();
        let Values { payload, as_written } = values;
        let scope = scope.to_wire().into();
        let request = wire::SaveAttributesRequest { entity: Some(to_wire(entity)), scope, payload, as_written };
        within(WRITE_TIMEOUT, stub.save_attributes(request)).await.map(drop)
    }

    /// Deletes the points of `keys` in `[start, end)`, or all of them.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn delete_timeseries(
        &self,
        entity: &Entity,
        keys: Vec<String>,
        range: Option<(i64, i64)>,
    ) -> Result<(), Unanswered> {
        let mut stub = self.0.clone();
        let (start_ts, end_ts) = range.unwrap_or_default();
        let request =
            wire::DeleteTimeseriesRequest { entity: Some(to_wire(entity)), keys, start_ts, end_ts, all_data: range.is_none() };
        within(WRITE_TIMEOUT, stub.delete_timeseries(request)).await.map(drop)
    }

    /// Deletes the attributes `keys` of one scope.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn delete_attributes(&self, entity: &Entity, scope: Scope, keys: Vec<String>) -> Result<(), Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::DeleteAttributesRequest { entity: Some(to_wire(entity)), scope: scope.to_wire().into(), keys };
        within(WRITE_TIMEOUT, stub.delete_attributes(request)).await.map(drop)
    }

    /// Opens a stream of live updates; it may carry many watches.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn live(&self) -> Result<Live, Unanswered> {
        Live::open(self.0.clone()).await
    }
}

/// Waits for a unary answer, at most `deadline`.
pub(in crate::telemetry) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>> + Send,
) -> Result<T, Unanswered> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(late(deadline)),
    }
}

pub(in crate::telemetry) fn late(deadline: Duration) -> Unanswered {
    Unanswered::Unavailable(format!("no answer within {} s", deadline.as_secs()))
}

pub(in crate::telemetry) fn to_wire(entity: &Entity) -> wire::Entity {
    wire::Entity {
        r#type: entity.kind.to_owned(),
        id: entity.id.as_bytes().to_vec(),
        tenant_id: entity.tenant.as_bytes().to_vec(),
    }
}

pub(in crate::telemetry) fn scope_to_wire(scope: Option<Scope>) -> i32 {
    scope.map_or(wire::Scope::Unspecified, Scope::to_wire).into()
}

fn aggregation(aggregation: Aggregation) -> wire::Aggregation {
    match aggregation {
        Aggregation::None => wire::Aggregation::None,
        Aggregation::Min => wire::Aggregation::Min,
        Aggregation::Max => wire::Aggregation::Max,
        Aggregation::Avg => wire::Aggregation::Avg,
        Aggregation::Sum => wire::Aggregation::Sum,
        Aggregation::Count => wire::Aggregation::Count,
    }
}

/// A point whose value is of a kind this version does not know is left out.
pub(in crate::telemetry) fn series(series: wire::Series) -> Series {
    let points = series
        .points
        .into_iter()
        .filter_map(|point| Some(Point { ts: point.ts, value: value_from_wire(point.value?)? }))
        .collect();
    Series { key: series.key, points }
}

pub(in crate::telemetry) fn attribute(attribute: wire::Attribute) -> Option<Attribute> {
    Some(Attribute {
        scope: Scope::from_wire(attribute.scope())?,
        key: attribute.key,
        last_update: attribute.last_update_ts,
        value: value_from_wire(attribute.value?)?,
    })
}
