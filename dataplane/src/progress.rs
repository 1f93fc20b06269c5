//! How far the alarm rules of a device's profile have come at a device profile node: how often, or for how long, a condition has held.
//! Values only: judges nothing and keeps nothing.

use schemas::alarm::Severity;
use schemas::id::ChainId;
use uuid::Uuid;

use crate::clock::Timestamp;

/// The progress at one node. Without rules there is nothing to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The node, last; before it the nodes by which messages enter each chain but the first.
    pub path: Vec<(ChainId, Uuid)>,
    pub rules: Vec<RuleProgress>,
}

/// That of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProgress {
    pub id: String,
    /// `None`: of the rule that clears.
    pub severity: Option<Severity>,
    /// Messages in a row; 0 of a condition that has to last.
    pub times: u64,
    /// The last message that met a condition that has to last.
    pub last: Timestamp,
    /// For how long it had lasted then, and how long it has to, in milliseconds.
    pub lasted_ms: i64,
    pub required_ms: i64,
    /// It has lasted long enough, which was acted on.
    pub reached: bool,
}

impl Progress {
    /// The node; nil of one that nothing is remembered for.
    #[must_use]
    pub fn node(&self) -> Uuid {
        self.path.last().map_or(Uuid::nil(), |(_, node)| *node)
    }

    /// When a condition has lasted long enough, if no message says otherwise before.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.rules.iter().filter_map(RuleProgress::due).min()
    }

    /// About what it takes in memory beyond its own size, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rules: usize = self.rules.iter().map(|rule| size_of::<RuleProgress>() + rule.id.len()).sum();
        self.path.len() * size_of::<(ChainId, Uuid)>() + rules
    }
}

impl RuleProgress {
    /// The first millisecond at which it has lasted for longer than it has to.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let waits = self.times == 0 && !self.reached;
        waits.then(|| Timestamp(self.last.0.saturating_add(self.required_ms - self.lasted_ms).saturating_add(1)))
    }
}
