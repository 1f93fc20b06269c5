//! What is remembered of the alarm rules of a device's profile, with the time at which somebody has to look whether a condition has
//! lasted long enough. That time lies under a key of its own, in the same batch, so that a start finds it.

use std::ops::ControlFlow;

use prost::Message;
use schemas::{
    alarm::Severity,
    generated::kept::{self as wire, alarm::Severity as WireSeverity, delivery::Place, progress::Rule},
    id::{ChainId, EntityId, PARTITIONS, Partition},
};
use uuid::Uuid;

use super::{DeviceState, Writing, kept::Full};
use crate::{
    clock::Timestamp,
    limits,
    progress::{Progress, RuleProgress},
    store::{
        Engine, Family, Range, StoreError,
        key::{self, Kind, Part},
    },
};

impl DeviceState {
    /// How far rules have come at a node.
    #[must_use]
    pub fn progress(&self, node: Uuid) -> Option<&Progress> {
        self.kept()?.progress.get(&node)
    }

    /// When somebody has to look whether a condition has lasted long enough.
    #[must_use]
    pub fn rules_due(&self) -> Option<Timestamp> {
        self.kept()?.progress.values().filter_map(Progress::due).min()
    }

    /// What was remembered of rules whose time has come.
    #[must_use]
    pub fn overdue_progress(&self, now: Timestamp) -> Vec<Progress> {
        let all = self.kept().into_iter().flat_map(|kept| kept.progress.values());
        all.filter(|progress| progress.due().is_some_and(|due| due <= now)).cloned().collect()
    }

    /// Rules have come so far at a node, which is the last of the path; without rules it is forgotten.
    ///
    /// # Errors
    /// [`Full`] for another node.
    pub fn keep_progress(&mut self, w: &mut Writing<'_>, progress: Progress) -> Result<(), Full> {
        let (entity, node) = (self.entity(), progress.node());
        let known = self.kept().map_or(0, |kept| kept.progress.len());
        if self.progress(node).is_none() && known >= limits::PROGRESS_NODES_PER_DEVICE_MAX {
            return Err(Full { what: "device profile nodes", most: limits::PROGRESS_NODES_PER_DEVICE_MAX });
        }
        let before = self.rules_due();
        let row = key::kept(entity, Part::Progress, node.as_bytes());
        if progress.rules.is_empty() {
            self.kept_mut().progress.remove(&node);
            w.batch.delete(Family::State, &row);
        } else {
            w.batch.put(Family::State, &row, &encode(&progress));
            self.kept_mut().progress.insert(node, progress);
        }
        let due_key = key::entity(Kind::RulesDue, entity);
        match self.rules_due() {
            same if same == before => {}
            Some(due) => w.batch.put(Family::State, &due_key, &key::ts_bytes(due)),
            None => w.batch.delete(Family::State, &due_key),
        }
        self.shed_kept();
        Ok(())
    }
}

/// When somebody has to look at which entity's rules.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn rules_due(engine: &dyn Engine) -> Result<Vec<(Timestamp, EntityId)>, StoreError> {
    let mut found = Vec::new();
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, Kind::RulesDue);
        let mut damaged = None;
        engine.scan(Range::new(Family::State, &from, &to), &mut |row, record| match key::parse_entity(row)
            .zip(key::ts_from(record))
        {
            Some((entity, due)) => {
                found.push((due, entity));
                ControlFlow::Continue(())
            }
            None => {
                damaged = Some(StoreError::corrupted("rules due", row, "expected an entity and a time"));
                ControlFlow::Break(())
            }
        })?;
        damaged.map_or(Ok(()), Err)?;
    }
    Ok(found)
}

fn encode(progress: &Progress) -> Vec<u8> {
    let place = |(chain, node): &(ChainId, Uuid)| Place { chain: chain.0.into(), node: (*node).into() };
    let rule = |rule: &RuleProgress| Rule {
        id: rule.id.clone(),
        severity: rule.severity.map_or(WireSeverity::Unspecified, Severity::to_wire).into(),
        times: rule.times,
        last_ts: rule.last.0,
        lasted_ms: rule.lasted_ms,
        required_ms: rule.required_ms,
        reached: rule.reached,
    };
    let (path, rules) = (progress.path.iter().map(place).collect(), progress.rules.iter().map(rule).collect());
    wire::Progress { path, rules }.encode_to_vec()
}

