//! One connection of a shard: its socket, its session, what is known of its device, and the task that watches it.
//!
//! The task only waits for readiness and obeys; every byte is moved and understood inside a turn.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use schemas::id::{CredentialId, DeviceId};

use super::slab::Key;
use crate::clock::Instant;
use crate::rules::Plan;
use crate::session::Session;
use crate::transport::Socket;

/// A connection as the turn sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: Rc<Socket>,
    pub signal: Rc<Signal>,
    pub session: Session,
    /// Bytes received but not yet consumed: a partial packet, or whole ones behind unsettled receipts.
    pub unread: Vec<u8>,
    pub accepted: Instant,
    pub standing: Standing,
    /// A task waits for the socket to take bytes again.
    pub writing: bool,
    /// In this turn's list of connections with output.
    pub flushing: bool,
    /// The task has said "readable" and waits for its next order.
    pub waiting: bool,
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
    /// The plan in force when the table had this generation.
    pub plan: Arc<Plan>,
    pub generation: u64,
}

impl Connection {
    pub(super) fn new(socket: Rc<Socket>, signal: Rc<Signal>, accepted: Instant) -> Self {
        Self {
            socket,
            signal,
            session: Session::new(accepted),
            unread: Vec::new(),
            accepted,
            standing: Standing::New,
            writing: false,
            flushing: false,
            waiting: false,
        }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.standing {
            Standing::Admitted(admitted) => Some(admitted.identity),
            Standing::Loading(identity) => Some(*identity),
            Standing::New => None,
        }
    }
}

/// What a connection's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Watch the socket again.
    Watch,
    /// Give the socket to this shard; nothing is outstanding on it.
    HandOver(u16),
    /// The connection is over: let the peer read what was sent, then drop the socket.
    End,
}

/// The one-place letter box between a turn and a connection's task.
#[derive(Debug, Default)]
pub(super) struct Signal {
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Gives an order; `End` is never replaced by a later one.
    pub(super) fn give(&self, order: Order) {
        if self.order.get() != Some(Order::End) {
            self.order.set(Some(order));
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for the next order.
    pub(super) async fn order(&self) -> Order {
        poll_fn(|cx| match self.order.take() {
            Some(order) => Poll::Ready(order),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// What a connection's task asks of its shard.
pub(super) trait Owner: 'static {
    /// The socket has bytes or is at its end.
    fn readable(&self, key: Key);
    /// The socket takes bytes again.
    fn writable(&self, key: Key);
    /// The socket is free of operations and is to go to `shard`.
    fn leave(&self, key: Key, socket: Socket, shard: u16);
}

/// Watches a connection for as long as its shard wants.
pub(super) async fn watch<O: Owner>(owner: Rc<O>, key: Key, socket: Rc<Socket>, signal: Rc<Signal>) {
    loop {
        // An error here shows itself again as the end of the stream when the turn reads.
        let _ready = socket.readable().await;
        owner.readable(key);
        match signal.order().await {
            Order::Watch => {}
            Order::End => return linger(&socket).await,
            Order::HandOver(shard) => {
                drop(signal);
                if let Ok(socket) = Rc::try_unwrap(socket) {
                    owner.leave(key, socket, shard);
                }
                return;
            }
        }
    }
}

/// Waits until the socket takes bytes again, once.
pub(super) async fn await_room<O: Owner>(owner: Rc<O>, key: Key, socket: Rc<Socket>) {
    let _ready = socket.writable().await;
    owner.writable(key);
}

/// Reads the rest away until the peer is done: dropping a socket with unread bytes would reset the connection, and the
/// peer would never see why it was closed. The shard shuts the socket down when this takes too long.
async fn linger(socket: &Socket) {
    let mut bytes = [0; 1_024];
    loop {
        match socket.receive(&mut bytes) {
            crate::transport::Received::Bytes(_) => {}
            crate::transport::Received::End => return,
            crate::transport::Received::Nothing => {
                if socket.readable().await.is_err() {
                    return;
                }
            }
        }
    }
}
