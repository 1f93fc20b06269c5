//! May the caller touch the attributes and series of this entity? The gate in front of every telemetry call.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, permit},
    domain::{Authority, EntityKind, EntityRef, Invalid, NULL_UUID},
    error::Error,
};

/// What is to be done with attributes and series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
}

impl App {
    /// The entity, if the caller may read or write its attributes and series. `entity_type` is ThingsBoard's name; DEVICE, ASSET,
    /// TENANT, CUSTOMER and USER have them so far.
    ///
    /// A customer user reaches its customer's devices and assets (also to write, as in ThingsBoard), its own user, and reads its
    /// customer.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another type, [`Error::NotFound`] for what the caller cannot see, [`Error::Forbidden`].
    pub async fn authorize_entity(&self, caller: &Caller, entity_type: &str, id: Uuid, wanted: Use) -> Result<EntityRef, Error> {
        let operation = match wanted {
            Use::Read => Operation::ReadValues,
            Use::Write => Operation::WriteValues,
        };
        let unknown = || Invalid::new("entityType", entity_type, "must be DEVICE, ASSET, TENANT, CUSTOMER or USER");
        let kind = EntityKind::parse(entity_type).ok_or_else(unknown)?;
        let tenant = match kind {
            EntityKind::Device => {
                permit(caller, Resource::Device, operation)?;
                Some(self.device(caller, id).await?.tenant)
            }
            EntityKind::Asset => {
                permit(caller, Resource::Asset, operation)?;
                Some(self.asset(caller, id).await?.tenant)
            }
            EntityKind::Tenant => {
                permit(caller, Resource::Tenant, operation)?;
                Some(self.tenant(caller, id).await?.id)
            }
            EntityKind::Customer => {
                permit(caller, Resource::Customer, operation)?;
                Some(self.customer(caller, id).await?.tenant)
            }
            EntityKind::User => {
                permit(caller, Resource::User, operation)?;
                let user = self.user(caller, id).await?;
                let foreign = caller.authority == Authority::SysAdmin && user.tenant.is_some();
                if foreign {
                    return Err(Error::Forbidden);
                }
                user.tenant
            }
            EntityKind::DeviceProfile
            | EntityKind::Credential
            | EntityKind::RuleChain
            | EntityKind::Installation
            | EntityKind::TenantProfile
            | EntityKind::OtaPackage
            | EntityKind::AssetProfile
            | EntityKind::Relation
            | EntityKind::Rpc => return Err(unknown().into()),
        };
        Ok(EntityRef { kind, id, tenant: tenant.unwrap_or(NULL_UUID) })
    }
}
