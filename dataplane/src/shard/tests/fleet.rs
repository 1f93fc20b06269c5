//! Two shards or one on this thread, over stores in memory that can crash, and a gateway that speaks MQTT to them by a real socket.
//! Turns are made by the test, so a crash is at the turn it names. Never sleeps for anything but the commit lanes.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use schemas::chain::{Chain, default_root_chain};
use schemas::config::{Device, Limits, Profile};
use schemas::id::{ChainId, CredentialId, DeviceId, EntityId, Partition, ProfileId, TenantId};
use schemas::telemetry::Scope;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::auth::{Forwarders, token_sha256};
use crate::clock::{Clock, Timestamp};
use crate::device::forward;
use crate::limits::Pools;
use crate::metric::{Counter, ShardReport};
use crate::owed::Due;
use crate::quota;
use crate::registry::Question;
use crate::rules::Plan;
use crate::shard::bell::{Bell, doorbell};
use crate::shard::listening::{Listening, Protocol};
use crate::shard::mesh::full_mesh;
use crate::shard::run::{Driver, Parts, furnish};
use crate::shard::turn::Shard;
use crate::shard::{Applied, Event, Mailbox, Placement, Submit};
use crate::snapshot::directory::DirectoryWriter;
use crate::snapshot::{Directory, ShardChange};
use crate::store::memory::MemoryEngine;
use crate::store::record::{self, Row};
use crate::store::{Batch, Durability, Engine, Family, Range, key};
use crate::transport;

pub(super) const TOKEN: &str = "gateway";
/// Whose devices these are.
pub(super) const TENANT: TenantId = TenantId(Uuid::from_u128(1));
/// Its children: a name each, of the first shard and of the second.
pub(super) const CHILDREN: [&str; 3] = ["A", "B", "C"];

/// What the table is told of the device of a name.
pub(super) fn own_device(name: &str) -> Device {
    Device {
        id: device(name),
        tenant: TENANT,
        profile: ProfileId(Uuid::from_u128(2)),
        name: name.into(),
        kind: "default".into(),
        label: None,
        created_ms: 0,
        gateway: name == TOKEN,
        customer: None,
    }
}

/// The device of a name: the gateway and "A" belong to the first of two shards, the others to the second.
pub(super) fn device(name: &str) -> DeviceId {
    let wanted = u16::from(!matches!(name, TOKEN | "A"));
    let first = name.bytes().fold(1_u128, |sum, byte| sum * 256 + u128::from(byte)) << 64;
    let of = |n: u128| DeviceId(Uuid::from_u128(first + n));
    (0..).map(of).find(|id| Placement::new(2).shard_of(Partition::of((*id).into())) == wanted).expect("there are enough")
}

/// Stores in which the gateway knows its children.
pub(super) fn engines(shards: u16) -> Vec<Arc<MemoryEngine>> {
    let engines: Vec<_> = (0..shards).map(|_| MemoryEngine::new()).collect();
    let mut batch = Batch::new();
    for name in CHILDREN {
        let known = key::kept(device(TOKEN).into(), key::Part::Child, name.as_bytes());
        batch.put(Family::State, &known, device(name).0.as_bytes());
    }
    engines[0].write(&batch).unwrap();
    engines[0].flush(true).unwrap();
    engines
}

/// The same data in one store, as after a move of partitions to fewer shards.
pub(super) fn merged(engines: &[Arc<MemoryEngine>]) -> Vec<Arc<MemoryEngine>> {
    let one = MemoryEngine::new();
    let mut batch = Batch::new();
    for engine in engines {
        for family in Family::ALL {
            let each = &mut |key: &[u8], value: &[u8]| {
                batch.put(family, key, value);
                ControlFlow::Continue(())
            };
            engine.scan(Range::new(family, &[0], &[0xFF; 40]), each).unwrap();
        }
    }
    one.write(&batch).unwrap();
    one.flush(true).unwrap();
    vec![one]
}

pub(super) struct Fleet {
    pub(super) shards: Vec<Shard>,
    pub(super) engines: Vec<Arc<MemoryEngine>>,
    pub(super) clock: Clock,
    /// Calls to the outside, which nobody makes but the test.
    pub(super) calls: mpsc::Receiver<Due>,
    address: SocketAddr,
    credentials: DirectoryWriter,
    /// What the shards ask of the control plane.
    pub(super) questions: mpsc::Receiver<Question>,
}

