//! What nodes that save do with which messages: ThingsBoard's processing settings. Values only; remembers nothing.

/// When one of the things happens that saving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    EveryMessage,
    /// Once for an originator in each interval of so many seconds, which begin at the Unix epoch.
    Deduplicate(u32),
    Skip,
}

/// What saving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processing {
    /// History and latest value, or the attribute.
    pub store: Strategy,
    /// What those see who watch.
    pub live: Strategy,
    /// Calculated fields; of what is not stored, they alone know.
    pub calculate: Strategy,
}

impl Processing {
    /// ThingsBoard's WEBSOCKETS_ONLY.
    pub const LIVE_ONLY: Self = Self { store: Strategy::Skip, live: Strategy::EveryMessage, calculate: Strategy::Skip };

    /// What the calculated fields node does.
    pub const FIELDS_ONLY: Self = Self { store: Strategy::Skip, live: Strategy::Skip, calculate: Strategy::EveryMessage };

    /// ThingsBoard's DEDUPLICATE.
    #[must_use]
    pub const fn deduplicate(interval_s: u32) -> Self {
        let strategy = Strategy::Deduplicate(interval_s);
        Self { store: strategy, live: strategy, calculate: strategy }
    }

    #[must_use]
    pub fn each(self) -> [Strategy; 3] {
        [self.store, self.live, self.calculate]
    }

    /// Whether a node has to remember something to decide.
    #[must_use]
    pub fn remembers(self) -> bool {
        self.each().iter().any(|strategy| matches!(strategy, Strategy::Deduplicate(_)))
    }
}
