//! The registry of key kinds. Append-only: a retired kind keeps its number, golden bytes prove that old data still reads.
//! Every key starts with its partition, so that moving a partition is moving a key range (DESIGN 3.3). Pure.

use schemas::{
    id::{EntityId, Partition},
    telemetry::Scope,
};
use uuid::Uuid;

use crate::{clock::Timestamp, store::Family};

/// Where keys that belong to a shard and not to a partition begin (DESIGN 20); they never move.
pub const SHARD_LOCAL: u16 = 0xFFFF;

/// What follows the partition in a key. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// entity 16 | ts 8 | seq 8, in [`Family::Rows`]
    Row = 1,
    /// entity 16
    State = 2,
    /// entity 16 | scope 1 | name
    Attribute = 3,
    /// key id 4
    KeyName = 4,
    /// deadline ts 8 | entity 16
    Deadline = 5,
    /// entity 16
    Connected = 6,
    /// entity 16 | part 1 | what tells it from others of its part: everything that [`crate::device`] keeps of sessions, calls
    /// and children, so that one look finds it
    Kept = 7,
    /// entity 16 | call id 16: persistent calls that are over
    Call = 8,
    /// gateway 16 | number 8: packs whose parts are not all answered
    Forward = 9,
    /// originator 16 | node 16 | number 8: calls that rule nodes owe to the outside
    Owed = 10,
    /// originator 16 | place 1: the last calls that were given up
    DeadLetter = 11,
    /// entity 16 | alarm id 16: alarms whose last change the control plane has not confirmed
    AlarmFeed = 12,
    /// 0 | due ts 8 | originator 16 | node 16 | number 8: when what waits for time goes on, in that order;
    /// 1 | originator 16 | node 16 | number 8: the message that does
    Waiting = 13,
    /// entity 16: when somebody has to look at its alarm rules, in the value
    RulesDue = 14,
    /// receiving partition 2 | number 8: messages on their way to other originators
    Passage = 15,
    /// sending partition 2: up to which number its messages were taken
    PassageMark = 16,
}

/// Parts of [`Kind::Kept`]. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    Session = 1,
    /// packet id 2, of a QoS 2 message that was stored and not released
    Received = 2,
    /// number 8
    Downlink = 3,
    /// call id 16, of a call that is not over
    OpenCall = 4,
    /// name
    Child = 5,
    Will = 6,
    /// gateway id 16: which of its packs' parts were taken
    Mark = 7,
    /// node id 16: what a rule node remembers
    Node = 8,
    /// alarm id 16
    Alarm = 9,
    /// node id 16: how far alarm rules have come there
    Progress = 10,
    /// scope 1 (0: a reading), key: what calculated fields alone know
    Told = 11,
}

impl Kind {
    /// The column family it lies in.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Row => Family::Rows,
            Self::State
            | Self::Attribute
            | Self::KeyName
            | Self::Deadline
            | Self::Connected
            | Self::Kept
            | Self::Call
            | Self::Forward
            | Self::Owed
            | Self::DeadLetter
            | Self::AlarmFeed
            | Self::Waiting
            | Self::RulesDue
            | Self::Passage
            | Self::PassageMark => Family::State,
        }
    }
}

/// Bytes of partition, kind and entity: what all keys of one entity and kind share.
pub const ENTITY_PREFIX_BYTES: usize = 19;
const ROW_BYTES: usize = ENTITY_PREFIX_BYTES + 16;
const DEADLINE_BYTES: usize = 3 + 8 + 16;
const KEY_NAME_BYTES: usize = 3 + 4;
const DUE_BYTES: usize = 4 + 8 + 16 + 16 + 8;
const WAITING_BYTES: usize = 4 + 16 + 16 + 8;
const PASSAGE_BYTES: usize = 3 + 2 + 8;

/// A key of partition, kind and entity.
pub type EntityKey = [u8; ENTITY_PREFIX_BYTES];

