//! Admission: who is taken when, and a storm of TLS clients that recovers by itself.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use super::at;
use crate::limits::{CONNECT_DEADLINE_MS, CROWDED_CONNECT_DEADLINE_MS, HANDSHAKE_FRESH_MS, HANDSHAKES_PER_SHARD_S};
use crate::quota::{Admission, Decision, Place, Policy, Refused, Start};

fn host(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | number))
}

#[track_caller]
fn accepted(admission: &mut Admission, address: IpAddr, milliseconds: u64) -> Place {
    match admission.accept(address, false, at(milliseconds)) {
        Decision::Accept(place) => place,
        other => panic!("{other:?}"),
    }
}

fn refusal(admission: &mut Admission, address: IpAddr) -> Option<Refused> {
    match admission.accept(address, false, at(0)) {
        Decision::Refuse(refused) => Some(refused),
        Decision::Accept(place) => {
            admission.left(place);
            None
        }
        Decision::Later(_) => None,
    }
}

#[test]
fn a_full_shard_refuses_and_one_that_leaves_makes_room() {
    let mut admission = Admission::new(Policy::new(8));
    let mut places = Vec::new();
    for number in 0..8 {
        let mut place = accepted(&mut admission, host(number), 0);
        admission.admitted(&mut place);
        places.push(place);
    }
    assert_eq!(refusal(&mut admission, host(9)), Some(Refused::Full));
    admission.left(places.swap_remove(0));
    assert_eq!(refusal(&mut admission, host(9)), None);
}

#[test]
fn an_address_has_its_bound_and_a_proxys_clients_have_theirs() {
    let mut admission = Admission::new(Policy { connections_per_address: 2, ..Policy::new(1_000) });
    let mut places: Vec<_> = (0..2).map(|_| accepted(&mut admission, host(1), 0)).collect();
    assert_eq!(refusal(&mut admission, host(1)), Some(Refused::Address));
    assert_eq!(refusal(&mut admission, host(2)), None);
    match admission.accept(host(1), true, at(0)) {
        Decision::Accept(place) => admission.left(place),
        other => panic!("a balancer's connections are its clients': {other:?}"),
    }
    assert_eq!(admission.identified(&mut places[0], host(3)), Ok(()));
    assert_eq!(refusal(&mut admission, host(1)), None);
    assert_eq!(admission.identified(&mut places[1], host(3)), Ok(()));
    let mut third = accepted(&mut admission, host(1), 0);
    assert_eq!(admission.identified(&mut third, host(3)), Err(Refused::Address));
    places.push(third);
    places.into_iter().for_each(|place| admission.left(place));
    assert_eq!((admission.connections(), admission.newcomers(), admission.addresses()), (0, 0, 0));
}

#[test]
fn accepting_has_a_pace() {
    let mut admission = Admission::new(Policy { accepts: 10, ..Policy::new(1_000) });
    let places: Vec<_> = (0..10).map(|number| accepted(&mut admission, host(number), 0)).collect();
    assert_eq!(admission.ready(false, at(0)), Err(at(100)));
    assert!(matches!(admission.accept(host(11), false, at(0)), Decision::Later(then) if then == at(100)));
    assert_eq!(admission.ready(false, at(100)), Ok(()));
    places.into_iter().for_each(|place| admission.left(place));
}

#[test]
fn newcomers_crowd_and_no_address_may_be_most_of_them() {
    let mut admission = Admission::new(Policy::new(256));
    let mut places: Vec<_> = (0..31).map(|_| accepted(&mut admission, host(1), 0)).collect();
    assert_eq!(admission.connect_deadline_ms(), CONNECT_DEADLINE_MS);
    places.push(accepted(&mut admission, host(1), 0));
    assert_eq!(admission.connect_deadline_ms(), CROWDED_CONNECT_DEADLINE_MS);
    assert_eq!(refusal(&mut admission, host(1)), Some(Refused::Crowded));
    places.extend((2..34).map(|number| accepted(&mut admission, host(number), 0)));
    assert!(admission.ready(false, at(0)).is_err(), "a quarter of all places");
    places.iter_mut().for_each(|place| admission.admitted(place));
    assert_eq!(admission.ready(false, at(0)), Ok(()), "once they are admitted the rest is free again");
    assert_eq!(refusal(&mut admission, host(1)), None);
    places.into_iter().for_each(|place| admission.left(place));
}

#[test]
fn handshakes_wait_for_those_under_way_and_not_for_those_that_stall() {
    let mut admission = Admission::new(Policy { handshakes_fresh: 2, handshakes_waiting: 1, ..Policy::new(1_000) });
    let mut places: Vec<_> = (0..4).map(|number| accepted(&mut admission, host(number), 0)).collect();
    let mut start = |admission: &mut Admission, index: usize, milliseconds| {
        admission.handshake(&mut places[index], at(milliseconds)) == Start::Now
    };
    assert!(start(&mut admission, 0, 0) && start(&mut admission, 1, 0));
    assert!(!start(&mut admission, 2, 0) && !start(&mut admission, 2, 0));
    assert!(start(&mut admission, 0, 0), "what is under way goes on");
    assert_eq!(admission.handshakes(), (2, 1));
    assert!(admission.ready(true, at(0)).is_err(), "nobody is accepted to wait");
    assert_eq!(admission.ready(false, at(0)), Ok(()), "where no TLS is spoken everybody is");
    assert!(!start(&mut admission, 2, HANDSHAKE_FRESH_MS - 1));
    assert!(start(&mut admission, 2, HANDSHAKE_FRESH_MS), "the first two wait for their peers");
    assert_eq!(admission.handshakes(), (3, 0));
    admission.handshaken(&mut places[2]);
    admission.admitted(&mut places[0]);
    assert_eq!(admission.handshakes(), (1, 0));
    places.into_iter().for_each(|place| admission.left(place));
    assert_eq!(admission.handshakes(), (0, 0));
}

