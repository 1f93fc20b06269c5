//! Access token → device, for all shards: the one shared structure besides rate buckets (DESIGN 3.3, 8.4 14).
//!
//! Readers never wait: each of 4,096 buckets is a sorted, immutable array behind an `ArcSwap`, replaced as a whole by
//! the single writer (the link). Read once per connection, never per message. Knows tokens only by their SHA-256.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use schemas::id::{CredentialId, DeviceId};
use uuid::Uuid;

const BUCKETS: usize = 4_096;

/// Half of a token's SHA-256: 128 bits cannot be met by chance or by search.
type TokenHash = [u8; 16];

/// At most 64 bytes (DESIGN 25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    token: TokenHash,
    pub device: DeviceId,
    pub credential: CredentialId,
}

const _: () = assert!(size_of::<Entry>() <= 64, "DESIGN 25: a directory entry is at most 64 bytes");

/// The readers' side; clone the `Arc` around it freely.
#[derive(Debug)]
pub struct Directory {
    buckets: Box<[ArcSwap<Vec<Entry>>]>,
}

impl Directory {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { buckets: (0..BUCKETS).map(|_| ArcSwap::from_pointee(Vec::new())).collect() })
    }

    /// The device that shows this token, given the token's SHA-256.
    #[must_use]
    pub fn find(&self, token_sha256: &[u8; 32]) -> Option<Entry> {
        let token = shorten(token_sha256);
        let bucket = self.buckets.get(bucket(&token))?.load();
        let index = bucket.binary_search_by(|entry| entry.token.cmp(&token)).ok()?;
        bucket.get(index).copied()
    }

    fn update(&self, token: &TokenHash, change: impl FnOnce(&mut Vec<Entry>)) {
        if let Some(bucket) = self.buckets.get(bucket(token)) {
            let mut entries = Vec::clone(&bucket.load());
            change(&mut entries);
            bucket.store(Arc::new(entries));
        }
    }
}

/// The writer's side: one per process, owned by the link.
#[derive(Debug)]
pub struct DirectoryWriter {
    directory: Arc<Directory>,
    by_credential: HashMap<CredentialId, (TokenHash, DeviceId)>,
    by_device: BTreeSet<(DeviceId, CredentialId)>,
}

impl DirectoryWriter {
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, by_credential: HashMap::new(), by_device: BTreeSet::new() }
    }

    /// Inserts or replaces a credential. Returns the device whose old token stopped working, if it changed.
    pub fn insert(&mut self, credential: CredentialId, device: DeviceId, token_sha256: &[u8; 32]) -> Option<DeviceId> {
        let token = shorten(token_sha256);
        if self.by_credential.get(&credential) == Some(&(token, device)) {
            return None;
        }
        let revoked = self.remove(credential);
        self.by_credential.insert(credential, (token, device));
        self.by_device.insert((device, credential));
        self.directory.update(&token, |entries| {
            let entry = Entry { token, device, credential };
            match entries.binary_search_by(|other| other.token.cmp(&token)) {
                Ok(index) => entries[index] = entry,
                Err(index) => entries.insert(index, entry),
            }
        });
        revoked
    }

    /// Removes a credential. Returns its device, whose sessions must be closed.
    pub fn remove(&mut self, credential: CredentialId) -> Option<DeviceId> {
        let (token, device) = self.by_credential.remove(&credential)?;
        self.by_device.remove(&(device, credential));
        self.directory.update(&token, |entries| entries.retain(|entry| entry.token != token || entry.credential != credential));
        Some(device)
    }

    /// Whether inserting this would end a token that works now: the credential is known with another token or device.
    #[must_use]
    pub fn replaces(&self, credential: CredentialId, device: DeviceId, token_sha256: &[u8; 32]) -> bool {
        self.by_credential.get(&credential).is_some_and(|known| *known != (shorten(token_sha256), device))
    }

    /// The credentials of one device.
    #[must_use]
    pub fn of_device(&self, device: DeviceId) -> Vec<CredentialId> {
        let all = (device, CredentialId(Uuid::nil()))..=(device, CredentialId(Uuid::max()));
        self.by_device.range(all).map(|(_, credential)| *credential).collect()
    }

    /// Every credential known, for the sweep that ends a full state.
    pub fn credentials(&self) -> impl Iterator<Item = CredentialId> + '_ {
        self.by_credential.keys().copied()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_credential.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_credential.is_empty()
    }
}

fn shorten(token_sha256: &[u8; 32]) -> TokenHash {
    let mut token = [0; 16];
    token.copy_from_slice(&token_sha256[..16]);
    token
}

fn bucket(token: &TokenHash) -> usize {
    usize::from(u16::from_be_bytes([token[0], token[1]])) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(n: u128) -> CredentialId {
        CredentialId(Uuid::from_u128(n))
    }

    fn device(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    #[test]
    fn finds_what_was_inserted_until_it_is_removed() {
        let directory = Directory::new();
        let mut writer = DirectoryWriter::new(Arc::clone(&directory));
        for n in 0..5_000_u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_le_bytes());
            assert_eq!(writer.insert(credential(n.into()), device(n.into()), &hash), None);
        }
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&77_u32.to_le_bytes());
        assert_eq!(directory.find(&hash).map(|entry| entry.device), Some(device(77)));
        assert_eq!(writer.remove(credential(77)), Some(device(77)));
        assert_eq!(directory.find(&hash), None);
        assert_eq!(writer.len(), 4_999);
    }

    #[test]
    fn a_new_token_revokes_the_old_one() {
        let directory = Directory::new();
        let mut writer = DirectoryWriter::new(Arc::clone(&directory));
        writer.insert(credential(1), device(1), &[1; 32]);
        assert_eq!(writer.insert(credential(1), device(1), &[1; 32]), None, "the same again changes nothing");
        assert_eq!(writer.insert(credential(1), device(1), &[2; 32]), Some(device(1)));
        assert_eq!(directory.find(&[1; 32]), None);
        assert!(directory.find(&[2; 32]).is_some());
    }

    #[test]
    fn knows_the_credentials_of_a_device_and_what_an_insertion_would_replace() {
        let mut writer = DirectoryWriter::new(Directory::new());
        for n in 1..=3 {
            writer.insert(credential(n), device(n % 2), &[u8::try_from(n).unwrap(); 32]);
        }
        assert_eq!(writer.of_device(device(1)), [credential(1), credential(3)]);
        assert!(!writer.replaces(credential(1), device(1), &[1; 32]), "the same");
        assert!(writer.replaces(credential(1), device(1), &[9; 32]), "another token");
        assert!(writer.replaces(credential(1), device(0), &[1; 32]), "another device");
        assert!(!writer.replaces(credential(9), device(1), &[9; 32]), "a new credential");
        writer.remove(credential(1));
        assert_eq!(writer.of_device(device(1)), [credential(3)]);
    }
}
