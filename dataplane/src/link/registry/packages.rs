//! Firmware and software of devices: fetched whole from the control plane once, kept as files, read in pieces. One task owns the
//! directory and knows which device has which package; nobody waits for another one's download.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use schemas::generated::registry as wire;
use schemas::id::DeviceId;
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};
use uuid::Uuid;

use super::{Line, bytes, tell};
use crate::limits;
use crate::registry::Told;
use crate::shard::Shards;

/// A question for a piece, with where its answer goes.
#[derive(Debug)]
pub(super) struct Piece {
    pub shard: u16,
    pub number: u64,
    pub device: DeviceId,
    pub software: bool,
    pub chunk: u32,
    pub size: u32,
    /// `None`: all of it is asked for.
    pub of: Option<Download>,
}

/// A stretch of a piece that may be large.
#[derive(Debug)]
pub(super) struct Download {
    /// Title and version: those of the package that is meant.
    pub named: (String, String),
    pub from: u64,
}

/// A package that is on disk here.
#[derive(Clone, Debug)]
struct Package {
    id: Uuid,
    file: PathBuf,
    title: String,
    version: String,
    size: u64,
}

type Whose = (DeviceId, bool);

enum Deed {
    Asked(Piece),
    Fetched(Whose, Result<Option<Package>, String>),
    Aged(Whose),
}

/// The way to the task.
pub(super) struct Packages(mpsc::Sender<Deed>);

struct Keeper {
    line: Line,
    directory: PathBuf,
    shards: Shards,
    /// What was found of late.
    known: HashMap<Whose, Option<Package>>,
    waiting: HashMap<Whose, Vec<Piece>>,
    deeds: mpsc::WeakSender<Deed>,
}

impl Packages {
    pub(super) fn start(line: Line, directory: PathBuf, shards: Shards) -> Self {
        let (deeds, mut todo) = mpsc::channel(limits::QUESTIONS_AT_ONCE_MAX);
        let weak = deeds.downgrade();
        tokio::spawn(async move {
            let mut keeper = Keeper { line, directory, shards, known: HashMap::new(), waiting: HashMap::new(), deeds: weak };
            while let Some(deed) = todo.recv().await {
                keeper.take(deed);
            }
        });
        Self(deeds)
    }

    pub(super) async fn ask(&self, piece: Piece) {
        // The task ends only with this sender.
        drop(self.0.send(Deed::Asked(piece)).await);
    }
}

impl Keeper {
    fn take(&mut self, deed: Deed) {
        match deed {
            Deed::Asked(piece) => self.asked(piece),
            Deed::Fetched(whose, Ok(package)) => {
                self.known.insert(whose, package.clone());
                self.forget_later(whose);
                for piece in self.waiting.remove(&whose).unwrap_or_default() {
                    self.read(piece, package.clone());
                }
            }
            Deed::Aged(whose) => drop(self.known.remove(&whose)),
            Deed::Fetched(whose, Err(why)) => {
                for piece in self.waiting.remove(&whose).unwrap_or_default() {
                    self.tell(piece, Told::Unavailable(why.clone()));
                }
            }
        }
    }

    fn asked(&mut self, piece: Piece) {
        let whose = (piece.device, piece.software);
        if let Some(package) = self.known.get(&whose).cloned() {
            return self.read(piece, package);
        }
        let waiting = self.waiting.entry(whose).or_default();
        waiting.push(piece);
        if waiting.len() > 1 {
            return;
        }
        let (line, directory, deeds) = (self.line.clone(), self.directory.clone(), self.deeds.clone());
        tokio::spawn(async move {
            let fetched = match timeout(DOWNLOAD, fetch(line, &directory, whose)).await {
                Ok(fetched) => fetched,
                Err(_) => Err("the download took too long".to_owned()),
            };
            if let Some(deeds) = deeds.upgrade() {
                drop(deeds.send(Deed::Fetched(whose, fetched)).await);
            }
        });
    }