#[test]
fn a_stalled_handshake_that_ends_makes_no_room_among_the_fresh() {
    let mut admission = Admission::new(Policy { handshakes_fresh: 2, ..Policy::new(1_000) });
    let mut places: Vec<_> = (0..5).map(|number| accepted(&mut admission, host(number), 0)).collect();
    for (index, milliseconds) in [(0, 0), (1, 0), (2, HANDSHAKE_FRESH_MS), (3, HANDSHAKE_FRESH_MS)] {
        assert_eq!(admission.handshake(&mut places[index], at(milliseconds)), Start::Now);
    }
    admission.handshaken(&mut places[0]);
    assert_ne!(admission.handshake(&mut places[4], at(HANDSHAKE_FRESH_MS)), Start::Now);
    admission.handshaken(&mut places[2]);
    assert_eq!(admission.handshake(&mut places[4], at(HANDSHAKE_FRESH_MS)), Start::Now);
    places.into_iter().for_each(|place| admission.left(place));
}

/// What a handshake costs a shard until it has answered, and at its end, in microseconds; and a round trip to the client.
const BEGIN_US: u64 = 300;
const FINISH_US: u64 = 100;
const ROUND_TRIP_MS: u64 = 100;
/// How long a client tries, and rests before it tries again.
const PATIENCE_MS: u64 = 5_000;
const REST_MS: u64 = 1_500;
/// The kernel's queue.
const BACKLOG: usize = 4_096;

/// Clients that lost their connection all at once, as one shard sees them.
struct Storm {
    admission: Admission,
    /// Client and since when it tries.
    resting: VecDeque<(u32, u64)>,
    backlog: VecDeque<(u32, u64)>,
    waiting: Vec<(u32, u64, Place)>,
    under_way: VecDeque<(u32, u64, Place)>,
    admitted: Vec<Place>,
    begun: u64,
    busy_us: u64,
}

impl Storm {
    fn new(clients: u32) -> Self {
        Self {
            admission: Admission::new(Policy::new(65_536)),
            resting: (0..clients).map(|client| (client, 0)).collect(),
            backlog: VecDeque::new(),
            waiting: Vec::new(),
            under_way: VecDeque::new(),
            admitted: Vec::new(),
            begun: 0,
            busy_us: 0,
        }
    }

    /// One millisecond.
    fn step(&mut self, now: u64) {
        while let Some((client, _)) = self.resting.pop_front_if(|(_, until)| *until <= now) {
            if self.backlog.len() < BACKLOG {
                self.backlog.push_back((client, now));
            } else {
                self.resting.push_back((client, now + REST_MS));
            }
        }
        while let Some((_, _, mut place)) = self.under_way.pop_front_if(|(_, since, _)| *since + ROUND_TRIP_MS <= now) {
            self.admission.handshaken(&mut place);
            self.admission.admitted(&mut place);
            self.admitted.push(place);
            self.busy_us += FINISH_US;
        }
        while !self.backlog.is_empty() && self.admission.ready(true, at(now)).is_ok() {
            let Some((client, since)) = self.backlog.pop_front() else { break };
            let place = accepted(&mut self.admission, host(client), now);
            self.waiting.push((client, since, place));
        }
        let (gone, waiting) = self.waiting.drain(..).partition(|(_, since, _)| since + PATIENCE_MS <= now);
        self.waiting = waiting;
        self.give_up(gone, now);
        // The latest first.
        while let Some((client, since, mut place)) = self.waiting.pop() {
            if self.admission.handshake(&mut place, at(now)) != Start::Now {
                self.waiting.push((client, since, place));
                break;
            }
            self.begun += 1;
            self.busy_us += BEGIN_US;
            self.under_way.push_back((client, now, place));
        }
    }

    fn give_up(&mut self, gone: Vec<(u32, u64, Place)>, now: u64) {
        for (client, _, place) in gone {
            self.admission.left(place);
            self.resting.push_back((client, now + REST_MS));
        }
    }
}

#[test]
fn a_storm_of_ten_thousand_tls_clients_recovers_by_itself() {
    let mut storm = Storm::new(10_000);
    let mut busiest_us = 0;
    let mut now = 0;
    while storm.admitted.len() < 10_000 {
        let before = storm.busy_us;
        for _ in 0..100 {
            storm.step(now);
            now += 1;
        }
        // Many may begin at once after a rest; after that the pace holds.
        if now > 1_000 {
            busiest_us = busiest_us.max(storm.busy_us - before);
        }
        assert!(now < 20_000, "{} admitted after {now} ms", storm.admitted.len());
    }
    assert!(now <= 10_000 * 1_000 / HANDSHAKES_PER_SHARD_S + 2_000, "{now} ms: about as fast as the pace allows");
    assert_eq!(storm.begun, 10_000, "no handshake was in vain");
    assert!(busiest_us <= 60_000, "{busiest_us} us of 100 ms: others are served meanwhile");
}
