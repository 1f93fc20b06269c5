//! The schemas of one profile, compiled together with ThingsBoard's own messages. Never reads a message.

use super::{ATTRIBUTES_REQUEST, CLAIM, InvalidSchema, RPC_CALL, RPC_REQUEST_DEFAULT, RPC_RESPONSE_DEFAULT, Schema};

/// proto3 texts of a profile; those of calls may be empty, and are ThingsBoard's then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'t> {
    pub telemetry: &'t str,
    pub attributes: &'t str,
    pub rpc_request: &'t str,
    pub rpc_response: &'t str,
}

/// How the devices of a profile write protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads {
    pub telemetry: Schema,
    pub attributes: Schema,
    pub rpc_request: Schema,
    pub rpc_response: Schema,
    /// ThingsBoard's own: what a device asks for, calls the server with and is claimed by.
    pub attributes_request: Schema,
    pub rpc_call: Schema,
    pub claim: Schema,
    /// What is no protobuf may be JSON.
    pub json_compatible: bool,
    /// Downlinks on topics of v1 stay JSON.
    pub json_downlinks: bool,
}

/// The schemas that cannot be, by ThingsBoard's names of the fields they are in; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(field, invalid)| format!("{field}: {invalid}")).collect::<Vec<_>>().join("; "))]
pub struct InvalidPayloads(pub Vec<(&'static str, InvalidSchema)>);

impl Payloads {
    /// Compiles the schemas of a profile that says nothing of JSON.
    ///
    /// # Errors
    /// [`InvalidPayloads`] with every problem of every schema.
    pub fn compile(texts: &Texts<'_>) -> Result<Self, InvalidPayloads> {
        let or = |text: &'_ str, default: &'static str| if text.trim().is_empty() { default.to_owned() } else { text.to_owned() };
        let request = |text: &str| {
            let schema = Schema::parse(text)?;
            schema.carries_calls().map(|()| schema)
        };
        let all = [
            ("deviceTelemetryProtoSchema", Schema::parse(texts.telemetry)),
            ("deviceAttributesProtoSchema", Schema::parse(texts.attributes)),
            ("deviceRpcRequestProtoSchema", request(&or(texts.rpc_request, RPC_REQUEST_DEFAULT))),
            ("deviceRpcResponseProtoSchema", Schema::parse(&or(texts.rpc_response, RPC_RESPONSE_DEFAULT))),
            ("AttributesRequest", Schema::parse(ATTRIBUTES_REQUEST)),
            ("RpcRequest", Schema::parse(RPC_CALL)),
            ("ClaimDevice", Schema::parse(CLAIM)),
        ];
        let named = |(field, schema): (_, Result<Schema, InvalidSchema>)| schema.map_err(|invalid| (field, invalid));
        match all.map(named) {
            [
                Ok(telemetry),
                Ok(attributes),
                Ok(rpc_request),
                Ok(rpc_response),
                Ok(attributes_request),
                Ok(rpc_call),
                Ok(claim),
            ] => {
                let (json_compatible, json_downlinks) = (false, false);
                Ok(Self {
                    telemetry,
                    attributes,
                    rpc_request,
                    rpc_response,
                    attributes_request,
                    rpc_call,
                    claim,
                    json_compatible,
                    json_downlinks,
                })
            }
            some => Err(InvalidPayloads(some.into_iter().filter_map(Result::err).collect())),
        }
    }
}
