//! Log: the message goes to the log under the node's name. A script that would format the text is not run.

use crate::effect::Effect;
use crate::rules::node::SUCCESS;

pub(super) fn run<'m>(name: &'m str, into: &mut Vec<Effect<'m>>) -> usize {
    into.push(Effect::Log { node: name });
    SUCCESS
}
