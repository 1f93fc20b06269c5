//! The vocabulary of chains: node kinds with their configurations, and labels, spelled as ThingsBoard spells them.
//! Never reads JSON.

use std::sync::Arc;

use super::{
    CheckRelation, DeviceAttributes, EntityType, External, MessageType, NewOriginator, Owner, OwnerDetails, OwnerValues,
    RelatedValues, ToEmail, Wish,
    formula::Formula,
    geofence::{Geofence, GeofenceEvents},
    json_path::JsonPath,
    processing::Processing,
    timed::{Count, Deduplicate, Delay, Generate},
};
use crate::{
    alarm::{Propagation, Severity, Status},
    id::ChainId,
    script::Script,
    telemetry::Scope,
};

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

/// What a node does, with its configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    MessageTypeSwitch,
    MessageTypeFilter(MessageTypes),
    EntityTypeSwitch,
    EntityTypeFilter {
        kinds: Vec<EntityType>,
    },
    ProfileSwitch,
    AssetProfileSwitch,
    CheckRelation(CheckRelation),
    CheckFields(CheckFields),
    Geofence(Geofence),
    ScriptFilter(Arc<Script>),
    ScriptSwitch(Arc<Script>),
    OriginatorAttributes(OriginatorAttributes),
    OriginatorFields(OriginatorFields),
    CalculateDelta(CalculateDelta),
    OwnerValues(OwnerValues),
    OwnerDetails(OwnerDetails),
    RelatedValues(RelatedValues),
    DeviceAttributes(DeviceAttributes),
    OriginatorTelemetry(OriginatorTelemetry),
    CopyKeys(Keys),
    DeleteKeys(Keys),
    RenameKeys(Renames),
    SplitArray,
    JsonPath(JsonPath),
    ChangeOriginator(NewOriginator),
    ScriptTransform(Arc<Script>),
    SaveTimeseries(SaveTimeseries),
    SaveAttributes(SaveAttributes),
    DeleteAttributes(DeleteAttributes),
    /// Calculates fields of what the message says, which is not stored.
    CalculateFields,
    /// What is known of its connection besides what it does here.
    DeviceState(DeviceEvent),
    Log,
    CreateAlarm(CreateAlarm),
    ClearAlarm(ClearAlarm),
    AlarmStatus {
        statuses: Vec<Status>,
    },
    Math(Math),
    /// Alarm rules of the originator's profile.
    DeviceProfile,
    RpcReply {
        request_key: String,
    },
    /// Calls its originator, and waits for the answer so long at most.
    RpcRequest {
        timeout_ms: u64,
    },
    RestReply(RestReply),
    ToEmail(ToEmail),
    External(Arc<External>),
    GeofenceEvents(GeofenceEvents),
    Delay(Delay),
    Deduplicate(Deduplicate),
    Count(Count),
    Generate(Arc<Generate>),
    Nested {
        chain: Target,
    },
    Output,
    /// Acknowledge and checkpoint: neither moves an acknowledgement here (DESIGN 8.1, 2).
    Pass(Passing),
}

/// Under which names the metadata say whose request a message answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestReply {
    /// Where the request waits. There is one such place here, so it only has to be named.
    pub place_key: String,
    pub request_key: String,
}

/// Types of messages, standard and one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageTypes {
    pub standard: Vec<MessageType>,
    pub custom: Vec<String>,
}

/// Where a node finds or puts values: the message's data or its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Data,
    Metadata,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckFields {
    pub data: Vec<String>,
    pub metadata: Vec<String>,
    /// Every one has to be there; else one is enough.
    pub all: bool,
}

/// What is read of the originator. Names are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginatorAttributes {
    pub client: Vec<String>,
    pub shared: Vec<String>,
    pub server: Vec<String>,
    pub latest: Vec<String>,
    /// Failure if one of them does not exist.
    pub must_exist: bool,
    /// Latest values as `{"ts":…,"value":…}`.
    pub with_ts: bool,
    pub to: Side,
}

/// Fields of the originator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginatorFields {
    /// What ThingsBoard calls the field, and under which name it is put.
    pub mapping: Vec<(String, String)>,
    /// What nobody has written is left out; else it is the text `null`.
    pub ignore_null: bool,
    pub to: Side,
}

/// How much a reading has grown since the message before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalculateDelta {
    pub input: String,
    pub output: String,
    /// Remembers the last value itself; else the latest reading of the originator is the one before.
    pub cached: bool,
    /// The key of the milliseconds between, if they are wanted.
    pub period: Option<String>,
    /// Decimals, if it is rounded.
    pub round: Option<u32>,
    pub negative_fails: bool,
    pub zero_is_left_out: bool,
}

