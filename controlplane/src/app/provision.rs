//! Devices that come by themselves: with a key and a secret that their profile knows, or with a certificate that its authority
//! signed (reference 1.1). Nobody signed in asks here.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{
        App, credential,
        device::{TOKEN_CHARS, insert, new_device},
    },
    clock,
    domain::{
        CHAIN_MAX, Certificate, Credential, CredentialDraft, Device, DeviceDraft, DeviceProfile, EntityKind, ProvisionRequest,
        ProvisionType, Shown, Unprovisioned, name_in, provisioned, same_secret, verify,
    },
    entity::{Author, Write, audit::Action, credential as credentials, device, profile},
    error::Error,
    random::random_text,
};

/// What a certificate's common name is read by where the profile says nothing: all of it.
const WHOLE: &str = "(.*)";

impl App {
    /// Answers a device's provisioning request, whatever it holds. Wrong secrets are answered like wrong keys.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Internal`] only: what the device did wrong is in the answer.
    pub async fn provision(&self, payload: &[u8]) -> Result<Value, Error> {
        let outcome = match ProvisionRequest::read(payload) {
            Ok(request) => self.let_in(request).await,
            Err(why) => Ok(Err(why)),
        };
        match outcome {
            Ok(answer) => Ok(answer.unwrap_or_else(Unprovisioned::answer)),
            Err(error @ (Error::Unavailable(_) | Error::Internal(_))) => Err(error),
            // A name or token that is taken, a limit that is reached: the device is told no more than that it failed.
            Err(error) => {
                tracing::info!(%error, "a device was not provisioned");
                Ok(Unprovisioned::Failure.answer())
            }
        }
    }

    async fn let_in(&self, request: ProvisionRequest) -> Result<Result<Value, Unprovisioned>, Error> {
        let ProvisionRequest { device_name, key, secret, credentials, gateway } = request;
        let author = Author { user: None, name: device_name.clone().unwrap_or_else(|| "Provisioning".to_owned()) };
        let found = profile::by_provision_key(self.reader(), &key).await?;
        let found = found.filter(|found| found.provision.by_secret());
        let Some(found) = found.filter(|found| found.provision_secret().is_some_and(|known| same_secret(known, &secret))) else {
            return Ok(Err(Unprovisioned::NotFound));
        };
        let mut write = self.store.write(author, clock::now_ms()).await?;
        let known = match &device_name {
            Some(name) => device::by_name(write.db(), found.tenant, name).await?,
            None => None,
        };
        let answer = match (found.provision, known) {
            (ProvisionType::CreateNew, None) => {
                let name = device_name.unwrap_or_else(|| random_text(TOKEN_CHARS));
                let additional_info = if gateway { json!({"gateway": true}) } else { Value::Null };
                let draft = DeviceDraft { name, additional_info, ..DeviceDraft::default() };
                let password = match &credentials {
                    Some(CredentialDraft::Basic { password, .. }) => password.clone(),
                    _ => None,
                };
                let shown = credentials.map(|draft| self.kept(draft)).transpose()?;
                let made = make(&mut write, &found, draft, shown).await?;
                provisioned(&made, password.as_deref())
            }
            (ProvisionType::PreProvisioned, Some(known)) if known.profile == found.id && !known.provisioned => {
                hand_out(&mut write, known).await?
            }
            _ => return Ok(Err(Unprovisioned::Failure)),
        };
        Ok(Ok(self.finish(write, answer).await?.value))
    }

    /// The device behind a certificate that no credential names: the one its profile's authority vouches for, made if the
    /// profile allows it. From then on the certificate is its credential. `chain` is DER, the device's own certificate first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Internal`] only; `None` is nobody.
    pub async fn device_by_certificate(&self, chain: Vec<Vec<u8>>) -> Result<Option<Uuid>, Error> {
        if chain.len() > CHAIN_MAX {
            return Ok(None);
        }
        let mut shown = chain.into_iter().map(|der| Certificate::from_der("certificate", der));
        let Some(Ok(leaf)) = shown.next() else { return Ok(None) };
        // What cannot be read vouches for nobody.
        let chain: Vec<Certificate> = std::iter::once(leaf.clone()).chain(shown.filter_map(Result::ok)).collect();
        let Some(found) = self.vouched_for(&chain).await? else { return Ok(None) };
        let pattern = found.provisioning()["certificateRegExPattern"].as_str().unwrap_or(WHOLE);
        let Some(name) = leaf.common_name().and_then(|common| name_in(pattern, &common)) else { return Ok(None) };
        match self.known_by(&found, name, leaf).await {
            Err(error @ (Error::Unavailable(_) | Error::Internal(_))) => Err(error),
            Err(error) => {
                tracing::info!(%error, "a certificate's device was not let in");
                Ok(None)
            }
            found => found,
        }
    }

