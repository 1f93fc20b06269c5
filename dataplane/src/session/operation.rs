//! What a device may ask for, whichever transport carried it: the transports only translate to these and back. Payloads are
//! not looked into; how a payload is written is said by its topic or by the device's profile.

use std::borrow::Cow;

/// How a payload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As the device's profile says; JSON if it says nothing.
    #[default]
    Profile,
    Json,
    Protobuf,
}

/// Which of a device's two packages (ThingsBoard's OTA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    Firmware,
    Software,
}

/// One operation of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    Telemetry {
        payload: &'a [u8],
        format: Format,
    },
    /// Client-scope attributes.
    Attributes {
        payload: &'a [u8],
        format: Format,
    },
    /// Answered by [`super::Downlink::AttributesResponse`]. The payload is ThingsBoard's `{"clientKeys":"a,b","sharedKeys":"c"}`.
    AttributesRequest {
        id: u32,
        payload: &'a [u8],
        format: Format,
    },
    /// The same, asked by a query: keys separated by commas, percent-decoded.
    AttributesOf {
        client: Option<Cow<'a, str>>,
        shared: Option<Cow<'a, str>>,
    },
    /// A call of the device to the server, answered by [`super::Downlink::RpcResponse`].
    RpcRequest {
        id: u32,
        payload: &'a [u8],
        format: Format,
    },
    /// The device's answer to a call of the server.
    RpcResponse {
        id: u32,
        payload: &'a [u8],
        format: Format,
    },
    /// `{"secretKey":"x","durationMs":60000}`, or nothing.
    Claim {
        payload: &'a [u8],
    },
    /// Answered by [`super::Downlink::Provisioned`].
    Provision {
        payload: &'a [u8],
    },
    /// A piece of a package, answered by [`super::Downlink::Chunk`]. `size` is the payload as it came: decimal digits, or
    /// nothing.
    Chunk {
        package: Package,
        request: u32,
        chunk: u32,
        size: &'a [u8],
    },
    /// The same, asked by a query, which names the package it means, and answered by [`super::Downlink::Download`]. A size of 0 is the
    /// whole.
    Download {
        package: Package,
        title: Cow<'a, str>,
        version: Cow<'a, str>,
        size: u32,
        chunk: u32,
    },
    /// Wait for the next change of a shared attribute (long poll).
    AwaitAttributes {
        timeout_ms: u64,
    },
    /// Wait for the next call of the server (long poll).
    AwaitRpc {
        timeout_ms: u64,
    },
    /// Something a gateway says of its children.
    Gateway {
        operation: GatewayOperation,
        payload: &'a [u8],
    },
}

/// What a gateway says of its children; the payload names them (reference 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayOperation {
    Connect,
    Disconnect,
    Telemetry,
    Attributes,
    /// Answered by [`super::Downlink::GatewayAttributesResponse`].
    AttributesRequest,
    /// A child's answer to a call of the server.
    Rpc,
    Claim,
}