/// Readings of the originator's past, into the metadata. Keys are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginatorTelemetry {
    pub keys: Vec<String>,
    pub fetch: Fetch,
    pub interval: Interval,
}

/// Which readings of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    First,
    Last,
    /// As arrays: so many of each key, or one aggregate over the interval.
    All {
        limit: usize,
        ascending: bool,
        aggregation: Option<Aggregate>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Min,
    Max,
    Avg,
    Sum,
    Count,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interval {
    /// From so many milliseconds before the message is evaluated to so many.
    Before { start_ms: i64, end_ms: i64 },
    /// Templates of milliseconds since the epoch.
    Said { start: String, end: String },
}

/// A formula over values of the message and its originator.
#[derive(Clone, Debug, PartialEq)]
pub struct Math {
    pub formula: Formula,
    /// In the order of the formula's arguments.
    pub arguments: Vec<MathArgument>,
    pub result: MathResult,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MathArgument {
    pub from: MathOperand,
    pub otherwise: Option<f64>,
}

/// Where a number is found or put. Keys are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum MathOperand {
    Constant(f64),
    Data(String),
    Metadata(String),
    Attribute(Scope, String),
    Timeseries(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct MathResult {
    pub to: MathOperand,
    /// Decimals; 0 is a whole number.
    pub precision: u32,
    /// Of an attribute or a series: into the message as well.
    pub add_to_data: bool,
    pub add_to_metadata: bool,
}

/// Keys by regular expressions that match them whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub of: Side,
    pub patterns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renames {
    pub of: Side,
    /// Old name, new name.
    pub names: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveTimeseries {
    /// 0: no expiry.
    pub default_ttl_s: u32,
    /// The entries' own ts are ignored.
    pub use_server_ts: bool,
    /// `None`: everything is done for every message.
    pub processing: Option<Processing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveAttributes {
    pub scope: Scope,
    /// Shared scope only: tell the connected device, whatever the message says of that.
    pub notify_device: bool,
    /// A value that is already there is not written again.
    pub only_on_change: bool,
    /// Shared and server scope only: tell the originator's chain by a message of its own.
    pub tell_chain: bool,
    /// `None`: everything is done for every message.
    pub processing: Option<Processing>,
}

/// Keys are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteAttributes {
    pub scope: Scope,
    pub keys: Vec<String>,
    pub notify_device: bool,
    /// Shared and server scope only: tell the originator's chain by a message of its own.
    pub tell_chain: bool,
}

/// What happened to a device that is connected to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    Connect,
    Disconnect,
    Activity,
    Inactivity,
}

impl DeviceEvent {
    pub const ALL: [Self; 4] = [Self::Connect, Self::Disconnect, Self::Activity, Self::Inactivity];

    /// The message that tells of it.
    #[must_use]
    pub fn kind(self) -> MessageType {
        match self {
            Self::Connect => MessageType::ConnectEvent,
            Self::Disconnect => MessageType::DisconnectEvent,
            Self::Activity => MessageType::ActivityEvent,
            Self::Inactivity => MessageType::InactivityEvent,
        }
    }
}

/// Begins an alarm of the originator, or goes on with the one there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAlarm {
    pub new: NewAlarm,
    /// What makes its details; none: they are the message's, or stay.
    pub details: Option<Arc<Script>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewAlarm {
    /// The message's data is the alarm.
    OfMessage,
    /// `kind` is a template.
    Of { kind: String, severity: AlarmSeverity, propagation: Propagation },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmSeverity {
    Fixed(Severity),
    Template(String),
}

/// Ends the originator's alarm of a type, which is a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearAlarm {
    pub kind: String,
    pub details: Arc<Script>,
}

/// The chain that a message enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Chain(ChainId),
    /// The chain that the originator's profile names, else this one; if none is written, the tenant's root chain.
    OfOriginator {
        otherwise: Option<ChainId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    Acknowledge,
    Checkpoint,
}

macro_rules! classes {
    ($($name:ident = $class:literal;)+) => {
        $(pub(super) const $name: &str = concat!("org.thingsboard.rule.engine.", $class);)+

        impl NodeKind {
            /// The node classes that exist, as ThingsBoard names them.
            pub const CLASSES: &[&str] = &[$($name,)+];
        }
    };
}

classes! {
    TYPE_SWITCH = "filter.TbMsgTypeSwitchNode";
    TYPE_FILTER = "filter.TbMsgTypeFilterNode";
    ENTITY_SWITCH = "filter.TbOriginatorTypeSwitchNode";
    ENTITY_FILTER = "filter.TbOriginatorTypeFilterNode";
    PROFILE_SWITCH = "filter.TbDeviceTypeSwitchNode";
    ASSET_PROFILE_SWITCH = "filter.TbAssetTypeSwitchNode";
    CHECK_RELATION = "filter.TbCheckRelationNode";
    CHECK_FIELDS = "filter.TbCheckMessageNode";
    GEOFENCE = "geo.TbGpsGeofencingFilterNode";
    SCRIPT_FILTER = "filter.TbJsFilterNode";
    SCRIPT_SWITCH = "filter.TbJsSwitchNode";
    ORIGINATOR_ATTRIBUTES = "metadata.TbGetAttributesNode";
    ORIGINATOR_FIELDS = "metadata.TbGetOriginatorFieldsNode";
    CALCULATE_DELTA = "metadata.CalculateDeltaNode";
    CUSTOMER_VALUES = "metadata.TbGetCustomerAttributeNode";
    TENANT_VALUES = "metadata.TbGetTenantAttributeNode";
    CUSTOMER_DETAILS = "metadata.TbGetCustomerDetailsNode";
    TENANT_DETAILS = "metadata.TbGetTenantDetailsNode";
    RELATED_VALUES = "metadata.TbGetRelatedAttributeNode";
    DEVICE_ATTRIBUTES = "metadata.TbGetDeviceAttrNode";
    ORIGINATOR_TELEMETRY = "metadata.TbGetTelemetryNode";
    COPY_KEYS = "transform.TbCopyKeysNode";
    DELETE_KEYS = "transform.TbDeleteKeysNode";
    RENAME_KEYS = "transform.TbRenameKeysNode";
    SPLIT_ARRAY = "transform.TbSplitArrayMsgNode";
    JSON_PATH = "transform.TbJsonPathNode";
    CHANGE_ORIGINATOR = "transform.TbChangeOriginatorNode";
    CREDENTIALS = "metadata.TbFetchDeviceCredentialsNode";
    ASSIGN = "action.TbAssignToCustomerNode";
    UNASSIGN = "action.TbUnassignFromCustomerNode";
    RELATE = "action.TbCreateRelationNode";
    UNRELATE = "action.TbDeleteRelationNode";
    SCRIPT_TRANSFORM = "transform.TbTransformMsgNode";
    SAVE_TIMESERIES = "telemetry.TbMsgTimeseriesNode";
    SAVE_ATTRIBUTES = "telemetry.TbMsgAttributesNode";
    DELETE_ATTRIBUTES = "telemetry.TbMsgDeleteAttributesNode";
    CALCULATE_FIELDS = "telemetry.TbCalculatedFieldsNode";
    DEVICE_STATE = "action.TbDeviceStateNode";
    LOG = "action.TbLogNode";
    CREATE_ALARM = "action.TbCreateAlarmNode";
    CLEAR_ALARM = "action.TbClearAlarmNode";
    ALARM_STATUS = "filter.TbCheckAlarmStatusNode";
    MATH = "math.TbMathNode";
    DEVICE_PROFILE = "profile.TbDeviceProfileNode";
    RPC_REPLY = "rpc.TbSendRPCReplyNode";
    RPC_REQUEST = "rpc.TbSendRPCRequestNode";
    REST_REPLY = "rest.TbSendRestApiCallReplyNode";
    TO_EMAIL = "mail.TbMsgToEmailNode";
    SEND_EMAIL = "mail.TbSendEmailNode";
    REST_CALL = "rest.TbRestApiCallNode";
    MQTT = "mqtt.TbMqttNode";
    KAFKA = "kafka.TbKafkaNode";
    RABBIT_MQ = "rabbitmq.TbRabbitMqNode";
    NATS = "nats.TbNatsNode";
    SLACK = "notification.TbSlackNode";
    GEOFENCE_EVENTS = "geo.TbGpsGeofencingActionNode";
    DELAY = "delay.TbMsgDelayNode";
    DEDUPLICATE = "deduplication.TbMsgDeduplicationNode";
    COUNT = "action.TbMsgCountNode";
    GENERATE = "debug.TbMsgGeneratorNode";
    NESTED = "flow.TbRuleChainInputNode";
    OUTPUT = "flow.TbRuleChainOutputNode";
    ACKNOWLEDGE = "flow.TbAckNode";
    CHECKPOINT = "flow.TbCheckpointNode";
}

/// The labels that edges leaving a node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// These.
    Of(&'static [&'static str]),
    /// Those of message types.
    MessageTypes,
    /// Those of entity types.
    EntityTypes,
    /// Whatever a script or another chain says.
    Any,
    /// None: the way ends here.
    None,
}

const ACTION: Labels = Labels::Of(&[label::SUCCESS, label::FAILURE]);
const LIMITED: Labels = Labels::Of(&[label::SUCCESS, "Rate limited", label::FAILURE]);
const DELTA: Labels = Labels::Of(&[label::SUCCESS, label::OTHER, label::FAILURE]);
const PROFILE: Labels =
    Labels::Of(&[label::SUCCESS, label::FAILURE, "Alarm Created", "Alarm Updated", "Alarm Severity Updated", "Alarm Cleared"]);
const CREATED: Labels = Labels::Of(&["Created", "Updated", label::FALSE, label::FAILURE]);
const CLEARED: Labels = Labels::Of(&["Cleared", label::FALSE, label::FAILURE]);
const PRESENCE: Labels = Labels::Of(&[label::SUCCESS, "Entered", "Left", "Inside", "Outside", label::FAILURE]);
const DECISION: Labels = Labels::Of(&[label::TRUE, label::FALSE, label::FAILURE]);

fn class_of(wish: &Wish) -> &'static str {
    match wish {
        Wish::Assign { .. } => ASSIGN,
        Wish::Unassign => UNASSIGN,
        Wish::Relate(_) => RELATE,
        Wish::Unrelate { .. } => UNRELATE,
        Wish::Become(_) => CHANGE_ORIGINATOR,
        Wish::Credentials(_) => CREDENTIALS,
    }
}

