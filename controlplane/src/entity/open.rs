//! Opens the entity store: connects, migrates, and makes the installation's own values. SQLite gets one writer and several
//! readers, PostgreSQL two small pools; above this file nothing knows which it is.

use std::{path::Path, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use sea_orm_migration::MigratorTrait;
use uuid::Uuid;

use crate::{
    clock,
    domain::{EntityKind, hex, unhex},
    entity::{Author, StoreError, Write, announcement::Waiting, change_log, meta},
    migration::Migrations,
    random::random_key,
    settings::Settings,
};

const READERS_MAX: u32 = 4;
const POSTGRES_WRITERS_MAX: u32 = 4;
/// How long a request waits for a connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of the change log that are kept: an instance that was away for longer takes full state.
const LOG_ROWS_MAX: i64 = 1_000_000;
/// Any number, as long as every control plane uses the same: one migrates, the others wait.
const POSTGRES_MIGRATION_LOCK: &str = "SELECT pg_advisory_lock(7104201126)";
const DATABASE_FILE: &str = "controlplane/tidegate.db";

/// The entity store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    epoch: Uuid,
    jwt_key: Vec<u8>,
    credential_key: Vec<u8>,
    log_rows_max: i64,
    waiting: Arc<Waiting>,
}

/// Its keys are nobody's to read.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.epoch)
    }
}

impl Store {
    /// Opens the database of the settings, creating and migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError::Open`] naming the file or setting.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let (url, shown) = match &settings.database_url {
            Some(url) => (url.clone(), "database_url".to_owned()),
            None => {
                let path = settings.data_dir.join(DATABASE_FILE);
                create_parent(&path).await?;
                (format!("sqlite://{}?mode=rwc", path.display()), path.display().to_string())
            }
        };
        let opened = Self::connect(&url, LOG_ROWS_MAX).await;
        opened.map_err(|error| StoreError::Open { place: shown, detail: error.to_string() })
    }

    pub(crate) async fn connect(url: &str, log_rows_max: i64) -> Result<Self, StoreError> {
        let (writer, reader) = if url.starts_with("sqlite:") { sqlite(url).await? } else { postgres(url).await? };
        let epoch = meta::set_once(&writer, meta::EPOCH, &Uuid::new_v4().to_string()).await?;
        let corrupt = |name: &str| StoreError::Corrupt { table: "meta", rule: format!("{name} cannot be read") };
        let epoch = epoch.parse().map_err(|_| corrupt(meta::EPOCH))?;
        let key = meta::set_once(&writer, meta::JWT_KEY, &hex(&random_key())).await?;
        let jwt_key = unhex(&key).ok_or_else(|| corrupt(meta::JWT_KEY))?;
        let waiting = Arc::new(Waiting::count(&reader).await?);
        let mut store = Self { writer, reader, epoch, jwt_key, credential_key: Vec::new(), log_rows_max, waiting };
        let key = store.make_credential_key().await?;
        store.credential_key = unhex(&key).filter(|key| key.len() == 32).ok_or_else(|| corrupt(meta::CREDENTIAL_KEY))?;
        Ok(store)
    }

    /// The key as it is kept. Where it is made for a database that data planes know already, they are told of it.
    async fn make_credential_key(&self) -> Result<String, StoreError> {
        if let Some(known) = meta::get(&self.reader, meta::CREDENTIAL_KEY).await? {
            return Ok(known);
        }
        let mut write = self.write(Author::system(), clock::now_ms()).await?;
        let random = random_key();
        let (key, _) = random.split_at(32);
        let made = hex(key);
        let kept = meta::set_once(write.db(), meta::CREDENTIAL_KEY, &made).await?;
        // Another control plane may have been faster. To a new database nobody has listened yet.
        if kept == made && change_log::head(write.db()).await? > 0 {
            let revision = write.changed(EntityKind::Installation, Uuid::nil(), false).await?;
            meta::set_once(write.db(), meta::INSTALLATION_REVISION, &revision.to_string()).await?;
        }
        write.commit().await?;
        Ok(kept)
    }

    /// For reads of what is committed.
    #[must_use]
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Begins a write, waiting for the one before it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when that takes too long.
    pub async fn write(&self, author: Author, now_ms: i64) -> Result<Write, StoreError> {
        let options = TransactionOptions {
            // A deferred transaction that turns into a writer later fails with SQLITE_BUSY at once instead of waiting.
            sqlite_transaction_mode: (self.writer.get_database_backend() == DbBackend::Sqlite)
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = self.writer.begin_with_options(options).await?;
        Write::begin(tx, author, now_ms, self.log_rows_max, Arc::clone(&self.waiting)).await
    }

    /// What rule chains are still to be told of.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The name of this database's life (DESIGN 25).
    #[must_use]
    pub fn epoch(&self) -> Uuid {
        self.epoch
    }

    /// The key that signs sessions.
    #[must_use]
    pub fn jwt_key(&self) -> &[u8] {
        &self.jwt_key
    }

    /// The key of the HMACs by which data planes know device passwords (DESIGN 27).
    #[must_use]
    pub fn credential_key(&self) -> &[u8] {
        &self.credential_key
    }

    /// Closes every connection; SQLite folds its log into the database.
    pub async fn close(self) {
        // Readers first: the last connection to close is the one that checkpoints.
        let _ = self.reader.close().await;
        let _ = self.writer.close().await;
    }
}

async fn create_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let made = tokio::fs::create_dir_all(parent).await;
    made.map_err(|error| StoreError::Open { place: parent.display().to_string(), detail: error.to_string() })
}

async fn sqlite(url: &str) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    let durable = |options: SqliteConnectOptions| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
    };
    let mut options = pool(url, 1);
    options.map_sqlx_sqlite_opts(durable);
    let writer = Database::connect(options).await?;
    Migrations::up(&writer, None).await?;
    let mut options = pool(url, READERS_MAX);
    options.map_sqlx_sqlite_opts(move |options| durable(options).pragma("query_only", "ON"));
    let reader = Database::connect(options).await?;
    Ok((writer, reader))
}

async fn postgres(url: &str) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    // A pool of one connection: the lock belongs to the connection, and closing it gives the lock back.
    let migrating = Database::connect(pool(url, 1)).await?;
    migrating.execute_unprepared(POSTGRES_MIGRATION_LOCK).await?;
    Migrations::up(&migrating, None).await?;
    migrating.close().await?;
    Ok((Database::connect(pool(url, POSTGRES_WRITERS_MAX)).await?, Database::connect(pool(url, READERS_MAX)).await?))
}

fn pool(url: &str, connections_max: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections_max).acquire_timeout(ACQUIRE_TIMEOUT).sqlx_logging(false);
    options
}
