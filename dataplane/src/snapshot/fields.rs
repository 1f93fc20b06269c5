//! Calculated fields as one shard knows them: by whom they are calculated for, with what became of them. A shard's own, so that
//! counting costs an addition. Never calculates.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use schemas::calculated::Calculation;
use schemas::config::{CalculatedField, FieldOf};
use schemas::id::{DeviceId, FieldId, ProfileId, Revision, TenantId};

use crate::clock::Timestamp;
use crate::limits::FIELD_FAILURE_BYTES_MAX;

/// A field, and what became of it on this shard.
#[derive(Debug)]
pub struct Field {
    pub id: FieldId,
    pub tenant: TenantId,
    /// Of its configuration: what was kept for another one is of no use.
    pub revision: Revision,
    pub name: String,
    pub calculation: Arc<Calculation>,
    of: FieldOf,
    calculated: Cell<u64>,
    failed: Cell<u64>,
    last_failure: RefCell<Option<(Timestamp, String)>>,
}

/// What became of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldCount {
    pub calculated: u64,
    pub failed: u64,
    pub last_failure: Option<(Timestamp, String)>,
}

impl Field {
    #[must_use]
    pub fn new(field: &CalculatedField, revision: Revision) -> Self {
        Self {
            id: field.id,
            tenant: field.tenant,
            revision,
            name: field.name.clone(),
            calculation: Arc::clone(&field.calculation),
            of: field.of,
            calculated: Cell::new(0),
            failed: Cell::new(0),
            last_failure: RefCell::new(None),
        }
    }

    pub fn count_calculated(&self) {
        self.calculated.set(self.calculated.get() + 1);
    }

    /// Remembers why, until the next failure.
    pub fn count_failed(&self, now: Timestamp, mut reason: String) {
        self.failed.set(self.failed.get() + 1);
        reason.truncate(reason.floor_char_boundary(FIELD_FAILURE_BYTES_MAX));
        *self.last_failure.borrow_mut() = Some((now, reason));
    }

    #[must_use]
    pub fn counts(&self) -> FieldCount {
        let last_failure = self.last_failure.borrow().clone();
        FieldCount { calculated: self.calculated.get(), failed: self.failed.get(), last_failure }
    }
}

type List = Rc<[Rc<Field>]>;

/// The fields of one device: its own and its profile's. Few are both.
#[derive(Clone, Debug, Default)]
pub struct DeviceFields {
    own: Option<List>,
    profile: Option<List>,
}

impl DeviceFields {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.profile.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<Field>> {
        self.own.iter().chain(&self.profile).flat_map(|list| list.iter())
    }
}

/// All fields of a shard.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// With the full state that repeated it last.
    rows: HashMap<FieldId, (Rc<Field>, u32)>,
    of_device: HashMap<DeviceId, List, RandomState>,
    of_profile: HashMap<ProfileId, List, RandomState>,
}

impl Fields {
    /// Those of a device.
    pub(super) fn of(&self, device: DeviceId, profile: ProfileId) -> DeviceFields {
        DeviceFields { own: self.of_device.get(&device).cloned(), profile: self.of_profile.get(&profile).cloned() }
    }

    /// Whether some device of this shard has fields of its own.
    pub(super) fn have_devices(&self) -> bool {
        !self.of_device.is_empty()
    }

    pub(super) fn has_profile(&self, profile: ProfileId) -> bool {
        self.of_profile.contains_key(&profile)
    }

    pub(super) fn find(&self, tenant: TenantId, id: FieldId) -> Option<&Field> {
        self.rows.get(&id).map(|(field, _)| &**field).filter(|field| field.tenant == tenant)
    }

    /// A field that is repeated as it was keeps its counts.
    pub(super) fn insert(&mut self, field: &CalculatedField, revision: Revision, mark: u32) {
        if let Some((known, marked)) = self.rows.get_mut(&field.id)
            && known.revision == revision
        {
            *marked = mark;
            return;
        }
        self.remove(field.id);
        let row = Rc::new(Field::new(field, revision));
        self.rows.insert(field.id, (Rc::clone(&row), mark));
        self.list(row.of, field.id, Some(row));
    }

    pub(super) fn remove(&mut self, id: FieldId) {
        if let Some((gone, _)) = self.rows.remove(&id) {
            self.list(gone.of, id, None);
        }
    }

    /// Forgets what the last full state did not repeat.
    pub(super) fn sweep(&mut self, mark: u32) {
        let gone: Vec<FieldId> = self.rows.iter().filter(|(_, (_, marked))| *marked != mark).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    /// Makes the list of one device or profile anew, in the order of the fields' ids, which is that of their making.
    fn list(&mut self, of: FieldOf, id: FieldId, row: Option<Rc<Field>>) {
        let listed = match of {
            FieldOf::Device(device) => self.of_device.remove(&device),
            FieldOf::Profile(profile) => self.of_profile.remove(&profile),
        };
        let others = listed.iter().flat_map(|list| list.iter()).filter(|field| field.id != id).cloned();
        let mut fields: Vec<Rc<Field>> = others.chain(row).collect();
        fields.sort_by_key(|field| field.id);
        match of {
            _ if fields.is_empty() => {}
            FieldOf::Device(device) => drop(self.of_device.insert(device, fields.into())),
            FieldOf::Profile(profile) => drop(self.of_profile.insert(profile, fields.into())),
        }
    }
}
