//! Rule chains are told of what happens to entities, as ThingsBoard tells them: the write itself keeps a message, which is brought to
//! the data plane when that has applied the write, those of one partition in order and once, whoever was away or died meanwhile. Never
//! holds a write up.

mod said;

pub(super) use said::{Of, announce, deleted, related, shown};

use std::{collections::HashSet, sync::Arc, time::Duration};

use schemas::id::{EntityId, Partition};
use tokio::sync::watch;

use crate::{
    app::App,
    clock,
    domain::Announcement,
    entity::{
        Author,
        announcement::{self, Model},
    },
    error::Error,
};

/// After news: what is written meanwhile goes along.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is looked whether there is anything to tell, of another control plane's that ended.
const POLL: Duration = Duration::from_secs(5);
/// How long to wait when something could not be told; twice as long each time, up to the other.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long data planes have to apply what is told of.
const APPLIED_WAIT: Duration = Duration::from_secs(10);
/// What is told at once, and the text of it, in bytes; one more may exceed it.
const AT_ONCE: u64 = 500;
const AT_ONCE_BYTES_MAX: usize = 1 << 20;

impl App {
    /// Tells until `stopping` says true.
    pub async fn tell_chains(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut pause = PAUSE;
        loop {
            let told = match self.tell_waiting().await {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(%error, "rule chains cannot be told of writes now");
                    false
                }
            };
            let next = async {
                if told {
                    // No news is as good.
                    drop(tokio::time::timeout(POLL, self.store.waiting().news()).await);
                    tokio::time::sleep(GATHER).await;
                } else {
                    tokio::time::sleep(pause).await;
                }
            };
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = next => {}
            }
            pause = if told { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
        }
    }

    /// Tells of everything that waits. What a data plane does not take holds up its own partition only. False: something waits on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no data plane has applied what is to be told.
    pub(crate) async fn tell_waiting(&self) -> Result<bool, Error> {
        let (mut number, mut blocked) = (0, HashSet::new());
        loop {
            let mut rows = announcement::after(self.reader(), number, AT_ONCE).await?;
            fit(&mut rows);
            let Some(last) = rows.last() else { return Ok(blocked.is_empty()) };
            number = last.number;
            let revision = rows.iter().map(|row| row.revision).max().and_then(|revision| u64::try_from(revision).ok());
            rows.retain(|row| !blocked.contains(&partition(row)));
            if rows.is_empty() {
                continue;
            }
            if !self.registry.applied(self.store.epoch(), revision.unwrap_or(0), APPLIED_WAIT).await {
                return Err(Error::Unavailable("no data plane runs with what is to be told".to_owned()));
            }
            let taken = self.data_plane().await?.announce(said(&rows)).await?;
            let mut told = Vec::with_capacity(rows.len());
            for row in &rows {
                // What cannot be read was logged, and is over.
                if taken.get(&row.number).copied().unwrap_or(true) {
                    told.push(row);
                } else {
                    blocked.insert(partition(row));
                }
            }
            let write = self.store.write(Author::system(), clock::now_ms()).await?;
            announcement::delete(&write, &told).await?;
            write.commit().await?;
            announcement::forget(self.store.waiting(), &told);
        }
    }
}

/// What rows say, by their numbers.
fn said(rows: &[Model]) -> Vec<(i64, Announcement)> {
    let read = |row: &Model| match row.said() {
        Ok(said) => Some((row.number, said)),
        Err(error) => {
            tracing::error!(%error, "a rule chain cannot be told of a write");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

/// As many as may be told at once.
fn fit(rows: &mut Vec<Model>) {
    let mut bytes = 0;
    let mut fits = |row: &Model| {
        let before = bytes;
        bytes += row.bytes();
        before < AT_ONCE_BYTES_MAX
    };
    let fitting = rows.iter().take_while(|row| fits(row)).count();
    rows.truncate(fitting);
}

fn partition(row: &Model) -> Partition {
    Partition::of(EntityId(row.entity_id))
}
