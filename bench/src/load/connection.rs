//! One publishing client: its socket, its bytes, its unacknowledged messages. Knows no rate and no clock; what is sent and when
//! is decided by whoever drives it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::{Registry, Token};
use rustls::ClientConfig;

use super::packet::{self, Connack, Protocol, Publish, Received};
use super::payload::{Message, Template};
use super::tls::Secure;
use super::wire::{Got, Route, Wire};

/// What is the same for all connections of a run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) server: SocketAddr,
    /// `None`: plain TCP.
    pub(crate) tls: Option<Secure>,
    pub(crate) protocol: Protocol,
    pub(crate) template: Template,
    /// A PUBLISH with the template's text as payload.
    pub(crate) publish: Publish,
    pub(crate) keep_alive_s: u16,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    Connecting,
    /// CONNECT is sent.
    Greeting,
    Up,
}

/// A message that was sent and not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) packet_id: u16,
    pub(crate) number: u64,
    pub(crate) ts_ms: u64,
    /// When it was meant to leave.
    pub(crate) at: u64,
}

/// What arriving bytes meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Heard {
    Admitted,
    Refused(u8),
    /// A message was acknowledged, or refused with a code of 0x80 and above.
    Acked {
        number: u64,
        at: u64,
        code: u8,
    },
    /// Not in the order of sending, or of no message: order cannot be audited then.
    Disordered,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    wire: Option<Wire>,
    /// With TLS, what the device remembers of its last session.
    secure: Option<Arc<ClientConfig>>,
    /// Where it connects from, if that matters.
    pub(crate) source: Option<IpAddr>,
    out: Vec<u8>,
    /// The beginning of a packet whose rest has not arrived.
    partial: Vec<u8>,
    pub(crate) flights: VecDeque<Flight>,
    /// Of the flights, how many wait to be sent again on a new connection.
    pub(crate) resend: usize,
    last_packet_id: u16,
    pub(crate) receive_maximum: u16,
    pub(crate) seed: u64,
    /// The number of the next message.
    pub(crate) next: u64,
    pub(crate) acked: u64,
    pub(crate) refused: Vec<u64>,
    /// When it may be opened (again).
    pub(crate) open_at: u64,
    pub(crate) attempts: u32,
    /// Bytes were last sent.
    pub(crate) spoke_at: u64,
    /// The server has said its last: what it said is read to the end, though nothing more will be announced.
    pub(crate) ending: bool,
    /// Closes as soon as everything is acknowledged, to come back.
    pub(crate) leaving: bool,
}

impl Connection {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            phase: Phase::Closed,
            wire: None,
            secure: None,
            source: None,
            out: Vec::new(),
            partial: Vec::new(),
            flights: VecDeque::new(),
            resend: 0,
            last_packet_id: 0,
            receive_maximum: u16::MAX,
            seed,
            next: 0,
            acked: 0,
            refused: Vec::new(),
            open_at: 0,
            attempts: 0,
            spoke_at: 0,
            ending: false,
            leaving: false,
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// The operating system's: out of descriptors or ports.
    pub(crate) fn open(&mut self, shape: &Shape, registry: &Registry, token: Token) -> std::io::Result<()> {
        let tls = match &shape.tls {
            None => None,
            Some(secure) => Some(secure.begin(self.secure.get_or_insert_with(|| secure.of_device()))?),
        };
        let route = Route { source: self.source, ..Route::to(shape.server) };
        self.wire = Some(Wire::connect(route, tls, (registry, token))?);
        self.phase = Phase::Connecting;
        self.ending = false;
        self.out.clear();
        self.partial.clear();
        self.attempts += 1;
        Ok(())
    }

    /// The socket takes bytes: the connection is there, or there is room again. False when it broke.
    pub(crate) fn writable(&mut self, greeting: impl FnOnce() -> Vec<u8>) -> bool {
        if self.phase == Phase::Connecting {
            match self.wire.as_ref().map(Wire::is_there) {
                Some(Ok(true)) => {}
                Some(Ok(false)) => return true,
                _ => return false,
            }
            self.out = greeting();
            self.phase = Phase::Greeting;
        }
        self.flush()
    }

