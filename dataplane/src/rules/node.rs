//! A node of a plan, compiled from its kind: what it does with a message, and which of its outcomes follows.
//! An outcome is a number; only compiling knows its label.

mod log;
mod message_type_filter;
mod message_type_switch;
mod save_attributes;
mod save_timeseries;

use schemas::chain::{self, MessageType, NodeKind};

use crate::effect::Effect;
use crate::message::Message;
use crate::rules::node::message_type_filter::MessageTypeFilter;
use crate::rules::node::save_attributes::SaveAttributes;
use crate::rules::node::save_timeseries::SaveTimeseries;

/// Outcomes of nodes that act.
const ACTION_OUTCOMES: &[&str] = &[chain::label::SUCCESS, chain::label::FAILURE];
const SUCCESS: usize = 0;
const FAILURE: usize = 1;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    MessageTypeSwitch,
    MessageTypeFilter(MessageTypeFilter),
    SaveTimeseries(SaveTimeseries),
    SaveAttributes(SaveAttributes),
    Log,
}

impl Node {
    pub(crate) fn compile(node: &chain::Node) -> Self {
        let act = match &node.kind {
            NodeKind::MessageTypeSwitch => Act::MessageTypeSwitch,
            NodeKind::MessageTypeFilter { types } => Act::MessageTypeFilter(MessageTypeFilter::compile(types)),
            NodeKind::SaveTimeseries(save) => Act::SaveTimeseries(SaveTimeseries::compile(*save)),
            NodeKind::SaveAttributes(save) => Act::SaveAttributes(SaveAttributes::compile(*save)),
            NodeKind::Log => Act::Log,
        };
        Self { name: node.name.clone(), act }
    }

    /// The label of every outcome, outcome 0 first.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &'static str> {
        let (own, types): (&[&str], &[MessageType]) = match self.act {
            Act::MessageTypeSwitch => (&[], message_type_switch::OUTCOMES),
            Act::MessageTypeFilter(_) => (message_type_filter::OUTCOMES, &[]),
            Act::SaveTimeseries(_) | Act::SaveAttributes(_) | Act::Log => (ACTION_OUTCOMES, &[]),
        };
        own.iter().copied().chain(types.iter().map(|kind| kind.label()))
    }

    /// Acts on the message and returns the outcome.
    pub(crate) fn run<'m>(&'m self, message: &'m Message<'m>, into: &mut Vec<Effect<'m>>) -> usize {
        match &self.act {
            Act::MessageTypeSwitch => message_type_switch::run(message),
            Act::MessageTypeFilter(filter) => filter.run(message),
            Act::SaveTimeseries(save) => save.run(message, into),
            Act::SaveAttributes(save) => save.run(message, into),
            Act::Log => log::run(&self.name, into),
        }
    }
}
