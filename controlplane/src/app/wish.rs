//! What rule nodes want: entities assigned, related, found by name, and what a device shows (DESIGN 8.6, 24). All of it is of the
//! message's tenant. Wanted once more it is so already, and nothing is written. Never knows a chain.

use schemas::chain::{EntityType, Wish, wish::Named, wish::Relate};
use schemas::config;
use schemas::id::EntityId;
use schemas::wish::{Granted, Wished};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::Scope,
    app::{App, asset as assets, customer as customers, device as devices, relation as relations},
    clock,
    domain::{Arrow, AssetDraft, Customer, CustomerDraft, DeviceDraft, End, EntityKind, RelationGroup, Shown, Side},
    entity::{Author, Write, asset, change_log, credential, customer, device, relation, user},
    error::Error,
};

/// Who is named in the audit log.
const AUTHOR: &str = "Rule engine";
/// Relations that one wish erases at most.
const ERASED_MAX: u64 = 10_000;

impl App {
    /// Does what a message wants, or says what it asks. Answers when every connected data plane runs with it, so that what follows in
    /// its chain finds it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a data plane takes too long: it is to be wanted once more. Whatever else says why it cannot be
    /// granted.
    pub async fn grant(&self, wished: Wished) -> Result<Granted, Error> {
        let Wished { tenant, originator, wish } = wished;
        let (tenant, originator) = (tenant.0, end(originator)?);
        let granted = match wish {
            Wish::Credentials(_) => return self.shown(tenant, originator).await,
            Wish::Become(named) => {
                let found = find(self.reader(), tenant, &named).await?;
                let id = found.ok_or_else(|| {
                    let kind = named.kind.label().to_lowercase();
                    Error::Missing(format!("Failed to find {kind} with name '{}'!", named.name))
                })?;
                Granted { entity: Some(led(named.kind, id)), credentials: None }
            }
            wish => {
                let author = Author { user: None, name: AUTHOR.to_owned() };
                let mut write = self.store.write(author, clock::now_ms()).await?;
                relations::exists(write.db(), &Scope { tenant, customer: None }, originator).await?;
                let entity = change(&mut write, (tenant, originator), wish).await?;
                self.commit(write).await?;
                Granted { entity, credentials: None }
            }
        };
        let reached = u64::try_from(change_log::head(self.reader()).await?).ok();
        if self.applied(reached).await {
            return Ok(granted);
        }
        Err(Error::Unavailable("not every data plane runs with it yet".to_owned()))
    }

    async fn shown(&self, tenant: Uuid, originator: End) -> Result<Granted, Error> {
        let missing = || Error::Missing(format!("Failed to get Device Credentials for device: {}!", originator.id));
        device::find(self.reader(), tenant, originator.id).await?.ok_or_else(missing)?;
        let credential = credential::of_device(self.reader(), originator.id).await?.ok_or_else(missing)?;
        let value = match &credential.shown {
            Shown::Token(token) => json!(token),
            Shown::Certificate(certificate) => json!(certificate.body()),
            Shown::Basic(_) => credential.shown.value().and_then(|value| serde_json::from_str(&value).ok()).unwrap_or_default(),
        };
        Ok(Granted { entity: None, credentials: Some((credential.shown.kind().to_owned(), value.to_string())) })
    }
}

/// Whom a relation leads to, if one is wanted.
async fn change(write: &mut Write, of: (Uuid, End), wish: Wish) -> Result<Option<config::End>, Error> {
    let (tenant, originator) = of;
    match wish {
        Wish::Assign { customer, create } => {
            let named = Named { kind: EntityType::Customer, name: customer };
            let id = find_or_make(write, tenant, &named, create.then_some("")).await?;
            let customer = customer::find(write.db(), tenant, id).await?;
            let customer = customer.ok_or_else(|| Error::not_found(EntityKind::Customer, id))?;
            assign(write, of, Some(&customer)).await?;
            Ok(None)
        }
        Wish::Unassign => {
            assign(write, of, None).await?;
            Ok(None)
        }
        Wish::Relate(Relate { inward, kind, with, create, alone, .. }) => {
            let id = find_or_make(write, tenant, &with, create.as_deref()).await?;
            let other = end(led(with.kind, id))?;
            let arrow = arrow(inward, &kind, originator, other).checked()?;
            if alone {
                erase(write, of, (inward, &kind), |stored| *stored != arrow).await?;
            }
            if relation::find(write.db(), tenant, &arrow).await?.is_none() {
                relations::draw(write, tenant, arrow, Value::Null).await?;
            }
            Ok(Some(led(with.kind, id)))
        }
        Wish::Unrelate { inward, kind, with: Some(with) } => {
            let other = end(led(with.kind, find_or_make(write, tenant, &with, None).await?))?;
            let arrow = arrow(inward, &kind, originator, other);
            if let Some(stored) = relation::find(write.db(), tenant, &arrow).await? {
                relations::erase(write, tenant, &stored).await?;
            }
            Ok(None)
        }
        Wish::Unrelate { inward, kind, with: None } => {
            erase(write, of, (inward, &kind), |_| true).await?;
            Ok(None)
        }
        Wish::Become(_) | Wish::Credentials(_) => Ok(None),
    }
}

