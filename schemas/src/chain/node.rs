//! The vocabulary of chains: message types, node kinds and labels, spelled as ThingsBoard spells them.
//! Never reads JSON.

use crate::telemetry::Scope;

/// Labels of edges that are not a message type's.
pub mod label {
    pub const SUCCESS: &str = "Success";
    pub const FAILURE: &str = "Failure";
    pub const TRUE: &str = "True";
    pub const FALSE: &str = "False";
    pub const OTHER: &str = "Other";

    /// ThingsBoard follows labels without regard to case.
    #[must_use]
    pub fn same(a: &str, b: &str) -> bool {
        a.eq_ignore_ascii_case(b)
    }
}

macro_rules! message_types {
    ($($variant:ident => $name:literal, $label:expr;)+) => {
        /// ThingsBoard's standard message types. `as usize` is the index into [`MessageType::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MessageType { $($variant,)+ }

        impl MessageType {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            pub const COUNT: usize = Self::ALL.len();

            /// The type's name in messages and configurations, such as `POST_TELEMETRY_REQUEST`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The label a message type switch sends it out by.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

message_types! {
    PostAttributesRequest => "POST_ATTRIBUTES_REQUEST", "Post attributes";
    PostTelemetryRequest => "POST_TELEMETRY_REQUEST", "Post telemetry";
    ToServerRpcRequest => "TO_SERVER_RPC_REQUEST", "RPC Request from Device";
    RpcCallFromServerToDevice => "RPC_CALL_FROM_SERVER_TO_DEVICE", "RPC Request to Device";
    ActivityEvent => "ACTIVITY_EVENT", "Activity Event";
    InactivityEvent => "INACTIVITY_EVENT", "Inactivity Event";
    ConnectEvent => "CONNECT_EVENT", "Connect Event";
    DisconnectEvent => "DISCONNECT_EVENT", "Disconnect Event";
    EntityCreated => "ENTITY_CREATED", "Entity Created";
    EntityUpdated => "ENTITY_UPDATED", "Entity Updated";
    EntityDeleted => "ENTITY_DELETED", "Entity Deleted";
    EntityAssigned => "ENTITY_ASSIGNED", "Entity Assigned";
    EntityUnassigned => "ENTITY_UNASSIGNED", "Entity Unassigned";
    EntityAssignedFromTenant => "ENTITY_ASSIGNED_FROM_TENANT", "Entity Assigned From Tenant";
    EntityAssignedToTenant => "ENTITY_ASSIGNED_TO_TENANT", "Entity Assigned To Tenant";
    AttributesUpdated => "ATTRIBUTES_UPDATED", "Attributes Updated";
    AttributesDeleted => "ATTRIBUTES_DELETED", "Attributes Deleted";
    TimeseriesUpdated => "TIMESERIES_UPDATED", "Timeseries Updated";
    TimeseriesDeleted => "TIMESERIES_DELETED", "Timeseries Deleted";
    Alarm => "ALARM", "Alarm";
    AlarmCreated => "ALARM_CREATED", "Alarm Created";
    AlarmUpdated => "ALARM_UPDATED", "Alarm Updated";
    AlarmSeverityUpdated => "ALARM_SEVERITY_UPDATED", "Alarm Severity Updated";
    AlarmAssigned => "ALARM_ASSIGNED", "Alarm Assigned";
    AlarmUnassigned => "ALARM_UNASSIGNED", "Alarm Unassigned";
    AlarmAck => "ALARM_ACK", "Alarm Acknowledged";
    AlarmClear => "ALARM_CLEAR", "Alarm Cleared";
    CommentCreated => "COMMENT_CREATED", "Comment Created";
    CommentUpdated => "COMMENT_UPDATED", "Comment Updated";
    RpcQueued => "RPC_QUEUED", "RPC Queued";
    RpcSent => "RPC_SENT", "RPC Sent";
    RpcDelivered => "RPC_DELIVERED", "RPC Delivered";
    RpcSuccessful => "RPC_SUCCESSFUL", "RPC Successful";
    RpcTimeout => "RPC_TIMEOUT", "RPC Timeout";
    RpcExpired => "RPC_EXPIRED", "RPC Expired";
    RpcFailed => "RPC_FAILED", "RPC Failed";
    RpcDeleted => "RPC_DELETED", "RPC Deleted";
    RelationAddOrUpdate => "RELATION_ADD_OR_UPDATE", "Relation Added or Updated";
    RelationDeleted => "RELATION_DELETED", "Relation Deleted";
    RelationsDeleted => "RELATIONS_DELETED", "All Relations Deleted";
    RestApiRequest => "REST_API_REQUEST", "REST API request";
    AlarmDelete => "ALARM_DELETE", label::OTHER;
    EntityAssignedToEdge => "ENTITY_ASSIGNED_TO_EDGE", label::OTHER;
    EntityUnassignedFromEdge => "ENTITY_UNASSIGNED_FROM_EDGE", label::OTHER;
    ProvisionSuccess => "PROVISION_SUCCESS", label::OTHER;
    ProvisionFailure => "PROVISION_FAILURE", label::OTHER;
    SendEmail => "SEND_EMAIL", label::OTHER;
}

impl MessageType {
    /// The type with this name, if it is a standard one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// What a node does, with its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    MessageTypeSwitch,
    MessageTypeFilter { types: Vec<MessageType> },
    SaveTimeseries(SaveTimeseries),
    SaveAttributes(SaveAttributes),
    Log,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveTimeseries {
    /// 0: no expiry.
    pub default_ttl_s: u32,
    /// The entries' own ts are ignored.
    pub use_server_ts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveAttributes {
    pub scope: Scope,
    /// Shared scope only: tell the connected device.
    pub notify_device: bool,
    /// A value that is already there is not written again.
    pub only_on_change: bool,
}

pub(super) const TYPE_SWITCH: &str = "org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode";
pub(super) const TYPE_FILTER: &str = "org.thingsboard.rule.engine.filter.TbMsgTypeFilterNode";
pub(super) const SAVE_TIMESERIES: &str = "org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode";
pub(super) const SAVE_ATTRIBUTES: &str = "org.thingsboard.rule.engine.telemetry.TbMsgAttributesNode";
pub(super) const LOG: &str = "org.thingsboard.rule.engine.action.TbLogNode";

impl NodeKind {
    /// The node classes that exist, as ThingsBoard names them.
    pub const CLASSES: [&str; 5] = [TYPE_SWITCH, TYPE_FILTER, SAVE_TIMESERIES, SAVE_ATTRIBUTES, LOG];

    /// The node's `type` in RuleChainMetaData.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::MessageTypeSwitch => TYPE_SWITCH,
            Self::MessageTypeFilter { .. } => TYPE_FILTER,
            Self::SaveTimeseries(_) => SAVE_TIMESERIES,
            Self::SaveAttributes(_) => SAVE_ATTRIBUTES,
            Self::Log => LOG,
        }
    }

    /// Whether an edge with this label may leave the node.
    #[must_use]
    pub fn allows(&self, edge: &str) -> bool {
        self.labels().any(|label| label::same(label, edge))
    }

    /// The labels that edges leaving the node may have, some of them more than once.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let (own, types): (&[&str], &[MessageType]) = match self {
            Self::MessageTypeSwitch => (&[label::OTHER, label::FAILURE], MessageType::ALL),
            Self::MessageTypeFilter { .. } => (&[label::TRUE, label::FALSE, label::FAILURE], &[]),
            Self::SaveTimeseries(_) | Self::SaveAttributes(_) | Self::Log => (&[label::SUCCESS, label::FAILURE], &[]),
        };
        own.iter().copied().chain(types.iter().map(|kind| kind.label()))
    }
}
