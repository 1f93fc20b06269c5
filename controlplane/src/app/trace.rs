//! One message on its way through chains: the next of an entity is waited for, and what was seen of it at each node is shown. It lies
//! in the memory of the data planes, like debug events, and is nowhere when they have forgotten it.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Use, permit_within},
    clock,
    domain::{Invalid, TracedStep},
    error::Error,
    telemetry::{AtNode, Seen, Sighting},
};

/// How long a message is waited for, in seconds.
const TRACE_WAIT_S_MAX: u32 = 900;

impl App {
    /// Has the next message of an entity looked at wherever it goes, of this type if one is named. Answers by what it is known, and
    /// until when it is waited for, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the caller cannot see, [`Error::Invalid`] for another time, [`Error::Unavailable`].
    pub async fn trace(
        &self,
        caller: &Caller,
        (entity_type, id): (&str, Uuid),
        msg_type: Option<&str>,
        seconds: u32,
    ) -> Result<(Uuid, i64), Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Write)?.tenant;
        self.authorize_entity(caller, entity_type, id, Use::Read).await?;
        if !(1..=TRACE_WAIT_S_MAX).contains(&seconds) {
            return Err(Invalid::new("seconds", &seconds.to_string(), "must be 1 to 900").into());
        }
        let (message, until_ms) = (Uuid::now_v7(), clock::now_ms() + i64::from(seconds) * 1_000);
        for (_, instance) in self.data_planes().await? {
            instance.trace(tenant, (id, msg_type), message, seconds * 1_000).await?;
        }
        Ok((message, until_ms))
    }

    /// What was seen of a message, in the order of time: nothing if it did not come yet, or is forgotten.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn traced(&self, caller: &Caller, message: Uuid) -> Result<Vec<TracedStep>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Read)?.tenant;
        let mut steps = Vec::new();
        for (server, instance) in self.data_planes().await? {
            let seen = instance.sightings(tenant, message).await?;
            steps.extend(seen.into_iter().filter_map(|seen| step(&server, message, seen)));
        }
        steps.sort_by_key(|step: &TracedStep| step.at_ms);
        Ok(steps)
    }
}

fn step(server: &str, of: Uuid, Seen { at, what, .. }: Seen) -> Option<TracedStep> {
    let Sighting::AtNode(AtNode { node, left, originator, message, msg_type, label, data, metadata, error }) = what else {
        return None;
    };
    // A node's id would find what every message did there.
    (message == of).then(|| TracedStep {
        at_ms: at,
        server: server.to_owned(),
        node,
        left,
        originator,
        msg_type,
        label,
        data,
        metadata,
        error,
    })
}
