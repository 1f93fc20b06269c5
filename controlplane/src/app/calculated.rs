//! Calculated fields of the caller's tenant. Configurations are checked by the same code that the data planes compile them with.

use schemas::calculated::{Calculation, find_loop};
use schemas::script::Script;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit_within, same_version},
    clock,
    domain::{CalculatedField, EntityKind, FieldDraft, FieldOf, Invalid, Page, PageLink, ScriptForm, ScriptTrial},
    entity::{Write, audit::Action, calculated, customer, device, profile, tenant, tenant_profile},
    error::Error,
    telemetry::FieldCount,
};

impl App {
    /// Creates or replaces a calculated field.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every problem of the configuration, [`Error::NotFound`], [`Error::Conflict`], [`Error::Duplicate`],
    /// [`Error::LimitReached`], [`Error::Refused`] for a field that would feed itself, and for one that is to become another entity's.
    pub async fn save_field(&self, caller: &Caller, draft: FieldDraft) -> Result<Written<CalculatedField>, Error> {
        let (draft, calculation) = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::CalculatedField, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        they_exist(&write, tenant, &draft).await?;
        let stored = match draft.id {
            None => None,
            Some(id) => {
                let stored = calculated::find(write.db(), tenant, id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::CalculatedField, id))?;
                same_version(EntityKind::CalculatedField, draft.version, stored.version)?;
                if stored.of != draft.of {
                    return Err(Error::Refused("a calculated field stays its entity's".to_owned()));
                }
                Some(stored)
            }
        };
        within_limits(&write, tenant, &draft, &calculation).await?;
        feeds_nobody_back(&write, tenant, &draft, calculation).await?;
        let FieldDraft { of, name, configuration, configuration_version, debug_settings, additional_info, .. } = draft;
        let made = |id, created_ms, version| CalculatedField {
            id,
            created_ms,
            version,
            tenant,
            of,
            name,
            configuration,
            configuration_version,
            debug_settings,
            additional_info,
        };
        let saved = match stored {
            None => {
                let saved = made(new_id(), clock::now_ms(), 1);
                calculated::insert(&mut write, &saved).await?;
                write.audit(Action::Added, EntityKind::CalculatedField, saved.id, Some(tenant)).await?;
                saved
            }
            Some(stored) => {
                let saved = made(stored.id, stored.created_ms, stored.version + 1);
                calculated::update(&mut write, &saved).await?;
                write.audit(Action::Updated, EntityKind::CalculatedField, saved.id, Some(tenant)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn field(&self, caller: &Caller, id: Uuid) -> Result<CalculatedField, Error> {
        let scope = permit_within(caller, Resource::CalculatedField, Operation::Read)?;
        let found = calculated::find(self.reader(), scope.tenant, id).await?;
        found.ok_or_else(|| Error::not_found(EntityKind::CalculatedField, id))
    }

    /// The fields of a device or a device profile; sorted by `createdTime` or `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is not the tenant's, [`Error::Invalid`] for an unknown sort property.
    pub async fn fields(&self, caller: &Caller, of: FieldOf, link: &PageLink) -> Result<Page<CalculatedField>, Error> {
        let tenant = permit_within(caller, Resource::CalculatedField, Operation::Read)?.tenant;
        exists(self.reader(), tenant, of).await?;
        Ok(calculated::page(self.reader(), tenant, of, link).await?)
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_field(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::CalculatedField, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = calculated::find(write.db(), tenant, id).await?;
        stored.ok_or_else(|| Error::not_found(EntityKind::CalculatedField, id))?;
        write.audit(Action::Deleted, EntityKind::CalculatedField, id, Some(tenant)).await?;
        calculated::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }

    /// What became of a field since the data plane applied it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn field_count(&self, caller: &Caller, id: Uuid) -> Result<FieldCount, Error> {
        let found = self.field(caller, id).await?;
        Ok(self.data_plane().await?.field_count(found.tenant, id).await?)
    }

    /// Runs the script of a field once on a data plane, with arguments as ThingsBoard writes them: what it answers, as JSON, or why it
    /// does not.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn try_field(
        &self,
        caller: &Caller,
        expression: &str,
        arguments: &serde_json::Map<String, Value>,
    ) -> Result<Result<String, String>, Error> {
        permit_within(caller, Resource::CalculatedField, Operation::Write)?;
        let names: Vec<String> = arguments.keys().cloned().collect();
        let script = match Script::calculation(expression, &names) {
            Ok(script) => script,
            Err(refused) => return Ok(Err(refused.to_string())),
        };
        let msg = Value::Object(arguments.clone()).to_string();
        let (form, tbel, body) = (ScriptForm::Details, false, script.js);
        let trial = ScriptTrial { form, tbel, body, msg, metadata: Default::default(), msg_type: String::new() };
        Ok(self.data_plane().await?.try_script(&trial).await?)
    }
}

async fn exists(db: &impl sea_orm::ConnectionTrait, tenant: Uuid, of: FieldOf) -> Result<(), Error> {
    let found = match of {
        FieldOf::Device(id) => device::find(db, tenant, id).await?.is_some(),
        FieldOf::Profile(id) => profile::find(db, tenant, id).await?.is_some(),
    };
    if found { Ok(()) } else { Err(Error::not_found(of.kind(), of.id())) }
}

/// Whose field it is, and every entity that its arguments name, are the tenant's.
async fn they_exist(write: &Write, tenant: Uuid, draft: &FieldDraft) -> Result<(), Error> {
    exists(write.db(), tenant, draft.of).await?;
    let arguments = draft.configuration.get("arguments").and_then(Value::as_object);
    let mut missing = Vec::new();
    for (name, argument) in arguments.into_iter().flatten() {
        let Some(of) = argument.get("refEntityId").filter(|of| !of.is_null()) else { continue };
        let id = of.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).unwrap_or_default();
        let found = match of.get("entityType").and_then(Value::as_str) {
            Some("DEVICE") => device::find(write.db(), tenant, id).await?.is_some(),
            Some("CUSTOMER") => customer::find(write.db(), tenant, id).await?.is_some(),
            _ => id == tenant,
        };
        if !found {
            missing.push(format!("configuration.arguments.{name}.refEntityId: {id}: there is no such entity"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Invalid::new("configuration", "", missing.join("; ")).into()) }
}

async fn within_limits(write: &Write, tenant: Uuid, draft: &FieldDraft, calculation: &Calculation) -> Result<(), Error> {
    let Some(stored) = tenant::find(write.db(), tenant).await? else { return Err(Error::not_found(EntityKind::Tenant, tenant)) };
    let Some(limits) = tenant_profile::find(write.db(), stored.profile).await? else { return Ok(()) };
    let (count, most) = (calculation.arguments.len() as u64, limits.field_arguments_max());
    if count > most {
        let rule = format!("configuration.arguments: {count} arguments, the tenant may have at most {most}");
        return Err(Invalid::new("configuration", "", rule).into());
    }
    let others = calculated::all_of(write.db(), tenant, draft.of).await?;
    let others = others.iter().filter(|other| Some(other.id) != draft.id).count() as u64;
    if others >= limits.fields_per_entity_max() { Err(Error::LimitReached(EntityKind::CalculatedField)) } else { Ok(()) }
}

/// No field of the same device or profile would be calculated because of its own result, as far as configurations say it. What only
/// scripts know, data planes cut.
async fn feeds_nobody_back(write: &Write, tenant: Uuid, draft: &FieldDraft, calculation: Calculation) -> Result<(), Error> {
    let mut others = calculated::all_of(write.db(), tenant, draft.of).await?;
    if let FieldOf::Device(id) = draft.of
        && let Some(device) = device::find(write.db(), tenant, id).await?
    {
        others.extend(calculated::all_of(write.db(), tenant, FieldOf::Profile(device.profile)).await?);
    }
    let mut fields = vec![(draft.name.clone(), calculation)];
    for other in others.into_iter().filter(|other| Some(other.id) != draft.id) {
        if let Ok(calculation) = Calculation::parse(&other.configuration.to_string()) {
            fields.push((other.name, calculation));
        }
    }
    let calculations: Vec<&Calculation> = fields.iter().map(|(_, calculation)| calculation).collect();
    match find_loop(&calculations) {
        // Others were there before: a loop of theirs is not this one's.
        Some(way) if way.contains(&0) => {
            let names: Vec<&str> = way.iter().map(|place| fields[*place].0.as_str()).collect();
            Err(Error::Refused(format!(
                "configuration: calculated fields would feed each other without end: {}",
                names.join(" → ")
            )))
        }
        _ => Ok(()),
    }
}
