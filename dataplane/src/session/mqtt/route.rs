//! Topics that a device publishes to (reference 1.1, 1.2), read once: what they mean does not depend on the payload, so a topic
//! alias stands for a [`Route`] and no text is kept. Never looks into a payload, never decides what may be subscribed to.

use super::filter;
use crate::session::{Format, GatewayOperation, Operation, Package, Topics};

/// In which of its forms a topic came; the answer leaves in the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// `v1/devices/me/…`, and what has one form only.
    #[default]
    V1,
    /// `v2/…` without a suffix.
    Short,
    /// `v2/…/j`.
    ShortJson,
    /// `v2/…/p`.
    ShortProtobuf,
}

impl Form {
    /// How payloads of this form are written.
    pub(super) fn format(self) -> Format {
        match self {
            Self::V1 | Self::Short => Format::Profile,
            Self::ShortJson => Format::Json,
            Self::ShortProtobuf => Format::Protobuf,
        }
    }

    fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "j" => Some(Self::ShortJson),
            "p" => Some(Self::ShortProtobuf),
            _ => None,
        }
    }
}

/// What the admitted peer may speak of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rights<'a> {
    pub(super) topics: Option<&'a Topics>,
    pub(super) gateway: bool,
    pub(super) provisioning: bool,
}

/// What a message to a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Not a topic of this device.
    Unknown,
    Telemetry(Format),
    Attributes(Format),
    AttributesRequest {
        id: u32,
        form: Form,
    },
    RpcRequest {
        id: u32,
        form: Form,
    },
    RpcResponse {
        id: u32,
        form: Form,
    },
    Claim,
    Provision,
    Chunk {
        package: Package,
        request: u32,
        chunk: u32,
    },
    Gateway(GatewayOperation),
}

impl Route {
    pub(super) fn of(topic: &str, rights: &Rights<'_>) -> Self {
        if rights.provisioning {
            return if topic == "/provision/request" { Self::Provision } else { Self::Unknown };
        }
        // Most messages by far.
        if topic == "v1/devices/me/telemetry" {
            return Self::Telemetry(Format::Profile);
        }
        let own = if let Some(rest) = topic.strip_prefix("v1/devices/me/") {
            long(rest)
        } else if let Some(rest) = topic.strip_prefix("v2/") {
            short(rest)
        } else if let Some(rest) = topic.strip_prefix("v1/gateway/") {
            if rights.gateway { gateway(rest) } else { None }
        } else {
            None
        };
        own.or_else(|| of_profile(topic, rights.topics?)).unwrap_or(Self::Unknown)
    }

    /// The operation that `payload` is by coming this way.
    pub(super) fn operation(self, payload: &[u8]) -> Option<Operation<'_>> {
        Some(match self {
            Self::Unknown => return None,
            Self::Telemetry(format) => Operation::Telemetry { payload, format },
            Self::Attributes(format) => Operation::Attributes { payload, format },
            Self::AttributesRequest { id, form } => Operation::AttributesRequest { id, payload, format: form.format() },
            Self::RpcRequest { id, form } => Operation::RpcRequest { id, payload, format: form.format() },
            Self::RpcResponse { id, form } => Operation::RpcResponse { id, payload, format: form.format() },
            Self::Claim => Operation::Claim { payload },
            Self::Provision => Operation::Provision { payload },
            Self::Chunk { package, request, chunk } => Operation::Chunk { package, request, chunk, size: payload },
            Self::Gateway(operation) => Operation::Gateway { operation, payload },
        })
    }
}

/// After `v1/devices/me/`.
fn long(rest: &str) -> Option<Route> {
    match rest {
        "telemetry" => return Some(Route::Telemetry(Format::Profile)),
        "attributes" => return Some(Route::Attributes(Format::Profile)),
        "claim" => return Some(Route::Claim),
        _ => {}
    }
    let (kind, id) = rest.rsplit_once('/')?;
    let (id, form) = (number(id)?, Form::V1);
    match kind {
        "attributes/request" => Some(Route::AttributesRequest { id, form }),
        "rpc/request" => Some(Route::RpcRequest { id, form }),
        "rpc/response" => Some(Route::RpcResponse { id, form }),
        _ => None,
    }
}

/// After `v2/`.
fn short(rest: &str) -> Option<Route> {
    let (kind, last) = match rest.rsplit_once('/') {
        Some((kind, last)) => (kind, last),
        None if rest == "t" => return Some(Route::Telemetry(Format::Profile)),
        None if rest == "a" => return Some(Route::Attributes(Format::Profile)),
        None => return None,
    };
    if let Some(form) = Form::of_suffix(last) {
        return match kind {
            "t" => Some(Route::Telemetry(form.format())),
            "a" => Some(Route::Attributes(form.format())),
            _ => None,
        };
    }
    let id = number(last)?;
    if let Some(request) = kind.strip_suffix("/chunk") {
        let (kind, request) = request.rsplit_once('/')?;
        let package = match kind {
            "fw/request" => Package::Firmware,
            "sw/request" => Package::Software,
            _ => return None,
        };
        return Some(Route::Chunk { package, request: number(request)?, chunk: id });
    }
    let suffixed = kind.rsplit_once('/').and_then(|(kind, suffix)| Some((kind, Form::of_suffix(suffix)?)));
    match suffixed.unwrap_or((kind, Form::Short)) {
        ("a/req", form) => Some(Route::AttributesRequest { id, form }),
        ("r/req", form) => Some(Route::RpcRequest { id, form }),
        ("r/res", form) => Some(Route::RpcResponse { id, form }),
        _ => None,
    }
}

/// After `v1/gateway/`.
fn gateway(rest: &str) -> Option<Route> {
    Some(Route::Gateway(match rest {
        "telemetry" => GatewayOperation::Telemetry,
        "attributes" => GatewayOperation::Attributes,
        "connect" => GatewayOperation::Connect,
        "disconnect" => GatewayOperation::Disconnect,
        "attributes/request" => GatewayOperation::AttributesRequest,
        "rpc" => GatewayOperation::Rpc,
        "claim" => GatewayOperation::Claim,
        _ => return None,
    }))
}

fn of_profile(topic: &str, topics: &Topics) -> Option<Route> {
    if filter::matches(&topics.telemetry, topic) {
        Some(Route::Telemetry(Format::Profile))
    } else if filter::matches(&topics.attributes, topic) {
        Some(Route::Attributes(Format::Profile))
    } else {
        None
    }
}

/// A request identifier is a decimal number; `parse` alone would also take a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What a will says when it is published: only telemetry and attributes can be said in one's absence.
pub(super) fn will<'a>(topic: &str, payload: &'a [u8], topics: Option<&Topics>) -> Option<Operation<'a>> {
    match Route::of(topic, &Rights { topics, ..Rights::default() }) {
        route @ (Route::Telemetry(_) | Route::Attributes(_)) => route.operation(payload),
        _ => None,
    }
}