impl Fleet {
    /// Starts on what these stores hold, with this epoch, and applies the configuration.
    pub(super) fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Self {
        let placement = Placement::new(u16::try_from(engines.len()).unwrap());
        let bells: Vec<_> = engines.iter().map(|_| doorbell().unwrap()).collect();
        let doorbells: Vec<_> = bells.iter().map(|(ring, _)| Arc::clone(ring)).collect();
        let bound = transport::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = bound.address;
        let mut sockets = bound.listeners.into_iter();
        let directory = Directory::new();
        let mut credentials = DirectoryWriter::new(Arc::clone(&directory));
        credentials.insert(CredentialId(Uuid::nil()), device(TOKEN), &token_sha256(TOKEN));
        let clock = Clock::start();
        let (calls_out, calls) = mpsc::channel(64);
        let (questions, asked) = mpsc::channel(16);
        let pieces = bells.into_iter().zip(full_mesh(&doorbells)).zip(&engines);
        let shards = (0..).zip(pieces).map(|(index, (((doorbell, heard), mesh), engine))| {
            let listening = |socket| Listening { socket, protocol: Protocol::Mqtt, tls: None, proxied: false, waiting: true };
            let again = Arc::clone(engine);
            let parts = Parts {
                index,
                placement,
                driver: Driver::Epoll,
                durability: Durability::Synced,
                clock,
                listeners: sockets.next().map(listening).into_iter().collect(),
                heard,
                doorbell: Arc::clone(&doorbell),
                mailbox: Mailbox::new(doorbell),
                mesh,
                directory: Arc::clone(&directory),
                report: ShardReport { counters: Arc::default(), health: Arc::default() },
                engine: Arc::<MemoryEngine>::clone(engine),
                reopen: Box::new(move || Ok(Arc::<MemoryEngine>::clone(&again))),
                epoch,
                pools: Pools::FULL,
                connections_per_address: None,
                rpc_submit: Submit::Burst,
                forwarders: Forwarders::new("the token of both planes"),
                questions: questions.clone(),
                instance: "here".into(),
                calls_out: calls_out.clone(),
            };
            furnish(parts, Rc::new(Bell::default())).unwrap()
        });
        let mut fleet = Self { shards: shards.collect(), engines, clock, calls, address, questions: asked, credentials };
        fleet.configure();
        fleet
    }

