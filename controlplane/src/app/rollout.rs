//! Tells devices of their packages, as ThingsBoard does (reference 1.7): at once that something is to come, then, a pack of
//! devices at a time, what it is. Where it was is in rows, so a restart goes on there, and of several control planes one tells a pack.
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
    telemetry::{Client, Entity, Values},
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
        let work = rollout::work(self.reader(), now_ms, self.pace.interval_ms).await?;
        if work.advance {
            let mut write = self.write_alone(now_ms).await?;
            rollout::advance(&mut write, STEP_DEVICES).await?;
            write.commit().await?;
        }
        if work.announce || work.pack {
            let client = self.data_plane().await?;
            // One device that cannot be told must not keep the pack waiting.
            let announced = if work.announce { self.announce(&client, now_ms).await } else { Ok(()) };
            let told = if work.pack { self.tell_pack(&client, now_ms).await } else { Ok(()) };
            announced.and(told)?;
        }
        Ok(work.advance || work.announce || work.pack)
    }

    /// Tells the next devices that something is to come; those that are to have nothing are told that, and are done.
    async fn announce(&self, client: &Client, now_ms: i64) -> Result<(), Error> {
        let due = rollout::unannounced(self.reader(), STEP_DEVICES).await?;
        let told = each(due, |due| self.announce_to(client, due, now_ms)).await;
        let mut write = self.write_alone(now_ms).await?;
        rollout::wait(&mut write, &told.waiting).await?;
        rollout::done(&mut write, &told.done).await?;
        rollout::postpone(&mut write, &told.failed).await?;
        write.commit().await?;
        told.failure.map_or(Ok(()), Err)
    }

    async fn announce_to(&self, client: &Client, due: Due, now_ms: i64) -> Result<Next, Error> {
        let Some((device, package)) = self.current(due).await? else { return Ok(Next::Nothing) };
        let entity = Entity::from(entity_of(&device));
        let Some(package) = package else {
            client.delete_attributes(&entity, Scope::Shared, attribute_keys(due.kind)).await?;
            return Ok(Next::Nothing);
        };
        client.save_timeseries(&entity, Values::own(&target(&package, now_ms)), 0).await?;
        Ok(Next::Turn)
    }

    /// Tells the next pack what to install, if its time has come. Those that could not be told go to the end of the queue.
    async fn tell_pack(&self, client: &Client, now_ms: i64) -> Result<(), Error> {
        let mut write = self.write_alone(now_ms).await?;
        let pack = rollout::take_pack(&mut write, self.pace.devices, self.pace.interval_ms).await?;
        write.commit().await?;
        let told = each(pack, |due| self.tell(client, due)).await;
        let mut write = self.write_alone(now_ms).await?;
        rollout::done(&mut write, &told.done).await?;
        rollout::wait(&mut write, &told.failed).await?;
        write.commit().await?;
        told.failure.map_or(Ok(()), Err)
    }

    async fn tell(&self, client: &Client, due: Due) -> Result<Next, Error> {
        let Some((device, Some(package))) = self.current(due).await? else { return Ok(Next::Nothing) };
        let entity = Entity::from(entity_of(&device));
        // First the state, and what no longer holds: the attributes make the device begin, with them alone, and what it says of
        // its state then must be the newer value.
        let state = json!({format!("{}_state", due.kind.prefix()): "INITIATED"});
        client.save_timeseries(&entity, Values::own(&state), 0).await?;
        let attributes = attributes(&package);
        let absent: Vec<String> = attribute_keys(due.kind).into_iter().filter(|key| attributes.get(key).is_none()).collect();
        client.delete_attributes(&entity, Scope::Shared, absent).await?;
        client.save_attributes(&entity, Scope::Shared, Values::own(&attributes)).await?;
        Ok(Next::Nothing)
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

/// What a device that was told is to be told later.
enum Next {
    Turn,
    Nothing,
}

/// What became of telling some devices.
#[derive(Default)]
struct Told {
    waiting: Vec<Due>,
    done: Vec<Due>,
    failed: Vec<Due>,
    failure: Option<Error>,
}

async fn each<F: Future<Output = Result<Next, Error>>>(due: Vec<Due>, tell: impl Fn(Due) -> F) -> Told {
    let telling = stream::iter(due).map(|due| {
        let telling = tell(due);
        async move { (due, telling.await) }
    });
    let outcomes: Vec<(Due, Result<Next, Error>)> = telling.buffer_unordered(TOLD_AT_ONCE).collect().await;
    let mut told = Told::default();
    for (due, outcome) in outcomes {
        match outcome {
            Ok(Next::Turn) => told.waiting.push(due),
            Ok(Next::Nothing) => told.done.push(due),
            // What is wrong today is wrong tomorrow: it is not tried for ever.
            Err(Error::Refused(why)) => {
                tracing::warn!(device = %due.device, why, "a device is not told of its package");
                told.done.push(due);
            }
            Err(error) => {
                told.failed.push(due);
                told.failure = Some(error);
            }
        }
    }
    told
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
