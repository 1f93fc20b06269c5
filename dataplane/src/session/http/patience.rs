//! The one deadline of a session: for a head, for a body, or for the next request. Never reads a clock.

use crate::clock::Instant;
use crate::limits;

#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    deadline: Instant,
    awaits: Awaits,
    paused: bool,
    /// The last open request was answered since the deadline was set; when, is not known.
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// The head of the first request, from accept on.
    First,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The next request.
    Next,
}

impl Awaits {
    fn ms(self) -> u64 {
        match self {
            Self::First | Self::Head => limits::CONNECT_DEADLINE_MS,
            Self::Body => limits::HTTP_BODY_DEADLINE_MS,
            Self::Next => limits::HTTP_IDLE_MS,
        }
    }
}

impl Patience {
    pub(super) fn until_first_request(accepted: Instant) -> Self {
        let awaits = Awaits::First;
        Self { deadline: accepted.after_ms(awaits.ms()), awaits, paused: false, answered: false }
    }

    /// A part of a request is there. More of the same part moves no deadline: who sends a byte a second is not waited for.
    pub(super) fn began(&mut self, has_head: bool, now: Instant) {
        match (self.awaits, has_head) {
            (Awaits::First | Awaits::Head | Awaits::Next, true) => self.wait_for(Awaits::Body, now),
            (Awaits::Next, false) => self.wait_for(Awaits::Head, now),
            (Awaits::Body, _) | (Awaits::First | Awaits::Head, false) => {}
        }
    }

    /// A whole request came.
    pub(super) fn request_came(&mut self, now: Instant) {
        self.wait_for(Awaits::Next, now);
    }

    /// Nothing is open any more.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// Whether that happened since the last look.
    pub(super) fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// What is awaited has its whole time again.
    pub(super) fn restart(&mut self, now: Instant) {
        self.wait_for(self.awaits, now);
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    pub(super) fn resume(&mut self, now: Instant) {
        // The deadline of the first request runs from accept, whatever happens.
        if self.paused && !self.awaits_first() {
            self.restart(now);
        }
        self.paused = false;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn awaits_first(&self) -> bool {
        self.awaits == Awaits::First
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn wait_for(&mut self, awaits: Awaits, now: Instant) {
        self.awaits = awaits;
        self.deadline = now.after_ms(awaits.ms());
    }
}
