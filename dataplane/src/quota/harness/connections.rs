//! Admission against a list of who is there.

use std::net::{IpAddr, Ipv6Addr};

use super::Script;
use crate::clock::Instant;
use crate::quota::admission::{Admission, Decision, Place, Policy, Refused, Start};

const POLICY: Policy = Policy {
    connections: 40,
    connections_per_address: 12,
    accepts: 50,
    handshakes: 20,
    handshakes_fresh: 4,
    handshakes_under_way: 6,
    handshakes_waiting: 3,
};

/// One that is there.
struct Guest {
    place: Place,
    address: u8,
    admitted: bool,
    /// Since when its handshake is under way.
    handshaking: Option<u64>,
}

struct Run {
    admission: Admission,
    guests: Vec<Guest>,
    now_ms: u64,
}

/// Any order of arrivals, handshakes and goodbyes.
pub(super) fn admission(script: &mut Script<'_>) {
    let mut run = Run { admission: Admission::new(POLICY), guests: Vec::new(), now_ms: 0 };
    while let Some(deed) = script.byte() {
        let argument = script.byte().unwrap_or_default();
        match deed % 8 {
            0 | 1 => run.accept(argument),
            2 => run.now_ms += u64::from(argument) * 8,
            3 => run.handshake(argument),
            4 => run.handshaken(argument),
            5 => run.admitted(argument),
            6 => run.left(argument),
            _ => run.identified(argument),
        }
        run.check();
    }
    while !run.guests.is_empty() {
        run.left(0);
    }
    run.check();
    assert_eq!(run.admission.handshakes(), (0, 0), "nobody is left");
}

/// Eight hosts of an IPv6 provider, each with many addresses.
fn ip(address: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, u16::from(address % 8), 0, 0, 0, u16::from(address)))
}

impl Run {
    fn now(&self) -> Instant {
        Instant::default().after_ms(self.now_ms)
    }

    fn of_address(&self, address: u8) -> impl Iterator<Item = &Guest> {
        self.guests.iter().filter(move |guest| guest.address % 8 == address % 8)
    }

    fn guest(&mut self, argument: u8) -> Option<(&mut Admission, &mut Guest)> {
        let index = usize::from(argument) % self.guests.len().max(1);
        Some((&mut self.admission, self.guests.get_mut(index)?))
    }

    fn accept(&mut self, address: u8) {
        let now = self.now();
        let ready = self.admission.ready(false, now);
        let there = self.of_address(address).count();
        match self.admission.accept(ip(address), false, now) {
            Decision::Accept(place) => {
                assert!(ready.is_ok() && self.guests.len() < 40 && there < 12, "{ready:?}, {there} of {}", self.guests.len());
                self.guests.push(Guest { place, address, admitted: false, handshaking: None });
            }
            Decision::Later(at) => assert!(ready.is_err() && at > now, "later is not now"),
            Decision::Refuse(Refused::Full) => assert_eq!(self.guests.len(), 40),
            Decision::Refuse(Refused::Address) => assert!(there >= 12),
            Decision::Refuse(Refused::Crowded) => {
                assert!(self.of_address(address).any(|guest| !guest.admitted) && self.admission.newcomers() >= 5);
                assert_eq!(self.admission.connect_deadline_ms(), crate::limits::CROWDED_CONNECT_DEADLINE_MS);
            }
        }
    }

    fn handshake(&mut self, argument: u8) {
        let (now, now_ms) = (self.now(), self.now_ms);
        let fresh = self.guests.iter().filter(|guest| guest.handshaking.is_some_and(|since| now_ms - since < 896)).count();
        let Some((admission, guest)) = self.guest(argument) else { return };
        let was = guest.handshaking.is_some() || guest.admitted;
        match admission.handshake(&mut guest.place, now) {
            Start::Now if was => {}
            Start::Now => {
                assert!(fresh < 4, "{fresh} are fresh");
                guest.handshaking = Some(now_ms);
            }
            Start::Later(at) => assert!(!was && at > now, "what is under way is finished"),
        }
    }

    fn handshaken(&mut self, argument: u8) {
        if let Some((admission, guest)) = self.guest(argument) {
            admission.handshaken(&mut guest.place);
            guest.handshaking = None;
        }
    }

    fn admitted(&mut self, argument: u8) {
        if let Some((admission, guest)) = self.guest(argument) {
            admission.admitted(&mut guest.place);
            (guest.admitted, guest.handshaking) = (true, None);
        }
    }

    fn left(&mut self, argument: u8) {
        if !self.guests.is_empty() {
            let guest = self.guests.swap_remove(usize::from(argument) % self.guests.len());
            self.admission.left(guest.place);
        }
    }

    /// Half of them are closed for it, as they must be when they are too many.
    fn identified(&mut self, argument: u8) {
        let Some((admission, guest)) = self.guest(argument) else { return };
        let address = argument >> 4;
        let refused = admission.identified(&mut guest.place, ip(address)).is_err();
        guest.address = address;
        if refused {
            self.left(argument);
        }
    }

    fn check(&self) {
        let newcomers = self.guests.iter().filter(|guest| !guest.admitted).count();
        let handshaking = self.guests.iter().filter(|guest| guest.handshaking.is_some()).count();
        let mut addresses: Vec<u8> = self.guests.iter().map(|guest| guest.address % 8).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(self.admission.connections() as usize, self.guests.len());
        assert_eq!(self.admission.newcomers() as usize, newcomers);
        assert_eq!(self.admission.addresses(), addresses.len());
        assert_eq!(self.admission.handshakes().0 as usize, handshaking);
        assert!(handshaking <= 6 && newcomers <= 10 && self.admission.handshakes().1 as usize <= self.guests.len());
    }
}
