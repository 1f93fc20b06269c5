//! One connection of a shard: its socket, its session, what is known of its device. Values only; the turn moves its bytes.

use std::sync::Arc;

use schemas::id::{CredentialId, DeviceId, TenantId};

use crate::clock::Instant;
use crate::rules::Plan;
use crate::session::Session;
use crate::transport::Socket;

/// A connection as the turn sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: Socket,
    pub session: Session,
    /// Bytes received but not yet consumed: a partial packet, or whole ones behind unsettled receipts.
    pub unread: Box<[u8]>,
    pub accepted: Instant,
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
    /// Bytes of output that the socket did not take.
    pub unsent_bytes: usize,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Standing {
    /// No CONNECT yet.
    New,
    /// CONNECT is accepted; its device's state is being loaded (DESIGN 19).
    Loading(Identity),
    Admitted(Box<Admitted>),
}

/// Who a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub device: DeviceId,
    pub credential: CredentialId,
}

#[derive(Debug)]
pub(super) struct Admitted {
    pub identity: Identity,
    pub tenant: TenantId,
    /// The plan in force when the table had this generation.
    pub plan: Arc<Plan>,
    pub generation: u64,
}

impl Connection {
    pub(super) fn new(socket: Socket, accepted: Instant) -> Self {
        Self {
            socket,
            session: Session::new(accepted),
            unread: Box::default(),
            accepted,
            standing: Standing::New,
            readable: false,
            ended: false,
            queued: false,
            writing: false,
            flushing: false,
            unsent_bytes: 0,
        }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.standing {
            Standing::Admitted(admitted) => Some(admitted.identity),
            Standing::Loading(identity) => Some(*identity),
            Standing::New => None,
        }
    }

    /// On whose account it is served; nil until it is admitted (DESIGN 8.4, 14).
    pub(super) fn tenant(&self) -> TenantId {
        match &self.standing {
            Standing::Admitted(admitted) => admitted.tenant,
            Standing::New | Standing::Loading(_) => TenantId(uuid::Uuid::nil()),
        }
    }

    /// Is there anything to read that may be read?
    pub(super) fn wants_service(&self) -> bool {
        self.readable && !self.session.blocked() && !matches!(self.standing, Standing::Loading(_))
    }
}
