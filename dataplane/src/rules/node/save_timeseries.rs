//! Save time series: all entries of a telemetry message. Any other body, and one without readings, is a Failure, as in
//! ThingsBoard. A TIMESERIES_UPDATED routed here is stored again: whoever draws that wants it.

use schemas::chain;

use crate::effect::Effect;
use crate::message::{Body, Message};
use crate::rules::node::{FAILURE, SUCCESS};

#[derive(Clone, Copy, Debug)]
pub(super) struct SaveTimeseries(chain::SaveTimeseries);

impl SaveTimeseries {
    pub(super) fn compile(save: chain::SaveTimeseries) -> Self {
        Self(save)
    }

    pub(super) fn run<'m>(self, message: &'m Message<'m>, into: &mut Vec<Effect<'m>>) -> usize {
        match &message.body {
            Body::Telemetry(readings) if !readings.is_empty() => {
                let chain::SaveTimeseries { default_ttl_s: ttl_s, use_server_ts } = self.0;
                into.push(Effect::SaveTimeseries { readings, ttl_s, use_server_ts });
                SUCCESS
            }
            _ => FAILURE,
        }
    }
}
