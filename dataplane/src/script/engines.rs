//! The engines of a shard's tenants: made when a script is first called, the one used longest ago given up for another. Each has a
//! share of the shard's time.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::id::TenantId;
use schemas::script::Script;

use super::{Answer, Engine, ScriptFailure, Subject};
use crate::clock::{Clock, Instant};
use crate::limits::SCRIPT_SHARE_US_PER_S;

#[derive(Debug)]
pub struct Engines {
    clock: Clock,
    most: usize,
    engines: HashMap<TenantId, Own>,
}

#[derive(Debug)]
struct Own {
    engine: Engine,
    /// Microseconds that its scripts may still take; below zero they wait.
    left_us: i64,
    used: Instant,
}

impl Engines {
    /// At most so many at a time.
    #[must_use]
    pub fn new(clock: Clock, most: usize) -> Self {
        Self { clock, most, engines: HashMap::new() }
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
        });
        let passed_us = i64::try_from(begun.us_since(own.used)).unwrap_or(i64::MAX);
        let refill_us = passed_us.saturating_mul(SCRIPT_SHARE_US_PER_S) / 1_000_000;
        if refill_us > 0 {
            own.left_us = own.left_us.saturating_add(refill_us).min(SCRIPT_SHARE_US_PER_S);
            own.used = begun;
        }
        if own.left_us <= 0 {
            return Err(ScriptFailure::OutOfTime);
        }
        let answer = own.engine.run(script, subject);
        let took_us = self.clock.now().instant.us_since(begun);
        own.left_us = own.left_us.saturating_sub(i64::try_from(took_us).unwrap_or(i64::MAX));
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
