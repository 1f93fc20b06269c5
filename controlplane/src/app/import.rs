//! Many devices at once: lines become rows in transactions of some hundred, so that others write in between and a line that is
//! refused takes no other with it.

use std::collections::{HashMap, HashSet};

use schemas::chain::MessageType;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{
        App, Written,
        announcing::{self, Of},
        device::{choose_profile, new_device, replace},
        package, permit_within, quota,
    },
    domain::{CredentialDraft, Device, DeviceDraft, DeviceProfile, EntityKind, ImportLine, ImportedDevice, Shown},
    entity::{Write, audit::Action, credential, device},
    error::Error,
};

/// Lines of one transaction.
const LINES_PER_WRITE: usize = 500;

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub created: u64,
    pub updated: u64,
    /// Lines that were refused, and why, in the order of the file.
    pub errors: Vec<String>,
}

impl Imported {
    fn refuse(&mut self, number: u64, why: impl std::fmt::Display) {
        self.errors.push(format!("Line {number}: {why}"));
    }
}

/// What a line asks for, its credentials as they will be kept.
struct Line {
    draft: DeviceDraft,
    shown: Option<Shown>,
}

/// What earlier lines of the file have taken.
#[derive(Default)]
struct Taken {
    names: HashSet<String>,
    /// `credentialsId`s.
    shown: HashSet<String>,
    profiles: HashMap<Option<String>, DeviceProfile>,
}

impl App {
    /// Creates the devices of `lines`; with `update` those that exist are replaced, without it they are refused. Lines already
    /// written stay if a later write fails.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Internal`]. What is wrong with a line is in the answer.
    pub async fn import_devices(
        &self,
        caller: &Caller,
        lines: Vec<ImportLine>,
        update: bool,
    ) -> Result<Written<Imported>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Create)?;
        let mut imported = Imported::default();
        let mut taken = Taken::default();
        let mut readable = Vec::with_capacity(lines.len());
        for (number, line) in lines {
            match line {
                Err(why) => imported.refuse(number, why),
                Ok(line) if !taken.names.insert(line.draft.name.to_lowercase()) => {
                    imported.refuse(number, format!("the name {} is in the file twice", line.draft.name));
                }
                Ok(line) => match self.line(line) {
                    Err(why) => imported.refuse(number, why),
                    Ok(line) if line.shown.as_ref().is_some_and(|shown| !taken.shown.insert(shown.id())) => {
                        imported.refuse(number, "the credentials are in the file twice");
                    }
                    Ok(line) => readable.push((number, line)),
                },
            }
        }
        let mut last = None;
        for chunk in readable.chunks(LINES_PER_WRITE) {
            let mut write = self.begin(caller).await?;
            import(&mut write, &scope, chunk, update, (&mut taken, &mut imported)).await?;
            last = self.commit(write).await?.or(last);
        }
        let applied = self.applied(last).await;
        Ok(Written { value: imported, applied })
    }

    fn line(&self, line: ImportedDevice) -> Result<Line, Error> {
        let ImportedDevice { draft, credentials } = line;
        let shown = credentials.map(|credentials: CredentialDraft| self.kept(credentials)).transpose()?;
        Ok(Line { draft, shown })
    }
}

/// One transaction's lines: what is new is inserted together, what exists is replaced one by one.
async fn import(
    write: &mut Write,
    scope: &Scope,
    lines: &[(u64, Line)],
    update: bool,
    (taken, imported): (&mut Taken, &mut Imported),
) -> Result<(), Error> {
    let names = lines.iter().map(|(_, line)| line.draft.name.to_lowercase()).collect();
    let known: HashMap<String, Device> =
        device::by_names(write.db(), scope.tenant, names).await?.into_iter().map(|one| (one.name.to_lowercase(), one)).collect();
    let ids = lines.iter().filter_map(|(_, line)| line.shown.as_ref().map(Shown::id)).collect();
    let owners: HashMap<String, Uuid> = credential::owners(write.db(), ids).await?.into_iter().collect();
    let mut room = quota::room(write, scope.tenant, EntityKind::Device).await?;
    let (mut devices, mut credentials) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        let exists = known.get(&line.draft.name.to_lowercase());
        let owner = line.shown.as_ref().and_then(|shown| owners.get(&shown.id()));
        if owner.is_some() && owner != exists.map(|device| &device.id) {
            imported.refuse(*number, Error::Duplicate { kind: EntityKind::Credential, field: "credentialsId" });
            continue;
        }
        match exists {
            Some(_) if !update => imported.refuse(*number, Error::Duplicate { kind: EntityKind::Device, field: "name" }),
            Some(device) => {
                change(write, scope, device, line).await?;
                imported.updated += 1;
            }
            None if room == Some(0) => imported.refuse(*number, Error::LimitReached(EntityKind::Device)),
            None => {
                room = room.map(|room| room - 1);
                let profile = profile_of(write, scope.tenant, line, taken).await?;
                let (device, credential) = new_device(write, scope.tenant, line.draft.clone(), profile, line.shown.clone());
                devices.push(device);
                credentials.push(credential);
            }
        }
    }
    imported.created += devices.len() as u64;
    device::insert_all(write, &devices).await?;
    credential::insert_all(write, &credentials).await?;
    package::assign_to_new(write, &devices).await?;
    for device in &devices {
        announcing::announce(write, MessageType::EntityCreated, Of::Device(device), &[]);
    }
    let ids: Vec<Uuid> = devices.iter().map(|device| device.id).collect();
    write.audit_all(Action::Added, EntityKind::Device, &ids, Some(scope.tenant)).await?;
    Ok(())
}

async fn change(write: &mut Write, scope: &Scope, stored: &Device, line: &Line) -> Result<(), Error> {
    let mut draft = line.draft.clone();
    if draft.additional_info.is_null() {
        draft.additional_info = stored.additional_info.clone();
    }
    draft.label = draft.label.or_else(|| stored.label.clone());
    (draft.firmware, draft.software) = (stored.firmware, stored.software);
    let saved = replace(write, scope, stored.id, draft).await?;
    let Some(shown) = &line.shown else { return Ok(()) };
    let known = credential::of_device(write.db(), saved.id).await?;
    let known = known.ok_or_else(|| Error::not_found(EntityKind::Credential, saved.id))?;
    // Other credentials close the device's session; the same ones must not.
    if known.shown != *shown {
        super::credential::replace(write, &saved, known, shown.clone()).await?;
    }
    Ok(())
}

async fn profile_of(write: &mut Write, tenant: Uuid, line: &Line, taken: &mut Taken) -> Result<DeviceProfile, Error> {
    if let Some(profile) = taken.profiles.get(&line.draft.kind) {
        return Ok(profile.clone());
    }
    let profile = choose_profile(write, tenant, &line.draft).await?;
    taken.profiles.insert(line.draft.kind.clone(), profile.clone());
    Ok(profile)
}