    fn configure(&mut self) {
        let (tenant, profile) = (TENANT, ProfileId(Uuid::from_u128(2)));
        let plan = Arc::new(Plan::compile(&Chain::parse(&default_root_chain().to_string()).unwrap()));
        let general = [
            ShardChange::Tenant(tenant, quota::Tenant::new(&Limits::default()), Arc::default()),
            ShardChange::Profile(Profile { id: profile, tenant, name: "default".into(), chain: None, mqtt: None, alarms: None }),
            ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant, root: true, plan },
        ];
        self.apply(&general);
        for name in CHILDREN.into_iter().chain([TOKEN]) {
            self.apply(&[ShardChange::Device(own_device(name))]);
        }
        self.apply(&[ShardChange::Whole]);
    }

    /// One whose tenant's root chain is this one.
    pub(super) fn drawn(engines: Vec<Arc<MemoryEngine>>, epoch: u32, chain: &Chain) -> Self {
        let mut fleet = Self::start(engines, epoch);
        fleet.draw(chain);
        fleet
    }

    /// The tenant's root chain is this one.
    pub(super) fn draw(&mut self, chain: &Chain) {
        let plan = Arc::new(Plan::compile(chain));
        self.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    }

    /// Another tenant, with devices of these names and tokens whose messages go through this chain.
    pub(super) fn admit(&mut self, number: u128, names: &[&str], chain: &Chain) {
        let id = |more: u128| Uuid::from_u128(number * 1_000 + more);
        let (tenant, profile) = (TenantId(id(0)), ProfileId(id(1)));
        let plan = Arc::new(Plan::compile(chain));
        self.apply(&[
            ShardChange::Tenant(tenant, quota::Tenant::new(&Limits::default()), Arc::default()),
            ShardChange::Profile(Profile { id: profile, tenant, name: "default".into(), chain: None, mqtt: None, alarms: None }),
            ShardChange::Chain { id: ChainId(id(2)), tenant, root: true, plan },
        ]);
        for (n, name) in (10..).zip(names) {
            self.apply(&[ShardChange::Device(Device { tenant, profile, ..own_device(name) })]);
            self.credentials.insert(CredentialId(id(n)), device(name), &token_sha256(name));
        }
    }

    pub(super) fn apply(&mut self, changes: &[ShardChange]) {
        for shard in &mut self.shards {
            let own = |change: &&ShardChange| change.concerns(|partition| shard.placement.shard_of(partition) == shard.index);
            let changes = Arc::new(changes.iter().filter(own).cloned().collect());
            let applied = Applied::new(1, || {}).pop().unwrap();
            shard.take_event(Event::Config { changes, applied });
        }
    }

    /// One turn of every shard, and a moment for their lanes.
    pub(super) fn turn(&mut self) {
        self.shards.iter_mut().for_each(Shard::turn);
        std::thread::sleep(Duration::from_micros(100));
    }

    /// Turns until this is so.
    pub(super) fn turn_until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        for _ in 0..20_000 {
            self.turn();
            if is(self) {
                return;
            }
        }
        panic!("never: {what}");
    }

    /// What a crash leaves, if the disk of each shard holds so many more batches than it promised.
    pub(super) fn crash(&self, keeping: &[usize]) -> Vec<Arc<MemoryEngine>> {
        self.engines.iter().zip(keeping.iter().cycle()).map(|(engine, keeping)| engine.crash_keeping(*keeping)).collect()
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.counters.get(counter)).sum()
    }

    /// Packs that are not finished, by their numbers.
    pub(super) fn pending(&self) -> Vec<forward::Pending> {
        pending(&self.engines)
    }

    fn owner(&self, name: &str) -> &MemoryEngine {
        let shard = self.shards[0].placement.shard_of(Partition::of(device(name).into()));
        &self.engines[usize::from(shard)]
    }

    /// Every row of a child: the value of "n", with all its timestamps.
    pub(super) fn rows(&self, name: &str) -> BTreeMap<i64, Vec<Timestamp>> {
        let entity = EntityId::from(device(name));
        let (from, to) = (key::rows_from(entity, Timestamp(0)), key::entity_end(key::Kind::Row, entity));
        let mut rows: BTreeMap<i64, Vec<Timestamp>> = BTreeMap::new();
        let each = &mut |key: &[u8], record: &[u8]| {
            let (ts, _) = key::parse_row(key).unwrap();
            for cell in Row::read(key, record).unwrap().cells() {
                if let crate::message::Value::Long(n) = cell.value {
                    rows.entry(n).or_default().push(ts);
                }
            }
            ControlFlow::Continue(())
        };
        self.owner(name).scan(Range::new(Family::Rows, &from, &to), each).unwrap();
        rows
    }

    /// A child's client attribute "n".
    pub(super) fn attribute(&self, name: &str) -> Option<i64> {
        let key = key::attribute(device(name).into(), Scope::Client, "n");
        let record = self.owner(name).get(Family::State, &key).unwrap()?;
        match record::read_attribute(&key, &record).unwrap().value {
            crate::message::Value::Long(n) => Some(n),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn pending(engines: &[Arc<MemoryEngine>]) -> Vec<forward::Pending> {
    let mut found = Vec::new();
    for engine in engines {
        forward::pending(&**engine, |pack| found.push(pack.unwrap())).unwrap();
    }
    found
}

/// A gateway's end of a connection, with a session that is kept.
pub(super) struct Client {
    stream: TcpStream,
    read: VecDeque<u8>,
    five: bool,
    pub(super) ended: bool,
}

/// What the server said: packet type, identifier and reason code.
pub(super) type Said = (u8, u16, u8);

pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBCOMP: u8 = 7;
const DISCONNECT: u8 = 14;

impl Client {
    /// Connects and goes on with its session, or begins a new one.
    pub(super) fn connect(fleet: &mut Fleet, five: bool, clean: bool) -> Self {
        Self::connect_as(TOKEN, fleet, five, clean)
    }

    /// As the device of this token.
    pub(super) fn connect_as(token: &str, fleet: &mut Fleet, five: bool, clean: bool) -> Self {
        let stream = TcpStream::connect(fleet.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, read: VecDeque::new(), five, ended: false };
        let level = if five { 5 } else { 4 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 0x80 | u8::from(clean) << 1, 0, 0];
        if five {
            // Session expiry: an hour.
            body.extend([5, 0x11, 0, 0, 14, 16]);
        }
        body.extend(string("g"));
        body.extend(string(token));
        client.send(0x10, &body);
        let mut said = None;
        fleet.turn_until("a CONNACK", |_| {
            said = client.take();
            said.is_some()
        });
        assert!(said.is_some_and(|(kind, flags_and_code, _)| kind == 2 && flags_and_code & 0xFF == 0), "accepted: {said:?}");
        client
    }

    /// Whether it speaks MQTT 5, whose acknowledgements have codes.
    pub(super) fn is_five(&self) -> bool {
        self.five
    }

    fn send(&mut self, head: u8, body: &[u8]) {
        let mut packet = vec![head];
        let mut length = body.len();
        while length > 127 {
            packet.push(u8::try_from(length % 128).unwrap() | 0x80);
            length /= 128;
        }
        packet.push(u8::try_from(length).unwrap());
        packet.extend(body);
        // A connection that is over says so when it is read.
        let _sent = self.stream.write_all(&packet);
    }

    pub(super) fn publish(&mut self, topic: &str, id: u16, payload: &str) {
        self.publish_at(2, topic, id, payload);
    }

    /// The same at another quality of service.
    pub(super) fn publish_at(&mut self, qos: u8, topic: &str, id: u16, payload: &str) {
        let mut body = string(topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        body.extend(if self.five { &[0][..] } else { &[] });
        body.extend(payload.as_bytes());
        self.send(0x30 | qos << 1, &body);
    }

    pub(super) fn release(&mut self, id: u16) {
        self.send(0x62, &id.to_be_bytes());
    }

    /// The next packet that has come, if one has.
    pub(super) fn take(&mut self) -> Option<Said> {
        let mut bytes = [0; 4_096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) => self.read.extend(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
        let length = usize::from(*self.read.get(1)?);
        if self.read.len() < length + 2 {
            return None;
        }
        let packet: Vec<u8> = self.read.drain(..length + 2).collect();
        let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
        self.ended |= packet[0] >> 4 == DISCONNECT;
        Some((packet[0] >> 4, u16::from_be_bytes([byte(2), byte(3)]), byte(4)))
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
