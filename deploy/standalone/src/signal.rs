//! SIGTERM and SIGINT. The first asks for a drain, the second ends the process at once; SIGHUP is never needed.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::report;

/// 128 + SIGINT, as shells say it.
const EXIT_AT_ONCE: i32 = 130;

/// Listens from now on, so that a signal during a long start is not lost. Must be called inside a runtime.
///
/// # Errors
/// If the kernel refuses a handler.
pub(crate) fn listen() -> std::io::Result<oneshot::Receiver<()>> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let (asked, receiver) = oneshot::channel();
    tokio::spawn(watch(terminate, interrupt, asked));
    Ok(receiver)
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, asked: oneshot::Sender<()>) {
    next(&mut terminate, &mut interrupt).await;
    report::draining();
    // The receiver is gone only if the start has failed, and then the process ends anyway.
    let _ = asked.send(());
    next(&mut terminate, &mut interrupt).await;
    report::stopped_at_once();
    #[expect(clippy::exit, reason = "the operator asked twice: nothing that is left is waited for")]
    std::process::exit(EXIT_AT_ONCE);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
