//! Calls to devices and what is known of their connections. Which device a persistent call belongs to is a row here; everything
//! else about it is on the device's shard.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, new_id, permit_within},
    clock,
    domain::{
        Call, CallDraft, CallOutcome, CallStatus, Device, EntityKind, EntityRef, Invalid, Page, PageLink, SortOrder, StoredCall,
    },
    entity::{
        audit::Action,
        call::{self, Model},
    },
    error::Error,
    telemetry::{Entity, Standing, Unanswered},
};

/// How long after its end the way to a persistent call is kept.
const KEPT_AFTER_END_MS: i64 = 30 * 86_400_000;
/// When to try again what found too many calls under way.
const BUSY_RETRY_S: u64 = 1;

impl App {
    /// Calls a device and waits for the outcome. Answers also with the id, by which a persistent call is asked for later.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::TooMany`] when the device or this plane has too many calls.
    pub async fn call_device(
        self: &Arc<Self>,
        caller: &Caller,
        device: Uuid,
        draft: CallDraft,
    ) -> Result<(Uuid, CallOutcome), Error> {
        permit_within(caller, Resource::Device, Operation::Call)?;
        let call = draft.checked(clock::now_ms(), new_id())?;
        let device = self.device(caller, device).await?;
        let permit = Arc::clone(&self.calls).try_acquire_owned();
        let permit = permit.map_err(|_| Error::TooMany { retry_after_s: BUSY_RETRY_S })?;
        let id = call.id;
        let data = json!({"method": call.method, "params": call.params, "oneWay": call.one_way, "persistent": call.persistent});
        let entity = entity_of(&device);
        let app = Arc::clone(self);
        let author = caller.clone();
        // On the heap: what it writes is large.
        let deed = Box::pin(async move {
            let outcome = app.called(&author, &device, &call).await;
            drop(permit);
            outcome
        });
        let outcome = self.audited(caller, (Action::RpcCall, entity, data), deed, failure).await?;
        Ok((id, outcome))
    }

    async fn called(&self, caller: &Caller, device: &Device, call: &Call) -> Result<CallOutcome, Error> {
        let client = self.data_plane().await?;
        let entity = Entity::from(entity_of(device));
        if !call.persistent {
            return Ok(client.call(&entity, call).await?);
        }
        // First the row: a call that nobody finds would be sent and never be deleted.
        let fresh = self.remember_call(caller, device, call).await?;
        let outcome = client.call(&entity, call).await;
        // Only what was surely refused: a call whose answer was lost may be stored.
        if fresh && matches!(outcome, Err(Unanswered::Invalid(_) | Unanswered::TooLarge(_) | Unanswered::Full(_))) {
            self.forget_call(caller, call.id).await?;
        }
        Ok(outcome?)
    }

    /// False if it was known: asked twice with one id, it is the same call.
    async fn remember_call(&self, caller: &Caller, device: &Device, call: &Call) -> Result<bool, Error> {
        let mut write = self.begin(caller).await?;
        if call::is_known(write.db(), call.id).await? {
            let known = call::device_of(write.db(), device.tenant, call.id).await?;
            let taken = || Invalid::new("requestUUID", &call.id.to_string(), "is another call's id");
            return if known == Some(device.id) { Ok(false) } else { Err(taken().into()) };
        }
        let now_ms = write.now_ms();
        let (tenant_id, device_id, expires_ms) = (device.tenant, device.id, call.expires_ms);
        call::insert(&mut write, Model { id: call.id, tenant_id, device_id, created_ms: now_ms, expires_ms }).await?;
        call::trim(&mut write, now_ms.saturating_sub(KEPT_AFTER_END_MS)).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn forget_call(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let mut write = self.begin(caller).await?;
        call::delete(&mut write, id).await?;
        write.commit().await?;
        Ok(())
    }

    /// A persistent call with its device.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a call to a device the caller cannot see.
    pub async fn stored_call(&self, caller: &Caller, id: Uuid) -> Result<(Device, StoredCall), Error> {
        let device = self.device_of_call(caller, id, Operation::Call).await?;
        let calls = self.data_plane().await?.calls(&entity_of(&device).into(), Some(id), None).await?;
        let found = calls.into_iter().find(|stored| stored.call.id == id);
        Ok((device, found.ok_or_else(|| Error::not_found(EntityKind::Rpc, id))?))
    }

    /// Removes a persistent call; it is not sent any more.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_call(self: &Arc<Self>, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let device = self.device_of_call(caller, id, Operation::Write).await?;
        let (app, author, entity) = (Arc::clone(self), caller.clone(), entity_of(&device));
        let deed = async move {
            app.data_plane().await?.delete_call(&entity.into(), id).await?;
            app.forget_call(&author, id).await
        };
        let data = json!({"deleted": id});
        self.audited(caller, (Action::RpcCall, entity, data), deed, |()| None).await
    }

