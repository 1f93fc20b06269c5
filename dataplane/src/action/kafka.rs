//! Records for Kafka clusters, by librdkafka: one producer for each node, kept while it is used. A record is taken when the brokers have
//! acknowledged it as the node's configuration wants.
//!
//! A cluster's brokers say themselves where they are, and librdkafka connects there from its own threads without asking anybody: so only
//! tenants that may call anything are let at one.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Told;
use super::kept::{Kept, Waiting, turn_away};
use crate::limits;
use crate::owed::{Answer, Answered, KafkaCall};

/// A call and the key by which its target can tell that it has heard it before.
type Keyed = (KafkaCall, String);
type Properties = Vec<(&'static str, String)>;

/// The clusters that nodes are connected to.
#[derive(Debug)]
pub(super) struct Clusters(Kept<Properties, Keyed>);

impl Clusters {
    pub(super) fn new() -> Self {
        Self(Kept::new(limits::KAFKA_PRODUCERS_MAX))
    }

    /// Sends a record by the node's producer, which is made if there is none with these properties.
    pub(super) fn publish(&mut self, node: Uuid, private: bool, (call, key): Keyed, told: Told) {
        if !private {
            let reason =
                "a Kafka cluster says itself where its brokers are; only tenant profiles with privateTargetsAllowed may call one";
            tokio::spawn(told.tell(Answered::Refused(reason.to_owned(), Answer::default())));
            return;
        }
        let properties = call.cluster.properties.clone();
        self.0.give((node, properties), ((call, key), told), |properties, calls| drop(tokio::spawn(serve(properties, calls))));
    }
}

/// One producer, until nobody has used it for long or it is needed no more.
async fn serve(properties: Properties, mut calls: mpsc::Receiver<Waiting<Keyed>>) {
    // librdkafka starts threads and waits for them, and again when it ends them.
    let made = tokio::task::spawn_blocking(move || config(&properties).create::<FutureProducer>()).await;
    let producer = match made {
        Ok(Ok(producer)) => producer,
        Ok(Err(error)) => return refuse(calls, &error.to_string()).await,
        Err(error) => return refuse(calls, &error.to_string()).await,
    };
    let (mut under_way, mut open) = (JoinSet::new(), true);
    while open || !under_way.is_empty() {
        tokio::select! {
            call = calls.recv(), if open && under_way.len() < limits::BROKER_CALLS_MAX => match call {
                Some(call) => drop(under_way.spawn(send(producer.clone(), call))),
                None => open = false,
            },
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep(Duration::from_millis(limits::BROKER_IDLE_MS)), if under_way.is_empty() => break,
        }
    }
    turn_away(calls, "the connection ended").await;
    drop(tokio::task::spawn_blocking(move || drop(producer)).await);
}

async fn refuse(mut calls: mpsc::Receiver<Waiting<Keyed>>, reason: &str) {
    calls.close();
    while let Some((_, told)) = calls.recv().await {
        told.tell(Answered::Refused(reason.to_owned(), Answer::default())).await;
    }
}

fn config(properties: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "tidegate")
        // Keys lie in the partitions where Java's clients put them.
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", limits::BROKER_ANSWER_MS.to_string())
        .set("socket.connection.setup.timeout.ms", limits::CALL_CONNECT_MS.to_string())
        .set("connections.max.idle.ms", limits::BROKER_IDLE_MS.to_string())
        // What a broker says of its cluster, which has a thread for each broker.
        .set("receive.message.max.bytes", limits::KAFKA_ANSWER_BYTES_MAX.to_string());
    for (name, value) in properties {
        config.set(*name, value);
    }
    config
}

async fn send(producer: FutureProducer, ((call, key), told): Waiting<Keyed>) {
    let KafkaCall { topic, key: record_key, headers, payload, .. } = call;
    let mut with = OwnedHeaders::new().insert(Header { key: "idempotency-key", value: Some(&key) });
    for (name, value) in &headers {
        // A C string.
        let name = name.replace('\0', "");
        with = with.insert(Header { key: &name, value: Some(value) });
    }
    let mut record = FutureRecord::to(&topic).payload(&payload).headers(with);
    if let Some(key) = &record_key {
        record = record.key(key);
    }
    let answered = match producer.send(record, Timeout::After(Duration::ZERO)).await {
        Ok(Delivery { partition, offset, .. }) => {
            let metadata = [("offset", offset.to_string()), ("partition", partition.to_string()), ("topic", topic)];
            let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).into();
            Answered::Done(Answer { metadata, data: None })
        }
        Err((error, _)) => failed(&error),
    };
    told.tell(answered).await;
}

fn failed(error: &KafkaError) -> Answered {
    use RDKafkaErrorCode as Code;
    let reason = error.to_string();
    match error.rdkafka_error_code() {
        // Nobody took it in time.
        Some(Code::MessageTimedOut | Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve) => {
            Answered::Unreachable(reason)
        }
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidTopic
            | Code::InvalidRecord
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidConfig
            | Code::InvalidArgument
            | Code::NotImplemented
            | Code::UnsupportedFeature,
        ) => Answered::Refused(reason, Answer::default()),
        _ => Answered::Failed(reason, Answer::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_every_property_that_a_node_may_have() {
        let properties = [
            ("bootstrap.servers", "127.0.0.1:9"),
            ("acks", "all"),
            ("message.send.max.retries", "1"),
            ("batch.size", "16384"),
            ("linger.ms", "0"),
            ("queue.buffering.max.kbytes", "8192"),
            ("client.id", "me"),
            ("compression.type", "lz4"),
            ("enable.idempotence", "true"),
            ("max.in.flight.requests.per.connection", "5"),
            ("request.timeout.ms", "60000"),
            ("retry.backoff.ms", "100"),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ];
        let properties: Properties = properties.map(|(name, value)| (name, value.to_owned())).into();
        let made = config(&properties).create_native_config().map(drop);
        assert_eq!(made, Ok(()));
    }
}
