//! Publications to other brokers, QoS 1: one connection per node, kept while it is used. A publication is taken when its PUBACK is
//! there; when the connection ends, everything that waits on it has failed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use schemas::chain::external::MqttPublish;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Told;
use super::kept::{Kept, Waiting, turn_away};
use crate::action::guard::{Unresolved, resolve};
use crate::limits;
use crate::owed::{Answer, Answered, MqttCall};

/// A publication and who waits for it.
type Publication = Waiting<MqttCall>;

/// The brokers that nodes are connected to.
#[derive(Debug)]
pub(super) struct Brokers(Kept<(MqttPublish, bool), MqttCall>);

impl Brokers {
    pub(super) fn new() -> Self {
        Self(Kept::new(limits::BROKERS_MAX))
    }

    /// Publishes over the node's connection, which is made if there is none with these settings.
    pub(super) fn publish(&mut self, node: Uuid, private: bool, call: MqttCall, told: Told) {
        let settings = (call.broker.clone(), private);
        self.0.give((node, settings), (call, told), |settings, calls| drop(tokio::spawn(serve(settings, node, calls))));
    }
}

/// One connection, from its first publication until nobody has used it for long, or it ends.
async fn serve((broker, private): (MqttPublish, bool), node: Uuid, mut calls: mpsc::Receiver<Publication>) {
    let Some(first) = calls.recv().await else { return };
    let reason = match options(&broker, node, private).await {
        Ok(options) => converse(options, &broker, first, &mut calls).await,
        Err(Unresolved::NotPublic(not_public)) => {
            first.1.tell(Answered::Refused(not_public.to_string(), Answer::default())).await;
            not_public.to_string()
        }
        Err(unknown) => {
            first.1.tell(Answered::Unreachable(unknown.to_string())).await;
            unknown.to_string()
        }
    };
    // The next publication makes a new connection.
    turn_away(calls, &reason).await;
}

async fn options(broker: &MqttPublish, node: Uuid, private: bool) -> Result<MqttOptions, Unresolved> {
    let addresses = resolve(&broker.host, broker.port, private).await?;
    let host = addresses.first().map(|address| address.ip().to_string()).unwrap_or_default();
    let id = match &broker.client_id {
        None => format!("tidegate-{}", node.simple()),
        Some(id) if broker.own_suffix => format!("{id}_{}", node.simple()),
        Some(id) => id.clone(),
    };
    let mut options = MqttOptions::new(id, host, broker.port);
    options.set_clean_session(broker.clean_session);
    options.set_keep_alive(Duration::from_secs(15));
    options.set_max_packet_size(limits::PACKET_BYTES_MAX, 2 * limits::PACKET_BYTES_MAX);
    if let Some((user, password)) = &broker.user {
        options.set_credentials(user, password);
    }
    Ok(options)
}

/// Publishes until the connection ends. Returns why it did; nobody waits on it then.
async fn converse(
    options: MqttOptions,
    broker: &MqttPublish,
    first: Publication,
    calls: &mut mpsc::Receiver<Publication>,
) -> String {
    let (client, mut events) = AsyncClient::new(options, limits::BROKER_CALLS_MAX);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_connection_timeout(u64::from(broker.timeout_ms / 1_000).max(1));
    events.set_network_options(network);
    let (told, mut happened) = mpsc::channel(limits::BROKER_CALLS_MAX);
    let polling = tokio::spawn(poll(events, told));
    let mut waits = Waits::default();
    waits.publish(&client, first).await;
    let mut open = true;
    let reason = loop {
        if !open && waits.is_empty() {
            break "the connection was needed for another node".to_owned();
        }
        let idle = Duration::from_millis(if waits.is_empty() { limits::BROKER_IDLE_MS } else { limits::BROKER_ANSWER_MS });
        tokio::select! {
            event = happened.recv() => match event {
                Some(Ok(event)) => waits.take(event).await,
                Some(Err(error)) => break error.to_string(),
                None => break "the connection ended".to_owned(),
            },
            publication = calls.recv(), if open && waits.has_room() => match publication {
                Some(publication) => waits.publish(&client, publication).await,
                None => open = false,
            },
            () = tokio::time::sleep(idle) => break "the broker does not answer".to_owned(),
        }
    };
    polling.abort();
    waits.fail(&reason).await;
    reason
}

/// A task of its own, because a poll that is given up may lose bytes.
async fn poll(mut events: EventLoop, told: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = events.poll().await;
        let over = event.is_err();
        if told.send(event).await.is_err() || over {
            return;
        }
    }
}

/// Publications without a PUBACK.
#[derive(Debug, Default)]
struct Waits {
    connected: bool,
    /// Given to the connection, which sends them in this order.
    given: VecDeque<Told>,
    sent: HashMap<u16, Told>,
}

impl Waits {
    fn is_empty(&self) -> bool {
        self.given.is_empty() && self.sent.is_empty()
    }

    fn has_room(&self) -> bool {
        self.given.len() + self.sent.len() < limits::BROKER_CALLS_MAX
    }

    async fn publish(&mut self, client: &AsyncClient, (call, told): Publication) {
        match client.try_publish(call.topic, QoS::AtLeastOnce, call.broker.retained, call.payload) {
            Ok(()) => self.given.push_back(told),
            Err(error) => told.tell(Answered::Failed(error.to_string(), Answer::default())).await,
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => self.connected = true,
            Event::Outgoing(Outgoing::Publish(id)) => {
                if let Some(told) = self.given.pop_front() {
                    self.sent.insert(id, told);
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(told) = self.sent.remove(&ack.pkid) {
                    told.tell(Answered::Done(Answer::default())).await;
                }
            }
            _ => {}
        }
    }

    /// The connection is over. Was there one, one of the publications may be its end; else nobody was there.
    async fn fail(&mut self, reason: &str) {
        let waiting = self.given.drain(..).chain(self.sent.drain().map(|(_, told)| told)).collect::<Vec<_>>();
        for told in waiting {
            let answered = if self.connected {
                Answered::Failed(reason.to_owned(), Answer::default())
            } else {
                Answered::Unreachable(reason.to_owned())
            };
            told.tell(answered).await;
        }
    }
}
