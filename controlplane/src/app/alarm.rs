//! Alarms: found, listed, and changed by their originators' shards. Who may see or change an alarm is who may read or write the values of
//! its originator. What shards tell of alarms is taken in here; an answer to a change leaves when it is.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::alarm::{Alarm, Severity};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{App, Use, new_id, permit_within},
    clock,
    domain::{
        AlarmChange, AlarmDraft, AlarmFilter, AlarmInfo, Asset, Customer, Device, EntityKind, EntityRef, Invalid, Page, PageLink,
        User,
    },
    entity::{Author, alarm, asset, audit::Action, comment, customer, device, tenant, user},
    error::Error,
    telemetry::Entity,
};

/// A comment's JSON, in bytes.
const COMMENT_BYTES_MAX: usize = 10_000;

/// A comment with who made it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmComment {
    pub row: comment::Model,
    pub user: Option<User>,
}

impl App {
    /// Takes in what shards have told of alarms, as far as it is news.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is busy.
    pub async fn take_alarms(&self, alarms: Vec<Alarm>) -> Result<(), Error> {
        let mut write = self.store.write(Author::system(), clock::now_ms()).await?;
        alarm::take(&mut write, alarms).await?;
        write.commit().await?;
        Ok(())
    }

    /// # Errors
    /// [`Error::Missing`], also for the alarm of something that the caller cannot see.
    pub async fn alarm(&self, caller: &Caller, id: Uuid) -> Result<AlarmInfo, Error> {
        let (alarm, _) = self.alarm_for(caller, id, Use::Read).await?;
        self.alarm_info(alarm).await
    }

    /// An alarm and its originator, if the caller may use its values like this.
    async fn alarm_for(&self, caller: &Caller, id: Uuid, wanted: Use) -> Result<(Alarm, EntityRef), Error> {
        let missing = || Error::Missing(format!("Alarm with id [{id}] is not found"));
        let scope = permit_within(caller, Resource::Device, Operation::Read)?;
        let alarm = alarm::find(self.reader(), scope.tenant, id).await?.ok_or_else(missing)?;
        match self.authorize_entity(caller, &alarm.originator_type, alarm.originator.0, wanted).await {
            Ok(originator) => Ok((alarm, originator)),
            Err(Error::NotFound { .. } | Error::Invalid(_)) => Err(missing()),
            Err(Error::Forbidden) if wanted == Use::Read => Err(missing()),
            Err(error) => Err(error),
        }
    }

    /// Alarms of the tenant; a customer user sees those of its customer's devices and assets only.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an originator that the caller cannot see, [`Error::Invalid`] for an unknown sort property.
    pub async fn alarms(&self, caller: &Caller, filter: &AlarmFilter, link: &PageLink) -> Result<Page<AlarmInfo>, Error> {
        let walls = self.alarm_walls(caller, filter).await?;
        let page = alarm::page(self.reader(), walls, filter, link).await?;
        let total = page.total_elements;
        Ok(Page::new(self.alarm_infos(page.data).await?, total, link))
    }

    /// The worst severity of an originator's alarms.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an originator that the caller cannot see.
    pub async fn worst_severity(&self, caller: &Caller, filter: &AlarmFilter) -> Result<Option<Severity>, Error> {
        let walls = self.alarm_walls(caller, filter).await?;
        Ok(alarm::worst(self.reader(), walls, filter).await?)
    }

