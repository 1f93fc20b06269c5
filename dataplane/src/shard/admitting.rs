//! Admit: whose connection this is, the shard that owns the device, its state; CONNACK only when all are at hand (DESIGN 11, 19).

use std::sync::Arc;

use schemas::generated::kept::Will;
use schemas::id::{CredentialId, DeviceId, EntityId, Partition};
use uuid::Uuid;

use super::connection::{Admitted, Identity, Standing, Wanted};
use super::inquiring::Asker;
use super::letter::{Letter, Moved};
use super::residents::{Parked, Parking};
use super::saving::writing;
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use crate::auth::{self, Shown};
use crate::metric::Counter;
use crate::quota;
use crate::registry::{Ask, Told};
use crate::session::{self, Admission, AnySession, Close, Credential, Kept, Reason, Refusal, Topics, Wish};
use crate::transport::proven_chain;

/// ThingsBoard's name for a client that wants to be provisioned.
const PROVISION: &str = "provision";

impl Shard {
    /// CONNECT was read. `whole`: its bytes and all behind them, for another shard.
    pub(super) fn admit(&mut self, key: Key, wish: &Wish<'_>, whole: &[u8]) -> Flow {
        let Credential { user_name, client_id, password } = wish.credential;
        if user_name == Some(PROVISION) || client_id == PROVISION {
            return self.admit_provisioning(key);
        }
        let Some(connection) = self.connections.get_mut(key) else { return Flow::Stop };
        let peer = connection.channel.peer;
        let chain = proven_chain(connection.channel.stream.peer_certificates(), self.now.timestamp);
        let chain: Vec<Vec<u8>> = chain.into_iter().map(|certificate| certificate.to_vec()).collect();
        let certificate = chain.first().map(Vec::as_slice);
        let shown = Shown { user_name, client_id, password, certificate };
        let name = certificate.or_else(|| user_name.map(str::as_bytes)).unwrap_or(client_id.as_bytes());
        let Ok(attempt) = self.attempt(peer, name, password.unwrap_or(name)) else {
            return self.refuse(key, Refusal::RateExceeded);
        };
        let found = auth::admit(&self.directory, self.table.credential_key(), &shown);
        self.attempted(attempt, found.is_ok() || certificate.is_some());
        let identity = match found {
            Ok(entry) => Identity { device: entry.device, credential: entry.credential },
            Err(_) if certificate.is_some() => {
                let Some(connection) = self.connections.get_mut(key) else { return Flow::Stop };
                let nobody = Identity { device: DeviceId(Uuid::nil()), credential: CredentialId(Uuid::nil()) };
                let assigned = connection.session.assigned_client_id();
                connection.standing = Standing::Inquiring(Box::new(wanted(nobody, wish, assigned)));
                connection.inquired = whole.into();
                let asked = self.inquire(Ask::Certificate { chain }, Asker::Certificate(key));
                return if asked { Flow::Stop } else { self.refuse(key, Refusal::Unavailable) };
            }
            Err(_) => return self.refuse(key, Refusal::BadCredential),
        };
        let owner = self.owner_of(identity.device);
        if owner != self.index {
            return self.hand_over(key, owner, whole);
        }
        let assigned = self.connections.get(key).and_then(|connection| connection.session.assigned_client_id());
        self.admit_own(key, wanted(identity, wish, assigned))
    }

    /// A device of this shard; its state may have to be loaded first.
    fn admit_own(&mut self, key: Key, mut wanted: Wanted) -> Flow {
        let entity = EntityId::from(wanted.identity.device);
        let Some(facts) = self.table.device(wanted.identity.device) else { return self.refuse(key, Refusal::NotAuthorized) };
        let tenant = facts.tenant;
        if let Some(will) = &wanted.will {
            let topics = facts.mqtt.and_then(|mqtt| topics(mqtt));
            let said = session::Will { topic: &will.topic, payload: &will.payload, delay_s: will.delay_s };
            match self.connections.get(key).map(|connection| connection.session.will(&said, topics.as_ref())) {
                Some(Err(refusal)) => return self.refuse(key, refusal),
                Some(Ok(true)) => {}
                _ => wanted.will = None,
            }
        }
        if self.residents.contains(entity) {
            self.admitted(key, &wanted);
            return Flow::More;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.standing = Standing::Loading(Box::new(wanted));
        }
        match self.residents.park(tenant, entity, Parked::Connection(key)) {
            Parking::Load => self.loads.push_back(entity),
            Parking::Waiting => {}
            Parking::Full(_) => return self.refuse(key, Refusal::Unavailable),
        }
        Flow::Stop
    }

