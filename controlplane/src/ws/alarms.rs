//! Subscriptions to alarms on one socket: pages and counts that are looked at again when alarms of the tenant have changed, a moment
//! later, so that many changes are one look (reference 3). What is the same is not told again. Alarms that another control plane takes
//! in are seen with the next review.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::broadcast, time::Instant};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::{Among, App},
    clock,
    domain::{AlarmCount, AlarmListing, AlarmRow, Invalid, Key, Page},
    error::Error,
};

/// Subscriptions to alarms of one socket; ThingsBoard's bound of such queries.
const ALARM_SUBSCRIPTIONS_MAX: usize = 10;
/// From a change to the look at what is subscribed.
const SETTLING: Duration = Duration::from_millis(200);
/// Devices of one subscription, as clients are told.
const DEVICES_MAX: u64 = 10_000;

/// How alarm queries are read and answered: as over HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarms {
    pub(crate) listing: fn(Value) -> Result<AlarmListing, Invalid>,
    pub(crate) count: fn(Value) -> Result<AlarmCount, Invalid>,
    /// The page as JSON, what is shown of devices, and when fields were read, in milliseconds since the Unix epoch.
    pub(crate) page: fn(Page<AlarmRow>, &[Key], i64) -> Value,
}

/// What a client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ws) enum Wanted {
    Page,
    Count,
}

enum Query {
    Page(Box<AlarmListing>),
    Count(Box<AlarmCount>),
}

struct Subscribed {
    query: Query,
    among: Among,
    /// When it began; fields of devices were read then.
    since_ms: i64,
    /// What the client knows: a page or a number.
    known: Value,
}

/// The subscriptions of one socket, by the client's command ids.
pub(in crate::ws) struct Subscriptions {
    shapes: Alarms,
    those: BTreeMap<i64, Subscribed>,
    changes: Option<broadcast::Receiver<Arc<[Uuid]>>>,
    due: Option<Instant>,
}

impl Subscriptions {
    pub(in crate::ws) fn new(shapes: Alarms) -> Self {
        Self { shapes, those: BTreeMap::new(), changes: None, due: None }
    }

    /// Begins a subscription, or gives its command id a new meaning; the first reply.
    ///
    /// # Errors
    /// What is wrong with the query, or why it cannot be answered.
    pub(in crate::ws) async fn begin(
        &mut self,
        (app, caller): (&App, &Caller),
        id: i64,
        (wanted, query): (Wanted, Value),
    ) -> Result<String, Error> {
        self.end(id);
        if self.those.len() >= ALARM_SUBSCRIPTIONS_MAX {
            return Err(Error::Refused(format!("at most {ALARM_SUBSCRIPTIONS_MAX} subscriptions to alarms on one socket")));
        }
        let query = match wanted {
            Wanted::Page => Query::Page(Box::new((self.shapes.listing)(query)?)),
            Wanted::Count => Query::Count(Box::new((self.shapes.count)(query)?)),
        };
        // Before the first look, so that no change falls between the two.
        self.changes.get_or_insert_with(|| app.alarm_changes());
        let among = app.alarm_entities(caller, query.count().entities.as_ref()).await?;
        let mut subscribed = Subscribed { query, among, since_ms: clock::now_ms(), known: Value::Null };
        subscribed.known = subscribed.look((app, caller), self.shapes).await?;
        let first = subscribed.told(id, None);
        self.those.insert(id, subscribed);
        Ok(first)
    }

    /// Ends a subscription, if this is one.
    pub(in crate::ws) fn end(&mut self, id: i64) {
        self.those.remove(&id);
        if self.those.is_empty() {
            (self.changes, self.due) = (None, None);
        }
    }

    /// Comes back when alarms of this tenant have changed. May be dropped at any time.
    pub(in crate::ws) async fn changed(&mut self, tenant: Option<Uuid>) {
        loop {
            if let Some(due) = self.due {
                tokio::time::sleep_until(due).await;
                self.due = None;
                return;
            }
            let Some(changes) = &mut self.changes else { return pending().await };
            match changes.recv().await {
                Ok(tenants) if !tenant.is_some_and(|tenant| tenants.contains(&tenant)) => {}
                // Whoever has missed some looks at everything.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.due = Some(clock::after(SETTLING)),
                Err(broadcast::error::RecvError::Closed) => return pending().await,
            }
        }
    }

