//! The one deadline of a session: until CONNECT, then keep-alive. Never reads a clock.

use crate::clock::Instant;
use crate::limits;

#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    deadline: Instant,
    /// 1.5 keep-alive periods; 0 before CONNECT is admitted.
    silence_ms: u32,
    paused: bool,
}

impl KeepAlive {
    pub(super) fn until_connect(accepted: Instant) -> Self {
        Self { deadline: accepted.after_ms(limits::CONNECT_DEADLINE_MS), silence_ms: 0, paused: false }
    }

    /// From now on a packet must come within 1.5 times `keep_alive_s`.
    pub(super) fn start(&mut self, keep_alive_s: u16, now: Instant) {
        self.silence_ms = u32::from(keep_alive_s) * 1_500;
        self.touch(now);
    }

    /// A packet came.
    pub(super) fn touch(&mut self, now: Instant) {
        self.deadline = now.after_ms(u64::from(self.silence_ms));
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    pub(super) fn resume(&mut self, now: Instant, connected: bool) {
        // The CONNECT deadline runs from accept, whatever happens.
        if self.paused && connected {
            self.touch(now);
        }
        self.paused = false;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// The keep-alive granted for the one asked for: 0 means none, and there is none without end.
pub(super) fn granted_s(asked_s: u16) -> u16 {
    match asked_s {
        0 => limits::KEEP_ALIVE_S_MAX,
        asked_s => asked_s.min(limits::KEEP_ALIVE_S_MAX),
    }
}
