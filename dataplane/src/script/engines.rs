//! The engines of a shard's tenants: made when a script is first called, the one used longest ago given up for another. Each has a
//! share of the shard's time, and a script that is cut off again and again rests.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::id::TenantId;
use schemas::script::Script;

use super::{Answer, Engine, ScriptFailure, Subject};
use crate::clock::{Clock, Instant};
use crate::limits::{
    SCRIPT_CUTS_IN_A_ROW_MAX, SCRIPT_REST_MS_MAX, SCRIPT_REST_MS_MIN, SCRIPT_SHARE_US_PER_S, SCRIPTS_RESTING_MAX,
};

#[derive(Debug)]
pub struct Engines {
    clock: Clock,
    most: usize,
    engines: HashMap<TenantId, Own>,
    /// Microseconds that scripts took since `begin`.
    spent_us: u64,
}

#[derive(Debug)]
struct Own {
    engine: Engine,
    /// Microseconds that its scripts may still take; below zero they wait.
    left_us: i64,
    used: Instant,
    /// Scripts that were cut off when they were called last.
    cut: Vec<Cut>,
}

/// A script that went beyond its limits.
#[derive(Debug)]
struct Cut {
    script: Arc<Script>,
    in_a_row: u32,
    /// Until then it is not called.
    rests_until: Instant,
}

impl Engines {
    /// At most so many at a time.
    #[must_use]
    pub fn new(clock: Clock, most: usize) -> Self {
        Self { clock, most, engines: HashMap::new(), spent_us: 0 }
    }

    /// What it times scripts by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Begins to count what scripts take.
    pub fn begin(&mut self) {
        self.spent_us = 0;
    }

    /// Microseconds that they took since.
    #[must_use]
    pub fn spent_us(&self) -> u64 {
        self.spent_us
    }

    /// Calls a tenant's script.
    ///
    /// # Errors
    /// [`ScriptFailure`].
    pub fn run(&mut self, tenant: TenantId, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        let begun = self.clock.now().instant;
        if !self.engines.contains_key(&tenant) {
            self.make_room();
        }
        let own = self.engines.entry(tenant).or_insert_with(|| Own {
            engine: Engine::new(self.clock),
            left_us: SCRIPT_SHARE_US_PER_S,
            used: begun,
            cut: Vec::new(),
        });
        let passed_us = i64::try_from(begun.us_since(own.used)).unwrap_or(i64::MAX);
        let refill_us = passed_us.saturating_mul(SCRIPT_SHARE_US_PER_S) / 1_000_000;
        if refill_us > 0 {
            own.left_us = own.left_us.saturating_add(refill_us).min(SCRIPT_SHARE_US_PER_S);
            own.used = begun;
        }
        if own.rests(script, begun) {
            return Err(ScriptFailure::Resting);
        }
        if own.left_us <= 0 {
            return Err(ScriptFailure::OutOfTime);
        }
        let answer = own.engine.run(script, subject);
        let ended = self.clock.now().instant;
        let took_us = ended.us_since(begun);
        self.spent_us = self.spent_us.saturating_add(took_us);
        own.left_us = own.left_us.saturating_sub(i64::try_from(took_us).unwrap_or(i64::MAX));
        match &answer {
            Err(ScriptFailure::TooLong | ScriptFailure::OutOfMemory) => own.cut_off(script, ended),
            _ if own.cut.is_empty() => {}
            _ => own.cut.retain(|cut| !Arc::ptr_eq(&cut.script, script)),
        }
        answer
    }

    fn make_room(&mut self) {
        if self.engines.len() < self.most {
            return;
        }
        let longest = self.engines.iter().min_by_key(|(_, own)| own.used).map(|(tenant, _)| *tenant);
        if let Some(tenant) = longest {
            self.engines.remove(&tenant);
        }
    }
}

impl Own {
    fn rests(&self, script: &Arc<Script>, now: Instant) -> bool {
        self.cut.iter().any(|cut| Arc::ptr_eq(&cut.script, script) && now < cut.rests_until)
    }

    /// Counts that a script was cut off. The first times it may have been the machine; then it rests, twice as long each time.
    fn cut_off(&mut self, script: &Arc<Script>, now: Instant) {
        let known = self.cut.iter().position(|cut| Arc::ptr_eq(&cut.script, script));
        let in_a_row = known.map_or(0, |place| self.cut.remove(place).in_a_row) + 1;
        if self.cut.len() >= SCRIPTS_RESTING_MAX {
            self.cut.remove(0);
        }
        let rests_until = match in_a_row.checked_sub(SCRIPT_CUTS_IN_A_ROW_MAX) {
            Some(more) => now.after_ms((SCRIPT_REST_MS_MIN << more.min(16)).min(SCRIPT_REST_MS_MAX)),
            None => now,
        };
        self.cut.push(Cut { script: Arc::clone(script), in_a_row, rests_until });
    }
}
