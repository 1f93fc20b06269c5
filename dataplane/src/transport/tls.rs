//! TLS of one connection as a value: rustls without its buffers, so that an idle connection holds keys and nothing else.
//!
//! Ciphertext is read, decrypted and encrypted in one buffer of the thread. What cannot be finished stays with the connection
//! until it can: a partial record, plaintext that found no room, ciphertext that the socket did not take; each is bounded, and
//! each is given back once it is empty. Never waits.

use std::{
    cell::Cell,
    fmt,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustls::{
    Error, HandshakeKind, ServerConfig,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};

use super::socket::Socket;
use super::stream::{Received, Sent};
use crate::limits;

/// Why TLS ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's certificate is expired, not valid yet, for another purpose, malformed, or not its own.
    Certificate,
    /// No version, cipher suite or signature that both know.
    Incompatible,
    /// The client refused us, for example because it does not trust our certificate.
    Refused,
    /// Bytes that are not TLS, or not now, or too many of them.
    Protocol,
}

/// Why nothing more will be received.
#[derive(Clone, Copy, Debug)]
enum Over {
    End,
    Broken(Fault),
}

/// A socket, its TLS, and what is left between them.
pub(super) struct Tls {
    socket: Socket,
    connection: UnbufferedServerConnection,
    /// Received ciphertext without a whole record in it; records of an unfinished handshake message stay here as well.
    partial: Vec<u8>,
    /// Plaintext that found no room, of which `taken` bytes are gone already.
    unread: Vec<u8>,
    taken: usize,
    /// Ciphertext that the socket did not take.
    unsent: Vec<u8>,
    over: Option<Over>,
}

/// Where plaintext goes: into the caller's buffer, the rest into the connection's own.
struct Plaintext<'a> {
    into: &'a mut [u8],
    count: usize,
    rest: &'a mut Vec<u8>,
}

impl Tls {
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn new(socket: Socket, config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        let (partial, unread, unsent) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { socket, connection, partial, unread, taken: 0, unsent, over: None })
    }

    pub(super) fn receive(&mut self, into: &mut [u8]) -> Received {
        let mut count = self.take_unread(into);
        let mut drained = false;
        with_records(|records| {
            for _ in 0..READS_PER_RECEIVE {
                if drained || count == into.len() || self.over.is_some() {
                    break;
                }
                drained = self.read(records, into, &mut count);
            }
        });
        if !self.unsent.is_empty() && self.flush() == Sent::Broken {
            self.over.get_or_insert(Over::End);
        }
        match self.over {
            _ if count > 0 => Received::Bytes { count, more: !drained || self.has_unread() },
            Some(Over::End) => Received::End,
            Some(Over::Broken(fault)) => Received::Broken(fault),
            None if drained => Received::Nothing,
            None => Received::Bytes { count, more: true },
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Sent {
        if self.is_broken() {
            return Sent::Broken;
        }
        match self.flush() {
            Sent::Bytes(_) if self.connection.is_handshaking() && !bytes.is_empty() => return Sent::Full,
            Sent::Bytes(_) => {}
            stuck => return stuck,
        }
        let mut sent = 0;
        let sealed = with_records(|records| {
            for piece in bytes.chunks(limits::TLS_RECORD_BYTES) {
                let length = self.seal(piece, records)?;
                sent += piece.len();
                // At most one record and what rustls had to say waits for the socket.
                if !self.write(&records[..length])? {
                    break;
                }
            }
            Some(())
        });
        if sealed.is_some() { Sent::Bytes(sent) } else { Sent::Broken }
    }

    pub(super) fn flush(&mut self) -> Sent {
        let unsent = std::mem::take(&mut self.unsent);
        if unsent.is_empty() {
            return Sent::Bytes(0);
        }
        match self.write(&unsent) {
            None => Sent::Broken,
            Some(true) => Sent::Bytes(0),
            Some(false) => Sent::Full,
        }
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || self.over.is_some()
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.partial.len() + self.unread.len() + self.unsent.len()
    }

    /// Says close_notify, if there was a handshake, and ends the stream. Whatever does not fit now is not waited for.
    pub(super) fn finish(&mut self) {
        if !self.is_broken()
            && let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.connection.process_tls_records(&mut self.partial).state
        {
            let unsent = &mut self.unsent;
            let _said = grown(unsent, |room| traffic.queue_close_notify(room).map_err(too_small_to_encrypt));
        }
        let _sent = self.flush();
        self.socket.finish();
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        if self.is_handshaking() { &[] } else { self.connection.peer_certificates().unwrap_or_default() }
    }

    /// After a fault rustls is only asked for its alert: what it remembers no longer fits the bytes that are kept.
    fn is_broken(&self) -> bool {
        matches!(self.over, Some(Over::Broken(_)))
    }

    fn take_unread(&mut self, into: &mut [u8]) -> usize {
        let unread = self.unread.get(self.taken..).unwrap_or_default();
        let count = unread.len().min(into.len());
        into[..count].copy_from_slice(&unread[..count]);
        self.taken += count;
        if self.taken == self.unread.len() {
            self.unread = Vec::new();
            self.taken = 0;
        }
        count
    }

    /// Reads the socket once and decrypts all of it; whether the socket is empty now.
    fn read(&mut self, records: &mut [u8], into: &mut [u8], count: &mut usize) -> bool {
        let kept = self.partial.len();
        records[..kept].copy_from_slice(&self.partial);
        // Ciphertext is longer than its plaintext: of what is read only the rest of a record may not fit.
        let end = (into.len() - *count).max(self.whole_record()).min(records.len());
        let (length, drained) = match self.socket.receive(&mut records[kept..end]) {
            Received::Bytes { count, more } => (kept + count, !more),
            Received::Nothing => return true,
            Received::End | Received::Broken(_) => {
                self.over = Some(Over::End);
                return true;
            }
        };
        let mut plaintext = Plaintext { into, count: *count, rest: &mut self.unread };
        let (processed, over) = open(&mut self.connection, &mut records[..length], &mut plaintext, &mut self.unsent);
        *count = plaintext.count;
        self.over = over;
        self.keep(records.get(processed..length).unwrap_or_default());
        if self.is_broken() {
            self.say_alert();
        }
        drained
    }

    /// As many bytes as the record that has begun comes to, if that is known yet, else a few more than are kept.
    fn whole_record(&self) -> usize {
        let length = match self.partial[..] {
            [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        if length > self.partial.len() { length } else { self.partial.len() + limits::SCARCE_READ_BYTES }
    }

    /// Keeps the beginning of a record until its end comes.
    fn keep(&mut self, rest: &[u8]) {
        if self.over.is_some() || rest.is_empty() {
            self.partial = Vec::new();
        } else if rest.len() > limits::TLS_PARTIAL_BYTES_MAX {
            self.partial = Vec::new();
            self.over = Some(Over::Broken(Fault::Protocol));
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    /// Queues the alert that goes with a fault.
    fn say_alert(&mut self) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut part)) = self.connection.process_tls_records(&mut []).state else { return };
            if grown(&mut self.unsent, |room| part.encode(room).map_err(too_small_to_encode)).is_none() {
                return;
            }
        }
    }

    /// Encrypts at most one record's plaintext; its length, or nothing when the connection is beyond use.
    fn seal(&mut self, piece: &[u8], records: &mut [u8]) -> Option<usize> {
        match self.connection.process_tls_records(&mut self.partial).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(piece, records).ok(),
            _ => None,
        }
    }

    /// Writes ciphertext, keeps what the socket does not take, says whether it took all; nothing when it is broken.
    fn write(&mut self, mut records: &[u8]) -> Option<bool> {
        while !records.is_empty() {
            match self.socket.send(records) {
                Sent::Bytes(0) | Sent::Full => {
                    self.unsent.extend_from_slice(records);
                    return Some(false);
                }
                Sent::Bytes(count) => records = records.get(count..).unwrap_or_default(),
                Sent::Broken => return None,
            }
        }
        Some(true)
    }
}

