//! Reading the cache in three streamed passes: find the last mark, find which records are live, hand them out (and copy
//! them when the file is to be compacted). Holds one record and one map of identities at a time.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    path::Path,
};

use prost::Message;
use schemas::generated::config as wire;

use super::{CHANGE, Draft, HEAD_BYTES, Log, MAGIC, MARK, MARK_BYTES, VERSION, VERSION_WITHOUT_LABELS, kind, push_record};
use crate::limits;
use crate::link::Position;

/// An entity's identity: its kind and its UUID.
type Key = (u8, [u8; 16]);

/// The live part of a file.
struct Live {
    /// Where the record that made the entity what it is begins.
    offsets: HashMap<Key, u64>,
    records: usize,
}

pub(super) fn load(path: &Path, each: impl FnMut(wire::Change)) -> io::Result<(Option<Log>, Position)> {
    let mut file = File::open(path)?;
    let Header { version, epoch, bytes: start } = read_header(&mut file)?;
    let Some((end, revision)) = last_mark(&mut file, start)? else {
        return Err(invalid("no mark: the file holds no complete configuration"));
    };
    let live = find_live(&mut file, start, end)?;
    if version == VERSION_WITHOUT_LABELS {
        hand_out(&mut file, (start, end), &live, None, each)?;
        return Ok((None, Position::default()));
    }
    let dead = live.records - live.offsets.len();
    // Reading must succeed where writing cannot: a full disk is no reason to start empty.
    let draft = if dead > live.offsets.len() { told(Draft::create(path, "compact", &epoch)) } else { None };
    let draft = hand_out(&mut file, (start, end), &live, draft, each)?;
    let log = draft.and_then(|draft| told(draft.finish(revision, path))).or_else(|| told(reopen(path, end)));
    Ok((log, Position { epoch, revision }))
}

/// The file as it is, without its torn tail.
fn reopen(path: &Path, end: u64) -> io::Result<Log> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(Log { file, bytes: end })
}

fn told<T>(result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "configuration cache: cannot be written")).ok()
}

struct Header {
    version: u32,
    epoch: String,
    bytes: u64,
}

fn read_header(file: &mut File) -> io::Result<Header> {
    let mut fixed = [0; 16];
    file.read_exact(&mut fixed)?;
    let [magic @ .., v0, v1, v2, v3, l0, l1, l2, l3] = fixed;
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if magic != MAGIC {
        return Err(invalid("not a configuration cache"));
    }
    if ![VERSION, VERSION_WITHOUT_LABELS].contains(&version) {
        return Err(invalid(&format!("cache version {version}, expected {VERSION}")));
    }
    if length > limits::EPOCH_BYTES_MAX {
        return Err(invalid(&format!("an epoch of {length} bytes, at most {}", limits::EPOCH_BYTES_MAX)));
    }
    let mut epoch = vec![0; length];
    file.read_exact(&mut epoch)?;
    let mut crc = [0; 4];
    file.read_exact(&mut crc)?;
    let mut covered = fixed.to_vec();
    covered.extend_from_slice(&epoch);
    if crc32fast::hash(&covered) != u32::from_le_bytes(crc) {
        return Err(invalid("the header's checksum does not match"));
    }
    let epoch = String::from_utf8(epoch).map_err(|_| invalid("the epoch is not UTF-8"))?;
    Ok(Header { version, epoch, bytes: covered.len() as u64 + 4 })
}

/// Where the last mark ends, and its revision.
fn last_mark(file: &mut File, start: u64) -> io::Result<Option<(u64, u64)>> {
    let mut last = None;
    let mut reader = Reader::new(file, start)?;
    while reader.next()? {
        if let [MARK, revision @ ..] = reader.payload.as_slice() {
            let Ok(revision) = <[u8; 8]>::try_from(revision) else { break };
            last = Some((reader.end, u64::from_le_bytes(revision)));
        }
    }
    Ok(last)
}

fn find_live(file: &mut File, start: u64, end: u64) -> io::Result<Live> {
    let mut live = Live { offsets: HashMap::new(), records: 0 };
    let mut reader = Reader::new(file, start)?;
    while reader.end < end && reader.next()? {
        let Some(change) = reader.change()? else { continue };
        live.records += 1;
        match key(&change) {
            Some((key, false)) => live.offsets.insert(key, reader.begin),
            Some((key, true)) => live.offsets.remove(&key),
            None => None,
        };
    }
    Ok(live)
}

fn hand_out(
    file: &mut File,
    (start, end): (u64, u64),
    live: &Live,
    mut draft: Option<Draft>,
    mut each: impl FnMut(wire::Change),
) -> io::Result<Option<Draft>> {
    let mut record = Vec::new();
    let mut unwritten = None;
    let mut reader = Reader::new(file, start)?;
    while reader.end < end && reader.next()? {
        let Some(change) = reader.change()? else { continue };
        let is_live = key(&change).is_some_and(|(key, _)| live.offsets.get(&key) == Some(&reader.begin));
        if !is_live {
            continue;
        }
        if let Some(draft) = &mut draft {
            record.clear();
            push_record(&mut record, &reader.payload);
            unwritten = draft.writer.write_all(&record).err();
        }
        if let Some(error) = unwritten.take() {
            draft = told(Err(error));
        }
        each(change);
    }
    Ok(draft)
}

fn key(change: &wire::Change) -> Option<(Key, bool)> {
    let (kind, ends) = kind(change)?;
    let id = change.id.as_slice().try_into().ok()?;
    Some(((u8::try_from(i32::from(kind)).ok()?, id), ends))
}

/// Walks over whole records; stops at the end and at the first that is torn.
struct Reader<'f> {
    file: BufReader<&'f mut File>,
    begin: u64,
    end: u64,
    payload: Vec<u8>,
}

impl<'f> Reader<'f> {
    fn new(file: &'f mut File, start: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file: BufReader::with_capacity(1 << 16, file), begin: start, end: start, payload: Vec::new() })
    }

    fn next(&mut self) -> io::Result<bool> {
        let mut head = [0; 8];
        if !self.fill(&mut head)? {
            return Ok(false);
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || bytes > limits::FEED_FRAME_BYTES_MAX + 1 {
            return Ok(false);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(bytes, 0);
        let whole = self.fill(&mut payload)?;
        self.payload = payload;
        if !whole || crc32fast::hash(&self.payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Ok(false);
        }
        let known = match self.payload.first() {
            Some(&MARK) => length == MARK_BYTES,
            Some(&CHANGE) => true,
            _ => false,
        };
        if known {
            self.begin = self.end;
            self.end += HEAD_BYTES + u64::from(length);
        }
        Ok(known)
    }

    /// The change of the current record; `None` at a mark.
    fn change(&self) -> io::Result<Option<wire::Change>> {
        match self.payload.as_slice() {
            [CHANGE, bytes @ ..] => wire::Change::decode(bytes).map(Some).map_err(|error| invalid(&error.to_string())),
            _ => Ok(None),
        }
    }

    /// `false` when the file ends before `into` is full.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact(into) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
