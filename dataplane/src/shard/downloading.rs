//! Downloads over HTTP: a package in one answer, stretch by stretch, each asked for when the output of its connection has drained. So
//! much of a download is in memory and no more, however large it is. Never reads a package: the link does.

use schemas::id::DeviceId;
use uuid::Uuid;

use super::inquiring::Asker;
use super::ledger::OwnedDownlink;
use super::letter::{Address, Answer};
use super::slab::Key;
use super::turn::Shard;
use crate::limits;
use crate::registry::{Ask, Told};
use crate::session::{Close, Outcome, Reason};

/// A download that is not over. While its next stretch is asked for it lies with the question, else with its connection.
#[derive(Debug)]
pub(super) struct Download {
    pub to: Address,
    pub device: DeviceId,
    pub software: bool,
    /// Title and version: those of the package that is meant.
    pub named: (String, String),
    pub chunk: u32,
    pub size: u32,
    /// Which package it is and how many bytes it will have been, once the first of them have come.
    pub begun: Option<(Uuid, u64)>,
    /// Bytes that have come.
    pub given: u64,
}

impl Download {
    /// One stretch is all of it.
    fn is_small(&self) -> bool {
        self.size > 0 && usize::try_from(self.size).is_ok_and(|size| size <= limits::STRETCH_BYTES)
    }

    fn ask(&self) -> Ask {
        Ask::Stretch {
            device: self.device,
            software: self.software,
            named: self.named.clone(),
            chunk: self.chunk,
            size: self.size,
            from: self.given,
        }
    }
}

impl Shard {
    /// Asks for the first stretch.
    pub(super) fn begin_download(&mut self, download: Box<Download>) {
        let to = download.to;
        if self.ask_stretch(download).is_err() {
            self.answer_later(to, Outcome::Unavailable.into());
        }
    }

    /// Those of all connections share a part of the pool for output: who finds no room there is told so, or waits if it has begun.
    /// Whoever asks for small pieces is not in anybody's way, and must not suffer from those who do not take large ones.
    fn ask_stretch(&mut self, download: Box<Download>) -> Result<(), Box<Download>> {
        let stretches = (self.questions.stretches() + 1) * limits::STRETCH_BYTES;
        let crowded = self.unsent_bytes + stretches > self.pools.output_bytes / limits::DOWNLOADS_OUTPUT_PARTS;
        if crowded && !download.is_small() {
            return Err(download);
        }
        match self.try_inquire(download.ask(), Asker::Stretch(download)) {
            Err(Asker::Stretch(download)) => Err(download),
            _ => Ok(()),
        }
    }

    /// A stretch has come, or will not.
    pub(super) fn stretch_told(&mut self, mut download: Box<Download>, told: Told) {
        let (to, begun) = (download.to, download.begun);
        match (begun, told) {
            (None, Told::Stretch { package, length, bytes }) => {
                download.begun = Some((package, length));
                download.given = bytes.len() as u64;
                if let Some(connection) = self.connections.get_mut(to.connection) {
                    connection.download = Some(download);
                }
                let downlink = Some(OwnedDownlink::Download(length, bytes));
                // It reflects no write, so that nothing has to be durable before; held back it would be in no sum.
                self.send_answer(to, Answer { downlink, ..Outcome::Stored.into() });
            }
            (None, told) => self.answer_later(to, refusal(&told).into()),
            (Some(begun), Told::Stretch { package, length, bytes }) if begun == (package, length) && !bytes.is_empty() => {
                download.given += bytes.len() as u64;
                self.give(download, &bytes);
            }
            // What was said cannot be taken back: that the connection ends is how the device sees that the rest is missing.
            (Some(_), told) => {
                tracing::debug!(device = %download.device, given = download.given, outcome = ?refusal(&told), "a download ends early");
                self.close(to.connection, Close::from(Reason::Unavailable));
            }
        }
    }

    fn give(&mut self, download: Box<Download>, bytes: &[u8]) {
        let key = download.to.connection;
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.download = Some(download);
        match connection.session.go_on(bytes) {
            Ok(()) => self.wants_flush(key),
            Err(close) => self.close(key, close),
        }
    }

    /// The socket has taken all that a connection with a download has said.
    pub(super) fn output_drained(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_blocked = connection.session.blocked();
        match connection.session.drained() {
            Err(close) => self.close(key, close),
            Ok(true) => {
                let Some(download) = connection.download.take() else { return };
                if let Err(download) = self.ask_stretch(download)
                    && let Some(connection) = self.connections.get_mut(key)
                {
                    connection.download = Some(download);
                    self.starved.push(key);
                }
            }
            Ok(false) => {
                if !connection.session.downloads() {
                    connection.download = None;
                }
                if was_blocked && !connection.session.blocked() {
                    self.make_ready(key);
                    self.bell.ring();
                }
            }
        }
    }

    /// Those that found no room ask again.
    pub(super) fn resume_downloads(&mut self) {
        for key in std::mem::take(&mut self.starved) {
            self.wants_flush(key);
        }
    }
}

fn refusal(told: &Told) -> Outcome {
    match told {
        Told::NoPackage => Outcome::NotFound,
        Told::OtherPackage => Outcome::PayloadInvalid,
        _ => Outcome::Unavailable,
    }
}