    /// Looks again; what the client is to be told. With `anew` also which devices match.
    pub(in crate::ws) async fn look(&mut self, by: (&App, &Caller), anew: bool) -> Vec<(i64, Wanted, Result<String, Error>)> {
        let mut told = Vec::new();
        for (id, subscribed) in &mut self.those {
            let wanted = subscribed.query.wanted();
            match subscribed.look_again(by, self.shapes, anew).await {
                Ok(Some(before)) => told.push((*id, wanted, Ok(subscribed.told(*id, Some(&before))))),
                Ok(None) => {}
                // It may be able to answer the next time.
                Err(Error::Unavailable(reason)) => tracing::debug!(id, reason, "alarms could not be looked at"),
                Err(error) => told.push((*id, wanted, Err(error))),
            }
        }
        for (id, _, answer) in &told {
            if answer.is_err() {
                self.end(*id);
            }
        }
        told
    }
}

/// What a client is told whose command cannot be carried out.
pub(in crate::ws) fn refusal(id: i64, wanted: Wanted, code: u32, reason: &str) -> String {
    json!({ "cmdId": id, "errorCode": code, "errorMsg": reason, "cmdUpdateType": wanted.update_type() }).to_string()
}

impl Wanted {
    fn update_type(self) -> &'static str {
        match self {
            Self::Page => "ALARM_DATA",
            Self::Count => "ALARM_COUNT_DATA",
        }
    }
}

impl Query {
    fn count(&self) -> &AlarmCount {
        match self {
            Self::Page(listing) => &listing.count,
            Self::Count(count) => count,
        }
    }

    fn wanted(&self) -> Wanted {
        match self {
            Self::Page(_) => Wanted::Page,
            Self::Count(_) => Wanted::Count,
        }
    }
}

impl Subscribed {
    async fn look(&self, (app, caller): (&App, &Caller), shapes: Alarms) -> Result<Value, Error> {
        Ok(match &self.query {
            Query::Page(listing) => {
                let page = app.find_alarms(caller, listing, &self.among).await?;
                (shapes.page)(page, &listing.shown, self.since_ms)
            }
            Query::Count(count) => json!(app.count_alarms(caller, count, &self.among).await?),
        })
    }

    /// What was known before, if that is not so any more.
    async fn look_again(&mut self, by: (&App, &Caller), shapes: Alarms, anew: bool) -> Result<Option<Value>, Error> {
        if anew {
            self.among = by.0.alarm_entities(by.1, self.query.count().entities.as_ref()).await?;
        }
        let now = self.look(by, shapes).await?;
        Ok((now != self.known).then(|| std::mem::replace(&mut self.known, now)))
    }

    /// The first time, and when other alarms are on the page, all of it; else those that have changed.
    fn told(&self, id: i64, before: Option<&Value>) -> String {
        let kind = self.query.wanted().update_type();
        if let Query::Count(_) = self.query {
            return json!({ "cmdId": id, "errorCode": 0, "errorMsg": null, "cmdUpdateType": kind, "count": self.known })
                .to_string();
        }
        let rows = |page: &Value| page["data"].as_array().cloned().unwrap_or_default();
        let now = rows(&self.known);
        let changed = before.map(rows).filter(|before| before.iter().map(alarm_id).eq(now.iter().map(alarm_id))).map(|before| {
            let pairs = now.iter().zip(before);
            pairs.filter(|(now, before)| *now != before).map(|(now, _)| now.clone()).collect::<Vec<_>>()
        });
        let data = if changed.is_some() { Value::Null } else { self.known.clone() };
        json!({
            "cmdId": id, "errorCode": 0, "errorMsg": null, "cmdUpdateType": kind, "data": data, "update": changed,
            "allowedEntities": DEVICES_MAX, "totalEntities": self.among.as_ref().map_or(0, |among| among.len()),
        })
        .to_string()
    }
}

fn alarm_id(row: &Value) -> Value {
    row["id"]["id"].clone()
}