    /// The types of the alarms that the caller sees.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn alarm_types(&self, caller: &Caller, link: &PageLink) -> Result<Page<String>, Error> {
        let walls = self.alarm_walls(caller, &AlarmFilter::default()).await?;
        Ok(alarm::kinds(self.reader(), walls, link).await?)
    }

    /// The tenant, and the customer whose devices' and assets' alarms are seen. Of an originator that the caller may read, everything is.
    async fn alarm_walls(&self, caller: &Caller, filter: &AlarmFilter) -> Result<(Uuid, Option<Uuid>), Error> {
        let Scope { tenant, customer } = permit_within(caller, Resource::Device, Operation::ReadValues)?;
        let Some((kind, id)) = &filter.originator else { return Ok((tenant, customer)) };
        self.authorize_entity(caller, kind, *id, Use::Read).await?;
        Ok((tenant, None))
    }

    /// Begins an alarm, or changes the one of its originator and type that is not cleared.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] for an originator that the caller cannot see.
    pub async fn save_alarm(
        self: &Arc<Self>,
        caller: &Caller,
        (originator_type, originator): (&str, Uuid),
        draft: &AlarmDraft,
    ) -> Result<AlarmInfo, Error> {
        permit_within(caller, Resource::Device, Operation::WriteValues)?;
        let originator = self.authorize_entity(caller, originator_type, originator, Use::Write).await?;
        let wanted = draft.checked(originator)?;
        if let Some(user) = draft.assignee {
            self.assignable(caller, user).await?;
        }
        let mut alarm = self.changed_alarm(caller, originator, wanted, AlarmChange::Save).await?.0;
        let more = [
            (draft.acknowledged && alarm.ack_ts.is_none(), AlarmChange::Acknowledge),
            (draft.cleared, AlarmChange::Clear),
            (draft.assignee.is_some() && draft.assignee != alarm.assignee, AlarmChange::Assign(draft.assignee)),
        ];
        for (wanted, change) in more {
            if wanted {
                alarm = self.changed_alarm(caller, originator, alarm, change).await?.0;
            }
        }
        self.alarm_info(alarm).await
    }

    /// Changes an alarm that exists.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Refused`] when it is like that already.
    pub async fn change_alarm(self: &Arc<Self>, caller: &Caller, id: Uuid, change: AlarmChange) -> Result<AlarmInfo, Error> {
        let (alarm, originator) = self.alarm_for(caller, id, Use::Write).await?;
        if let AlarmChange::Assign(Some(user)) = change {
            self.assignable(caller, user).await?;
        }
        let (alarm, changed) = self.changed_alarm(caller, originator, alarm, change).await?;
        if alarm.deleted && change != AlarmChange::Delete {
            return Err(Error::Missing(format!("Alarm with id [{id}] is not found")));
        }
        match change {
            _ if changed => self.alarm_info(alarm).await,
            AlarmChange::Acknowledge => Err(Error::Refused("Alarm was already acknowledged!".to_owned())),
            AlarmChange::Clear => Err(Error::Refused("Alarm was already cleared!".to_owned())),
            AlarmChange::Assign(_) => Err(Error::Refused("Alarm was already assigned to this user!".to_owned())),
            AlarmChange::Save | AlarmChange::Delete => self.alarm_info(alarm).await,
        }
    }

    /// Has the originator's shard change it, and takes in what it is now.
    async fn changed_alarm(
        self: &Arc<Self>,
        caller: &Caller,
        originator: EntityRef,
        alarm: Alarm,
        change: AlarmChange,
    ) -> Result<(Alarm, bool), Error> {
        let action = match change {
            AlarmChange::Save => Action::AlarmSaved,
            AlarmChange::Acknowledge => Action::AlarmAcknowledged,
            AlarmChange::Clear => Action::AlarmCleared,
            AlarmChange::Assign(Some(_)) => Action::AlarmAssigned,
            AlarmChange::Assign(None) => Action::AlarmUnassigned,
            AlarmChange::Delete => Action::AlarmDeleted,
        };
        let mut data = json!({ "alarmType": alarm.kind, "severity": alarm.severity.name() });
        if !alarm.id.is_nil() {
            data["alarmId"] = json!(alarm.id);
        }
        let app = Arc::clone(self);
        // On the heap: everything that calls this would have it in its own future.
        let deed = Box::pin(async move {
            let changed = app.data_plane().await?.change_alarm(&Entity::from(originator), &alarm, change).await?;
            app.take_alarms(vec![changed.alarm.clone()]).await?;
            // A shard that had forgotten the alarm took it as we knew it, and somebody else may have changed it since.
            let stored = alarm::find(app.reader(), originator.tenant, changed.alarm.id).await?;
            if stored.is_some_and(|stored| stored.version == changed.alarm.version && stored != changed.alarm) {
                return Err(Error::Unavailable("The alarm was changed meanwhile, try again".to_owned()));
            }
            Ok((changed.alarm, changed.changed))
        });
        let unchanged = |(_, changed): &(Alarm, bool)| (!changed).then(|| "it was like that already".to_owned());
        self.audited(caller, (action, originator, data), deed, unchanged).await
    }

    /// # Errors
    /// [`Error::Invalid`] for somebody whom the caller cannot see.
    async fn assignable(&self, caller: &Caller, user: Uuid) -> Result<(), Error> {
        let Scope { tenant, customer } = permit_within(caller, Resource::Device, Operation::Read)?;
        let found = user::find(self.reader(), user).await?;
        let fits = |found: &User| found.tenant == Some(tenant) && customer.is_none_or(|own| found.customer == Some(own));
        match found {
            Some(found) if fits(&found) => Ok(()),
            _ => Err(Invalid::new("assigneeId", &user.to_string(), "must be a user of the same tenant or customer").into()),
        }
    }

    async fn alarm_info(&self, alarm: Alarm) -> Result<AlarmInfo, Error> {
        let infos = self.alarm_infos(vec![alarm]).await?;
        infos.into_iter().next().ok_or_else(|| Error::Internal("an alarm without its information".to_owned()))
    }

    /// The alarms with names, in some queries whatever their number.
    async fn alarm_infos(&self, alarms: Vec<Alarm>) -> Result<Vec<AlarmInfo>, Error> {
        let Some(tenant_id) = alarms.first().map(|alarm| alarm.tenant.0) else { return Ok(Vec::new()) };
        let of = |kind: EntityKind| {
            let own = alarms.iter().filter(|alarm| alarm.originator_type == kind.name()).map(|alarm| alarm.originator.0);
            let mut ids: Vec<Uuid> = own.collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let devices = device::by_ids(self.reader(), tenant_id, None, &of(EntityKind::Device)).await?;
        let devices: HashMap<Uuid, Device> = devices.into_iter().map(|device| (device.id, device)).collect();
        let assets = asset::by_ids(self.reader(), tenant_id, None, &of(EntityKind::Asset)).await?;
        let assets: HashMap<Uuid, Asset> = assets.into_iter().map(|asset| (asset.id, asset)).collect();
        let customers = customer::by_ids(self.reader(), of(EntityKind::Customer)).await?;
        let customers: HashMap<Uuid, Customer> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
        let tenant = if of(EntityKind::Tenant).is_empty() { None } else { tenant::find(self.reader(), tenant_id).await? };
        let assignees = self.users_by_ids(alarms.iter().filter_map(|alarm| alarm.assignee).collect()).await?;
        let info = |alarm: Alarm| {
            let id = &alarm.originator.0;
            let customer = customers.get(id).map(|customer| customer.title.clone());
            let title = customer.or_else(|| tenant.as_ref().filter(|tenant| tenant.id == *id).map(|tenant| tenant.title.clone()));
            let (customer, name, label) = match (devices.get(id), assets.get(id)) {
                (Some(device), _) => (device.customer, device.name.clone(), device.label.clone()),
                (None, Some(asset)) => (asset.customer, asset.name.clone(), asset.label.clone()),
                (None, None) => (None, title.unwrap_or_default(), None),
            };
            let assignee = alarm.assignee.and_then(|user| assignees.get(&user).cloned());
            AlarmInfo { customer, originator_name: name, originator_label: label, assignee, alarm }
        };
        Ok(alarms.into_iter().map(info).collect())
    }

    async fn users_by_ids(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, User>, Error> {
        Ok(user::by_ids(self.reader(), ids).await?.into_iter().map(|user| (user.id, user)).collect())
    }

    /// What was said of an alarm, in the order of `createdTime`.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn alarm_comments(&self, caller: &Caller, id: Uuid, link: &PageLink) -> Result<Page<AlarmComment>, Error> {
        self.alarm_for(caller, id, Use::Read).await?;
        let page = comment::page(self.reader(), id, link).await?;
        let users = self.users_by_ids(page.data.iter().filter_map(|row| row.user_id).collect()).await?;
        Ok(page.map(|row| AlarmComment { user: row.user_id.and_then(|user| users.get(&user).cloned()), row }))
    }

    /// Says something of an alarm, or says it otherwise. Only who said it may.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Forbidden`], [`Error::Invalid`].
    pub async fn save_alarm_comment(
        &self,
        caller: &Caller,
        id: Uuid,
        (known, text): (Option<Uuid>, Value),
    ) -> Result<AlarmComment, Error> {
        let (alarm, originator) = self.alarm_for(caller, id, Use::Write).await?;
        let comment_text = text.to_string();
        if !text.is_object() || comment_text.len() > COMMENT_BYTES_MAX {
            let rule = format!("must be an object of at most {COMMENT_BYTES_MAX} bytes");
            return Err(Invalid::new("comment", &format!("{} bytes", comment_text.len()), rule).into());
        }
        let mut write = self.begin(caller).await?;
        // It may have gone since it was looked at.
        if alarm::find(write.db(), originator.tenant, id).await?.is_none() {
            return Err(Error::Missing(format!("Alarm with id [{id}] is not found")));
        }
        let row = match known {
            None => {
                let row = comment::Model {
                    id: new_id(),
                    alarm_id: alarm.id,
                    created_ms: write.now_ms(),
                    user_id: Some(caller.user),
                    kind: "OTHER".to_owned(),
                    comment: comment_text,
                };
                comment::insert(&mut write, row.clone()).await?;
                row
            }
            Some(comment_id) => {
                let mut row = own_comment(&mut write, caller, (alarm.id, comment_id)).await?;
                let mut text = text;
                text["edited"] = json!("true");
                text["editedOn"] = json!(write.now_ms());
                row.comment = text.to_string();
                comment::update(&mut write, row.id, &row.kind, &row.comment).await?;
                row
            }
        };
        let action = if known.is_some() { Action::CommentUpdated } else { Action::CommentAdded };
        write.audit(action, originator.kind, originator.id, Some(originator.tenant)).await?;
        write.commit().await?;
        let user = user::find(self.reader(), caller.user).await?;
        Ok(AlarmComment { row, user })
    }

    /// Takes a comment back: that there was one stays, as in ThingsBoard.
    ///
    /// # Errors
    /// As [`App::save_alarm_comment`].
    pub async fn delete_alarm_comment(&self, caller: &Caller, id: Uuid, comment_id: Uuid) -> Result<(), Error> {
        let (alarm, originator) = self.alarm_for(caller, id, Use::Write).await?;
        let mut write = self.begin(caller).await?;
        let row = own_comment(&mut write, caller, (alarm.id, comment_id)).await?;
        let text = json!({ "text": format!("User {} deleted his comment", caller.email), "subtype": "DELETED" });
        comment::update(&mut write, row.id, "SYSTEM", &text.to_string()).await?;
        write.audit(Action::CommentDeleted, originator.kind, originator.id, Some(originator.tenant)).await?;
        write.commit().await?;
        Ok(())
    }
}

async fn own_comment(
    write: &mut crate::entity::Write,
    caller: &Caller,
    (alarm, id): (Uuid, Uuid),
) -> Result<comment::Model, Error> {
    let missing = || Error::Missing(format!("Alarm comment with id [{id}] is not found"));
    let row = comment::find(write.db(), alarm, id).await?.ok_or_else(missing)?;
    // What the platform says nobody changes.
    if row.user_id != Some(caller.user) || row.kind != "OTHER" {
        return Err(Error::Forbidden);
    }
    Ok(row)
}
