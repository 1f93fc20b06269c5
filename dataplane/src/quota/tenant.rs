//! What a tenant's devices may consume together on this instance: its shared buckets, one shard's leases of them, and its
//! connections. Never knows which tenant it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use schemas::config::Limits;
use schemas::rate::RateLimit;

use super::RetryAfter;
use super::device::{Cost, Rates};
use super::lease::Lease;
use super::shared::SharedLimit;
use crate::clock::Instant;

/// Which of a tenant's limits a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Device,
    Gateway,
    /// The child of a gateway.
    GatewayDevice,
}

/// One tenant's limits on this instance, shared by its shards.
#[derive(Debug)]
pub struct Tenant {
    limits: Limits,
    messages: Option<Arc<SharedLimit>>,
    telemetry_messages: Option<Arc<SharedLimit>>,
    telemetry_data_points: Option<Arc<SharedLimit>>,
    open: Arc<Open>,
}

/// Connections open now, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Open(AtomicU32);

impl Tenant {
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Self> {
        let shared = |limit: &RateLimit| (!limit.is_unlimited()).then(|| Arc::new(SharedLimit::new(limit)));
        Arc::new(Self {
            limits: limits.clone(),
            messages: shared(&limits.tenant.messages),
            telemetry_messages: shared(&limits.tenant.telemetry_messages),
            telemetry_data_points: shared(&limits.tenant.telemetry_data_points),
            open: Arc::default(),
        })
    }

    /// The limits were pushed again. Open connections still count, and buckets stay as they are unless they changed; then they
    /// are full.
    #[must_use]
    pub fn changed(&self, limits: &Limits) -> Arc<Self> {
        let kept = |known: &Option<Arc<SharedLimit>>, limit: &RateLimit| match known {
            Some(known) if known.declared() == limit => Some(Arc::clone(known)),
            _ => (!limit.is_unlimited()).then(|| Arc::new(SharedLimit::new(limit))),
        };
        Arc::new(Self {
            limits: limits.clone(),
            messages: kept(&self.messages, &limits.tenant.messages),
            telemetry_messages: kept(&self.telemetry_messages, &limits.tenant.telemetry_messages),
            telemetry_data_points: kept(&self.telemetry_data_points, &limits.tenant.telemetry_data_points),
            open: Arc::clone(&self.open),
        })
    }

    /// What its devices are told of their limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A seat for one more connection; `None`: all are taken. Connections beyond a lowered limit keep theirs.
    #[must_use]
    pub fn connect(&self) -> Option<Seat> {
        let most = if self.limits.connections_max == 0 { u32::MAX } else { self.limits.connections_max };
        let one_more = |open: u32| (open < most).then(|| open + 1);
        self.open.0.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Seat(Arc::clone(&self.open)))
    }

    /// Connections that have a seat.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.open.0.load(Relaxed)
    }
}

/// A connection's place among its tenant's; moves with it from shard to shard, and is free again when it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Open>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// One shard's part of a tenant's limits, and its own copy of what devices may do.
#[derive(Debug)]
pub struct Share {
    tenant: Arc<Tenant>,
    shards: u16,
    messages: Option<Lease>,
    telemetry_messages: Option<Lease>,
    telemetry_data_points: Option<Lease>,
    device: Option<Arc<Rates>>,
    gateway: Option<Arc<Rates>>,
    gateway_device: Option<Arc<Rates>>,
}

impl Share {
    /// The part of one of `shards` shards.
    #[must_use]
    pub fn new(tenant: &Arc<Tenant>, shards: u16) -> Self {
        let lease = |limit: &Option<Arc<SharedLimit>>| limit.as_ref().map(|limit| Lease::new(Arc::clone(limit), shards));
        Self {
            tenant: Arc::clone(tenant),
            shards,
            messages: lease(&tenant.messages),
            telemetry_messages: lease(&tenant.telemetry_messages),
            telemetry_data_points: lease(&tenant.telemetry_data_points),
            device: Rates::new(&tenant.limits.device),
            gateway: Rates::new(&tenant.limits.gateway),
            gateway_device: Rates::new(&tenant.limits.gateway_device),
        }
    }

    /// The tenant's limits were pushed again.
    pub fn follow(&mut self, tenant: &Arc<Tenant>) {
        if !Arc::ptr_eq(&self.tenant, tenant) {
            *self = Self::new(tenant, self.shards);
        }
    }

    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The rules of its devices of this kind, for [`super::Device::new`] and [`super::Device::follow`].
    #[must_use]
    pub fn rates(&self, kind: Kind) -> Option<&Arc<Rates>> {
        match kind {
            Kind::Device => self.device.as_ref(),
            Kind::Gateway => self.gateway.as_ref(),
            Kind::GatewayDevice => self.gateway_device.as_ref(),
        }
    }

    /// Takes what an operation consumes of the tenant's limits, or nothing.
    ///
    /// # Errors
    /// When to ask again.
    pub fn take(&mut self, cost: Cost, now: Instant) -> Result<(), RetryAfter> {
        match cost {
            Cost::Message => take(&mut self.messages, 1, now),
            Cost::Telemetry { points } => {
                take(&mut self.telemetry_messages, 1, now)?;
                let taken = take(&mut self.telemetry_data_points, points, now);
                if taken.is_err()
                    && let Some(lease) = &mut self.telemetry_messages
                {
                    lease.untake(1);
                }
                taken
            }
        }
    }

    /// Gives back what was not used for a while; to be called with the shard's tick.
    pub fn expire(&mut self, now: Instant) {
        let all = [&mut self.messages, &mut self.telemetry_messages, &mut self.telemetry_data_points];
        all.into_iter().flatten().for_each(|lease| lease.expire(now));
    }
}

fn take(lease: &mut Option<Lease>, tokens: u64, now: Instant) -> Result<(), RetryAfter> {
    lease.as_mut().map_or(Ok(()), |lease| lease.take(tokens, now))
}