impl AsFd for Tls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("socket", &self.socket)
            .field("handshaking", &self.is_handshaking())
            .field("partial_bytes", &self.partial.len())
            .field("unread_bytes", &self.unread.len())
            .field("unsent_bytes", &self.unsent.len())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Plaintext<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.into.get_mut(self.count..).unwrap_or_default();
        let (now, later) = bytes.split_at(bytes.len().min(room.len()));
        room[..now.len()].copy_from_slice(now);
        self.count += now.len();
        self.rest.extend_from_slice(later);
    }
}

/// Lets rustls look at `ciphertext` until it wants more: plaintext out, answers to `unsent`. How much of it is done with, and
/// whether that was the end.
fn open(
    connection: &mut UnbufferedServerConnection,
    ciphertext: &mut [u8],
    plaintext: &mut Plaintext<'_>,
    unsent: &mut Vec<u8>,
) -> (usize, Option<Over>) {
    let mut processed = 0;
    let mut over = None;
    loop {
        let left = ciphertext.get_mut(processed..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(left);
        let mut blocked = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    discard += record.discard;
                    plaintext.put(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut part)) => {
                if grown(unsent, |room| part.encode(room).map_err(too_small_to_encode)).is_none() {
                    return (processed, Some(Over::Broken(Fault::Protocol)));
                }
            }
            // Whether it is written now or later, it is in `unsent`.
            Ok(ConnectionState::TransmitTlsData(part)) => part.done(),
            Ok(ConnectionState::PeerClosed) => over = Some(Over::End),
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => blocked = true,
            Ok(ConnectionState::Closed) => return (processed + discard, Some(Over::End)),
            // Early data is not offered, and rustls has no other states today.
            Ok(_) => return (processed, Some(Over::Broken(Fault::Protocol))),
            Err(error) => {
                tracing::debug!(%error, "TLS ended");
                return (processed + discard, Some(Over::Broken(fault(&error))));
            }
        }
        processed += discard;
        if blocked {
            return (processed, over);
        }
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::InvalidCertificate(_) => Fault::Certificate,
        Error::PeerIncompatible(_) => Fault::Incompatible,
        Error::AlertReceived(_) => Fault::Refused,
        _ => Fault::Protocol,
    }
}

/// Appends what `encode` writes, in as much room as it asks for; `None` when it refuses, or wants more than is ever kept.
fn grown(bytes: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Option<()> {
    let length = bytes.len();
    let required = match encode(&mut []) {
        Ok(_) => return Some(()),
        Err(required) => required?,
    };
    if length + required > limits::TLS_UNSENT_BYTES_MAX {
        return None;
    }
    bytes.resize(length + required, 0);
    let written = encode(bytes.get_mut(length..).unwrap_or_default()).unwrap_or(0);
    bytes.truncate(length + written);
    (written > 0).then_some(())
}

fn too_small_to_encode(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn too_small_to_encrypt(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Reads of the socket in one receive: whoever sends much and says little does not keep the shard to itself.
const READS_PER_RECEIVE: usize = 4;

thread_local! {
    /// Where ciphertext is read, decrypted and encrypted. Connections are served one after the other, so a shard needs one.
    static RECORDS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn with_records<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut records = RECORDS.take();
    records.resize(limits::TLS_RECORDS_BYTES, 0);
    let result = work(&mut records);
    RECORDS.set(records);
    result
}