/// Order-preserving: the sign bit is flipped so that byte order is number order.
#[must_use]
pub fn ts_bytes(ts: Timestamp) -> [u8; 8] {
    (ts.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The time of such bytes.
#[must_use]
pub fn ts_from(bytes: &[u8]) -> Option<Timestamp> {
    let bits = u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63);
    Some(Timestamp(bits.cast_signed()))
}

/// partition | kind | entity: a whole key (State, Connected) or the prefix of one (Row, Attribute).
#[must_use]
pub fn entity(kind: Kind, entity: EntityId) -> EntityKey {
    let mut key = [0; ENTITY_PREFIX_BYTES];
    key[..2].copy_from_slice(&Partition::of(entity).number().to_be_bytes());
    key[2] = kind as u8;
    key[3..].copy_from_slice(entity.0.as_bytes());
    key
}

/// The first byte string after all keys that start with this entity's prefix.
#[must_use]
pub fn entity_end(kind: Kind, id: EntityId) -> Vec<u8> {
    // Longer than any suffix in use (ts and seq; scope and name start with a byte below 0xFF), and still of the same
    // prefix, so that RocksDB's prefix filters serve the scan.
    let mut end = entity(kind, id).to_vec();
    end.extend_from_slice(&[0xFF; 17]);
    end
}

/// The key of one row.
#[must_use]
pub fn row(id: EntityId, ts: Timestamp, seq: u64) -> [u8; ROW_BYTES] {
    let mut key = [0; ROW_BYTES];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::Row, id));
    key[ENTITY_PREFIX_BYTES..ENTITY_PREFIX_BYTES + 8].copy_from_slice(&ts_bytes(ts));
    key[ENTITY_PREFIX_BYTES + 8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Where the rows of an entity at or after `ts` begin.
#[must_use]
pub fn rows_from(id: EntityId, ts: Timestamp) -> [u8; ROW_BYTES] {
    row(id, ts, 0)
}

/// The ts and seq of a row's key.
#[must_use]
pub fn parse_row(key: &[u8]) -> Option<(Timestamp, u64)> {
    if key.len() != ROW_BYTES || key[2] != Kind::Row as u8 {
        return None;
    }
    let seq = u64::from_be_bytes(key[ENTITY_PREFIX_BYTES + 8..].try_into().ok()?);
    Some((ts_from(&key[ENTITY_PREFIX_BYTES..ENTITY_PREFIX_BYTES + 8])?, seq))
}

/// The key of one attribute.
#[must_use]
pub fn attribute(id: EntityId, scope: Scope, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(ENTITY_PREFIX_BYTES + 1 + name.len());
    key.extend_from_slice(&entity(Kind::Attribute, id));
    key.push(scope as u8);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The scope and name of an attribute's key.
#[must_use]
pub fn parse_attribute(key: &[u8]) -> Option<(Scope, &str)> {
    let (scope, name) = key.get(ENTITY_PREFIX_BYTES..)?.split_first()?;
    Some((Scope::from_number(*scope)?, std::str::from_utf8(name).ok()?))
}

/// The key of one thing kept of an entity.
#[must_use]
pub fn kept(id: EntityId, part: Part, what: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ENTITY_PREFIX_BYTES + 1 + what.len());
    key.extend_from_slice(&entity(Kind::Kept, id));
    key.push(part as u8);
    key.extend_from_slice(what);
    key
}

/// The part number and the rest of a kept thing's key.
#[must_use]
pub fn parse_kept(key: &[u8]) -> Option<(u8, &[u8])> {
    let (part, what) = key.get(ENTITY_PREFIX_BYTES..)?.split_first()?;
    Some((*part, what))
}

/// The key of a call that is over.
#[must_use]
pub fn call(id: EntityId, call: Uuid) -> [u8; ENTITY_PREFIX_BYTES + 16] {
    let mut key = [0; ENTITY_PREFIX_BYTES + 16];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::Call, id));
    key[ENTITY_PREFIX_BYTES..].copy_from_slice(call.as_bytes());
    key
}

