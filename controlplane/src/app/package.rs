//! OTA packages: their facts as rows, their bytes as files, and who has which. What a package is never changes once it has bytes
//! or a URL, so that whoever keeps a copy of it may keep it.

mod files;

use std::{collections::HashSet, sync::Arc};

use futures_util::Stream;
use serde_json::Value;
use tokio::fs::File;
use uuid::Uuid;

pub(in crate::app) use self::files::Files;
use crate::{
    access::{Caller, Operation, Resource},
    app::{App, new_id, permit_within},
    domain::{
        Device, DeviceProfile, EntityKind, Invalid, Package, PackageBytes, PackageDraft, PackageFilter, PackageKind,
        PackagePlace, Page, PageLink, UploadDraft,
    },
    entity::{Write, audit::Action, device, package, profile, rollout, tenant as tenants, tenant_profile},
    error::{Error, StartError},
};

/// When to try again what found too many uploads under way.
const BUSY_RETRY_S: u64 = 5;

/// A package that is being read.
#[derive(Debug)]
pub struct PackageReading {
    pub package: Package,
    pub bytes: PackageBytes,
    file: File,
}

impl PackageReading {
    /// The next bytes, at most `bytes_max`; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Internal`] when the file cannot be read.
    pub async fn piece(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        files::piece(&mut self.file, bytes_max).await
    }
}

