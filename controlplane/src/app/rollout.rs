//! Tells devices of their packages, as ThingsBoard does (reference 1.7): at once that something is to come, then, a pack of devices
//! at a time, what it is. Where it was is in rows, so a restart goes on there, and of several control planes one tells a pack.
//! Never decides which package a device has.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use schemas::telemetry::Scope;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    app::{App, call::entity_of},
    clock,
    domain::{Device, Package, PackageKind, PackagePlace},
    entity::{
        Author, Write, device,
        rollout::{self, Due},
    },
    error::Error,
    settings::Settings,
    telemetry::{Client, Entity},
};

/// How often it is looked whether there is anything to tell.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait after something went wrong, e.g. no data plane is connected.
const RETRY: Duration = Duration::from_secs(5);
/// Devices gone through, and told that something is to come, in one step.
const STEP_DEVICES: u64 = 100;
/// Devices that are told at the same time.
const TOLD_AT_ONCE: usize = 16;

/// How fast devices are told what to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Devices of one pack.
    pub devices: u64,
    /// From one pack to the next.
    pub interval_ms: i64,
}

impl Pace {
    pub(super) fn new(settings: &Settings) -> Self {
        let interval_ms = i64::try_from(settings.pack_interval_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Self { devices: settings.pack_devices, interval_ms }
    }
}

impl App {
    /// Tells devices until `stopping` says true.
    pub async fn roll_out(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            let wait = match self.roll_out_step(clock::now_ms()).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => POLL,
                Err(error) => {
                    tracing::warn!(%error, "devices cannot be told of their packages now");
                    RETRY
                }
            };
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One step of every part; true when the next one need not wait.
    pub(crate) async fn roll_out_step(&self, now_ms: i64) -> Result<bool, Error> {
        if rollout::is_idle(self.reader()).await? {
            return Ok(false);
        }
        let mut write = self.write_alone(now_ms).await?;
        let advanced = rollout::advance(&mut write, STEP_DEVICES).await?;
        write.commit().await?;
        let announced = self.announce(now_ms).await?;
        self.tell_pack(now_ms).await?;
        Ok(advanced || announced)
    }

    /// Tells the next devices that something is to come; those that are to have nothing are told that, and are done.
    async fn announce(&self, now_ms: i64) -> Result<bool, Error> {
        let due = rollout::unannounced(self.reader(), STEP_DEVICES).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let client = self.data_plane().await?;
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        let client = &client;
        let telling = stream::iter(due).map(|due| async move { (due, self.announce_to(client, due, now_ms).await) });
        let told: Vec<(Due, Result<bool, Error>)> = telling.buffer_unordered(TOLD_AT_ONCE).collect().await;
        let mut failure = None;
        for (due, outcome) in told {
            match outcome {
                Ok(true) => waiting.push(due),
                Ok(false) => done.push(due),
                Err(error) => failure = Some(error),
            }
        }
        let mut write = self.write_alone(now_ms).await?;
        rollout::wait(&mut write, &waiting).await?;
        rollout::done(&mut write, &done).await?;
        write.commit().await?;
        failure.map_or(Ok(true), Err)
    }

    /// True if the device is to be told more when its turn comes.
    async fn announce_to(&self, client: &Client, due: Due, now_ms: i64) -> Result<bool, Error> {
        let Some((device, package)) = self.current(due).await? else { return Ok(false) };
        let entity = Entity::from(entity_of(&device));
        let Some(package) = package else {
            client.delete_attributes(&entity, Scope::Shared, attribute_keys(due.kind)).await?;
            return Ok(false);
        };
        client.save_timeseries(&entity, target(&package, now_ms).to_string().into_bytes(), 0).await?;
        Ok(true)
    }