    /// The profile whose authority signed; of several, that of the one nearest to the device.
    async fn vouched_for(&self, chain: &[Certificate]) -> Result<Option<DeviceProfile>, Error> {
        let fingerprints = chain.iter().map(Certificate::fingerprint).collect();
        let issuers: Vec<String> = chain.iter().filter_map(Certificate::issuer_digest).collect();
        let profiles = profile::by_authority(self.reader(), fingerprints, issuers.clone()).await?;
        let mut authorities: Vec<_> = profiles.into_iter().filter_map(|one| Some((one.authority()?, one))).collect();
        let distance = |authority: &Certificate| {
            let subject = authority.subject_digest();
            issuers.iter().position(|issuer| Some(issuer) == subject.as_ref()).unwrap_or(CHAIN_MAX)
        };
        authorities.sort_by_cached_key(|(authority, _)| distance(authority));
        let now = clock::now_ms();
        for (authority, profile) in authorities {
            match verify(chain, &authority, now) {
                Ok(()) => return Ok(Some(profile)),
                Err(error) => tracing::info!(profile = profile.name, %error, "a certificate chain is not good"),
            }
        }
        Ok(None)
    }

    async fn known_by(&self, found: &DeviceProfile, name: String, leaf: Certificate) -> Result<Option<Uuid>, Error> {
        let shown = Shown::Certificate(leaf);
        let author = Author { user: None, name: name.clone() };
        let mut write = self.store.write(author, clock::now_ms()).await?;
        let id = match device::by_name(write.db(), found.tenant, &name).await? {
            Some(known) if known.profile != found.id => return Ok(None),
            Some(known) => {
                let stored = credentials::of_device(write.db(), known.id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::Credential, known.id))?;
                if stored.shown == shown {
                    drop(write);
                    self.applied(credentials::revision(self.reader(), known.id).await?).await;
                    return Ok(Some(known.id));
                }
                credential::replace(&mut write, &known, stored, shown).await?;
                known.id
            }
            None if found.provisioning()["allowCreateNewDevicesByX509Certificate"] == true => {
                make(&mut write, found, DeviceDraft { name, ..DeviceDraft::default() }, Some(shown)).await?.device
            }
            None => return Ok(None),
        };
        Ok(Some(self.finish(write, id).await?.value))
    }
}

/// A device of this profile, provisioned.
async fn make(write: &mut Write, of: &DeviceProfile, draft: DeviceDraft, shown: Option<Shown>) -> Result<Credential, Error> {
    let draft = draft.checked()?;
    let (made, credential) = new_device(write, of.tenant, draft, of.clone(), shown);
    let made = Device { provisioned: true, ..made };
    insert(write, &made, &credential, &[]).await?;
    write.audit(Action::Provisioned, EntityKind::Device, made.id, Some(made.tenant)).await?;
    Ok(credential)
}

/// Gives away the credentials of a device that an administrator made. Once: whoever learns the secret later learns nothing of
/// this device.
async fn hand_out(write: &mut Write, known: Device) -> Result<Value, Error> {
    let stored = credentials::of_device(write.db(), known.id).await?;
    let stored = stored.ok_or_else(|| Error::not_found(EntityKind::Credential, known.id))?;
    let saved = Device { provisioned: true, version: known.version + 1, ..known };
    device::update(write, &saved).await?;
    write.audit(Action::Provisioned, EntityKind::Device, saved.id, Some(saved.tenant)).await?;
    Ok(provisioned(&stored, None))
}
