//! How a sleeping shard is woken: an event descriptor in its ready set, rung by other threads, and a flag and a waker
//! within its own. While the shard is awake a ring costs no system call: it looks at everything before it sleeps.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Poll, Waker},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::event::Doorbell;

/// The owner's end of a doorbell: a descriptor that becomes readable when somebody rings while the owner sleeps.
#[derive(Debug)]
pub struct Listener {
    event: Arc<OwnedFd>,
    awake: Arc<AtomicBool>,
}

/// A doorbell that any thread may ring, and the end that hears it.
///
/// # Errors
/// When the process is out of descriptors.
pub fn doorbell() -> io::Result<(Doorbell, Listener)> {
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let awake = Arc::new(AtomicBool::new(true));
    let (far, flag) = (Arc::clone(&event), Arc::clone(&awake));
    let ring = move || {
        // Orders what was posted before the look at the flag; its partner is in `doze`.
        fence(Ordering::SeqCst);
        if !flag.swap(true, Ordering::SeqCst) {
            // Fails only when the count is full, and then the owner has not heard earlier rings: it will look anyway.
            let _heard = rustix::io::write(&far, &1_u64.to_ne_bytes());
        }
    };
    Ok((Arc::new(ring), Listener { event, awake }))
}

impl Listener {
    /// The owner is about to sleep: from now on a ring wakes it. It looks once more at everything that is posted to it
    /// after this, since whoever posted before it did not wake anybody.
    pub fn doze(&self) {
        self.awake.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake and looks at everything before it dozes again.
    pub fn wake(&self) {
        self.awake.store(true, Ordering::SeqCst);
    }

    /// Sleeps so many microseconds, less than a second. An owner that dozes is woken by a ring.
    pub fn pause(&self, us: u64) {
        let most = Timespec { tv_sec: 0, tv_nsec: i64::try_from(us.min(999_999)).unwrap_or(0) * 1_000 };
        // Interrupted or not: the owner looks at everything next.
        let _rung = poll(&mut [PollFd::new(&self.event, PollFlags::IN)], Some(&most));
        self.wake();
    }

    /// Empties the descriptor, so that it never fills. Edge-triggered as it is watched, it needs no more.
    pub fn heard(&self) {
        let _count = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// The bell within a shard: its turn and its tasks ring, the turn loop waits.
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

    /// Whether it was rung since the last wait.
    #[must_use]
    pub fn rung(&self) -> bool {
        self.rung.get()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ReadySet;

    #[test]
    fn only_a_dozing_owner_is_woken() {
        let (ring, listener) = doorbell().unwrap();
        let mut set = ReadySet::new().unwrap();
        set.add_reader(&listener, 1).unwrap();
        ring();
        assert_eq!(set.look(), 0, "awake: it looks anyway");
        for _ in 0..2 {
            listener.doze();
            ring();
            ring();
            assert_eq!(set.look(), 1);
            listener.heard();
            assert_eq!(set.look(), 0);
        }
        listener.doze();
        listener.wake();
        ring();
        assert_eq!(set.look(), 0);
    }

    #[test]
    fn a_pause_ends_with_a_ring_or_with_its_time_and_leaves_the_owner_awake() {
        let (ring, listener) = doorbell().unwrap();
        let mut set = ReadySet::new().unwrap();
        set.add_reader(&listener, 1).unwrap();
        listener.doze();
        ring();
        listener.pause(999_999);
        assert_eq!(set.look(), 1, "the ring is still there to be heard");
        listener.heard();
        listener.pause(1);
        ring();
        assert_eq!(set.look(), 0, "awake: it looks anyway");
    }
}