    /// Tells the next pack what to install, if its time has come. Those that could not be told go to the end of the queue.
    async fn tell_pack(&self, now_ms: i64) -> Result<(), Error> {
        let mut write = self.write_alone(now_ms).await?;
        let pack = rollout::take_pack(&mut write, self.pace.devices, self.pace.interval_ms).await?;
        write.commit().await?;
        if pack.is_empty() {
            return Ok(());
        }
        let (mut done, mut failed, mut failure) = (Vec::new(), Vec::new(), None);
        match self.data_plane().await {
            Ok(client) => {
                let telling = stream::iter(pack).map(|due| {
                    let client = &client;
                    async move { (due, self.tell(client, due).await) }
                });
                let told: Vec<(Due, Result<(), Error>)> = telling.buffer_unordered(TOLD_AT_ONCE).collect().await;
                for (due, outcome) in told {
                    match outcome {
                        Ok(()) => done.push(due),
                        Err(error) => {
                            failed.push(due);
                            failure = Some(error);
                        }
                    }
                }
            }
            Err(error) => {
                failed = pack;
                failure = Some(error);
            }
        }
        let mut write = self.write_alone(now_ms).await?;
        rollout::done(&mut write, &done).await?;
        rollout::wait(&mut write, &failed).await?;
        write.commit().await?;
        failure.map_or(Ok(()), Err)
    }

    async fn tell(&self, client: &Client, due: Due) -> Result<(), Error> {
        let Some((device, Some(package))) = self.current(due).await? else { return Ok(()) };
        let entity = Entity::from(entity_of(&device));
        // First the state: the attributes make the device begin, and what it says of its state then must be the newer value.
        let state = json!({format!("{}_state", due.kind.prefix()): "INITIATED"});
        client.save_timeseries(&entity, state.to_string().into_bytes(), 0).await?;
        let attributes = attributes(&package);
        let absent: Vec<String> = attribute_keys(due.kind).into_iter().filter(|key| attributes.get(key).is_none()).collect();
        client.save_attributes(&entity, Scope::Shared, attributes.to_string().into_bytes()).await?;
        Ok(client.delete_attributes(&entity, Scope::Shared, absent).await?)
    }

    /// The device and what it has now; `None` when it is gone.
    async fn current(&self, due: Due) -> Result<Option<(Device, Option<Package>)>, Error> {
        let Some(device) = device::find(self.reader(), due.tenant, due.device).await? else { return Ok(None) };
        let package = self.effective_package(&device, due.kind).await?;
        Ok(Some((device, package)))
    }

    async fn write_alone(&self, now_ms: i64) -> Result<Write, Error> {
        Ok(self.store.write(Author::system(), now_ms).await?)
    }
}

/// What a device is told first.
fn target(package: &Package, now_ms: i64) -> Value {
    let prefix = package.kind.prefix();
    let mut values = json!({
        format!("target_{prefix}_title"): package.title,
        format!("target_{prefix}_version"): package.release,
        format!("target_{prefix}_ts"): now_ms,
        format!("{prefix}_state"): "QUEUED",
    });
    if let (Some(members), Some(tag)) = (values.as_object_mut(), &package.tag) {
        members.insert(format!("target_{prefix}_tag"), json!(tag));
    }
    values
}

/// The shared attributes by which a device knows what to install.
fn attributes(package: &Package) -> Value {
    let prefix = package.kind.prefix();
    let mut members = serde_json::Map::new();
    let mut set = |name: &str, value: Value| members.insert(format!("{prefix}_{name}"), value);
    set("title", json!(package.title));
    set("version", json!(package.release));
    if let Some(tag) = &package.tag {
        set("tag", json!(tag));
    }
    match &package.place {
        PackagePlace::Url(url) => {
            set("url", json!(url));
        }
        PackagePlace::Here(bytes) => {
            set("size", json!(bytes.size));
            set("checksum", json!(bytes.checksum));
            set("checksum_algorithm", json!(bytes.algorithm.name()));
        }
        PackagePlace::Nowhere => {}
    }
    Value::Object(members)
}

fn attribute_keys(kind: PackageKind) -> Vec<String> {
    let names = ["title", "version", "tag", "size", "checksum", "checksum_algorithm", "url"];
    names.iter().map(|name| format!("{}_{name}", kind.prefix())).collect()
}