impl App {
    /// Creates a package without bytes (unless it is a URL), or changes its additional info.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Refused`] for a change of what it is.
    pub async fn save_package(&self, caller: &Caller, draft: PackageDraft) -> Result<Package, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::OtaPackage, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => {
                let id = draft.profile.ok_or_else(|| Invalid::new("deviceProfileId", "", "must be given"))?;
                let found = profile::find(write.db(), tenant, id).await?;
                found.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id))?;
                let saved = made(&write, draft, tenant, id);
                package::insert(&mut write, &saved).await?;
                write.audit(Action::Added, EntityKind::OtaPackage, saved.id, Some(tenant)).await?;
                saved
            }
            Some(id) => {
                let stored = found(&write, tenant, id).await?;
                is_same(&stored, &draft)?;
                let saved = Package { version: stored.version + 1, additional_info: draft.additional_info, ..stored };
                package::update(&mut write, &saved).await?;
                write.audit(Action::Updated, EntityKind::OtaPackage, id, Some(tenant)).await?;
                saved
            }
        };
        write.commit().await?;
        Ok(saved)
    }

    /// Takes the bytes of a package that has none, piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for another checksum than given, [`Error::TooLarge`], [`Error::TooMany`],
    /// [`Error::Refused`] when it has bytes already or the tenant's are too many; and what `pieces` fails with.
    pub async fn upload_package<B: AsRef<[u8]>>(
        &self,
        caller: &Caller,
        id: Uuid,
        draft: UploadDraft,
        pieces: impl Stream<Item = Result<B, Error>>,
    ) -> Result<Package, Error> {
        let draft = draft.checked()?;
        let tenant = permit_within(caller, Resource::OtaPackage, Operation::Write)?.tenant;
        let stored = self.package(caller, id).await?;
        is_empty(&stored)?;
        let permit = self.uploads.try_acquire();
        let _permit = permit.map_err(|_| Error::TooMany { retry_after_s: BUSY_RETRY_S })?;
        let left = self.package_bytes_left(tenant, self.reader()).await?;
        let part = self.files.receive(pieces, draft.algorithm, self.package_bytes_max.min(left)).await?;
        if part.size == 0 {
            return Err(Invalid::new("file", "", "must not be empty").into());
        }
        if let Some(expected) = &draft.checksum
            && *expected != part.checksum
        {
            let rule = format!("is not the {} of what was received, which is {}", draft.algorithm.name(), part.checksum);
            return Err(Invalid::new("checksum", expected, rule).into());
        }
        let mut write = self.begin(caller).await?;
        // Once more, now that nobody else can write: of two uploads the second one must not replace the first.
        let stored = found(&write, tenant, id).await?;
        is_empty(&stored)?;
        if self.package_bytes_left(tenant, write.db()).await? < part.size {
            return Err(Error::Refused("Other uploads have taken what the tenant's OTA packages may have".to_owned()));
        }
        let UploadDraft { file_name, content_type, algorithm, .. } = draft;
        let bytes = PackageBytes { file_name, content_type, algorithm, checksum: part.checksum.clone(), size: part.size };
        let saved = Package { version: stored.version + 1, place: PackagePlace::Here(bytes), ..stored };
        package::update(&mut write, &saved).await?;
        write.audit(Action::Updated, EntityKind::OtaPackage, id, Some(tenant)).await?;
        self.files.keep(part, id).await?;
        write.commit().await?;
        Ok(saved)
    }

    /// Bytes of packages that the tenant may still have, by its profile.
    async fn package_bytes_left(&self, tenant: Uuid, db: &impl sea_orm::ConnectionTrait) -> Result<u64, Error> {
        let Some(owner) = tenants::find(db, tenant).await? else { return Ok(0) };
        let profile = tenant_profile::find(db, owner.profile).await?;
        let Some(most) = profile.and_then(|profile| profile.package_bytes_max()) else { return Ok(u64::MAX) };
        let have = package::bytes_of_tenant(db, tenant).await?;
        if have >= most {
            return Err(Error::Refused(format!("The tenant's OTA packages have {have} bytes, at most {most} are allowed")));
        }
        Ok(most - have)
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn package(&self, caller: &Caller, id: Uuid) -> Result<Package, Error> {
        let scope = permit_within(caller, Resource::OtaPackage, Operation::Read)?;
        let found = package::find(self.reader(), scope.tenant, id).await?;
        found.ok_or_else(|| Error::not_found(EntityKind::OtaPackage, id))
    }

    /// The tenant's packages; sorted by `createdTime`, `title`, `version`, `type`, `tag`, `fileName`, `dataSize` or `checksum`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn packages(&self, caller: &Caller, filter: &PackageFilter, link: &PageLink) -> Result<Page<Package>, Error> {
        let scope = permit_within(caller, Resource::OtaPackage, Operation::Read)?;
        Ok(package::page(self.reader(), scope.tenant, filter, link).await?)
    }

    /// The bytes of a package, to be read piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the platform has no bytes of it.
    pub async fn download_package(&self, caller: &Caller, id: Uuid) -> Result<PackageReading, Error> {
        let package = self.package(caller, id).await?;
        let reading = self.reading(package).await?;
        reading.ok_or_else(|| Error::Refused("The platform has no bytes of this OTA package".to_owned()))
    }

    /// Removes a package that nobody has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when devices or profiles have it.
    pub async fn delete_package(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let tenant = permit_within(caller, Resource::OtaPackage, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        found(&write, tenant, id).await?;
        let (devices, profiles) = package::users(write.db(), id).await?;
        if devices > 0 {
            return Err(Error::Refused("The otaPackage referenced by the devices cannot be deleted!".to_owned()));
        }
        if profiles > 0 {
            return Err(Error::Refused("The otaPackage referenced by the device profile cannot be deleted!".to_owned()));
        }
        write.audit(Action::Deleted, EntityKind::OtaPackage, id, Some(tenant)).await?;
        package::delete(&mut write, id).await?;
        write.commit().await?;
        self.files.remove(id).await
    }

    /// The package a device has, its own before its profile's, to be read piece by piece; `None` without one, or when its bytes
    /// are not here. For the data planes: nobody's permission is asked.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the device.
    pub async fn package_of(&self, device: Uuid, kind: PackageKind) -> Result<Option<PackageReading>, Error> {
        let found = device::by_id(self.reader(), device).await?;
        let owner = found.ok_or_else(|| Error::not_found(EntityKind::Device, device))?;
        match self.effective_package(&owner, kind).await? {
            Some(package) => self.reading(package).await,
            None => Ok(None),
        }
    }

    /// What a device has, its own before its profile's.
    pub(super) async fn effective_package(&self, device: &Device, kind: PackageKind) -> Result<Option<Package>, Error> {
        let Some(id) = effective(self.reader(), device, kind).await? else { return Ok(None) };
        Ok(package::find(self.reader(), device.tenant, id).await?)
    }

    async fn reading(&self, package: Package) -> Result<Option<PackageReading>, Error> {
        let PackagePlace::Here(bytes) = package.place.clone() else { return Ok(None) };
        let file = self.files.open(package.id, bytes.size).await?;
        Ok(Some(PackageReading { package, bytes, file }))
    }

    /// Removes the files of packages that are no longer there.
    ///
    /// # Errors
    /// [`StartError::Seed`] when the directory cannot be used.
    pub(super) async fn sweep_packages(self: &Arc<Self>) -> Result<(), StartError> {
        let known: HashSet<Uuid> = package::stored_ids(self.reader(), None).await?.into_iter().collect();
        Ok(self.files.sweep(&known).await?)
    }

    /// Removes the files of packages whose rows went with their tenant.
    pub(super) async fn remove_package_files(&self, ids: Vec<Uuid>) {
        for id in ids {
            if let Err(error) = self.files.remove(id).await {
                // The sweep of the next start removes it.
                tracing::warn!(%error, %id, "the file of a deleted package stays");
            }
        }
    }
}

