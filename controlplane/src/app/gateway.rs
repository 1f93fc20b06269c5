//! The children of gateways: a gateway names a device of its tenant, which is made if there is none (DESIGN 8.3, 10).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{
        App,
        device::{choose_profile, insert, new_device},
        relation::relate_child,
    },
    clock,
    domain::{Device, DeviceDraft, EntityKind, name, optional_name},
    entity::{Author, Write, audit::Action, device},
    error::Error,
};

/// ThingsBoard's key of a child's `additionalInfo`.
const LAST_GATEWAY: &str = "lastConnectedGateway";
const DEFAULT_TYPE: &str = "default";

impl App {
    /// The device a gateway calls `name`: of the gateway's tenant and no other. One that is made gets the profile called
    /// `kind` and the gateway's customer. Asked twice, also at once, it is the same device.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the names, [`Error::Refused`] when the asker is no gateway or asks for itself,
    /// [`Error::LimitReached`], [`Error::NotFound`] for the gateway.
    pub async fn child(&self, gateway: Uuid, child: &str, kind: &str) -> Result<Uuid, Error> {
        let child = name("device", child)?;
        let kind = optional_name("type", Some(kind))?.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        let missing = || Error::not_found(EntityKind::Device, gateway);
        let (speaker, _) = device::anywhere(self.reader(), gateway).await?.ok_or_else(missing)?;
        if let Some((known, revision)) = device::named(self.reader(), speaker.tenant, &child).await?
            && speaks_through(&speaker, &known)?
        {
            // It may have been made a moment ago, for another who asked.
            self.applied(Some(revision)).await;
            return Ok(known.id);
        }
        let author = Author { user: None, name: speaker.name };
        let mut write = self.store.write(author, clock::now_ms()).await?;
        let (speaker, _) = device::anywhere(write.db(), gateway).await?.ok_or_else(missing)?;
        let found = match device::named(write.db(), speaker.tenant, &child).await? {
            Some((known, revision)) if speaks_through(&speaker, &known)? => {
                drop(write);
                self.applied(Some(revision)).await;
                return Ok(known.id);
            }
            Some((known, _)) => adopt(&mut write, &speaker, known).await?,
            None => make(&mut write, &speaker, child, kind).await?,
        };
        Ok(self.finish(write, found).await?.value)
    }
}

/// Whether the device is known to be behind this gateway, the last that spoke for it.
fn speaks_through(gateway: &Device, child: &Device) -> Result<bool, Error> {
    if !gateway.is_gateway() {
        return Err(Error::Refused(format!("{} is no gateway", gateway.name)));
    }
    if gateway.id == child.id {
        return Err(Error::Refused(format!("{} cannot be a device behind itself", gateway.name)));
    }
    let last = child.additional_info.get(LAST_GATEWAY).and_then(Value::as_str);
    Ok(last == Some(gateway.id.to_string().as_str()))
}

async fn adopt(write: &mut Write, gateway: &Device, child: Device) -> Result<Uuid, Error> {
    let mut additional_info = child.additional_info.clone();
    if additional_info.is_null() {
        additional_info = json!({});
    }
    if let Value::Object(fields) = &mut additional_info {
        fields.insert(LAST_GATEWAY.to_owned(), json!(gateway.id));
    }
    let saved = Device { additional_info, version: child.version + 1, ..child };
    device::update(write, &saved).await?;
    write.audit(Action::Updated, EntityKind::Device, saved.id, Some(saved.tenant)).await?;
    Ok(saved.id)
}

async fn make(write: &mut Write, gateway: &Device, name: String, kind: String) -> Result<Uuid, Error> {
    if !gateway.is_gateway() {
        return Err(Error::Refused(format!("{} is no gateway", gateway.name)));
    }
    let draft =
        DeviceDraft { name, kind: Some(kind), additional_info: json!({LAST_GATEWAY: gateway.id}), ..DeviceDraft::default() };
    let profile = choose_profile(write, gateway.tenant, &draft).await?;
    let (made, credential) = new_device(write, gateway.tenant, draft, profile, None);
    let made = Device { customer: gateway.customer, ..made };
    insert(write, &made, &credential, &[("gatewayId", gateway.id.to_string())]).await?;
    relate_child(write, made.tenant, gateway.id, made.id).await?;
    Ok(made.id)
}
