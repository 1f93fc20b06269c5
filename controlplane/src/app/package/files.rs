//! The bytes of OTA packages: one file each in the data directory, written beside its place and moved there when it is complete
//! and durable. Never holds a package in memory, never decides who may have it.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use futures_util::{Stream, StreamExt};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncWriteExt},
};
use uuid::Uuid;

use crate::{
    domain::{Algorithm, Checksum},
    error::Error,
    random::random_text,
};

const DIRECTORY: &str = "ota";
const PART: &str = "part";
const PART_NAME_CHARS: usize = 12;

/// The directory of the packages.
#[derive(Debug)]
pub(in crate::app) struct Files {
    directory: PathBuf,
}

/// What was received and is not in its place yet. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    pub(super) size: u64,
    pub(super) checksum: String,
}

impl Drop for Part {
    fn drop(&mut self) {
        // In its place already, or never written: then there is nothing to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Files {
    pub(in crate::app) fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join(DIRECTORY) }
    }

    /// Writes down what comes, at most `size_max` bytes, durably.
    pub(super) async fn receive<B: AsRef<[u8]>>(
        &self,
        pieces: impl Stream<Item = Result<B, Error>>,
        algorithm: Algorithm,
        size_max: u64,
    ) -> Result<Part, Error> {
        fs::create_dir_all(&self.directory).await.map_err(|error| self.failed("create", error))?;
        let path = self.directory.join(format!("{}.{PART}", random_text(PART_NAME_CHARS)));
        let mut part = Part { path, size: 0, checksum: String::new() };
        let mut file = File::create_new(&part.path).await.map_err(|error| self.failed("create a file in", error))?;
        let mut checksum = Checksum::new(algorithm);
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            let bytes = piece.as_ref();
            part.size += bytes.len() as u64;
            if part.size > size_max {
                return Err(Error::TooLarge(format!("The package has more than {size_max} bytes")));
            }
            checksum.update(bytes);
            file.write_all(bytes).await.map_err(|error| self.failed("write to", error))?;
        }
        file.flush().await.map_err(|error| self.failed("write to", error))?;
        file.sync_all().await.map_err(|error| self.failed("sync", error))?;
        part.checksum = checksum.finish();
        Ok(part)
    }

    /// Moves what was received to its place, durably.
    pub(super) async fn keep(&self, part: Part, id: Uuid) -> Result<(), Error> {
        fs::rename(&part.path, self.path(id)).await.map_err(|error| self.failed("rename in", error))?;
        let directory = File::open(&self.directory).await.map_err(|error| self.failed("open", error))?;
        directory.sync_all().await.map_err(|error| self.failed("sync", error))
    }

    /// The bytes of a package, which must have `size` of them.
    pub(super) async fn open(&self, id: Uuid, size: u64) -> Result<File, Error> {
        let file = File::open(self.path(id)).await.map_err(|error| self.failed("open a file in", error))?;
        let found = file.metadata().await.map_err(|error| self.failed("look into", error))?.len();
        if found != size {
            return Err(Error::Internal(format!("package {id} has {found} bytes on disk, {size} were stored")));
        }
        Ok(file)
    }

    /// One that is not there is gone already.
    pub(super) async fn remove(&self, id: Uuid) -> Result<(), Error> {
        match fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove a file in", error)),
            _ => Ok(()),
        }
    }

    /// Removes what no package has: parts of uploads that a stop cut off, and packages that were deleted meanwhile.
    pub(super) async fn sweep(&self, known: &HashSet<Uuid>) -> Result<(), Error> {
        let mut entries = match fs::read_dir(&self.directory).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| self.failed("list", error))?,
        };
        while let Some(entry) = entries.next_entry().await.map_err(|error| self.failed("list", error))? {
            let path = entry.path();
            let is_part = path.extension().is_some_and(|extension| extension == PART);
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<Uuid>().ok());
            if is_part || id.is_some_and(|id| !known.contains(&id)) {
                fs::remove_file(&path).await.map_err(|error| self.failed("remove a file in", error))?;
            }
        }
        Ok(())
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::Internal(format!("cannot {what} {}: {error}", self.directory.display()))
    }
}

/// Reads until the piece is full or the file ends; `None` at its end.
pub(super) async fn piece(file: &mut File, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut piece = Vec::with_capacity(bytes_max);
    let read = file.take(bytes_max as u64).read_to_end(&mut piece).await;
    read.map_err(|error| Error::Internal(format!("a package cannot be read: {error}")))?;
    Ok((!piece.is_empty()).then_some(piece))
}