    /// The control plane has said whose certificate it is. A device of another shard is handed over with its CONNECT, which is
    /// found in the directory there by then.
    pub(super) fn certificate_known(&mut self, key: Key, told: &Told) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Standing::Inquiring(wanted) = std::mem::replace(&mut connection.standing, Standing::New) else { return };
        let flow = match told {
            Told::Device(device) if self.owner_of(*device) != self.index => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                let whole = std::mem::take(&mut connection.inquired);
                let owner = self.owner_of(*device);
                self.hand_over(key, owner, &whole)
            }
            Told::Device(device) => {
                let identity = Identity { device: *device, ..wanted.identity };
                self.admit_own(key, Wanted { identity, ..*wanted })
            }
            Told::Nobody(_) => self.refuse(key, Refusal::BadCredential),
            _ => self.refuse(key, Refusal::Unavailable),
        };
        if flow == Flow::More {
            self.make_ready(key);
        }
    }

    fn admit_provisioning(&mut self, key: Key) -> Flow {
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(key) else { return Flow::Stop };
        connection.standing = Standing::Provisioning;
        connection.session.admit(Admission { provisioning: true, ..Admission::default() }, now);
        self.wants_flush(key);
        Flow::More
    }

    /// Take-over, CONNACK and the connect event of a device whose state is here.
    pub(super) fn admitted(&mut self, key: Key, wanted: &Wanted) {
        let device = wanted.identity.device;
        if let Some(earlier) = self.sessions.get(&device).copied()
            && earlier != key
        {
            self.counters.increment(Counter::SessionsTakenOver);
            self.close(earlier, Close::from(Reason::TakenOver));
        }
        let (plan, payload) = (self.plan_of(device), self.payload_of(device));
        let generation = self.generation;
        let Some(facts) = self.table.device(device) else { return };
        let (tenant, gateway, topics) = (facts.tenant, facts.gateway, facts.mqtt.and_then(|mqtt| topics(mqtt)).map(Arc::new));
        let Some(seat) = self.table.share(tenant).map_or(Some(None), |share| share.tenant().connect().map(Some)) else {
            self.count_refusal(device, quota::Reason::Connections);
            self.refuse(key, Refusal::QuotaExceeded);
            return;
        };
        let (kept, durable) = self.begin_session(wanted);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(place) = &mut connection.place {
            self.admission.admitted(place);
        }
        // What it keeps is on its tenant's account from now on.
        let unread = connection.unread.len();
        self.ready.keep(connection.tenant(), unread, 0);
        self.ready.keep(tenant, 0, unread);
        let admitted =
            Admitted { identity: wanted.identity, tenant, _seat: seat, plan, payload, generation, behind: false, gateway: None };
        connection.standing = Standing::Admitted(Box::new(admitted));
        let present = kept.is_some();
        let admission = Admission { kept, expiry_s: wanted.expiry_s, topics, gateway, provisioning: false };
        connection.session.admit(admission, self.now.instant);
        self.sessions.insert(device, key);
        self.residents.hold(device.into());
        self.counters.increment(Counter::SessionsAdmitted);
        self.connect_event(device);
        if durable {
            // CONNACK says what is kept and what is gone: both on disk first (DESIGN 13).
            self.hold_output(key);
        }
        if present {
            self.send_again(device);
            self.offer_calls(device);
        }
        self.wants_flush(key);
    }

    /// The device's kept session goes on, or ends here and a new one begins. Whether anything of that is to be written.
    fn begin_session(&mut self, wanted: &Wanted) -> (Option<Kept>, bool) {
        let now = self.now;
        let device = wanted.identity.device;
        let pending = self.wills.remove(&device);
        let unfinished = self.forwards.identifiers(device);
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return (None, false) };
        let had = state.session(now.timestamp).is_some();
        let mut writing = writing(&mut self.ledger, now);
        let present = state.begin_session(&mut writing, &wanted.client_id, wanted.clean_start, wanted.expiry_s);
        // [MQTT-3.1.3-9]: a will that waits is not said when its session goes on; it is when the session ends.
        let overdue = if pending.is_some() { state.take_will(&mut writing) } else { None };
        // The identifier of a pack that is not finished is acknowledged when it is.
        let received = || state.received().into_iter().filter(|id| !unfinished.contains(id)).collect();
        let kept = present.then(|| Kept { subscriptions: state.subscriptions(), received: received() });
        state.keep_will(&mut writing, wanted.will.clone());
        if !present {
            self.forwards.give_up(device, writing.batch);
            self.needs.give_up(device);
        }
        if let Some(will) = overdue.filter(|_| !present) {
            self.say_will(device, &will);
        }
        (kept, had || wanted.expiry_s > 0)
    }

    /// Tells the peer why it may not come in, and ends the connection.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal) -> Flow {
        self.counters.increment(Counter::SessionsRefused);
        if let Some(connection) = self.connections.get_mut(key) {
            let close = connection.session.refuse(refusal);
            self.close(key, close);
        }
        Flow::Stop
    }

    /// Gives the order to hand a connection over; it stays unread until there is room (DESIGN 11).
    fn hand_over(&mut self, key: Key, owner: u16, whole: &[u8]) -> Flow {
        if !self.mesh.has_room(owner) {
            // A later turn finds the CONNECT again: nothing of it is kept in the session.
            if let Some(connection) = self.connections.get_mut(key) {
                connection.session = AnySession::mqtt(connection.accepted);
            }
            self.crowded.push(key);
            return Flow::Again;
        }
        let Some(mut connection) = self.connections.remove(key) else { return Flow::Stop };
        self.forget(&mut connection);
        if let Err(error) = self.set.remove(&connection.channel) {
            tracing::warn!(%error, "a connection that is handed over was not watched");
        }
        let Ok(channel) = connection.channel.release() else {
            // A peer that has not read its handshake and still says CONNECT: it may try again.
            self.counters.increment(Counter::ConnectionsRefused);
            return Flow::Stop;
        };
        let moved = Moved { channel, bytes: whole.into(), accepted: connection.accepted };
        self.mesh.send(owner, Letter::Moved(Box::new(moved)));
        self.counters.increment(Counter::ConnectionsHandedOver);
        Flow::Stop
    }

    /// The shard that owns a device.
    pub(super) fn owner_of(&self, device: DeviceId) -> u16 {
        self.placement.shard_of(Partition::of(device.into()))
    }
}

fn wanted(identity: Identity, wish: &Wish<'_>, assigned: Option<String>) -> Wanted {
    let client_id = assigned.as_deref().unwrap_or(wish.credential.client_id);
    let will = wish.will.map(|will| Will { topic: will.topic.to_owned(), payload: will.payload.to_vec(), delay_s: will.delay_s });
    Wanted { identity, client_id: client_id.into(), clean_start: wish.clean_start, expiry_s: wish.expiry_s, will }
}

/// The topics of a profile that has its own.
#[must_use]
pub(super) fn topics(mqtt: &schemas::config::MqttTransport) -> Option<Topics> {
    let own = |topic: &str, standard: &str| if topic.is_empty() { standard.to_owned() } else { topic.to_owned() };
    let any = [&mqtt.telemetry_topic, &mqtt.attributes_topic, &mqtt.attributes_subscribe_topic];
    any.iter().any(|topic| !topic.is_empty()).then(|| Topics {
        telemetry: own(&mqtt.telemetry_topic, "v1/devices/me/telemetry"),
        attributes: own(&mqtt.attributes_topic, "v1/devices/me/attributes"),
        attributes_subscribe: own(&mqtt.attributes_subscribe_topic, "v1/devices/me/attributes"),
    })
}