/// Checks the packages of a device that is being written, and has it told if what it has is not what it had.
pub(super) async fn assign_to_device(write: &mut Write, old: Option<&Device>, new: &Device) -> Result<(), Error> {
    for kind in PackageKind::ALL {
        if let Some(id) = new.package(kind) {
            check(write, new.tenant, id, kind, new.profile).await?;
        }
        let before = match old {
            Some(old) => effective(write.db(), old, kind).await?,
            None => None,
        };
        if effective(write.db(), new, kind).await? != before {
            rollout::enqueue(write, new.tenant, &[new.id], kind).await?;
        }
    }
    Ok(())
}

/// The same for new devices of one tenant that have no packages of their own.
pub(super) async fn assign_to_new(write: &mut Write, devices: &[Device]) -> Result<(), Error> {
    let mut profiles = std::collections::HashMap::new();
    for kind in PackageKind::ALL {
        let mut told = Vec::new();
        for device in devices {
            let known = match profiles.get(&(device.profile, kind)) {
                Some(known) => *known,
                None => {
                    let known = effective(write.db(), device, kind).await?.is_some();
                    profiles.insert((device.profile, kind), known);
                    known
                }
            };
            told.extend(known.then_some(device.id));
        }
        if let Some(first) = devices.first() {
            rollout::enqueue(write, first.tenant, &told, kind).await?;
        }
    }
    Ok(())
}

/// Checks the packages of a profile that is being written, and has its devices told if they are not what they were.
pub(super) async fn assign_to_profile(write: &mut Write, old: Option<&DeviceProfile>, new: &DeviceProfile) -> Result<(), Error> {
    for kind in PackageKind::ALL {
        let (before, after) = (old.and_then(|old| old.package(kind)), new.package(kind));
        if let Some(id) = after {
            check(write, new.tenant, id, kind, new.id).await?;
        }
        if before != after {
            rollout::begin(write, new.tenant, new.id, kind).await?;
        }
    }
    Ok(())
}

async fn effective(db: &impl sea_orm::ConnectionTrait, device: &Device, kind: PackageKind) -> Result<Option<Uuid>, Error> {
    match device.package(kind) {
        Some(own) => Ok(Some(own)),
        None => Ok(profile::find(db, device.tenant, device.profile).await?.and_then(|profile| profile.package(kind))),
    }
}

/// May it be given to devices of this profile as what it is given as?
async fn check(write: &Write, tenant: Uuid, id: Uuid, kind: PackageKind, profile: Uuid) -> Result<(), Error> {
    let package = found(write, tenant, id).await?;
    let noun = kind.noun();
    if package.kind != kind {
        return Err(Error::Refused(format!("Can't assign {noun} with type: {}!", package.kind.name())));
    }
    if !package.has_data() {
        return Err(Error::Refused(format!("Can't assign {noun} with empty data!")));
    }
    if package.profile != profile {
        return Err(Error::Refused(format!("Can't assign {noun} with different deviceProfile!")));
    }
    Ok(())
}

async fn found(write: &Write, tenant: Uuid, id: Uuid) -> Result<Package, Error> {
    let found = package::find(write.db(), tenant, id).await?;
    found.ok_or_else(|| Error::not_found(EntityKind::OtaPackage, id))
}

fn is_empty(package: &Package) -> Result<(), Error> {
    match package.place {
        PackagePlace::Nowhere => Ok(()),
        PackagePlace::Here(_) => Err(Error::Refused("Updating otaPackage data is prohibited!".to_owned())),
        PackagePlace::Url(_) => Err(Error::Refused("An otaPackage with a URL takes no data!".to_owned())),
    }
}

/// Devices may have it: only what they are not told may change.
fn is_same(stored: &Package, draft: &PackageDraft) -> Result<(), Error> {
    let url = match &stored.place {
        PackagePlace::Url(url) => Some(url),
        PackagePlace::Nowhere | PackagePlace::Here(_) => None,
    };
    let checks = [
        ("type", stored.kind == draft.kind),
        ("title", stored.title == draft.title),
        ("version", stored.release == draft.release),
        ("tag", stored.tag == draft.tag),
        ("deviceProfile", draft.profile.is_none_or(|profile| profile == stored.profile)),
        ("url", draft.url.as_ref() == url),
    ];
    match checks.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Error::Refused(format!("Updating otaPackage {field} is prohibited!"))),
        None => Ok(()),
    }
}

fn made(write: &Write, draft: PackageDraft, tenant: Uuid, profile: Uuid) -> Package {
    let PackageDraft { kind, title, release, tag, url, additional_info, .. } = draft;
    let additional_info: Value = additional_info;
    Package {
        id: new_id(),
        created_ms: write.now_ms(),
        version: 1,
        tenant,
        profile,
        kind,
        title,
        release,
        tag,
        place: url.map_or(PackagePlace::Nowhere, PackagePlace::Url),
        additional_info,
    }
}
