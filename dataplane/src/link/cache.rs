//! The last good configuration on disk: what an instance serves before, or without, a control plane (DESIGN 1, 3.6).
//!
//! A header (magic, version, epoch, CRC), then records `[length u32][crc32 u32][kind u8][bytes]`, little-endian. A record
//! is a wire `Change` or a mark: "everything up to this revision is above". What follows the last mark does not count, so
//! the file may be behind, never ahead and never torn. Each mark is on the disk before anybody hears of it: what shards acknowledge
//! by a configuration wants it at the next start. Knows wire changes only as bytes with an identity.

mod load;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use prost::Message;
use schemas::generated::config as wire;

use crate::limits;
use crate::link::Position;

const MAGIC: [u8; 8] = *b"TIDECONF";
const VERSION: u32 = 2;
/// Its records are the same, but devices and assets in it were told without labels and when they were made.
const VERSION_WITHOUT_LABELS: u32 = 1;
const CHANGE: u8 = 1;
const MARK: u8 = 2;
const MARK_BYTES: u32 = 9;
/// Length and CRC before a record's payload.
const HEAD_BYTES: u64 = 8;

/// Why the cache could not be read or written. The configuration in memory is not touched by it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(super) struct CacheError {
    path: PathBuf,
    source: io::Error,
}

impl CacheError {
    /// There is no file yet: the first start.
    pub(super) fn is_absence(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The writing side. A write error ends it until the next full state: a gap would put it ahead.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    /// The valid file, open for appending; `None`: there is none that deltas could follow.
    log: Option<Log>,
    /// The full state being received, in a file of its own.
    full: Option<Draft>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
}

impl Cache {
    /// A cache whose file, if there is one, is left alone until a full state replaces it.
    pub(super) fn absent(path: PathBuf) -> Self {
        Self { path, log: None, full: None }
    }

    /// Gives every live change of the file to `each`, deletions left out, cuts a torn tail and compacts the file when
    /// more than half of it is dead. A file of an older version is read and left alone; its position is none, so that a full
    /// state brings what it lacks.
    ///
    /// # Errors
    /// [`CacheError`] when the file is no cache or cannot be read. What `each` got until then is to be distrusted.
    pub(super) fn load(path: PathBuf, each: impl FnMut(wire::Change)) -> Result<(Self, Position), CacheError> {
        match load::load(&path, each) {
            Ok((log, position)) => Ok((Self { path, log, full: None }, position)),
            Err(source) => Err(CacheError { path, source }),
        }
    }

    /// Appends the records of one set of changes, and a mark unless a full state is being received.
    ///
    /// # Errors
    /// [`CacheError`] when writing fails; deltas are dropped from then on.
    pub(super) fn append(&mut self, records: &Records, revision: u64) -> Result<(), CacheError> {
        let written = if let Some(draft) = &mut self.full {
            draft.writer.write_all(&records.0)
        } else if let Some(log) = &mut self.log {
            log.append(records, revision)
        } else {
            return Ok(());
        };
        written.map_err(|source| {
            self.log = None;
            self.full = None;
            self.error(source)
        })
    }

    /// # Errors
    /// [`CacheError`] when the new file cannot be created.
    pub(super) fn begin_full(&mut self, epoch: &str) -> Result<(), CacheError> {
        // The old file stays on disk as it is; deltas that follow a full state are not its own.
        self.log = None;
        self.full = None;
        self.full = Some(Draft::create(&self.path, "full", epoch).map_err(|source| self.error(source))?);
        Ok(())
    }

    /// The full state is complete: its file takes the place of the old one.
    ///
    /// # Errors
    /// [`CacheError`] when it cannot; the old file stays, and stays as old as it is.
    pub(super) fn end_full(&mut self, revision: u64) -> Result<(), CacheError> {
        let Some(draft) = self.full.take() else { return Ok(()) };
        self.log = Some(draft.finish(revision, &self.path).map_err(|source| self.error(source))?);
        Ok(())
    }

    /// The full state broke off; the old file stays as it is.
    pub(super) fn abandon_full(&mut self) {
        self.full = None;
    }

    /// Whether deltas reach the disk.
    pub(super) fn is_followed(&self) -> bool {
        self.log.is_some()
    }

    fn error(&self, source: io::Error) -> CacheError {
        CacheError { path: self.path.clone(), source }
    }
}

impl Log {
    fn append(&mut self, records: &Records, revision: u64) -> io::Result<()> {
        let mut bytes = records.0.clone();
        push_mark(&mut bytes, revision);
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // Best effort: what is left of it has no mark and is cut at the next load.
            drop(self.file.set_len(self.bytes));
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// A file that takes the cache's place only when it is complete.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Draft {
    fn create(cache: &Path, suffix: &str, epoch: &str) -> io::Result<Self> {
        if let Some(parent) = cache.parent() {
            fs::create_dir_all(parent)?;
        }
        let path = cache.with_extension(suffix);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let mut writer = BufWriter::new(file);
        writer.write_all(&header(epoch))?;
        Ok(Self { path, writer })
    }

    fn finish(mut self, revision: u64, cache: &Path) -> io::Result<Log> {
        let mut mark = Vec::new();
        push_mark(&mut mark, revision);
        self.writer.write_all(&mark)?;
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&self.path, cache)?;
        if let Some(parent) = cache.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // So that the new name is on the disk as well.
            File::open(parent)?.sync_all()?;
        }
        Ok(Log { file, bytes })
    }
}

/// Encoded changes, ready to be written.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    pub(super) fn push(&mut self, change: &wire::Change) {
        let mut payload = Vec::with_capacity(1 + change.encoded_len());
        payload.push(CHANGE);
        payload.extend_from_slice(&change.encode_to_vec());
        push_record(&mut self.0, &payload);
    }
}

fn push_mark(bytes: &mut Vec<u8>, revision: u64) {
    let mut payload = vec![MARK];
    payload.extend_from_slice(&revision.to_le_bytes());
    push_record(bytes, &payload);
}

fn push_record(bytes: &mut Vec<u8>, payload: &[u8]) {
    // A change came in a frame of at most FEED_FRAME_BYTES_MAX; anything longer would be unreadable at the next start.
    if let Ok(length) = u32::try_from(payload.len()) {
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
}

fn header(epoch: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let length = u32::try_from(epoch.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(epoch.as_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The kind of entity a wire change is about, and whether it ends it.
pub(super) fn kind(change: &wire::Change) -> Option<(wire::EntityKind, bool)> {
    use wire::{EntityKind, change::Body};
    Some(match change.body.as_ref()? {
        Body::Tenant(_) => (EntityKind::Tenant, false),
        Body::Profile(_) => (EntityKind::DeviceProfile, false),
        Body::Device(_) => (EntityKind::Device, false),
        Body::Credential(_) => (EntityKind::Credential, false),
        Body::Chain(_) => (EntityKind::RuleChain, false),
        Body::Installation(_) => (EntityKind::Installation, false),
        Body::Asset(_) => (EntityKind::Asset, false),
        Body::Relation(_) => (EntityKind::Relation, false),
        Body::Customer(_) => (EntityKind::Customer, false),
        Body::CalculatedField(_) => (EntityKind::CalculatedField, false),
        Body::Deleted(deleted) => (deleted.kind(), true),
    })
}

const _: () = assert!(limits::FEED_FRAME_BYTES_MAX <= u32::MAX as usize, "a record's length must fit its head");

#[cfg(test)]
mod tests;
