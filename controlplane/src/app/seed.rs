//! What a new database starts with: one system administrator with a random password, or the well-known demo. Once only, in
//! one transaction.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::{
    app::{App, customer, device, new_id, tenant},
    clock,
    domain::{Authority, CustomerDraft, Device, DeviceDraft, EntityKind, Shown, TenantDraft, User},
    entity::{Author, Write, audit::Action, customer as customers, device as devices, meta, user},
    error::{Error, StartError},
    random::random_text,
    settings::Settings,
};

const SYS_ADMIN: &str = "sysadmin@thingsboard.org";
const PASSWORD_FILE: &str = "initial-password";
const PASSWORD_CHARS: usize = 20;
const DEMO: &str = "demo";
const PLAIN: &str = "plain";
const LOUD: &str = "WARNING: demo users with well-known passwords exist. NOT FOR PRODUCTION.";

/// What the operator must be told about the seeding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    pub notes: Vec<String>,
}

impl App {
    /// Seeds a new database as the settings say; does nothing to one that was seeded before.
    ///
    /// # Errors
    /// [`StartError::DemoRefused`] for the demo on a database that was started without it.
    pub async fn seed(&self, settings: &Settings) -> Result<Seeded, StartError> {
        let seeded = meta::get(self.reader(), meta::SEED).await?;
        match (seeded.as_deref(), settings.demo) {
            (None, false) => self.seed_plain(&settings.data_dir).await,
            (None, true) => self.seed_demo().await,
            (Some(DEMO), _) => Ok(Seeded { notes: vec![LOUD.to_owned()] }),
            (Some(_), true) => Err(StartError::DemoRefused),
            (Some(_), false) => Ok(Seeded::default()),
        }
    }

    async fn seed_plain(&self, data_dir: &Path) -> Result<Seeded, StartError> {
        let password = random_text(PASSWORD_CHARS);
        let hash = self.passwords.hash(password.clone()).await?;
        let mut write = self.store.write(Author::system(), clock::now_ms()).await?;
        if claim(&write, PLAIN).await? {
            return Ok(Seeded::default());
        }
        person(&mut write, SYS_ADMIN, Authority::SysAdmin, (None, None), &hash).await?;
        // Before the commit: a password that exists but that nobody was told would lock everyone out.
        let path = save_password(data_dir, &password).await?;
        write.commit().await?;
        let shown = format!("Created the system administrator {SYS_ADMIN} with password {password}");
        Ok(Seeded { notes: vec![shown, format!("This password is shown once; it is also in {}", path.display())] })
    }

    async fn seed_demo(&self) -> Result<Seeded, StartError> {
        let mut hashes = Vec::new();
        for password in ["sysadmin", "tenant", "customer"] {
            hashes.push(self.passwords.hash(password.to_owned()).await?);
        }
        let mut write = self.store.write(Author::system(), clock::now_ms()).await?;
        if claim(&write, DEMO).await? {
            return Ok(Seeded { notes: vec![LOUD.to_owned()] });
        }
        let tenant = TenantDraft { title: "Tenant".to_owned(), additional_info: json!({}), ..TenantDraft::default() };
        let tenant = tenant::create_tenant(&mut write, tenant).await?;
        let draft = CustomerDraft { title: "Customer A".to_owned(), additional_info: json!({}), ..CustomerDraft::default() };
        let customer = customer::made(draft, tenant.id, new_id(), clock::now_ms(), 1);
        customers::insert(&mut write, &customer).await.map_err(Error::from)?;
        let people = [
            (SYS_ADMIN, Authority::SysAdmin, (None, None)),
            ("tenant@thingsboard.org", Authority::TenantAdmin, (Some(tenant.id), None)),
            ("customer@thingsboard.org", Authority::CustomerUser, (Some(tenant.id), Some(customer.id))),
        ];
        for ((email, authority, place), hash) in people.into_iter().zip(&hashes) {
            person(&mut write, email, authority, place, hash).await?;
        }
        let demo_devices = [
            ("Test Device A1", "A1_TEST_TOKEN", Some(customer.id)),
            ("Test Device A2", "A2_TEST_TOKEN", None),
            ("Thermometer T1", "T1_TEST_TOKEN", None),
        ];
        for (name, token, customer) in demo_devices {
            let draft = DeviceDraft { name: name.to_owned(), additional_info: json!({}), ..DeviceDraft::default() };
            let made = device::create_device(&mut write, tenant.id, draft, Some(Shown::Token(token.to_owned()))).await?;
            if customer.is_some() {
                let assigned = Device { customer, version: made.version + 1, ..made };
                devices::update(&mut write, &assigned).await.map_err(Error::from)?;
            }
        }
        write.commit().await?;
        let users =
            "Demo users: sysadmin@thingsboard.org/sysadmin, tenant@thingsboard.org/tenant, customer@thingsboard.org/customer";
        let shown = "Demo devices (access tokens): A1_TEST_TOKEN, A2_TEST_TOKEN, T1_TEST_TOKEN";
        Ok(Seeded { notes: vec![LOUD.to_owned(), users.to_owned(), shown.to_owned()] })
    }
}

/// Marks the database as seeded this way; true when another control plane was faster.
async fn claim(write: &Write, how: &str) -> Result<bool, StartError> {
    if meta::get(write.db(), meta::SEED).await?.is_some() {
        return Ok(true);
    }
    meta::set_once(write.db(), meta::SEED, how).await?;
    Ok(false)
}

async fn person(
    write: &mut Write,
    email: &str,
    authority: Authority,
    (tenant, customer): (Option<Uuid>, Option<Uuid>),
    hash: &str,
) -> Result<(), Error> {
    let made = User {
        id: new_id(),
        created_ms: write.now_ms(),
        version: 1,
        tenant,
        customer,
        email: email.to_owned(),
        authority,
        first_name: None,
        last_name: None,
        phone: None,
        enabled: true,
        additional_info: json!({}),
    };
    user::insert(write, &made).await?;
    user::set_password(write, made.id, hash).await?;
    write.audit(Action::Added, EntityKind::User, made.id, tenant).await?;
    Ok(())
}

async fn save_password(data_dir: &Path, password: &str) -> Result<PathBuf, StartError> {
    let path = data_dir.join(PASSWORD_FILE);
    let failed = |source| StartError::File { what: PASSWORD_FILE, path: path.clone(), source };
    tokio::fs::create_dir_all(data_dir).await.map_err(failed)?;
    // A file left by an interrupted first start may have another mode; a new one never has.
    match tokio::fs::remove_file(&path).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path).await.map_err(failed)?;
    file.write_all(format!("{password}\n").as_bytes()).await.map_err(failed)?;
    file.sync_all().await.map_err(failed)?;
    Ok(path)
}
