//! One shard's copy of tenants, profiles, chains, and its own devices and assets with their relations. Its owner is its only
//! writer, so a change is applied in place between two turns, without a lock. Never asks anybody.

use std::{borrow::Cow, collections::HashMap, rc::Rc, sync::Arc};

use aws_lc_rs::hmac;
use foldhash::fast::RandomState;
use schemas::{
    alarm_rule::AlarmRules,
    chain::{EntityType, external::SystemMail},
    config::{Asset, Details, Device, End, MqttTransport},
    id::{AssetId, ChainId, CustomerId, DeviceId, EntityId, FieldId, ProfileId, TenantId},
};

use super::change::ShardChange;
use super::fields::{DeviceFields, Field, Fields};
use super::related::Relations;
use crate::quota::Share;
use crate::rules::Running;

/// What evaluation needs to know of a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFacts<'t> {
    pub tenant: TenantId,
    pub name: &'t str,
    pub kind: &'t str,
    /// May speak for children.
    pub gateway: bool,
    /// Its profile's own topics.
    pub mqtt: Option<&'t Arc<MqttTransport>>,
    /// Whether something may be calculated for it: [`Table::fields_of`] says.
    pub calculated: bool,
}

#[derive(Debug)]
struct Row<T> {
    value: T,
    /// The full state that repeated it last.
    marked: u32,
}

#[derive(Debug)]
struct ProfileRow {
    chain: Option<ChainId>,
    mqtt: Option<Arc<MqttTransport>>,
    /// It has calculated fields.
    calculated: bool,
    alarms: Option<Arc<AlarmRules>>,
}

#[derive(Debug)]
struct ChainRow {
    tenant: TenantId,
    root: bool,
    running: Rc<Running>,
}

/// The table. Rows not repeated between `Mark` and `Sweep` are forgotten (DESIGN 25).
#[derive(Debug, Default)]
pub struct Table {
    tenants: HashMap<TenantId, Row<Share>, RandomState>,
    profiles: HashMap<ProfileId, Row<ProfileRow>>,
    devices: HashMap<DeviceId, Row<Device>, RandomState>,
    assets: HashMap<AssetId, Row<Asset>, RandomState>,
    relations: Relations,
    chains: HashMap<ChainId, Row<ChainRow>>,
    roots: HashMap<TenantId, ChainId>,
    fields: Fields,
    /// Of tenants and customers, for rules that are told of them.
    details: HashMap<EntityId, Row<Arc<Details>>, RandomState>,
    credential_key: Option<hmac::Key>,
    mail: Option<Arc<SystemMail>>,
    /// Among so many shards a tenant's limits are shared.
    shards: u16,
    /// Counts full states. A bit would not do: rows of a full state that broke off would look repeated in the next.
    mark: u32,
}

