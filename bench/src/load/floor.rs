//! The floor that every broker stands on: answers CONNECT with CONNACK and every PUBLISH of QoS 1 with PUBACK, all answers of one
//! readiness in one write, and does nothing else. One thread, one epoll set. No broker: it keeps nothing and checks nothing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::options::{self, Floor};

const LISTENER: Token = Token(usize::MAX);
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// Longer packets end their connection.
const BUFFER_BYTES: usize = 1 << 17;
const PINGRESP: [u8; 2] = [0xD0, 0];

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    partial: Vec<u8>,
}

/// Serves until it is killed.
///
/// # Errors
/// The address cannot be bound, or the operating system gives out.
pub(crate) fn run(options: &Floor) -> anyhow::Result<()> {
    let mut listener = TcpListener::bind(options::address("--listen", &options.listen)?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1_024);
    let mut clients: HashMap<usize, Client> = HashMap::new();
    let mut next = 0;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let Token(index) = event.token();
                if event.is_readable() && clients.get_mut(&index).is_some_and(|client| !serve(client, &mut buffer)) {
                    clients.remove(&index);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                clients.insert(next, Client { stream, partial: Vec::new() });
                next += 1;
            }
        }
    }
}

/// False when the client is gone.
fn serve(client: &mut Client, buffer: &mut [u8]) -> bool {
    loop {
        let kept = client.partial.len();
        if kept == buffer.len() {
            return false;
        }
        let count = match client.stream.read(&mut buffer[kept..]) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        buffer[..kept].copy_from_slice(&client.partial);
        let mut bytes = &buffer[..kept + count];
        let mut answers = Vec::new();
        while let Some((first, body, length)) = packet(bytes) {
            match first >> 4 {
                1 => answers.extend_from_slice(&CONNACK),
                3 if first & 0x06 == 0x02 => puback(body, &mut answers),
                12 => answers.extend_from_slice(&PINGRESP),
                14 => return false,
                _ => {}
            }
            bytes = &bytes[length..];
        }
        client.partial = bytes.to_vec();
        if !answers.is_empty() && client.stream.write_all(&answers).is_err() {
            return false;
        }
        if kept + count < buffer.len() {
            return true;
        }
    }
}

fn puback(body: &[u8], answers: &mut Vec<u8>) {
    let topic = body.get(..2).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    if let Some([high, low]) = body.get(2 + topic..4 + topic) {
        answers.extend_from_slice(&[0x40, 2, *high, *low]);
    }
}

/// The first packet: its first byte, its body and its whole length.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, after) = bytes.split_first()?;
    let (mut length, mut shift) = (0, 0);
    for (index, byte) in after.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((*first, after.get(index + 1..index + 1 + length)?, index + 2 + length));
        }
    }
    None
}
