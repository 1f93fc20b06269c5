//! Connections to targets outside that are kept while nodes use them: one for each node, made anew when its settings change; where there
//! are as many as may be, the one that was used longest ago ends. Knows no protocol.

use std::collections::HashMap;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::Told;
use crate::limits;
use crate::owed::{Answer, Answered};

/// A call over such a connection and who waits for it.
pub(super) type Waiting<C> = (C, Told);

/// Connections by the nodes that use them. `S` is everything that makes one what it is, `C` a call over one.
#[derive(Debug)]
pub(super) struct Kept<S, C> {
    of: HashMap<Uuid, One<S, C>>,
    most: usize,
    uses: u64,
}

#[derive(Debug)]
struct One<S, C> {
    settings: S,
    calls: mpsc::Sender<Waiting<C>>,
    used: u64,
}

impl<S: PartialEq + Clone, C> Kept<S, C> {
    /// At most so many of them.
    pub(super) fn new(most: usize) -> Self {
        Self { of: HashMap::new(), most, uses: 0 }
    }

    /// Gives a call to the node's connection. Without one with these settings, `serve` is told to begin one: it makes what calls it is
    /// given, and ends when it likes, or when all of them are answered and there will be no more.
    pub(super) fn give(
        &mut self,
        (node, settings): (Uuid, S),
        (call, told): Waiting<C>,
        serve: impl FnOnce(S, mpsc::Receiver<Waiting<C>>),
    ) {
        self.of.retain(|_, one| !one.calls.is_closed());
        self.uses += 1;
        if self.of.get(&node).is_none_or(|one| one.settings != settings) {
            if self.of.len() >= self.most
                && let Some(oldest) = self.of.iter().min_by_key(|(_, one)| one.used).map(|(node, _)| *node)
            {
                self.of.remove(&oldest);
            }
            let (calls, waiting) = mpsc::channel(limits::BROKER_CALLS_MAX);
            serve(settings.clone(), waiting);
            self.of.insert(node, One { settings, calls, used: 0 });
        }
        let Some(one) = self.of.get_mut(&node) else { return };
        one.used = self.uses;
        if let Err(back) = one.calls.try_send((call, told)) {
            let (_, told) = back.into_inner();
            let reason = format!("{} calls wait for the target already", limits::BROKER_CALLS_MAX);
            // Not now: the call is made again.
            tokio::spawn(told.tell(Answered::Failed(reason, Answer::default())));
        }
    }
}

/// A connection is over: whoever came for it meanwhile is told that nobody is there, and so comes again.
pub(super) async fn turn_away<C>(mut calls: mpsc::Receiver<Waiting<C>>, reason: &str) {
    calls.close();
    while let Some((_, told)) = calls.recv().await {
        told.tell(Answered::Unreachable(reason.to_owned())).await;
    }
}
