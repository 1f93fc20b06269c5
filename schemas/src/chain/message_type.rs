//! The types of messages and of the entities they come from, spelled as ThingsBoard spells them. Never reads JSON.

use super::label;

macro_rules! types {
    ($(#[$doc:meta])* $type:ident { $($variant:ident => $name:literal, $label:expr;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($variant,)+ }

        impl $type {
            /// `as usize` is the index into it.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            pub const COUNT: usize = Self::ALL.len();

            /// ThingsBoard's name in messages and configurations.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The label by which a switch sends it out.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The type with this name, if there is one.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

types! {
    /// ThingsBoard's standard message types.
    MessageType {
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
}

types! {
    /// What a message may come from.
    EntityType {
        Device => "DEVICE", "Device";
        Asset => "ASSET", "Asset";
        Alarm => "ALARM", "Alarm";
        EntityView => "ENTITY_VIEW", "Entity View";
        Tenant => "TENANT", "Tenant";
        Customer => "CUSTOMER", "Customer";
        User => "USER", "User";
        Dashboard => "DASHBOARD", "Dashboard";
        RuleChain => "RULE_CHAIN", "Rule chain";
        RuleNode => "RULE_NODE", "Rule node";
        Edge => "EDGE", "Edge";
        DeviceProfile => "DEVICE_PROFILE", "Device profile";
        AssetProfile => "ASSET_PROFILE", "Asset profile";
    }
}