    /// The persistent calls of a device, newest first unless the link says otherwise; searched by method, sorted by
    /// `createdTime`, `expirationTime`, `status` or `method`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for an unknown sort property.
    pub async fn stored_calls(
        &self,
        caller: &Caller,
        device: Uuid,
        status: Option<CallStatus>,
        link: &PageLink,
    ) -> Result<(Device, Page<StoredCall>), Error> {
        permit_within(caller, Resource::Device, Operation::Call)?;
        let device = self.device(caller, device).await?;
        let mut calls = self.data_plane().await?.calls(&entity_of(&device).into(), None, status).await?;
        if let Some(text) = &link.text_search {
            calls.retain(|stored| stored.call.method.to_lowercase().contains(text.as_str()));
        }
        sort(&mut calls, link)?;
        let total = calls.len() as u64;
        let (skip, take) = (to_usize(link.offset()), to_usize(link.page_size));
        let data = calls.into_iter().skip(skip).take(take).collect();
        Ok((device, Page::new(data, total, link)))
    }

    /// A device's connection and what was refused of it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn standing(&self, caller: &Caller, device: Uuid) -> Result<Standing, Error> {
        permit_within(caller, Resource::Device, Operation::ReadValues)?;
        let device = self.device(caller, device).await?;
        Ok(self.data_plane().await?.standing(&entity_of(&device).into()).await?)
    }

    async fn device_of_call(&self, caller: &Caller, id: Uuid, operation: Operation) -> Result<Device, Error> {
        let scope = permit_within(caller, Resource::Device, operation)?;
        let missing = || Error::not_found(EntityKind::Rpc, id);
        let device = call::device_of(self.reader(), scope.tenant, id).await?.ok_or_else(missing)?;
        self.device(caller, device).await.map_err(|error| if matches!(error, Error::NotFound { .. }) { missing() } else { error })
    }
}

pub(super) fn entity_of(device: &Device) -> EntityRef {
    EntityRef { kind: EntityKind::Device, id: device.id, tenant: device.tenant }
}

/// A device that did not take the call is a failure for the audit log, and an answer for everybody else.
fn failure(outcome: &CallOutcome) -> Option<String> {
    match outcome {
        CallOutcome::NoConnection => Some("NO_ACTIVE_CONNECTION".to_owned()),
        CallOutcome::Timeout => Some("TIMEOUT".to_owned()),
        CallOutcome::Answered(_) | CallOutcome::Delivered | CallOutcome::Stored => None,
    }
}

fn sort(calls: &mut [StoredCall], link: &PageLink) -> Result<(), Invalid> {
    match link.sort_property.as_deref().unwrap_or("createdTime") {
        "createdTime" => calls.sort_by_key(|stored| (stored.created_ms, stored.call.id)),
        "expirationTime" => calls.sort_by_key(|stored| (stored.call.expires_ms, stored.call.id)),
        "status" => calls.sort_by_key(|stored| (stored.status.name(), stored.call.id)),
        "method" => calls.sort_by(|one, other| (&one.call.method, one.call.id).cmp(&(&other.call.method, other.call.id))),
        other => return Err(Invalid::new("sortProperty", other, "must be one of createdTime, expirationTime, status, method")),
    }
    if link.sort_order == SortOrder::Descending {
        calls.reverse();
    }
    Ok(())
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
