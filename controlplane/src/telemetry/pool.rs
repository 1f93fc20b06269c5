//! One lazily opened gRPC channel per connected instance. Never dials an endpoint no instance has announced, and forgets
//! the channel of an instance that is gone.

use std::{collections::HashMap, time::Duration};

use tokio::sync::Mutex;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::telemetry::{Client, Unanswered};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle channel is probed, so that a live stream to a dead instance ends.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Channels to the data planes, by the endpoint each announced.
#[derive(Debug)]
pub struct Pool {
    bearer: MetadataValue<Ascii>,
    ca: Option<Certificate>,
    channels: Mutex<HashMap<String, Channel>>,
}

/// A setting of the line to the data planes that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    #[error("join token: only visible ASCII characters may be used")]
    JoinToken,
}

impl Pool {
    /// `ca` is the PEM of the certificate authority that signed the instances' certificates; without it only `http`
    /// endpoints (loopback) can be asked.
    ///
    /// # Errors
    /// [`InvalidLine`] when the join token cannot be sent as a header.
    pub fn new(join_token: &str, ca: Option<&[u8]>) -> Result<Self, InvalidLine> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {join_token}").parse().map_err(|_| InvalidLine::JoinToken)?;
        bearer.set_sensitive(true);
        Ok(Self { bearer, ca: ca.map(Certificate::from_pem), channels: Mutex::new(HashMap::new()) })
    }

    /// The client of the instance that owns an entity. With one control plane and whole replicas behind it, that is
    /// the first connected instance; a directory of owners takes this place when instances share the entity space.
    ///
    /// # Errors
    /// [`Unanswered::NoInstance`] without endpoints, [`Unanswered::Refused`] when the announced endpoint is no URL.
    pub async fn owner(&self, endpoints: &[String]) -> Result<Client, Unanswered> {
        let mut first = self.clients(endpoints, 1).await?;
        first.pop().ok_or(Unanswered::NoInstance)
    }

    /// The clients of all connected instances, in the order of their endpoints.
    ///
    /// # Errors
    /// The same.
    pub async fn all(&self, endpoints: &[String]) -> Result<Vec<Client>, Unanswered> {
        if endpoints.is_empty() { Err(Unanswered::NoInstance) } else { self.clients(endpoints, endpoints.len()).await }
    }

    /// Those of the first `most` endpoints; channels to others than `endpoints` are forgotten.
    async fn clients(&self, endpoints: &[String], most: usize) -> Result<Vec<Client>, Unanswered> {
        let mut channels = self.channels.lock().await;
        channels.retain(|known, _| endpoints.contains(known));
        let mut clients = Vec::new();
        for endpoint in endpoints.iter().take(most) {
            let channel = match channels.get(endpoint) {
                Some(channel) => channel.clone(),
                None => {
                    let channel = self.open(endpoint)?;
                    channels.insert(endpoint.clone(), channel.clone());
                    channel
                }
            };
            clients.push(Client::new(channel, self.bearer.clone()));
        }
        Ok(clients)
    }

    fn open(&self, endpoint: &str) -> Result<Channel, Unanswered> {
        let refused = |error: tonic::transport::Error| Unanswered::Refused(format!("query endpoint {endpoint:?}: {error}"));
        let mut builder = Endpoint::from_shared(endpoint.to_owned())
            .map_err(refused)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if endpoint.starts_with("https://") {
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(ca.clone());
            }
            builder = builder.tls_config(tls).map_err(refused)?;
        }
        Ok(builder.connect_lazy())
    }
}