    /// What was fetched is believed for a while only: the device may be given another package.
    fn forget_later(&self, whose: Whose) {
        let deeds = self.deeds.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FRESH).await;
            if let Some(deeds) = deeds.upgrade() {
                drop(deeds.send(Deed::Aged(whose)).await);
            }
        });
    }

    fn read(&self, piece: Piece, package: Option<Package>) {
        let shards = self.shards.clone();
        tokio::task::spawn_blocking(move || {
            let told = package.map_or(Told::NoPackage, |package| read(&package, &piece));
            tokio::runtime::Handle::current().block_on(tell(&shards, piece.shard, piece.number, told));
        });
    }

    fn tell(&self, piece: Piece, told: Told) {
        let shards = self.shards.clone();
        tokio::spawn(async move { tell(&shards, piece.shard, piece.number, told).await });
    }
}

/// How long what the control plane said is believed.
const FRESH: Duration = Duration::from_secs(10);
/// How long one package may take to arrive.
const DOWNLOAD: Duration = Duration::from_secs(600);

fn read(package: &Package, piece: &Piece) -> Told {
    let size = if piece.size == 0 { package.size } else { u64::from(piece.size) };
    let from = size.saturating_mul(u64::from(piece.chunk));
    let length = package.size.saturating_sub(from).min(size);
    let read = |from, length: usize| {
        let mut bytes = vec![0; length];
        fs::File::open(&package.file).and_then(|file| file.read_exact_at(&mut bytes, from)).map(|()| bytes)
    };
    let told = match &piece.of {
        Some(download) if download.named != (package.title.clone(), package.version.clone()) => return Told::OtherPackage,
        Some(download) => {
            let rest = usize::try_from(length.saturating_sub(download.from)).unwrap_or(usize::MAX);
            let bytes = read(from.saturating_add(download.from), rest.min(limits::STRETCH_BYTES));
            bytes.map(|bytes| Told::Stretch { package: package.id, length, bytes })
        }
        None => match usize::try_from(length) {
            Ok(length) if length <= limits::PIECE_BYTES_MAX => read(from, length).map(Told::Piece),
            _ => return Told::PieceTooLarge,
        },
    };
    told.unwrap_or_else(|error| Told::Unavailable(error.to_string()))
}

/// Asks which package the device has, and brings it here unless it is.
async fn fetch(line: Line, directory: &Path, (device, software): Whose) -> Result<Option<Package>, String> {
    let request = line.request(wire::PackageRequest { device_id: bytes(device), software });
    let mut pieces = line.client().package(request).await.map_err(said)?.into_inner();
    let Some(first) = pieces.message().await.map_err(said)? else { return Ok(None) };
    let Some(facts) = first.facts else { return Ok(None) };
    let id = Uuid::from_slice(&facts.id).map_err(|_| "the package's id is no UUID".to_owned())?;
    let file = directory.join(id.to_string());
    let package = Package { id, file: file.clone(), title: facts.title, version: facts.version, size: facts.size };
    if tokio::fs::metadata(&file).await.is_ok_and(|there| there.len() == facts.size) {
        return Ok(Some(package));
    }
    tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    make_room(directory, facts.size).map_err(failed)?;
    let partial = directory.join(format!("{id}.part"));
    let mut into = tokio::fs::File::create(&partial).await.map_err(failed)?;
    let mut written = 0_u64;
    let mut next = first.bytes;
    loop {
        written += next.len() as u64;
        if written > facts.size {
            return Err("more bytes than the package has".to_owned());
        }
        into.write_all(&next).await.map_err(failed)?;
        match pieces.message().await.map_err(said)? {
            Some(piece) => next = piece.bytes,
            None => break,
        }
    }
    if written != facts.size {
        return Err(format!("{written} of {} bytes came", facts.size));
    }
    into.sync_all().await.map_err(failed)?;
    tokio::fs::rename(&partial, &file).await.map_err(failed)?;
    Ok(Some(package))
}

/// Packages that nobody asked for lately make room for a new one.
fn make_room(directory: &Path, needed: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        files.push((facts.modified()?, facts.len(), entry.path()));
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total.saturating_add(needed) <= limits::PACKAGES_BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
}

fn said(status: tonic::Status) -> String {
    status.message().to_owned()
}

fn failed(error: io::Error) -> String {
    error.to_string()
}
