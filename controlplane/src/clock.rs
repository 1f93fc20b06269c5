//! The only reader of the OS clock in the control plane. Never decides anything by it.

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok())
        .unwrap_or(0)
}

/// A moment on the monotonic clock, so far from now.
#[must_use]
pub(crate) fn after(time: std::time::Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + time
}
