//! Claiming: a device says that whoever knows its secret may have it, and a customer's user takes it. Secrets are kept as HMACs
//! under the installation's key, attempts are limited.

use std::net::IpAddr;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{
        App, Written,
        announcing::{self, Of},
        permit_within,
    },
    clock,
    domain::{Device, EntityKind, Invalid, hex},
    entity::{Author, audit::Action, claim, customer as customers, device},
    error::Error,
};

/// How long a claim lasts that does not say it, in milliseconds (ThingsBoard's default).
const CLAIM_MS: i64 = 24 * 3600 * 1000;
/// The longest it may say.
const CLAIM_MS_MAX: i64 = 366 * CLAIM_MS;
const SECRET_BYTES_MAX: usize = 255;

/// What became of an attempt, with ThingsBoard's words.
#[derive(Clone, Debug, PartialEq)]
pub enum Claimed {
    Success(Box<Device>),
    /// It has a customer already.
    Already,
    /// Nobody may have it, or no longer, or not with this secret.
    Failure,
}

impl App {
    /// A device says that it may be claimed, until `duration_ms` from now (0 or less: a day). An empty secret is one too. Said
    /// again, the newer counts.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Refused`] when it belongs to a customer already.
    pub async fn register_claim(&self, device: Uuid, secret: &str, duration_ms: i64) -> Result<(), Error> {
        if secret.len() > SECRET_BYTES_MAX {
            let rule = format!("must have at most {SECRET_BYTES_MAX} bytes, has {}", secret.len());
            return Err(Invalid::new("secretKey", "***", rule).into());
        }
        let duration_ms = if duration_ms > 0 { duration_ms.min(CLAIM_MS_MAX) } else { CLAIM_MS };
        let missing = || Error::not_found(EntityKind::Device, device);
        let (known, _) = device::anywhere(self.reader(), device).await?.ok_or_else(missing)?;
        let mut write = self.store.write(Author { user: None, name: known.name }, clock::now_ms()).await?;
        let (known, _) = device::anywhere(write.db(), device).await?.ok_or_else(missing)?;
        if known.customer.is_some() {
            return Err(Error::Refused(format!("{} belongs to a customer already", known.name)));
        }
        let row = claim::Model {
            device_id: device,
            tenant_id: known.tenant,
            secret: hex(self.claim_hash(device, secret).as_ref()),
            until_ms: write.now_ms().saturating_add(duration_ms),
        };
        claim::put(&mut write, row).await?;
        write.audit(Action::Updated, EntityKind::Device, device, Some(known.tenant)).await?;
        write.commit().await?;
        Ok(())
    }

    /// A customer's user takes a device of its tenant that may be claimed. Limited per user and per device.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who has no customer, [`Error::Missing`] for an unknown name, [`Error::TooMany`].
    pub async fn claim_device(
        &self,
        caller: &Caller,
        name: &str,
        secret: &str,
        address: IpAddr,
    ) -> Result<Written<Claimed>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Claim)?;
        let customer = scope.customer.ok_or(Error::Forbidden)?;
        self.claims.admit(&caller.user.to_string(), address)?;
        let mut write = self.begin(caller).await?;
        let found = device::by_name(write.db(), scope.tenant, name).await?;
        let found = found.ok_or_else(|| Error::Missing(format!("Device with name [{name}] is not found")))?;
        // Whoever asks, and from wherever: one device's secret cannot be guessed by many.
        self.claims.admit(&found.id.to_string(), IpAddr::from([0; 16]))?;
        let outcome = |value| Ok(Written { value, applied: true });
        let stored = claim::of_device(write.db(), found.id).await?;
        let same = |row: &claim::Model| {
            let shown = hex(self.claim_hash(found.id, secret).as_ref());
            verify_slices_are_equal(shown.as_bytes(), row.secret.as_bytes()).is_ok()
        };
        match stored.filter(|row| row.until_ms >= write.now_ms() && same(row)) {
            _ if found.customer.is_some() => outcome(Claimed::Already),
            None => outcome(Claimed::Failure),
            Some(_) => {
                claim::delete(&mut write, found.id).await?;
                let saved = Device { customer: Some(customer), version: found.version + 1, ..found };
                device::update(&mut write, &saved).await?;
                let to = customers::find(write.db(), scope.tenant, customer).await?;
                announcing::shown(&mut write, Of::Device(&saved), None, to.as_ref()).await?;
                write.audit(Action::Assigned, EntityKind::Device, saved.id, Some(scope.tenant)).await?;
                self.finish(write, Claimed::Success(Box::new(saved))).await
            }
        }
    }

    /// Gives a device back: it belongs to no customer then, and must ask anew to be claimed. A customer's user gives back its
    /// customer's devices only.
    ///
    /// # Errors
    /// [`Error::Missing`] for a name the caller does not see.
    pub async fn reclaim_device(&self, caller: &Caller, name: &str) -> Result<Written<()>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Claim)?;
        let mut write = self.begin(caller).await?;
        let found = device::by_name(write.db(), scope.tenant, name).await?;
        let found = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
        let found = found.ok_or_else(|| Error::Missing(format!("Device with name [{name}] is not found")))?;
        claim::delete(&mut write, found.id).await?;
        if found.customer.is_some() {
            let before = found.customer;
            let saved = Device { customer: None, version: found.version + 1, ..found };
            device::update(&mut write, &saved).await?;
            announcing::shown(&mut write, Of::Device(&saved), before, None).await?;
            write.audit(Action::Unassigned, EntityKind::Device, saved.id, Some(scope.tenant)).await?;
        }
        self.finish(write, ()).await
    }

    fn claim_hash(&self, device: Uuid, secret: &str) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.store.credential_key());
        // The prefix keeps it apart from everything else that is hashed with this key.
        let form = [b"tidegate claim 1".as_slice(), device.as_bytes(), secret.as_bytes()].concat();
        hmac::sign(&key, &form)
    }
}
