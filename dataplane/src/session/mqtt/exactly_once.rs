//! QoS 2 messages of the client (MQTT 5, 4.3.3; DESIGN 8.4, 13): the identifier of each lives from its PUBLISH to its PUBCOMP and
//! makes the same message, sent again, the same message. Never stores anything: the shard is told which identifiers to.

use super::Session;
use super::inflight::Kind;
use super::publishing;
use crate::codec::mqtt::Version;
use crate::limits;
use crate::session::{Kept, Outcome, Promise, Reason, Receipt};

/// The identifiers that are in use.
#[derive(Debug, Default)]
pub(super) struct Unreleased {
    ids: Vec<Unfinished>,
    /// Those whose PUBLISH came on this connection: they count against the receive maximum.
    counted: u16,
}

#[derive(Clone, Copy, Debug)]
struct Unfinished {
    packet_id: u16,
    stage: Stage,
    /// It lies, or will lie, on disk.
    durable: bool,
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// PUBREC waits for the receipt.
    Promised,
    /// PUBREC is queued, or was sent on an earlier connection.
    Received,
    /// PUBREL came; PUBCOMP waits for its receipt.
    Releasing,
}

impl Unreleased {
    pub(super) fn restored(kept: &Kept) -> Self {
        let unfinished = |&packet_id| Unfinished { packet_id, stage: Stage::Received, durable: true, counted: false };
        Self { ids: kept.received.iter().take(limits::UNRELEASED_PER_SESSION_MAX).map(unfinished).collect(), counted: 0 }
    }

    /// Those that are received and not released.
    pub(super) fn listed(&self) -> Vec<u16> {
        self.ids.iter().filter(|id| id.stage != Stage::Promised).map(|id| id.packet_id).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn find(&self, packet_id: u16) -> Option<usize> {
        self.ids.iter().position(|id| id.packet_id == packet_id)
    }

    fn remove(&mut self, packet_id: u16) {
        if let Some(index) = self.find(packet_id) {
            let gone = self.ids.swap_remove(index);
            self.counted -= u16::from(gone.counted);
        }
        if self.ids.is_empty() {
            self.ids = Vec::new();
        }
    }
}

/// QoS 2 messages of this connection whose flow is not over.
pub(super) fn counted(session: &Session) -> usize {
    session.rare.as_ref().map_or(0, |rare| usize::from(rare.unreleased.counted))
}

/// What a PUBLISH with QoS 2 is.
pub(super) enum Received {
    New(Promise),
    /// It came before; its acknowledgement is on its way [MQTT-4.3.3-10].
    Again,
}

pub(super) fn receive(session: &mut Session, packet_id: u16) -> Result<Received, Reason> {
    let durable = session.keeps;
    let unreleased = &mut session.rare_mut().unreleased;
    let Some(index) = unreleased.find(packet_id) else {
        publishing::check_quota(session)?;
        let unreleased = &mut session.rare_mut().unreleased;
        if unreleased.ids.len() >= limits::UNRELEASED_PER_SESSION_MAX {
            return Err(Reason::ReceiveMaximumExceeded);
        }
        unreleased.ids.push(Unfinished { packet_id, stage: Stage::Promised, durable, counted: true });
        unreleased.counted += 1;
        let receipt = session.receipts.promise(packet_id, Kind::Pubrec);
        return Ok(Received::New(Promise { receipt, exactly_once: durable.then_some(packet_id) }));
    };
    let Some(known) = unreleased.ids.get_mut(index) else { return Err(Reason::UnexpectedPacket) };
    let stage = known.stage;
    if !known.counted {
        known.counted = true;
        unreleased.counted += 1;
    }
    match stage {
        Stage::Promised => session.receipts.repeat(packet_id, Kind::Pubrec),
        Stage::Received => session.receipts.grant(packet_id, Kind::Pubrec, Outcome::Stored),
        // [MQTT-4.3.3-6]: after PUBREL, not again; [MQTT-2.2.1-3]: nor for another message before PUBCOMP.
        Stage::Releasing => return Err(Reason::UnexpectedPacket),
    }
    session.acknowledge();
    Ok(Received::Again)
}

/// Takes a PUBREL. The receipt is that of the identifier's removal from disk, if it lies there.
pub(super) fn release(session: &mut Session, packet_id: u16) -> Result<Option<Receipt>, Reason> {
    let unreleased = &mut session.rare_mut().unreleased;
    let known = unreleased.find(packet_id).and_then(|index| unreleased.ids.get_mut(index));
    match known {
        Some(Unfinished { stage: Stage::Promised, .. }) => return Err(Reason::UnexpectedPacket),
        Some(known @ Unfinished { stage: Stage::Received, durable: true, .. }) => {
            known.stage = Stage::Releasing;
            return Ok(Some(session.receipts.promise(packet_id, Kind::Pubcomp)));
        }
        Some(Unfinished { stage: Stage::Received, .. }) => {
            unreleased.remove(packet_id);
            session.receipts.grant(packet_id, Kind::Pubcomp, Outcome::Stored);
        }
        Some(Unfinished { stage: Stage::Releasing, .. }) => session.receipts.repeat(packet_id, Kind::Pubcomp),
        // Released on an earlier connection, perhaps. MQTT 5 says so, before there is only one answer.
        None => session.receipts.grant(packet_id, Kind::Pubcomp, Outcome::NotFound),
    }
    session.shed_rare();
    session.acknowledge();
    Ok(None)
}

/// The PUBREC of a message is queued: `failed` ends the flow (MQTT 5, 4.3.3).
pub(super) fn received(session: &mut Session, packet_id: u16, outcome: Outcome) {
    let failed = session.version == Version::V5 && outcome.reason_code().is_failure();
    let unreleased = &mut session.rare_mut().unreleased;
    if failed {
        unreleased.remove(packet_id);
    } else if let Some(known) = unreleased.find(packet_id).and_then(|index| unreleased.ids.get_mut(index)) {
        known.stage = Stage::Received;
    }
}

/// The PUBCOMP of a message is queued.
pub(super) fn completed(session: &mut Session, packet_id: u16) {
    session.rare_mut().unreleased.remove(packet_id);
    session.shed_rare();
}
