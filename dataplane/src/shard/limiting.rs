//! Limits where they bite: rates of devices and tenants before a message is evaluated, failed logins before a credential is looked
//! up, and what was refused, counted per device. What the limits are is `quota`'s business.

use std::net::IpAddr;

use schemas::id::DeviceId;

use super::slab::Key;
use super::turn::Shard;
use crate::message::Body;
use crate::quota::{self, Attempt, Cost, Kind, Reason};
use crate::session::Outcome;

impl Shard {
    /// Takes what a message costs from its device and its tenant, or from neither.
    ///
    /// # Errors
    /// The outcome that says when to come again.
    pub(super) fn spend(&mut self, device: DeviceId, cost: Cost) -> Result<(), Outcome> {
        let now = self.now.instant;
        let Some(facts) = self.table.device(device) else { return Ok(()) };
        let (tenant, gateway) = (facts.tenant, facts.gateway);
        let kind = match (gateway, self.through.contains_key(&device)) {
            (true, _) => Kind::Gateway,
            (false, true) => Kind::GatewayDevice,
            (false, false) => Kind::Device,
        };
        let Some(share) = self.table.share(tenant) else { return Ok(()) };
        let rates = share.rates(kind).cloned();
        let taken = match rates {
            None => share.take(cost, now).map_err(|retry_after| quota::Exceeded { limit: quota::Limit::Tenant, retry_after }),
            Some(rates) => {
                let own = self.rates.entry(device).or_insert_with(|| quota::Device::new(Some(&rates)));
                own.follow(Some(&rates));
                own.take(share, cost, now)
            }
        };
        taken.map_err(|exceeded| {
            self.count_refusal(device, exceeded.limit.into());
            Outcome::RateExceeded { retry_after_s: exceeded.retry_after.seconds }
        })
    }

    /// The same from the device alone: a gateway's own account.
    ///
    /// # Errors
    /// The outcome that says when to come again.
    pub(super) fn spend_own(&mut self, device: DeviceId, cost: Cost) -> Result<(), Outcome> {
        let now = self.now.instant;
        let Some(tenant) = self.table.device(device).map(|facts| facts.tenant) else { return Ok(()) };
        let Some(rates) = self.table.share(tenant).and_then(|share| share.rates(Kind::Gateway).cloned()) else { return Ok(()) };
        let own = self.rates.entry(device).or_insert_with(|| quota::Device::new(Some(&rates)));
        own.follow(Some(&rates));
        own.take_own(cost, now).map_err(|retry_after| {
            self.count_refusal(device, Reason::DeviceRate);
            Outcome::RateExceeded { retry_after_s: retry_after.seconds }
        })
    }

    /// Forgets buckets that are full and leases that are not used.
    pub(super) fn expire_limits(&mut self) {
        let now = self.now.instant;
        self.rates.retain(|_, device| !device.is_full(now));
        self.table.shares().for_each(|share| share.expire(now));
    }

    /// Remembers that something of a device was refused, as long as its state is in memory.
    pub(super) fn count_refusal(&mut self, device: DeviceId, reason: Reason) {
        if let Some(state) = self.residents.get_mut(device.into(), self.now.instant) {
            state.refusals.count(reason);
        }
    }

    /// What an outcome means for the device's account; nothing when it was stored or counted already.
    pub(super) fn count_outcome(&mut self, key: Key, outcome: Outcome) {
        let reason = match outcome {
            Outcome::Stored | Outcome::RateExceeded { .. } | Outcome::TimedOut => return,
            Outcome::PayloadInvalid => Reason::Payload,
            Outcome::TopicInvalid => Reason::Topic,
            Outcome::QuotaExceeded => Reason::Quota,
            Outcome::NotFound => Reason::NotFound,
            Outcome::Unauthorized | Outcome::Forbidden => Reason::Forbidden,
            Outcome::Unavailable | Outcome::Unspecified => Reason::Unavailable,
        };
        if let Some(identity) = self.connections.get(key).and_then(|connection| connection.identity()) {
            self.count_refusal(identity.device, reason);
        }
    }

    /// A login, if it is listened to at all.
    ///
    /// # Errors
    /// Too many have failed: seconds to wait.
    pub(super) fn attempt(&mut self, peer: IpAddr, name: &[u8], secret: &[u8]) -> Result<Attempt, u32> {
        let attempt = self.throttle.attempt(peer, quota::Shown { name, secret });
        match self.throttle.check(attempt, self.now.instant) {
            Ok(()) => Ok(attempt),
            Err(retry_after) => Err(retry_after.seconds),
        }
    }

    /// How a login ended.
    pub(super) fn attempted(&mut self, attempt: Attempt, succeeded: bool) {
        if succeeded { self.throttle.succeeded(attempt) } else { self.throttle.failed(attempt, self.now.instant) }
    }
}

/// What a message takes of rate limits (reference 1.8): posts cost a telemetry message and their values, everything else a message.
pub(super) fn cost(body: &Body<'_>) -> Cost {
    match body {
        Body::Telemetry(readings) | Body::Attributes { readings, .. } => {
            Cost::Telemetry { points: readings.readings.len() as u64 }
        }
        Body::Deleted { .. } | Body::Rpc { .. } | Body::Lifecycle | Body::Alarm(_) => Cost::Message,
    }
}