impl Table {
    /// The empty table of one of `shards` shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self { shards, ..Self::default() }
    }

    /// This shard's part of a tenant's limits.
    pub fn share(&mut self, tenant: TenantId) -> Option<&mut Share> {
        self.tenants.get_mut(&tenant).map(|row| &mut row.value)
    }

    /// Every tenant's, for the tick.
    pub fn shares(&mut self) -> impl Iterator<Item = &mut Share> {
        self.tenants.values_mut().map(|row| &mut row.value)
    }

    /// Applies one change. Returns devices and assets that are gone: their sessions are closed and their data deleted.
    pub fn apply(&mut self, change: &ShardChange) -> Vec<EntityId> {
        let marked = self.mark;
        match change {
            ShardChange::Tenant(id, quota, details) => {
                match self.tenants.get_mut(id) {
                    Some(row) => {
                        row.value.follow(quota);
                        row.marked = marked;
                    }
                    None => {
                        self.tenants.insert(*id, Row { value: Share::new(quota, self.shards), marked });
                    }
                }
                self.details.insert((*id).into(), Row { value: Arc::clone(details), marked });
            }
            ShardChange::TenantDeleted(id) => {
                self.tenants.remove(id);
                self.details.remove(&(*id).into());
            }
            ShardChange::Customer(customer) => {
                self.details.insert(customer.id.into(), Row { value: Arc::clone(&customer.details), marked });
            }
            ShardChange::CustomerDeleted(id) => {
                self.details.remove(&(*id).into());
            }
            ShardChange::Profile(profile) => {
                let (mqtt, alarms) = (profile.mqtt.clone().map(Arc::new), profile.alarms.clone());
                let calculated = self.fields.has_profile(profile.id);
                let value = ProfileRow { chain: profile.chain, mqtt, alarms, calculated };
                self.profiles.insert(profile.id, Row { value, marked });
            }
            ShardChange::ProfileDeleted(id) => {
                self.profiles.remove(id);
            }
            ShardChange::Device(device) => {
                self.devices.insert(device.id, Row { value: device.clone(), marked });
            }
            ShardChange::Installation(installation) => {
                self.credential_key = Some(hmac::Key::new(hmac::HMAC_SHA256, &installation.credential_key));
                self.mail.clone_from(&installation.mail);
            }
            ShardChange::DeviceDeleted(id) => return self.devices.remove(id).map(|_| (*id).into()).into_iter().collect(),
            ShardChange::Asset(asset) => {
                self.assets.insert(asset.id, Row { value: asset.clone(), marked });
            }
            ShardChange::AssetDeleted(id) => return self.assets.remove(id).map(|_| (*id).into()).into_iter().collect(),
            ShardChange::Relation(relation) => self.relations.insert(relation, marked),
            ShardChange::RelationDeleted(id) => self.relations.remove(*id),
            ShardChange::Chain { id, tenant, root, plan } => {
                let running = Rc::new(Running::new(Arc::clone(plan)).of(*id));
                let value = ChainRow { tenant: *tenant, root: *root, running };
                self.chains.insert(*id, Row { value, marked });
                self.find_roots();
            }
            ShardChange::ChainDeleted(id) => {
                self.chains.remove(id);
                self.find_roots();
            }
            ShardChange::Field(field, revision) => {
                self.fields.insert(field, *revision, marked);
                self.find_calculated();
            }
            ShardChange::FieldDeleted(id) => {
                self.fields.remove(*id);
                self.find_calculated();
            }
            // Sessions know their credential; the table does not.
            ShardChange::CredentialRevoked { .. } | ShardChange::Whole => {}
            ShardChange::Mark => self.mark = self.mark.wrapping_add(1),
            ShardChange::Sweep => return self.sweep(),
        }
        Vec::new()
    }

    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<DeviceFacts<'_>> {
        let device = &self.devices.get(&id)?.value;
        let profile = self.profiles.get(&device.profile).map(|row| &row.value);
        let mqtt = profile.and_then(|profile| profile.mqtt.as_ref());
        let calculated = profile.is_some_and(|profile| profile.calculated) || self.fields.have_devices();
        let Device { tenant, name, kind, gateway, .. } = device;
        Some(DeviceFacts { tenant: *tenant, name, kind, gateway: *gateway, mqtt, calculated })
    }

    /// What is calculated for a device.
    #[must_use]
    pub fn fields_of(&self, id: DeviceId) -> DeviceFields {
        self.devices.get(&id).map(|row| self.fields.of(id, row.value.profile)).unwrap_or_default()
    }

    /// A calculated field of a tenant's.
    #[must_use]
    pub fn field(&self, tenant: TenantId, id: FieldId) -> Option<&Field> {
        self.fields.find(tenant, id)
    }

    /// When a device of this profile has alarms.
    #[must_use]
    pub fn alarm_rules(&self, id: DeviceId) -> Option<&Arc<AlarmRules>> {
        let device = &self.devices.get(&id)?.value;
        self.profiles.get(&device.profile)?.value.alarms.as_ref()
    }

    /// An asset of this shard.
    #[must_use]
    pub fn asset(&self, id: EntityId) -> Option<&Asset> {
        self.assets.get(&AssetId(id.0)).map(|row| &row.value)
    }

    /// The relations that this shard's entities have.
    #[must_use]
    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    /// The customer that a device or an asset is assigned to.
    #[must_use]
    pub fn customer_of(&self, id: EntityId) -> Option<CustomerId> {
        match self.devices.get(&DeviceId(id.0)) {
            Some(row) => row.value.customer,
            None => self.asset(id)?.customer,
        }
    }

    /// What people have written of a tenant or a customer.
    #[must_use]
    pub fn details(&self, of: EntityId) -> Option<&Details> {
        self.details.get(&of).map(|row| &*row.value)
    }

    /// A field of an entity by ThingsBoard's name, as text; empty is what nobody has written.
    #[must_use]
    pub fn field_of(&self, of: End, name: &str) -> Option<Cow<'_, str>> {
        let (own, kind, label, created_ms) = match of.kind {
            EntityType::Tenant | EntityType::Customer => return self.details(of.id)?.field(name).map(Cow::Borrowed),
            EntityType::Device => {
                let device = &self.devices.get(&DeviceId(of.id.0))?.value;
                (&*device.name, &*device.kind, device.label.as_deref(), device.created_ms)
            }
            EntityType::Asset => {
                let asset = self.asset(of.id)?;
                (&*asset.name, &*asset.kind, asset.label.as_deref(), asset.created_ms)
            }
            _ => return None,
        };
        match name {
            "name" => Some(own.into()),
            "type" => Some(kind.into()),
            "label" => Some(label.unwrap_or_default().into()),
            "createdTime" if created_ms != 0 => Some(created_ms.to_string().into()),
            _ => None,
        }
    }

    /// The mail server of nodes that name none.
    #[must_use]
    pub fn mail(&self) -> Option<&SystemMail> {
        self.mail.as_deref()
    }

    /// Under which key device passwords are hashed; `None` until the control plane has said.
    #[must_use]
    pub fn credential_key(&self) -> Option<&hmac::Key> {
        self.credential_key.as_ref()
    }

    /// The plan that evaluates this device's messages: its profile's chain, else its tenant's root chain.
    #[must_use]
    pub fn plan_of_device(&self, id: DeviceId) -> Option<&Rc<Running>> {
        let device = &self.devices.get(&id)?.value;
        let own = self.profiles.get(&device.profile).and_then(|row| row.value.chain);
        match own.and_then(|chain| self.chains.get(&chain)) {
            Some(row) => Some(&row.value.running),
            None => self.plan_of_tenant(device.tenant),
        }
    }

    /// The plan that evaluates messages of what is no device: of an asset its profile's chain, else the tenant's root chain.
    #[must_use]
    pub fn plan_of_entity(&self, id: EntityId, tenant: TenantId) -> Option<&Rc<Running>> {
        let own = self.asset(id).and_then(|asset| asset.chain);
        match own.and_then(|chain| self.chains.get(&chain)) {
            Some(row) => Some(&row.value.running),
            None => self.plan_of_tenant(tenant),
        }
    }

    /// The plan of the chain that the profile of this device or asset names.
    #[must_use]
    pub fn plan_of_profile(&self, id: EntityId) -> Option<&Rc<Running>> {
        let chain = match self.devices.get(&DeviceId(id.0)) {
            Some(device) => self.profiles.get(&device.value.profile)?.value.chain,
            None => self.asset(id)?.chain,
        };
        self.chains.get(&chain?).map(|row| &row.value.running)
    }

    /// The tenant's root chain.
    #[must_use]
    pub fn plan_of_tenant(&self, tenant: TenantId) -> Option<&Rc<Running>> {
        self.chains.get(self.roots.get(&tenant)?).map(|row| &row.value.running)
    }

    /// A chain of a tenant's.
    #[must_use]
    pub fn plan(&self, tenant: TenantId, id: ChainId) -> Option<&Rc<Running>> {
        self.chains.get(&id).filter(|row| row.value.tenant == tenant).map(|row| &row.value.running)
    }

    /// Every chain, whose it is, and its plan.
    pub fn chains(&self) -> impl Iterator<Item = (ChainId, TenantId, &Rc<Running>)> {
        self.chains.iter().map(|(id, row)| (*id, row.value.tenant, &row.value.running))
    }

    #[must_use]
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    fn find_roots(&mut self) {
        self.roots = self.chains.iter().filter(|(_, row)| row.value.root).map(|(id, row)| (row.value.tenant, *id)).collect();
    }

    fn find_calculated(&mut self) {
        self.profiles.iter_mut().for_each(|(id, row)| row.value.calculated = self.fields.has_profile(*id));
    }

    fn sweep(&mut self) -> Vec<EntityId> {
        let mark = self.mark;
        self.tenants.retain(|_, row| row.marked == mark);
        self.details.retain(|_, row| row.marked == mark);
        self.profiles.retain(|_, row| row.marked == mark);
        self.chains.retain(|_, row| row.marked == mark);
        self.find_roots();
        self.fields.sweep(mark);
        self.find_calculated();
        let gone: Vec<DeviceId> = self.devices.iter().filter(|(_, row)| row.marked != mark).map(|(id, _)| *id).collect();
        for id in &gone {
            self.devices.remove(id);
        }
        self.relations.sweep(mark);
        let assets = self.assets.extract_if(|_, row| row.marked != mark).map(|(id, _)| id.into());
        gone.into_iter().map(EntityId::from).chain(assets).collect()
    }
}
