//! Calls to the outside that were given up: who may see them and have them made once more is who may change the tenant's chains.

use std::sync::Arc;

use serde_json::json;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, permit_within},
    domain::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLettersEnded, EntityKind, EntityRef, Page, PageLink},
    entity::audit::Action,
    error::Error,
};

impl App {
    /// The tenant's calls that were given up, the last one first, without their messages. Searched and sorted by nothing else.
    ///
    /// # Errors
    /// [`Error::Refused`] for a page that is too far back, [`Error::Unavailable`].
    pub async fn dead_letters(
        &self,
        caller: &Caller,
        filter: DeadLetterFilter,
        link: &PageLink,
    ) -> Result<Page<DeadLetter>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Read)?.tenant;
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let part = (number(link.offset()), number(link.page_size));
        let found = self.data_plane().await?.dead_letters(tenant, filter, part, false).await?;
        let mut page = Page::new(found.letters, found.total, link);
        page.has_next |= found.partial;
        Ok(page)
    }

    /// One of them, with its message.
    ///
    /// # Errors
    /// [`Error::Missing`], also for another tenant's.
    pub async fn dead_letter(&self, caller: &Caller, id: DeadLetterId) -> Result<DeadLetter, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Read)?.tenant;
        let found = self.data_plane().await?.dead_letters(tenant, id.into(), (0, 1), true).await?;
        found.letters.into_iter().next().ok_or_else(|| missing(id))
    }

    /// Makes calls that were given up `again`, or forgets them. Of a filter that names one: [`Error::Missing`] if it is not there.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Unavailable`], also when one that is named is left.
    pub async fn end_dead_letters(
        self: &Arc<Self>,
        caller: &Caller,
        filter: DeadLetterFilter,
        again: bool,
    ) -> Result<DeadLettersEnded, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Write)?.tenant;
        let action = if again { Action::DeadLettersRevived } else { Action::DeadLettersDeleted };
        let entity = EntityRef { kind: EntityKind::Tenant, id: tenant, tenant };
        let data = json!({ "deadLetters": { "originator": filter.originator, "ruleChainId": filter.chain } });
        let app = Arc::clone(self);
        let deed = async move {
            let told = app.data_plane().await?.end_dead_letters(tenant, filter, again).await?;
            match (filter.originator, filter.number) {
                (Some(originator), Some(number)) if told.ended == 0 => Err(if told.left {
                    Error::Unavailable("the call cannot be made again now, try again".to_owned())
                } else {
                    missing(DeadLetterId { originator, number })
                }),
                _ => Ok(told),
            }
        };
        self.audited(caller, (action, entity, data), deed, |_| None).await
    }
}

fn missing(id: DeadLetterId) -> Error {
    Error::Missing(format!("Dead letter with id [{id}] is not found"))
}