/// Reads a record. `None`: an id is not 16 bytes, or a severity is unknown.
pub(super) fn decode(record: wire::Progress) -> Option<Progress> {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
    let path = record.path.iter().map(|place| Some((ChainId(id(&place.chain)?), id(&place.node)?))).collect::<Option<_>>()?;
    let rule = |rule: Rule| {
        let severity = match rule.severity {
            0 => None,
            number => Some(Severity::from_wire(number)?),
        };
        Some(RuleProgress {
            id: rule.id,
            severity,
            times: rule.times,
            last: Timestamp(rule.last_ts),
            lasted_ms: rule.lasted_ms,
            required_ms: rule.required_ms,
            reached: rule.reached,
        })
    };
    Some(Progress { path, rules: record.rules.into_iter().map(rule).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{Dictionary, Sequence, delete_entity},
        store::{Batch, Encoder, memory::MemoryEngine},
    };

    fn entity(number: u128) -> EntityId {
        EntityId(Uuid::from_u128(number << 64))
    }

    fn progress(node: u128, rules: &[(Option<Severity>, u64, i64)]) -> Progress {
        let rule = |(severity, times, last): &(Option<Severity>, u64, i64)| RuleProgress {
            id: "hot".to_owned(),
            severity: *severity,
            times: *times,
            last: Timestamp(*last),
            lasted_ms: 20,
            required_ms: 50,
            reached: false,
        };
        let path = vec![(ChainId(Uuid::from_u128(1)), Uuid::from_u128(2)), (ChainId(Uuid::from_u128(3)), Uuid::from_u128(node))];
        Progress { path, rules: rules.iter().map(rule).collect() }
    }

    fn keep(engine: &MemoryEngine, state: &mut DeviceState, progress: Progress) -> Result<(), Full> {
        let mut batch = Batch::new();
        let mut w = Writing {
            batch: &mut batch,
            dictionary: &mut Dictionary::load(engine).unwrap(),
            sequence: &mut Sequence::new(1),
            encoder: &mut Encoder::new(),
            keys: &mut Vec::new(),
            now: Timestamp(1),
        };
        let result = state.keep_progress(&mut w, progress);
        engine.write(&batch).unwrap();
        result
    }

    #[test]
    fn what_rules_remember_is_loaded_and_so_is_when_to_look() {
        let engine = MemoryEngine::new();
        let of = entity(1);
        let load = || DeviceState::load(&*engine, of, Timestamp(1)).unwrap();
        let mut state = load();
        let counted = progress(7, &[(Some(Severity::Critical), 3, 0), (None, 1, 0)]);
        keep(&engine, &mut state, counted.clone()).unwrap();
        assert_eq!((load().progress(Uuid::from_u128(7)), rules_due(&*engine).unwrap()), (Some(&counted), vec![]));
        // Two that have to last: the one that is over first counts, and it is behind what it takes.
        let lasting = progress(8, &[(Some(Severity::Warning), 0, 1_000), (Some(Severity::Major), 0, 900)]);
        keep(&engine, &mut state, lasting.clone()).unwrap();
        assert_eq!((load().rules_due(), rules_due(&*engine).unwrap()), (Some(Timestamp(931)), vec![(Timestamp(931), of)]));
        assert_eq!((load().overdue_progress(Timestamp(930)), load().overdue_progress(Timestamp(931))), (vec![], vec![lasting]));
        keep(&engine, &mut state, progress(8, &[])).unwrap();
        assert_eq!((load().progress(Uuid::from_u128(8)), rules_due(&*engine).unwrap()), (None, vec![]));
        for node in 0..limits::PROGRESS_NODES_PER_DEVICE_MAX as u128 - 1 {
            keep(&engine, &mut state, progress(100 + node, &[(None, 0, 5)])).unwrap();
        }
        assert!(keep(&engine, &mut state, progress(99, &[(None, 0, 5)])).is_err());
        assert!(keep(&engine, &mut state, counted).is_ok());
        let mut batch = Batch::new();
        delete_entity(of, &mut batch);
        engine.write(&batch).unwrap();
        assert_eq!((load().rules_due(), rules_due(&*engine).unwrap()), (None, vec![]));
    }
}