/// The key of a gateway's pack under way.
#[must_use]
pub fn forward(gateway: EntityId, number: u64) -> [u8; ENTITY_PREFIX_BYTES + 8] {
    let mut key = [0; ENTITY_PREFIX_BYTES + 8];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::Forward, gateway));
    key[ENTITY_PREFIX_BYTES..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The gateway and number of a pack's key.
#[must_use]
pub fn parse_forward(key: &[u8]) -> Option<(EntityId, u64)> {
    let (gateway, number) = key.split_at_checked(ENTITY_PREFIX_BYTES)?;
    Some((parse_entity(gateway)?, u64::from_be_bytes(number.try_into().ok()?)))
}

/// The key of a call that a node owes for an originator.
#[must_use]
pub fn owed(originator: EntityId, node: Uuid, number: u64) -> [u8; ENTITY_PREFIX_BYTES + 24] {
    let mut key = [0; ENTITY_PREFIX_BYTES + 24];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::Owed, originator));
    key[ENTITY_PREFIX_BYTES..ENTITY_PREFIX_BYTES + 16].copy_from_slice(node.as_bytes());
    key[ENTITY_PREFIX_BYTES + 16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The originator, node and number of such a key.
#[must_use]
pub fn parse_owed(key: &[u8]) -> Option<(EntityId, Uuid, u64)> {
    let (originator, rest) = key.split_at_checked(ENTITY_PREFIX_BYTES)?;
    let (node, number) = rest.split_at_checked(16)?;
    Some((parse_entity(originator)?, Uuid::from_slice(node).ok()?, u64::from_be_bytes(number.try_into().ok()?)))
}

/// The key of a call that was given up.
#[must_use]
pub fn dead_letter(originator: EntityId, place: u8) -> [u8; ENTITY_PREFIX_BYTES + 1] {
    let mut key = [0; ENTITY_PREFIX_BYTES + 1];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::DeadLetter, originator));
    key[ENTITY_PREFIX_BYTES] = place;
    key
}

/// The key of an alarm that the control plane is to be told of.
#[must_use]
pub fn alarm_feed(id: EntityId, alarm: Uuid) -> [u8; ENTITY_PREFIX_BYTES + 16] {
    let mut key = [0; ENTITY_PREFIX_BYTES + 16];
    key[..ENTITY_PREFIX_BYTES].copy_from_slice(&entity(Kind::AlarmFeed, id));
    key[ENTITY_PREFIX_BYTES..].copy_from_slice(alarm.as_bytes());
    key
}

/// The entity and the alarm of such a key.
#[must_use]
pub fn parse_alarm_feed(key: &[u8]) -> Option<(EntityId, Uuid)> {
    let (entity, alarm) = key.split_at_checked(ENTITY_PREFIX_BYTES)?;
    Some((parse_entity(entity)?, Uuid::from_slice(alarm).ok()?))
}

