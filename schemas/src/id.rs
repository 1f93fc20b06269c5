//! The identifiers everyone shares, each a type of its own so that they cannot be mixed up.

use std::fmt;

use uuid::Uuid;

/// Number of partitions of the entity space (DESIGN 3.3). On disk in every key: it never changes.
pub const PARTITIONS: u16 = 1024;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A tenant.
    TenantId
);
id!(
    /// A device.
    DeviceId
);
id!(
    /// A customer of a tenant.
    CustomerId
);
id!(
    /// A device profile.
    ProfileId
);
id!(
    /// An asset.
    AssetId
);
id!(
    /// A row of a relation.
    RelationId
);
id!(
    /// A credential row of a device.
    CredentialId
);
id!(
    /// A rule chain.
    ChainId
);
id!(
    /// A calculated field.
    FieldId
);
id!(
    /// Anything that owns attributes or series, whatever its kind.
    EntityId
);

impl From<DeviceId> for EntityId {
    fn from(id: DeviceId) -> Self {
        Self(id.0)
    }
}

impl From<AssetId> for EntityId {
    fn from(id: AssetId) -> Self {
        Self(id.0)
    }
}

impl From<CustomerId> for EntityId {
    fn from(id: CustomerId) -> Self {
        Self(id.0)
    }
}

impl From<TenantId> for EntityId {
    fn from(id: TenantId) -> Self {
        Self(id.0)
    }
}

/// A share of 1/1024 of the entity space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// No share of anything: the control plane, where a partition is named that sent messages.
    pub const CONTROL_PLANE: Self = Self(u16::MAX);

    /// `xxh3(entity id) % 1024` (DESIGN 3.3).
    #[must_use]
    pub fn of(entity: EntityId) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(entity.0.as_bytes());
        Self(u16::try_from(hash % u64::from(PARTITIONS)).unwrap_or(0))
    }

    /// The partition with this number, if there is one.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < PARTITIONS).then_some(Self(number))
    }

    /// Who sends messages under this number: a partition, or the control plane.
    #[must_use]
    pub fn sender(number: u16) -> Option<Self> {
        if number == Self::CONTROL_PLANE.0 { Some(Self::CONTROL_PLANE) } else { Self::new(number) }
    }

    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// The number of a configuration difference; commit order is number order (DESIGN 25).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Bytes that are not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected 16 bytes of a UUID, got {length}")]
pub struct InvalidId {
    pub field: &'static str,
    pub length: usize,
}

/// Reads 16 bytes from the wire as a UUID.
///
/// # Errors
/// [`InvalidId`] naming `field` when there are not exactly 16 bytes.
pub fn uuid(field: &'static str, bytes: &[u8]) -> Result<Uuid, InvalidId> {
    Uuid::from_slice(bytes).map_err(|_| InvalidId { field, length: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_is_stable_on_disk() {
        // Golden: a different number would orphan every row already written.
        let id = EntityId(Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0));
        assert_eq!(Partition::of(id), Partition::of(id));
        assert_eq!(Partition::of(EntityId(Uuid::nil())).number(), GOLDEN_NIL);
        assert_eq!(Partition::new(PARTITIONS), None);
    }

    const GOLDEN_NIL: u16 = 360;

    #[test]
    fn wrong_length_is_named() {
        let error = uuid("device_id", &[1, 2]).expect_err("two bytes are no UUID");
        assert_eq!(error.to_string(), "device_id: expected 16 bytes of a UUID, got 2");
    }
}