impl NodeKind {
    /// The node's `type` in RuleChainMetaData, and the labels of its edges.
    fn row(&self) -> (&'static str, Labels) {
        match self {
            Self::MessageTypeSwitch => (TYPE_SWITCH, Labels::MessageTypes),
            Self::MessageTypeFilter(_) => (TYPE_FILTER, DECISION),
            Self::EntityTypeSwitch => (ENTITY_SWITCH, Labels::EntityTypes),
            Self::EntityTypeFilter { .. } => (ENTITY_FILTER, DECISION),
            Self::ProfileSwitch => (PROFILE_SWITCH, Labels::Any),
            Self::AssetProfileSwitch => (ASSET_PROFILE_SWITCH, Labels::Any),
            Self::CheckRelation(_) => (CHECK_RELATION, DECISION),
            Self::CheckFields(_) => (CHECK_FIELDS, DECISION),
            Self::Geofence(_) => (GEOFENCE, DECISION),
            Self::ScriptFilter(_) => (SCRIPT_FILTER, DECISION),
            Self::ScriptSwitch(_) => (SCRIPT_SWITCH, Labels::Any),
            Self::OriginatorAttributes(_) => (ORIGINATOR_ATTRIBUTES, ACTION),
            Self::OriginatorFields(_) => (ORIGINATOR_FIELDS, ACTION),
            Self::CalculateDelta(_) => (CALCULATE_DELTA, DELTA),
            Self::OwnerValues(OwnerValues { of: Owner::Customer, .. }) => (CUSTOMER_VALUES, ACTION),
            Self::OwnerValues(OwnerValues { of: Owner::Tenant, .. }) => (TENANT_VALUES, ACTION),
            Self::OwnerDetails(OwnerDetails { of: Owner::Customer, .. }) => (CUSTOMER_DETAILS, ACTION),
            Self::OwnerDetails(OwnerDetails { of: Owner::Tenant, .. }) => (TENANT_DETAILS, ACTION),
            Self::RelatedValues(_) => (RELATED_VALUES, ACTION),
            Self::DeviceAttributes(_) => (DEVICE_ATTRIBUTES, ACTION),
            Self::OriginatorTelemetry(_) => (ORIGINATOR_TELEMETRY, ACTION),
            Self::CopyKeys(_) => (COPY_KEYS, ACTION),
            Self::DeleteKeys(_) => (DELETE_KEYS, ACTION),
            Self::RenameKeys(_) => (RENAME_KEYS, ACTION),
            Self::SplitArray => (SPLIT_ARRAY, ACTION),
            Self::JsonPath(_) => (JSON_PATH, ACTION),
            Self::ChangeOriginator(_) => (CHANGE_ORIGINATOR, ACTION),
            Self::ScriptTransform(_) => (SCRIPT_TRANSFORM, ACTION),
            Self::SaveTimeseries(_) => (SAVE_TIMESERIES, ACTION),
            Self::SaveAttributes(_) => (SAVE_ATTRIBUTES, ACTION),
            Self::DeleteAttributes(_) => (DELETE_ATTRIBUTES, ACTION),
            Self::CalculateFields => (CALCULATE_FIELDS, ACTION),
            Self::DeviceState(_) => (DEVICE_STATE, LIMITED),
            Self::Log => (LOG, ACTION),
            Self::CreateAlarm(_) => (CREATE_ALARM, CREATED),
            Self::ClearAlarm(_) => (CLEAR_ALARM, CLEARED),
            Self::AlarmStatus { .. } => (ALARM_STATUS, DECISION),
            Self::Math(_) => (MATH, ACTION),
            Self::DeviceProfile => (DEVICE_PROFILE, PROFILE),
            Self::RpcReply { .. } => (RPC_REPLY, ACTION),
            Self::RpcRequest { .. } => (RPC_REQUEST, ACTION),
            Self::RestReply(_) => (REST_REPLY, ACTION),
            Self::ToEmail(_) => (TO_EMAIL, ACTION),
            Self::External(external) => match **external {
                External::Rest(_) => (REST_CALL, ACTION),
                External::Mqtt(_) => (MQTT, ACTION),
                External::Email(_) => (SEND_EMAIL, ACTION),
                External::Kafka(_) => (KAFKA, ACTION),
                External::RabbitMq(_) => (RABBIT_MQ, ACTION),
                External::Nats(_) => (NATS, ACTION),
                External::Slack(_) => (SLACK, ACTION),
                External::Wish(ref wish) => (class_of(wish), ACTION),
            },
            Self::GeofenceEvents(_) => (GEOFENCE_EVENTS, PRESENCE),
            Self::Delay(_) => (DELAY, ACTION),
            Self::Deduplicate(_) => (DEDUPLICATE, ACTION),
            Self::Count(_) => (COUNT, ACTION),
            Self::Generate(_) => (GENERATE, ACTION),
            Self::Nested { .. } => (NESTED, Labels::Any),
            Self::Output => (OUTPUT, Labels::None),
            Self::Pass(Passing::Acknowledge) => (ACKNOWLEDGE, ACTION),
            Self::Pass(Passing::Checkpoint) => (CHECKPOINT, ACTION),
        }
    }