/// The key that says when something that waits is due.
#[must_use]
pub fn due(originator: EntityId, node: Uuid, number: u64, at: Timestamp) -> [u8; DUE_BYTES] {
    let mut key = [0; DUE_BYTES];
    key[..2].copy_from_slice(&Partition::of(originator).number().to_be_bytes());
    key[2] = Kind::Waiting as u8;
    key[4..12].copy_from_slice(&ts_bytes(at));
    key[12..28].copy_from_slice(originator.0.as_bytes());
    key[28..44].copy_from_slice(node.as_bytes());
    key[44..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The originator, node, number and time of such a key.
#[must_use]
pub fn parse_due(key: &[u8]) -> Option<(EntityId, Uuid, u64, Timestamp)> {
    let rest = key.get(3..).filter(|_| key.len() == DUE_BYTES)?.strip_prefix(&[0])?;
    let (at, rest) = rest.split_at_checked(8)?;
    let (originator, rest) = rest.split_at_checked(16)?;
    let (node, number) = rest.split_at_checked(16)?;
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
    Some((EntityId(id(originator)?), id(node)?, u64::from_be_bytes(number.try_into().ok()?), ts_from(at)?))
}

/// [from, to) of all such keys in one partition.
#[must_use]
pub fn due_range(partition: Partition) -> ([u8; 4], [u8; 4]) {
    let [high, low] = partition.number().to_be_bytes();
    ([high, low, Kind::Waiting as u8, 0], [high, low, Kind::Waiting as u8, 1])
}

/// The key of a message that waits at a node.
#[must_use]
pub fn waiting(originator: EntityId, node: Uuid, number: u64) -> [u8; WAITING_BYTES] {
    let mut key = [0; WAITING_BYTES];
    key[..2].copy_from_slice(&Partition::of(originator).number().to_be_bytes());
    key[2..4].copy_from_slice(&[Kind::Waiting as u8, 1]);
    key[4..20].copy_from_slice(originator.0.as_bytes());
    key[20..36].copy_from_slice(node.as_bytes());
    key[36..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number of such a key.
#[must_use]
pub fn parse_waiting(key: &[u8]) -> Option<u64> {
    let number = key.get(WAITING_BYTES - 8..).filter(|_| key.len() == WAITING_BYTES)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// [from, to) of the messages of an originator that wait: at this node, or anywhere.
#[must_use]
pub fn waiting_range(originator: EntityId, node: Option<Uuid>) -> (Vec<u8>, Vec<u8>) {
    let from = waiting(originator, node.unwrap_or_default(), 0);
    let kept = if node.is_some() { 36 } else { 20 };
    let mut to = from[..kept].to_vec();
    // Behind every number and every node; an id is never 16 bytes of 0xFF.
    to.extend_from_slice(&[0xFF; WAITING_BYTES + 1][kept..]);
    (from[..kept].to_vec(), to)
}

/// The key of a message on its way from one partition to another.
#[must_use]
pub fn passage(from: Partition, to: Partition, number: u64) -> [u8; PASSAGE_BYTES] {
    let mut key = [0; PASSAGE_BYTES];
    key[..2].copy_from_slice(&from.number().to_be_bytes());
    key[2] = Kind::Passage as u8;
    key[3..5].copy_from_slice(&to.number().to_be_bytes());
    key[5..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The first byte string after all such keys of one pair.
#[must_use]
pub fn passages_end(from: Partition, to: Partition) -> [u8; PASSAGE_BYTES + 1] {
    let mut end = [0xFF; PASSAGE_BYTES + 1];
    end[..5].copy_from_slice(&passage(from, to, 0)[..5]);
    end
}

/// The partitions and the number of such a key.
#[must_use]
pub fn parse_passage(key: &[u8]) -> Option<(Partition, Partition, u64)> {
    let (pair, number) = key.split_at_checked(5)?;
    let to = Partition::new(u16::from_be_bytes(pair[3..].try_into().ok()?))?;
    Some((partition(pair)?, to, u64::from_be_bytes(number.try_into().ok()?)))
}

/// The key under which a partition remembers which messages of another it has taken.
#[must_use]
pub fn passage_mark(to: Partition, from: Partition) -> [u8; 5] {
    let mut key = [0; 5];
    key[..2].copy_from_slice(&to.number().to_be_bytes());
    key[2] = Kind::PassageMark as u8;
    key[3..].copy_from_slice(&from.number().to_be_bytes());
    key
}

/// The receiving and the sending partition of such a key.
#[must_use]
pub fn parse_passage_mark(key: &[u8]) -> Option<(Partition, Partition)> {
    let from = u16::from_be_bytes(key.get(3..)?.try_into().ok()?);
    Some((partition(key)?, Partition::sender(from)?))
}

/// The partition that a key begins with.
fn partition(key: &[u8]) -> Option<Partition> {
    Partition::new(u16::from_be_bytes(key.get(..2)?.try_into().ok()?))
}

/// The key under which a key's name lies in its partition's dictionary (DESIGN 17).
#[must_use]
pub fn key_name(partition: Partition, id: u32) -> [u8; KEY_NAME_BYTES] {
    let mut key = [0; KEY_NAME_BYTES];
    key[..2].copy_from_slice(&partition.number().to_be_bytes());
    key[2] = Kind::KeyName as u8;
    key[3..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The key id of a dictionary key.
#[must_use]
pub fn parse_key_name(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(3..)?.try_into().ok()?))
}

/// The key that re-arms an entity's inactivity deadline after a crash (DESIGN 21).
#[must_use]
pub fn deadline(id: EntityId, at: Timestamp) -> [u8; DEADLINE_BYTES] {
    let mut key = [0; DEADLINE_BYTES];
    key[..2].copy_from_slice(&Partition::of(id).number().to_be_bytes());
    key[2] = Kind::Deadline as u8;
    key[3..11].copy_from_slice(&ts_bytes(at));
    key[11..].copy_from_slice(id.0.as_bytes());
    key
}

/// The time and entity of a deadline's key.
#[must_use]
pub fn parse_deadline(key: &[u8]) -> Option<(Timestamp, EntityId)> {
    if key.len() != DEADLINE_BYTES {
        return None;
    }
    Some((ts_from(&key[3..11])?, EntityId(Uuid::from_slice(&key[11..]).ok()?)))
}

/// The entity of a key that consists of partition, kind and entity.
#[must_use]
pub fn parse_entity(key: &[u8]) -> Option<EntityId> {
    (key.len() == ENTITY_PREFIX_BYTES).then(|| Uuid::from_slice(&key[3..]).ok().map(EntityId))?
}

/// [from, to) of all keys of one kind in one partition.
#[must_use]
pub fn kind_range(partition: Partition, kind: Kind) -> ([u8; 3], [u8; 3]) {
    let [high, low] = partition.number().to_be_bytes();
    ([high, low, kind as u8], [high, low, kind as u8 + 1])
}

/// [from, to) of everything in one partition.
#[must_use]
pub fn partition_range(partition: Partition) -> ([u8; 2], [u8; 2]) {
    (partition.number().to_be_bytes(), (partition.number() + 1).to_be_bytes())
}

/// Hexadecimal digits, for messages.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EntityId = EntityId(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));

    /// Golden: what these say lies on disks; a change here orphans it.
    #[test]
    fn keys_are_the_bytes_they_always_were() {
        let check = |key: &[u8], golden: &str| assert_eq!(hex(key), golden);
        let partition = Partition::of(ID);
        check(&partition.number().to_be_bytes(), PARTITION);
        let id = "00112233445566778899aabbccddeeff";
        check(&entity(Kind::State, ID), &format!("{PARTITION}02{id}"));
        check(&entity(Kind::Connected, ID), &format!("{PARTITION}06{id}"));
        check(
            &row(ID, Timestamp(1_700_000_000_000), 0x0000_0100_0000_0002),
            &format!("{PARTITION}01{id}8000018bcfe568000000010000000002"),
        );
        check(&attribute(ID, Scope::Shared, "fw"), &format!("{PARTITION}03{id}036677"));
        check(&key_name(partition, 7), &format!("{PARTITION}0400000007"));
        check(&deadline(ID, Timestamp(1)), &format!("{PARTITION}058000000000000001{id}"));
        check(&kept(ID, Part::Session, &[]), &format!("{PARTITION}07{id}01"));
        check(&kept(ID, Part::Received, &[1, 2]), &format!("{PARTITION}07{id}020102"));
        check(&kept(ID, Part::Downlink, &3_u64.to_be_bytes()), &format!("{PARTITION}07{id}030000000000000003"));
        check(&kept(ID, Part::OpenCall, ID.0.as_bytes()), &format!("{PARTITION}07{id}04{id}"));
        check(&kept(ID, Part::Child, b"A"), &format!("{PARTITION}07{id}0541"));
        check(&kept(ID, Part::Will, &[]), &format!("{PARTITION}07{id}06"));
        check(&kept(ID, Part::Mark, ID.0.as_bytes()), &format!("{PARTITION}07{id}07{id}"));
        check(&kept(ID, Part::Alarm, ID.0.as_bytes()), &format!("{PARTITION}07{id}09{id}"));
        check(&kept(ID, Part::Told, b"\x02key"), &format!("{PARTITION}07{id}0b026b6579"));
        check(&kept(ID, Part::Progress, ID.0.as_bytes()), &format!("{PARTITION}07{id}0a{id}"));
        check(&entity(Kind::RulesDue, ID), &format!("{PARTITION}0e{id}"));
        check(&alarm_feed(ID, ID.0), &format!("{PARTITION}0c{id}{id}"));
        check(&owed(ID, ID.0, 3), &format!("{PARTITION}0a{id}{id}0000000000000003"));
        check(&dead_letter(ID, 3), &format!("{PARTITION}0b{id}03"));
        check(&alarm_feed(ID, ID.0), &format!("{PARTITION}0c{id}{id}"));
        check(&due(ID, ID.0, 3, Timestamp(1)), &format!("{PARTITION}0d008000000000000001{id}{id}0000000000000003"));
        check(&waiting(ID, ID.0, 3), &format!("{PARTITION}0d01{id}{id}0000000000000003"));
        check(&call(ID, ID.0), &format!("{PARTITION}08{id}{id}"));
        check(&forward(ID, 3), &format!("{PARTITION}09{id}0000000000000003"));
        let other = Partition::new(259).unwrap();
        check(&passage(partition, other, 3), &format!("{PARTITION}0f01030000000000000003"));
        check(&passage_mark(partition, other), &format!("{PARTITION}100103"));
    }

    const PARTITION: &str = "0396";

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        for ts in [i64::MIN, -1, 0, 1, 1_700_000_000_000, i64::MAX] {
            assert_eq!(parse_row(&row(ID, Timestamp(ts), 9)), Some((Timestamp(ts), 9)));
            assert_eq!(parse_deadline(&deadline(ID, Timestamp(ts))), Some((Timestamp(ts), ID)));
        }
        assert_eq!(parse_attribute(&attribute(ID, Scope::Client, "ü")), Some((Scope::Client, "ü")));
        assert_eq!(parse_kept(&kept(ID, Part::Child, b"A")), Some((5, &b"A"[..])));
        assert_eq!(parse_key_name(&key_name(Partition::of(ID), 65_536)), Some(65_536));
        assert_eq!(parse_entity(&entity(Kind::Connected, ID)), Some(ID));
        assert_eq!(parse_row(&entity(Kind::Row, ID)), None);
        assert_eq!(parse_forward(&forward(ID, u64::MAX)), Some((ID, u64::MAX)));
        assert_eq!(parse_forward(&entity(Kind::Forward, ID)), None);
        assert_eq!(parse_alarm_feed(&alarm_feed(ID, Uuid::from_u128(9))), Some((ID, Uuid::from_u128(9))));
        assert_eq!(parse_alarm_feed(&entity(Kind::AlarmFeed, ID)), None);
        let node = Uuid::from_u128(9);
        assert_eq!(parse_due(&due(ID, node, 7, Timestamp(5))), Some((ID, node, 7, Timestamp(5))));
        assert_eq!((parse_due(&waiting(ID, node, 7)), parse_waiting(&waiting(ID, node, 7))), (None, Some(7)));
        let (one, other) = (Partition::of(ID), Partition::new(259).unwrap());
        assert_eq!(parse_passage(&passage(one, other, 7)), Some((one, other, 7)));
        assert_eq!(parse_passage(&passage_mark(one, other)), None);
        for from in [other, Partition::CONTROL_PLANE] {
            assert_eq!(parse_passage_mark(&passage_mark(one, from)), Some((one, from)));
        }
        assert!(passage(one, other, u64::MAX).as_slice() < passages_end(one, other).as_slice());
    }

    #[test]
    fn byte_order_is_time_order_and_the_end_is_behind_everything() {
        let times = [i64::MIN, -5, 0, 3, i64::MAX];
        for pair in times.windows(2) {
            assert!(row(ID, Timestamp(pair[0]), u64::MAX) < row(ID, Timestamp(pair[1]), 0), "{pair:?}");
        }
        assert!(row(ID, Timestamp(i64::MAX), u64::MAX).as_slice() < entity_end(Kind::Row, ID).as_slice());
        assert!(attribute(ID, Scope::Shared, "\u{10FFFF}").as_slice() < entity_end(Kind::Attribute, ID).as_slice());
        let (from, to) = partition_range(Partition::of(ID));
        assert!(from.as_slice() < entity(Kind::Row, ID).as_slice() && entity(Kind::Connected, ID).as_slice() < to.as_slice());
    }
}
