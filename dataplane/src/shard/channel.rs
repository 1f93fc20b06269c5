//! The bytes of one connection: its socket with TLS if there is any, the PROXY header in front, WebSocket frames around them. What
//! comes out and goes in is what the session speaks. Never waits, never understands what it carries.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{RecvFlags, recv};

use crate::codec::proxy;
use crate::codec::websocket::{self, CloseCode, Decoder};
use crate::limits;
use crate::transport::{Fault, Received, Released, Sent, Stream};

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    pub stream: Stream,
    pub peer: IpAddr,
    /// A balancer says who the peer is before its first byte.
    proxied: bool,
    frames: Option<Box<Frames>>,
}

/// MQTT in WebSocket frames.
#[derive(Debug, Default)]
struct Frames {
    decoder: Decoder,
    /// What frames carried and nobody has taken yet.
    payload: Vec<u8>,
    /// Frames, and what was said before the first, that the socket did not take.
    output: Vec<u8>,
    over: bool,
}

/// A channel between two shards.
#[derive(Debug)]
pub(super) struct MovedChannel {
    stream: Released,
    peer: IpAddr,
    frames: Option<Box<Frames>>,
}

/// What became of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left.
    All,
    /// The socket is full; it says when it takes bytes again.
    Some,
    Broken,
}

impl Channel {
    pub(super) fn new(stream: Stream, peer: IpAddr, proxied: bool) -> Self {
        Self { stream, peer, proxied, frames: None }
    }

    pub(super) fn adopt(moved: MovedChannel) -> Self {
        Self { stream: Stream::adopt(moved.stream), peer: moved.peer, proxied: false, frames: moved.frames }
    }

    /// Gives the connection up for another shard.
    ///
    /// # Errors
    /// The channel itself while something encrypted or framed is unsent.
    pub(super) fn release(self) -> Result<MovedChannel, Self> {
        if self.frames.as_ref().is_some_and(|frames| !frames.output.is_empty()) {
            return Err(self);
        }
        let Self { stream, peer, proxied, frames } = self;
        match stream.release() {
            Ok(stream) => Ok(MovedChannel { stream, peer, frames }),
            Err(stream) => Err(Self { stream, peer, proxied, frames }),
        }
    }

    /// Whether [`Self::receive`] would find something without the socket saying so.
    pub(super) fn has_unread(&self) -> bool {
        self.stream.has_unread() || self.frames.as_ref().is_some_and(|frames| !frames.payload.is_empty() || frames.over)
    }

    /// Reads what is there, as [`Stream::receive`] does.
    pub(super) fn receive(&mut self, into: &mut [u8]) -> Received {
        if self.proxied {
            match self.take_header(into) {
                Some(received) => return received,
                None => self.proxied = false,
            }
        }
        let Some(frames) = &mut self.frames else { return self.stream.receive(into) };
        if !frames.payload.is_empty() {
            return frames.take(into, true);
        }
        if frames.over {
            return Received::End;
        }
        match self.stream.receive(into) {
            Received::Bytes { count, more } => frames.decode(into, count, more),
            other => other,
        }
    }

    /// Looks for the PROXY header without taking anything behind it; `None`: it is gone.
    fn take_header(&mut self, scratch: &mut [u8]) -> Option<Received> {
        let scratch = scratch.get_mut(..limits::PROXY_HEADER_BYTES_MAX)?;
        let seen = match recv(self.stream.as_fd(), &mut *scratch, RecvFlags::PEEK) {
            Ok((0, _)) => return Some(Received::End),
            Ok((count, _)) => count,
            Err(rustix::io::Errno::AGAIN) => return Some(Received::Nothing),
            Err(_) => return Some(Received::End),
        };
        match proxy::decode(scratch.get(..seen)?) {
            Ok(Some(header)) => {
                // All of it was there a moment ago.
                let _taken = recv(self.stream.as_fd(), scratch.get_mut(..header.bytes)?, RecvFlags::empty());
                self.peer = header.source.map_or(self.peer, |source| source.ip());
                None
            }
            Ok(None) => Some(Received::Nothing),
            Err(_) => Some(Received::Broken(Fault::Protocol)),
        }
    }

    /// From here on it is frames. `said`: what was said before them; `raw`: what was read behind the request.
    pub(super) fn upgrade(&mut self, said: Vec<u8>, raw: &[u8]) -> Received {
        let mut frames = Box::new(Frames { output: said, ..Frames::default() });
        let decoded = frames.take_raw(raw);
        self.frames = Some(frames);
        decoded
    }

    /// Sends what the session has said; empties `output` as far as it is taken over.
    pub(super) fn send(&mut self, output: &mut Vec<u8>) -> Written {
        match self.stream.flush() {
            Sent::Broken => return Written::Broken,
            Sent::Full => return Written::Some,
            Sent::Bytes(_) => {}
        }
        let Some(frames) = &mut self.frames else { return send_all(&mut self.stream, output) };
        if !output.is_empty() {
            websocket::encode_binary(output, &mut frames.output);
            *output = Vec::new();
        }
        send_all(&mut self.stream, &mut frames.output)
    }

    /// Frames that the socket did not take, in bytes.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.frames.as_ref().map_or(0, |frames| frames.output.len())
    }

    /// Says that nothing more will be written.
    pub(super) fn finish(&mut self) {
        if let Some(frames) = &mut self.frames {
            if !frames.over {
                websocket::encode_close(CloseCode::NORMAL, &mut frames.output);
            }
            send_all(&mut self.stream, &mut frames.output);
        }
        self.stream.finish();
    }
}

fn send_all(stream: &mut Stream, output: &mut Vec<u8>) -> Written {
    let mut sent = 0;
    while let Some(rest) = output.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.send(rest) {
            Sent::Bytes(count) => sent += count,
            Sent::Full => {
                output.drain(..sent);
                return Written::Some;
            }
            Sent::Broken => return Written::Broken,
        }
    }
    // An idle connection holds no buffer.
    *output = Vec::new();
    if stream.wants_write() { Written::Some } else { Written::All }
}

impl Frames {
    /// Decodes `count` raw bytes at the front of `into`, where their payload, which is never longer, takes their place.
    fn decode(&mut self, into: &mut [u8], count: usize, more: bool) -> Received {
        let raw = into.get(..count).unwrap_or_default();
        match self.decoder.decode(raw, &mut self.payload, &mut self.output) {
            Ok(websocket::Stream::Open) => {}
            Ok(websocket::Stream::Closed) => self.over = true,
            Err(error) => {
                websocket::encode_close(error.close_code(), &mut self.output);
                self.over = true;
            }
        }
        self.take(into, more)
    }

    fn take_raw(&mut self, raw: &[u8]) -> Received {
        let mut bytes = raw.to_vec();
        let count = bytes.len();
        let received = self.decode(&mut bytes, count, false);
        if let Received::Bytes { count, .. } = received {
            bytes.truncate(count);
            self.payload = bytes;
        }
        received
    }

    fn take(&mut self, into: &mut [u8], more: bool) -> Received {
        let count = self.payload.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(self.payload.drain(..count)) {
            *place = byte;
        }
        if self.payload.is_empty() {
            self.payload = Vec::new();
        }
        let more = more || !self.payload.is_empty() || self.over;
        if count == 0 && !more { Received::Nothing } else { Received::Bytes { count, more } }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
