//! Opens the entity store: connects, migrates, and makes the installation's own values. SQLite gets one writer and several
//! readers, PostgreSQL two small pools; above this file nothing knows which it is.

use std::{path::Path, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use sea_orm_migration::MigratorTrait;
use uuid::Uuid;

use crate::{
    entity::{Author, StoreError, Write, meta},
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
#[derive(Clone, Debug)]
pub struct Store {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    epoch: Uuid,
    jwt_key: Vec<u8>,
    log_rows_max: i64,
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
        Ok(Self { writer, reader, epoch, jwt_key, log_rows_max })
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
        Write::begin(tx, author, now_ms, self.log_rows_max).await
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
