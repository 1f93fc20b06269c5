//! One connection of a shard: its socket, its session, what is known of its device. Values only; the turn moves its bytes.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use schemas::config::Payload;
use schemas::generated::kept::Will;
use schemas::id::{CredentialId, DeviceId, TenantId};

use super::channel::Channel;
use super::downloading::Download;
use crate::clock::Instant;
use crate::quota::{Place, Seat};
use crate::rules::Running;
use crate::session::{AnySession, GatewayOperation, Outcome, Receipt};

/// A connection as the turn sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub channel: Channel,
    pub session: AnySession,
    /// Bytes received but not yet consumed: a partial packet, or whole ones behind unsettled receipts.
    pub unread: Box<[u8]>,
    pub accepted: Instant,
    /// When the wheel will look at its deadline.
    pub armed: Instant,
    /// Its place on this shard.
    pub place: Option<Place>,
    pub standing: Standing,
    /// There may be bytes in the socket: it said so and was not read to the end since.
    pub readable: bool,
    /// The peer is done writing: the socket is read until its end, whatever a short read suggests.
    pub ended: bool,
    /// In the list of connections to serve.
    pub queued: bool,
    /// The socket was full; it says when it takes bytes again.
    pub writing: bool,
    /// In this turn's list of connections with output.
    pub flushing: bool,
    /// Output reflects writes whose tickets are not durable yet: so many of them are waited for (DESIGN 8.1, 3).
    pub held: u32,
    /// CONNECT and what came behind it, while the control plane is asked whose it is.
    pub inquired: Box<[u8]>,
    /// Bytes of output that the socket did not take.
    pub unsent_bytes: usize,
    /// The download under way, unless its next stretch is asked for.
    pub download: Option<Box<Download>>,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Standing {
    /// No CONNECT yet; HTTP, where every request says who asks, stays here.
    New,
    /// The control plane is asked whose certificate it is.
    Inquiring(Box<Wanted>),
    /// CONNECT is accepted; its device's state is being loaded (DESIGN 19).
    Loading(Box<Wanted>),
    Admitted(Box<Admitted>),
    /// May ask to be provisioned and nothing else.
    Provisioning,
}

/// Who a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub device: DeviceId,
    /// Nil: the control plane said so of its certificate, just now.
    pub credential: CredentialId,
}

/// What CONNECT asked for, kept while the device's state is loaded.
#[derive(Debug)]
pub(super) struct Wanted {
    pub identity: Identity,
    pub client_id: Box<str>,
    pub clean_start: bool,
    pub expiry_s: u32,
    pub will: Option<Will>,
}

#[derive(Debug)]
pub(super) struct Admitted {
    pub identity: Identity,
    pub tenant: TenantId,
    /// Its place among its tenant's connections.
    pub _seat: Option<Seat>,
    /// The plan in force when the table had this generation.
    pub plan: Rc<Running>,
    /// So are the payloads of its profile.
    pub payload: Payload,
    pub generation: u64,
    /// So many of its messages wait for facts that it is not read.
    pub behind: bool,
    /// What a gateway's connection knows of its children; made when it speaks of the first.
    pub gateway: Option<Box<Gateway>>,
}

/// See [`Admitted::gateway`].
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// Children it speaks for, by device.
    pub attached: HashMap<DeviceId, Arc<str>, RandomState>,
    /// Packs whose parts are not all answered.
    pub packs: Vec<Pack>,
    pub last_pack: u32,
    /// A pack with names that only the control plane knows; the connection is not read meanwhile.
    pub parked: Option<Parked>,
}

/// One message of a gateway, several parts of which are under way (DESIGN 8.3, 10).
#[derive(Debug)]
pub(super) struct Pack {
    pub number: u32,
    pub receipt: Option<Receipt>,
    pub open: u32,
    /// The worst one so far.
    pub outcome: Outcome,
    pub packet_id: Option<u16>,
}

/// See [`Gateway::parked`].
#[derive(Debug)]
pub(super) struct Parked {
    pub operation: GatewayOperation,
    pub payload: Box<[u8]>,
    pub receipt: Option<Receipt>,
    pub packet_id: Option<u16>,
    /// Names asked for and not answered.
    pub open: u32,
    /// What a name was refused with.
    pub refused: Option<Outcome>,
}

impl Connection {
    pub(super) fn new(channel: Channel, session: AnySession, accepted: Instant) -> Self {
        Self {
            channel,
            session,
            unread: Box::default(),
            accepted,
            armed: Instant::MAX,
            place: None,
            standing: Standing::New,
            readable: false,
            ended: false,
            queued: false,
            writing: false,
            flushing: false,
            held: 0,
            inquired: Box::default(),
            unsent_bytes: 0,
            download: None,
        }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.standing {
            Standing::Admitted(admitted) => Some(admitted.identity),
            Standing::Loading(wanted) => Some(wanted.identity),
            Standing::New | Standing::Inquiring(_) | Standing::Provisioning => None,
        }
    }

    pub(super) fn admitted(&mut self) -> Option<&mut Admitted> {
        if let Standing::Admitted(admitted) = &mut self.standing { Some(admitted) } else { None }
    }

    /// On whose account it is served; nil until it is admitted (DESIGN 8.4, 14).
    pub(super) fn tenant(&self) -> TenantId {
        match &self.standing {
            Standing::Admitted(admitted) => admitted.tenant,
            _ => TenantId(uuid::Uuid::nil()),
        }
    }

    /// Something else has to happen before its next bytes are understood.
    pub(super) fn waits(&self) -> bool {
        match &self.standing {
            Standing::Loading(_) | Standing::Inquiring(_) => true,
            Standing::Admitted(admitted) => {
                admitted.behind || admitted.gateway.as_ref().is_some_and(|gateway| gateway.parked.is_some())
            }
            Standing::New | Standing::Provisioning => false,
        }
    }

    /// What it says may concern devices of other shards.
    pub(super) fn asks_others(&self) -> bool {
        match &self.standing {
            Standing::Admitted(admitted) => admitted.gateway.is_some(),
            _ => self.session.is_http(),
        }
    }

    /// Is there anything to read that may be read?
    pub(super) fn wants_service(&self) -> bool {
        self.readable && !self.session.blocked() && !self.waits()
    }
}
