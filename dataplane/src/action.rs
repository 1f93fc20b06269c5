//! Makes the calls that rules owe to the outside (DESIGN 3.4, 8.6, 22). Runs on tokio, is given calls by shards and tells them what
//! came of each through their mailboxes. Decides nothing about making a call again, and keeps nothing.

mod email;
mod guard;
mod http;
mod kafka;
mod kept;
mod line;
mod mqtt;
mod nats;
mod rabbitmq;
mod slack;
mod tls;

use tokio::sync::{mpsc, watch};

use crate::owed::{Answered, Call, Due};
use crate::shard::{Event, Shards};

/// Makes calls until the process stops. What is under way then is made again after the next start.
/// `slack_url` is where Slack is, without a slash at its end.
pub async fn make(mut calls: mpsc::Receiver<Due>, shards: Shards, slack_url: String, mut stopped: watch::Receiver<bool>) {
    let http = match http::Client::new() {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "no calls to the outside can be made"),
    };
    let (mut brokers, mut clusters) = (mqtt::Brokers::new(), kafka::Clusters::new());
    let (mut exchanges, mut subjects) = (rabbitmq::Brokers::new(), nats::Servers::new());
    loop {
        let due = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            due = calls.recv() => due,
        };
        let Some(Due { shard, flight, node, key, private, call }) = due else { return };
        let told = Told { shards: shards.clone(), shard, flight };
        match call {
            Call::Http(call) => {
                let http = http.clone();
                tokio::spawn(async move { told.tell(http.call(call, &key, private).await).await });
            }
            Call::Email(email) => {
                tokio::spawn(async move { told.tell(email::send(email, &key, private).await).await });
            }
            Call::Slack(call) => {
                let (http, slack_url) = (http.clone(), slack_url.clone());
                tokio::spawn(async move { told.tell(slack::post(&http, &slack_url, call, &key).await).await });
            }
            Call::Mqtt(call) => brokers.publish(node, private, (call, key), told),
            Call::RabbitMq(call) => exchanges.publish(node, private, (call, key), told),
            Call::Nats(call) => subjects.publish(node, private, (call, key), told),
            Call::Kafka(call) => clusters.publish(node, private, (call, key), told),
        }
    }
}

/// Whom to tell what came of a call.
#[derive(Debug)]
struct Told {
    shards: Shards,
    shard: u16,
    flight: u64,
}

impl Told {
    async fn tell(self, answered: Answered) {
        if let Some(mailbox) = self.shards.all().get(usize::from(self.shard)) {
            mailbox.deliver(Event::CameOf { flight: self.flight, answered: Box::new(answered) }).await;
        }
    }
}