    /// The node's `type` in RuleChainMetaData.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub fn labels(&self) -> Labels {
        self.row().1
    }

    /// Whether an edge with this label may leave the node.
    #[must_use]
    pub fn allows(&self, edge: &str) -> bool {
        self.labels().allows(edge)
    }

    /// Whether the node may need what neither the message nor its originator's state says, or leads to one that may.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::OwnerValues(_)
                | Self::RelatedValues(_)
                | Self::DeviceAttributes(_)
                | Self::OriginatorTelemetry(_)
                | Self::DeviceProfile
                | Self::Nested { .. }
        )
    }

    /// Whether the node looks at or changes what the message says, so that each ts of a telemetry message has to be a message
    /// of its own, as it is in ThingsBoard.
    #[must_use]
    pub fn reads(&self) -> bool {
        if let Self::SaveTimeseries(save) = self {
            // What happens once in an interval depends on the ts.
            return save.processing.is_some_and(Processing::remembers);
        }
        !matches!(
            self,
            Self::MessageTypeSwitch
                | Self::MessageTypeFilter(_)
                | Self::EntityTypeSwitch
                | Self::EntityTypeFilter { .. }
                | Self::ProfileSwitch
                | Self::AssetProfileSwitch
                | Self::CheckRelation(_)
                | Self::SaveAttributes(_)
                | Self::CalculateFields
                | Self::Log
                | Self::RpcReply { .. }
                | Self::RpcRequest { .. }
                | Self::RestReply(_)
                | Self::Count(_)
                | Self::Generate(_)
                | Self::Output
                | Self::Pass(_)
        )
    }
}

impl Labels {
    #[must_use]
    pub fn allows(self, edge: &str) -> bool {
        self.fixed().any(|label| label::same(label, edge)) || self == Self::Any
    }

    /// Every label that is known beforehand, in the order of the node's outcomes, some of them more than once. Of a switch by type,
    /// outcome `n` is type `n`. What every node with edges may have is a Failure.
    pub fn fixed(self) -> impl Iterator<Item = &'static str> {
        let (messages, entities, own): (&[MessageType], &[EntityType], &[&str]) = match self {
            Self::Of(labels) => (&[], &[], labels),
            Self::MessageTypes => (MessageType::ALL, &[], &[label::FAILURE]),
            Self::EntityTypes => (&[], EntityType::ALL, &[label::FAILURE]),
            Self::Any => (&[], &[], &[label::FAILURE]),
            Self::None => (&[], &[], &[]),
        };
        let types = messages.iter().map(|kind| kind.label()).chain(entities.iter().map(|kind| kind.label()));
        types.chain(own.iter().copied())
    }
}