/// The originator is a customer's, or nobody's.
async fn assign(write: &mut Write, (tenant, originator): (Uuid, End), to: Option<&Customer>) -> Result<(), Error> {
    let missing = || Error::not_found(originator.kind, originator.id);
    match originator.kind {
        EntityKind::Device => {
            let stored = device::find(write.db(), tenant, originator.id).await?.ok_or_else(missing)?;
            if stored.customer != to.map(|to| to.id) {
                devices::show(write, stored, to).await?;
            }
        }
        EntityKind::Asset => {
            let stored = asset::find(write.db(), tenant, originator.id).await?.ok_or_else(missing)?;
            if stored.customer != to.map(|to| to.id) {
                assets::show(write, stored, to).await?;
            }
        }
        other => return Err(Error::Refused(format!("Unsupported originator type '{}'!", other.name()))),
    }
    Ok(())
}

/// Erases the originator's relations of one type and direction, as far as they are meant.
async fn erase(
    write: &mut Write,
    (tenant, originator): (Uuid, End),
    (inward, kind): (bool, &str),
    meant: impl Fn(&Arrow) -> bool,
) -> Result<(), Error> {
    let side = if inward { Side::To } else { Side::From };
    let group = (RelationGroup::Common, Some(kind));
    for stored in relation::of_ends(write.db(), tenant, (side, &[originator.id]), group, ERASED_MAX).await? {
        if meant(&stored.arrow) {
            relations::erase(write, tenant, &stored).await?;
        }
    }
    Ok(())
}

fn arrow(inward: bool, kind: &str, originator: End, other: End) -> Arrow {
    let (from, to) = if inward { (other, originator) } else { (originator, other) };
    Arrow { from, to, kind: kind.to_owned(), group: RelationGroup::Common }
}

async fn find(db: &impl ConnectionTrait, tenant: Uuid, named: &Named) -> Result<Option<Uuid>, Error> {
    let name = named.name.as_str();
    Ok(match named.kind {
        EntityType::Tenant => Some(tenant),
        EntityType::Device => device::by_name(db, tenant, name).await?.map(|found| found.id),
        EntityType::Asset => asset::by_name(db, tenant, name).await?.map(|found| found.id),
        EntityType::Customer => customer::by_title(db, tenant, name).await?.map(|found| found.id),
        EntityType::User => {
            let found = user::by_email(db, &name.to_lowercase()).await?;
            found.map(|stored| stored.user).filter(|user| user.tenant == Some(tenant)).map(|user| user.id)
        }
        _ => None,
    })
}

/// The entity of this name; one that is made gets the profile of that name.
async fn find_or_make(write: &mut Write, tenant: Uuid, named: &Named, create: Option<&str>) -> Result<Uuid, Error> {
    if let Some(found) = find(write.db(), tenant, named).await? {
        return Ok(found);
    }
    let (name, kind) = (named.name.clone(), create.map(str::to_owned));
    match (named.kind, create) {
        (EntityType::Device, Some(_)) => {
            let draft = DeviceDraft { name, kind, ..DeviceDraft::default() }.checked()?;
            Ok(devices::create_device(write, tenant, draft, None).await?.id)
        }
        (EntityType::Asset, Some(_)) => {
            let draft = AssetDraft { name, kind, ..AssetDraft::default() }.checked()?;
            Ok(assets::create(write, tenant, draft).await?.id)
        }
        (EntityType::Customer, Some(_)) => {
            let draft = CustomerDraft { title: name, ..CustomerDraft::default() }.checked()?;
            Ok(customers::create(write, tenant, draft).await?.id)
        }
        _ => {
            let called = match named.kind {
                EntityType::Customer => "title",
                EntityType::User => "email",
                _ => "name",
            };
            Err(Error::Missing(format!("{} with {called} '{name}' doesn't exist!", named.kind.label())))
        }
    }
}

fn led(kind: EntityType, id: Uuid) -> config::End {
    config::End { kind, id: EntityId(id) }
}

fn end(of: config::End) -> Result<End, Error> {
    let unknown = || Error::Refused(format!("Unsupported originator type '{}'!", of.kind.name()));
    Ok(End { kind: EntityKind::parse(of.kind.name()).ok_or_else(unknown)?, id: of.id.0 })
}
