//! What an evaluation may know: the originator's state, the table, and the facts that were found for its message. Never finds a fact.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use schemas::alarm::Alarm;
use schemas::alarm_rule::AlarmRules;
use schemas::chain::{EntityType, Owner, RelationsQuery, Target};
use schemas::config::{Details, End};
use schemas::id::{DeviceId, EntityId, TenantId};
use schemas::script::Script;
use uuid::Uuid;

use super::alarming::fresh_id;
use super::dues::Dues;
use super::outbox::Outbox;
use super::passages::Passages;
use super::sightings::Sightings;
use crate::clock::{Clock, Now, Timestamp};
use crate::device::{DeviceState, Dictionary};
use crate::message::{Message, Scope, Value};
use crate::metric::{Counter, ShardCounters};
use crate::progress::Progress;
use crate::query::Series;
use crate::rules::{Absent, Fact, Found, Running, Sighting, World};
use crate::script::{Answer, Engines, ScriptFailure, Subject};
use crate::snapshot::Table;

/// The fact that a message lacks, and how many of its steps were counted before.
#[derive(Debug)]
pub(super) struct Lacking {
    pub fact: Box<Fact>,
    pub counted: u32,
}

/// The facts that were found for a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'k> {
    pub facts: &'k [(Fact, Found)],
    pub counted: u32,
    /// Why nothing else is asked for, if it is not.
    pub otherwise: Option<&'static str>,
}

impl Known<'_> {
    /// # Errors
    /// [`Absent`].
    pub(super) fn find(&self, fact: &Fact) -> Result<&[Series], Absent> {
        match self.facts.iter().find(|(known, _)| known == fact) {
            Some((_, Ok(series))) => Ok(series),
            Some((_, Err(reason))) => Err(Absent::Never(reason.clone())),
            None => Err(self.otherwise.map_or(Absent::NotYet, |reason| Absent::Never(reason.to_owned()))),
        }
    }
}

/// What nodes may ask: the originator's state, the table, and facts that were found.
pub(super) struct Facts<'s> {
    pub table: &'s Table,
    pub message: &'s Message<'s>,
    pub state: &'s DeviceState,
    pub dictionary: &'s Dictionary,
    pub scripts: &'s mut Engines,
    pub outbox: &'s Outbox,
    pub passages: &'s Passages,
    pub sightings: &'s mut Sightings,
    pub counters: &'s ShardCounters,
    pub now: Now,
    pub dues: &'s Dues,
    pub known: Known<'s>,
    /// Of other entries of the same telemetry.
    pub departed_bytes: usize,
}

impl World for Facts<'_> {
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)> {
        let found = self.state.attributes(Some(scope), &[key.to_owned()]).pop()?;
        Some((found.last_update, found.value))
    }

    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)> {
        self.state.latest_of(self.dictionary, key).map(|(ts, value)| (ts, value.clone()))
    }

    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>> {
        self.state.node_state(node).map(Into::into)
    }

    fn alarm_rules(&self) -> Option<Arc<AlarmRules>> {
        self.table.alarm_rules(DeviceId(self.message.originator.0)).map(Arc::clone)
    }

    fn progress(&mut self, node: Uuid) -> Option<Progress> {
        self.state.progress(node).cloned()
    }

    fn related(&mut self, inward: bool, kind: &str, other: Option<EntityId>) -> bool {
        self.table.relations().has(self.message.originator, inward, kind, other)
    }

    fn neighbours(&self, query: &RelationsQuery) -> Vec<End> {
        self.table.relations().neighbours(self.message.originator, query)
    }

    fn asset(&mut self) -> Option<(String, String)> {
        self.table.asset(self.message.originator).map(|asset| (asset.name.clone(), asset.kind.clone()))
    }

    fn field(&self, name: &str) -> Option<String> {
        let own = End { kind: self.message.originator_type, id: self.message.originator };
        self.table.field_of(own, name).map(Cow::into_owned)
    }

    fn active_alarm(&mut self, kind: &str) -> Option<Alarm> {
        self.state.active_alarm(kind).cloned()
    }

    fn alarm(&mut self, id: Uuid) -> Option<Alarm> {
        self.state.alarm(id).filter(|alarm| !alarm.deleted).cloned()
    }

    fn alarm_room(&mut self) -> usize {
        self.state.alarm_room()
    }

    fn new_id(&mut self) -> Uuid {
        fresh_id(self.message.received)
    }

    fn owner(&self, of: Owner) -> Option<EntityId> {
        match (of, self.message.originator_type) {
            (Owner::Tenant, _) => Some(self.message.tenant.into()),
            (Owner::Customer, EntityType::Customer) => Some(self.message.originator),
            (Owner::Customer, _) => self.table.customer_of(self.message.originator).map(EntityId::from),
        }
    }

    fn details(&self, owner: EntityId) -> Option<&Details> {
        self.table.details(owner)
    }

    fn fact(&self, fact: &Fact) -> Result<&[Series], Absent> {
        self.known.find(fact)
    }

    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        let found = match target {
            Target::Chain(id) => self.table.plan(self.message.tenant, id),
            Target::OfOriginator { otherwise } => {
                self.table.plan_of_profile(self.message.originator).or_else(|| match otherwise {
                    Some(id) => self.table.plan(self.message.tenant, id),
                    None => self.table.plan_of_tenant(self.message.tenant),
                })
            }
        };
        found.map(Rc::clone)
    }

    fn clock(&self) -> Option<Clock> {
        Some(self.scripts.clock())
    }

    fn traced(&self) -> Option<Uuid> {
        self.sightings.traced(self.message, self.now.instant)
    }

    fn may_see(&mut self) -> bool {
        let may = self.sightings.may_see(self.message.tenant, self.now);
        if !may {
            self.counters.increment(Counter::SightingsMissed);
        }
        may
    }

    fn see(&mut self, sighting: Sighting) {
        self.sightings.keep(self.message.tenant, sighting, self.now);
    }

    fn departed_bytes(&self) -> usize {
        self.departed_bytes
    }

    fn may_owe(&self) -> Result<(), String> {
        self.outbox.has_room(self.message.tenant)
    }

    fn may_forward(&self) -> Result<(), String> {
        self.passages.has_room(self.message.tenant)
    }

    fn waiting(&self, node: Uuid) -> Result<(usize, usize), String> {
        self.dues.waiting(self.message.tenant, self.message.originator, node)
    }

    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        self.scripts.run(self.message.tenant, script, subject)
    }
}

/// What an entity is that is no device of the table's. Queries do not say it.
pub(super) fn type_of((table, dues): (&Table, &Dues), entity: EntityId, tenant: TenantId) -> EntityType {
    match entity.0 == tenant.0 {
        true => EntityType::Tenant,
        false if table.asset(entity).is_some() => EntityType::Asset,
        false if dues.makes(entity) => EntityType::RuleNode,
        false if table.details(entity).is_some() => EntityType::Customer,
        false => EntityType::User,
    }
}
