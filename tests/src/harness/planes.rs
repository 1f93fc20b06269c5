//! Both planes as processes of their own, so that one can be killed. Never in one process: that is `Setup::standalone`.

use super::fixture;
use super::instance::{Home, Instance, Setup};
use super::port;
use super::rest::Rest;
use std::net::SocketAddr;

/// How to start both.
#[derive(Debug)]
pub struct Planes {
    pub control: Setup,
    pub data: Setup,
}

impl Planes {
    #[must_use]
    pub fn new(home: &Home) -> Self {
        const TOKEN: &str = "a-join-token-that-only-tests-know";
        // The control plane must come back where the data plane looks for it.
        let feed: SocketAddr = port::reserve();
        let both = |setup: Setup| setup.with("TIDEGATE_GRPC_JOIN_TOKEN", TOKEN);
        let control = Setup::new(home, "controlplane", "control").demo(true).with("TIDEGATE_GRPC_LISTEN", feed);
        let data = Setup::new(home, "dataplane", "shards").shards(2);
        Self { control: both(control), data: both(data.with("TIDEGATE_LINK_CONTROL_PLANE", format!("http://{feed}"))) }
    }
}

/// Waits until the control plane reaches the data plane; the demo tenant's administrator.
#[must_use]
pub fn joined(control: &Instance, device: &str) -> Rest {
    let tenant = fixture::tenant(control);
    let path = fixture::telemetry(device, "keys/timeseries");
    super::eventually("the data plane has joined", || (tenant.get(&path).status == 200).then_some(()));
    tenant
}
