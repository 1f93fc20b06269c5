//! How a sleeping shard is woken: a byte on a socket pair from other threads, a flag and a waker within its own.
//! Many rings before the owner wakes cost one byte.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use super::event::Doorbell;

/// The owner's end of a doorbell, to be listened to on the shard's thread.
#[derive(Debug)]
pub struct Listener {
    stream: UnixStream,
    rung: Arc<AtomicBool>,
}

/// A doorbell that any thread may ring, and the end that hears it.
///
/// # Errors
/// When the process is out of descriptors.
pub fn doorbell() -> io::Result<(Doorbell, Listener)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let rung = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&rung);
    let ring = move || {
        if !flag.swap(true, Ordering::AcqRel) {
            // A full pipe means that the owner has not yet heard earlier rings: it will look anyway.
            drop((&far).write(&[1]));
        }
    };
    Ok((Arc::new(ring), Listener { stream: near, rung }))
}

impl Listener {
    /// Passes rings from other threads on to the shard's own bell, for ever.
    ///
    /// # Errors
    /// The runtime's error when the socket pair cannot be watched.
    pub async fn listen(self, bell: Rc<Bell>) -> io::Result<()> {
        let reader = self.stream.try_clone()?;
        let watched = monoio::net::UnixStream::from_std(self.stream)?;
        let mut bytes = [0; 64];
        loop {
            watched.readable(false).await?;
            while matches!((&reader).read(&mut bytes), Ok(count) if count == bytes.len()) {}
            // Cleared before the turn looks, so that whatever is posted after that look rings again.
            self.rung.store(false, Ordering::Release);
            bell.ring();
        }
    }
}

/// The bell within a shard: tasks ring, the turn loop waits.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits for a ring; several rings before it are one.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
