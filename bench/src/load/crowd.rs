//! Many clients in one epoll set, for whoever measures coming and going: opens them, moves their bytes, tells what happened to
//! which. Decides nothing: when a client connects, publishes or gives up is the caller's business.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context as _;
use mio::{Events, Poll, Token};

use super::clock;
use super::connection::{Connection, Heard, Phase, Shape};
use super::misuse::Misuse;
use super::packet;
use super::tokens::Device;

/// What happened to a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum News {
    /// `resumed`: its TLS session went on.
    Admitted {
        resumed: bool,
    },
    /// CONNACK said no; it is closed.
    Refused(u8),
    Acked {
        at: u64,
    },
    /// It is closed, in this stage.
    Gone(&'static str),
}

pub(crate) struct Crowd {
    pub(crate) shape: Shape,
    pub(crate) members: Vec<Connection>,
    /// The first thing that TLS had against the server, or the server against TLS: trying again will not help.
    pub(crate) fault: Option<String>,
    devices: Vec<Device>,
    anonymous: bool,
    /// Client ids begin with this.
    prefix: &'static str,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

impl Crowd {
    /// One client for each device, all closed, spread over so many loopback addresses.
    ///
    /// # Errors
    /// The operating system gives out.
    pub(crate) fn new(shape: Shape, prefix: &'static str, devices: (Vec<Device>, bool), sources: u8) -> anyhow::Result<Self> {
        let (devices, anonymous) = devices;
        let seed = clock::wall_ms().rotate_left(20);
        let mut members: Vec<Connection> = (0..devices.len()).map(|index| Connection::new(seed ^ index as u64)).collect();
        if shape.server.ip().is_loopback() && shape.server.is_ipv4() && sources > 1 {
            for (index, member) in members.iter_mut().enumerate() {
                member.source = Some(source(index, sources));
            }
        }
        let (poll, events) = (Poll::new()?, Events::with_capacity(1_024));
        Ok(Self { shape, members, fault: None, devices, anonymous, prefix, poll, events, buffer: vec![0; 1 << 16] })
    }

    /// Begins to connect one client.
    ///
    /// # Errors
    /// [`Misuse`]: descriptors or ports do not suffice.
    pub(crate) fn open(&mut self, index: usize) -> anyhow::Result<()> {
        let count = self.members.len();
        let Some(member) = self.members.get_mut(index) else { return Ok(()) };
        member.open(&self.shape, self.poll.registry(), Token(index)).map_err(|error| {
            let rule =
                format!("connection {index} cannot be opened: {error}; `ulimit -n` and the range of local ports bound them");
            Misuse::new("--connections", count, rule).into()
        })
    }

    /// Waits for sockets at most so long (a millisecond is the least), serves them, and tells what happened.
    ///
    /// # Errors
    /// The operating system gives out.
    pub(crate) fn step(&mut self, nanos: u64, news: &mut Vec<(usize, News)>) -> anyhow::Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(Duration::from_nanos(nanos))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => events.clear(),
            result => result.context("poll")?,
        }
        for event in &events {
            let index = event.token().0;
            if event.is_writable() && !self.writable(index) {
                self.gone(index, news);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                if let Some(member) = self.members.get_mut(index) {
                    member.ending |= event.is_read_closed();
                }
                self.readable(index, news);
            }
        }
        self.events = events;
        Ok(())
    }

    /// How many are admitted.
    pub(crate) fn admitted(&self) -> usize {
        self.members.iter().filter(|member| member.phase == Phase::Up).count()
    }

    fn writable(&mut self, index: usize) -> bool {
        let (protocol, keep_alive, prefix) = (self.shape.protocol, self.shape.keep_alive_s, self.prefix);
        let token = self.devices.get(index).map(|device| device.token.as_str()).filter(|_| !self.anonymous);
        let Some(member) = self.members.get_mut(index).filter(|member| member.phase != Phase::Closed) else { return true };
        member.writable(|| packet::connect(protocol, &format!("{prefix}-{index}"), token, keep_alive))
    }

    fn readable(&mut self, index: usize, news: &mut Vec<(usize, News)>) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.phase != Phase::Closed) else { return };
        let (mut refused, mut ended) = (None, false);
        // As it was before the bytes that end it are understood.
        let stage = member.stage();
        member.readable(self.shape.protocol, &mut self.buffer, |member, heard| match heard {
            Heard::Acked { at, .. } => news.push((index, News::Acked { at })),
            Heard::Admitted => news.push((index, News::Admitted { resumed: member.is_resumed() })),
            Heard::Refused(code) => refused = Some(code),
            Heard::Disordered => {}
            Heard::Ended => ended = true,
        });
        if let Some(code) = refused {
            member.close();
            news.push((index, News::Refused(code)));
        } else if ended {
            self.fault = self.fault.take().or_else(|| member.fault());
            member.close();
            news.push((index, News::Gone(stage)));
        }
    }

    fn gone(&mut self, index: usize, news: &mut Vec<(usize, News)>) {
        if let Some(member) = self.members.get_mut(index) {
            news.push((index, News::Gone(member.stage())));
            member.close();
        }
    }
}

/// Lets other threads of this program go first: what witnesses see is to be the server's doing, not that of the crowd beside them.
pub(crate) fn step_back() {
    // Only a politeness: it works without.
    let _stepped = rustix::process::setpriority_process(None, 5);
}

/// 127.0.0.1, 127.0.0.2 and so on, in turn.
pub(crate) fn source(index: usize, sources: u8) -> IpAddr {
    let last = index % usize::from(sources.max(1)) + 1;
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap_or(1)))
}

/// Lets this process have as many descriptors as its user may.
///
/// # Errors
/// [`Misuse`] when so many connections need more.
pub(crate) fn descriptors(connections: usize) -> Result<(), Misuse> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, what there is decides.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    // Files, epoll and the generator's own besides.
    let needed = connections as u64 + 64;
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < needed => {
            Err(Misuse::new("--connections", connections, format!("need {needed} descriptors, this user may have {most}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_over_loopback() {
        let addresses: Vec<String> = [0, 1, 7, 8].iter().map(|index| source(*index, 8).to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.8", "127.0.0.1"]);
        assert_eq!(source(3, 0).to_string(), "127.0.0.1");
    }

    #[test]
    fn too_many_connections_are_named() {
        let said = descriptors(usize::MAX >> 1).unwrap_err().to_string();
        assert!(said.starts_with("--connections") && said.contains("descriptors"), "{said}");
    }
}