    /// Sends what is waiting, as far as it fits. False when the connection broke.
    pub(crate) fn flush(&mut self) -> bool {
        let Some(wire) = &mut self.wire else { return false };
        // What TLS has yet to send comes first.
        if wire.flush().is_err() {
            return false;
        }
        let mut sent = 0;
        while sent < self.out.len() {
            match wire.send(self.out.get(sent..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(_) => return false,
            }
        }
        if sent == self.out.len() {
            self.out.clear()
        } else {
            drop(self.out.drain(..sent))
        }
        true
    }

    /// Reads everything there is; `hear` is told what it means.
    pub(crate) fn readable(&mut self, protocol: Protocol, buffer: &mut [u8], mut hear: impl FnMut(&mut Self, Heard)) {
        loop {
            let Some(wire) = &mut self.wire else { return };
            let kept = self.partial.len();
            let Some(room) = buffer.get_mut(kept..) else { return hear(self, Heard::Ended) };
            let (count, more) = match wire.receive(room) {
                Got::Bytes { count, more } => (count, more),
                Got::Nothing => return,
                Got::End => return hear(self, Heard::Ended),
            };
            buffer[..kept].copy_from_slice(&self.partial);
            self.partial.clear();
            let mut bytes = &buffer[..kept + count];
            loop {
                match packet::receive(protocol, bytes) {
                    Ok(None) => break,
                    Ok(Some((received, length))) => {
                        bytes = bytes.get(length..).unwrap_or_default();
                        if let Some(heard) = self.take(received) {
                            hear(self, heard);
                        }
                    }
                    Err(packet::Malformed) => return hear(self, Heard::Ended),
                }
            }
            self.partial.extend_from_slice(bytes);
            if !more && !self.ending {
                return;
            }
        }
    }

    fn take(&mut self, received: Received) -> Option<Heard> {
        match received {
            Received::Connack(Connack { code: 0, receive_maximum, .. }) => {
                self.receive_maximum = receive_maximum;
                self.phase = Phase::Up;
                self.attempts = 0;
                Some(Heard::Admitted)
            }
            Received::Connack(connack) => Some(Heard::Refused(connack.code)),
            Received::Puback { packet_id, code } => Some(self.acknowledged(packet_id, code)),
            Received::Disconnect { .. } => Some(Heard::Ended),
            Received::Pingresp | Received::Other(_) => None,
        }
    }

    fn acknowledged(&mut self, packet_id: u16, code: u8) -> Heard {
        match self.flights.front() {
            Some(flight) if flight.packet_id == packet_id => {}
            _ => {
                self.flights.retain(|flight| flight.packet_id != packet_id);
                return Heard::Disordered;
            }
        }
        let Some(flight) = self.flights.pop_front() else { return Heard::Disordered };
        self.acked = self.acked.max(flight.number + 1);
        if code >= 0x80 {
            self.refused.push(flight.number);
        }
        Heard::Acked { number: flight.number, at: flight.at, code }
    }

    /// Puts the next message into the output. `ts_ms` is the device's time, if it says one.
    pub(crate) fn publish(&mut self, shape: &Shape, at: u64, ts_ms: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        let packet_id = self.put(shape, number, ts_ms);
        if let Some(packet_id) = packet_id {
            self.flights.push_back(Flight { packet_id, number, ts_ms, at });
        }
        number
    }

    /// Sends unacknowledged messages of an earlier connection again, in order.
    pub(crate) fn publish_again(&mut self, shape: &Shape) {
        for index in 0..std::mem::take(&mut self.resend) {
            let Some(Flight { number, ts_ms, .. }) = self.flights.get(index).copied() else { return };
            if let (Some(packet_id), Some(flight)) = (self.put(shape, number, ts_ms), self.flights.get_mut(index)) {
                flight.packet_id = packet_id;
            }
        }
    }

    fn put(&mut self, shape: &Shape, number: u64, ts_ms: u64) -> Option<u16> {
        let from = self.out.len();
        self.out.extend_from_slice(&shape.publish.bytes);
        let packet = self.out.get_mut(from..).unwrap_or_default();
        let message = Message { seed: self.seed, number, ts_ms };
        shape.template.patch(message, packet.get_mut(shape.publish.payload_at..).unwrap_or_default());
        let at = shape.publish.packet_id_at?;
        self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
        packet.get_mut(at..at + 2)?.copy_from_slice(&self.last_packet_id.to_be_bytes());
        Some(self.last_packet_id)
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len()
    }

    /// Queues bytes of another packet.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// How far it has come, for messages to people.
    pub(crate) fn stage(&self) -> &'static str {
        match self.phase {
            Phase::Closed => "closed",
            Phase::Connecting => "no TCP connection",
            Phase::Greeting if self.wire.as_ref().is_some_and(Wire::is_handshaking) => "closed in the TLS handshake",
            Phase::Greeting => "closed before CONNACK",
            Phase::Up => "closed after CONNACK",
        }
    }

    /// What TLS had against the server, or the server against us.
    pub(crate) fn fault(&self) -> Option<String> {
        self.wire.as_ref().and_then(Wire::fault).map(|fault| format!("TLS: {fault}"))
    }

    /// Whether its TLS session is a continued one.
    pub(crate) fn is_resumed(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::is_resumed)
    }

    /// Says goodbye, then as [`Self::close`].
    pub(crate) fn leave(&mut self) {
        self.say(&packet::DISCONNECT);
        self.flush();
        if let Some(wire) = &mut self.wire {
            wire.finish();
        }
        self.close();
    }

    /// Drops the socket; what is unacknowledged is to be sent again.
    pub(crate) fn close(&mut self) {
        self.wire = None;
        self.phase = Phase::Closed;
        self.out.clear();
        self.partial.clear();
        self.resend = self.flights.len();
        self.leaving = false;
    }
}
