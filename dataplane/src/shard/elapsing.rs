//! Conditions of alarm rules that have to last: when they have, although no message comes. Each device has one time, the earliest of
//! its rules; on disk it lies beside them, so that a start looks at them again. Never judges a condition.

use std::collections::BTreeSet;

use schemas::id::{DeviceId, EntityId};

use super::residents::Parked;
use super::saving::writing;
use super::turn::Shard;
use crate::clock::Timestamp;
use crate::device::progress;
use crate::limits;
use crate::metric::Counter;
use crate::progress::Progress;
use crate::store::Engine;

/// When a device whose rules could not be looked at is tried again, in milliseconds.
const AGAIN_MS: i64 = 1_000;

/// When somebody has to look at which device's rules.
#[derive(Debug, Default)]
pub(super) struct RuleTimes {
    /// The whole configuration is there; before that a device may seem to have no rules.
    begun: bool,
    at: BTreeSet<(Timestamp, EntityId)>,
}

impl RuleTimes {
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Lazy: one that is armed for an earlier time looks and arms again.
    pub(super) fn arm(&mut self, at: Timestamp, entity: EntityId) {
        self.at.insert((at, entity));
    }

    /// One whose time has come.
    fn next(&mut self, now: Timestamp) -> Option<EntityId> {
        let due = self.begun && self.at.first().is_some_and(|(at, _)| *at <= now);
        due.then(|| self.at.pop_first()).flatten().map(|(_, entity)| entity)
    }

    /// The store generation is over; what a new one finds on the disk counts.
    pub(super) fn clear(&mut self) {
        self.at.clear();
    }
}

impl Shard {
    /// Looks at rules whose time has come, as soon as their devices' states are there.
    pub(super) fn tend_rules(&mut self) {
        let now = self.now.timestamp;
        for _ in 0..limits::EVENTS_PER_TURN_MAX {
            let Some(entity) = self.rule_times.next(now) else { return };
            if !self.with_state(entity, Parked::RulesDue) {
                self.rules_unread(entity);
            }
        }
    }

    /// The state of a device is not to be had now.
    pub(super) fn rules_unread(&mut self, entity: EntityId) {
        self.rule_times.arm(Timestamp(self.now.timestamp.0.saturating_add(AGAIN_MS)), entity);
    }

    /// The time of some rule of a device has come; its state is resident.
    pub(super) fn rules_due(&mut self, entity: EntityId) {
        let (now, device) = (self.now, DeviceId(entity.0));
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        for progress in state.overdue_progress(now.timestamp) {
            if self.elapse(device, &progress.path).is_none() {
                if self.is_patient() {
                    return self.rules_unread(entity);
                }
                self.forget_progress(entity, progress);
            }
        }
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        if let Some(due) = state.rules_due() {
            self.rule_times.arm(due.max(Timestamp(now.timestamp.0.saturating_add(1))), entity);
        }
    }

    /// Nobody will look at it again: the node is gone.
    fn forget_progress(&mut self, entity: EntityId, progress: Progress) {
        let Some(stage) = self.stage(entity) else { return };
        let gone = Progress { rules: Vec::new(), ..progress };
        if stage.state.keep_progress(&mut writing(stage.ledger, stage.now), gone).is_err() {
            self.counters.increment(Counter::NodesFailed);
        }
    }

    /// After a start or a new generation: what waited for its time waits again.
    pub(super) fn recover_rules(&mut self, engine: &dyn Engine) {
        match progress::rules_due(engine) {
            Ok(found) => found.into_iter().for_each(|(due, entity)| self.rule_times.arm(due, entity)),
            Err(error) => tracing::error!(%error, "alarm rules that wait for their time could not be recovered"),
        }
    }
}
