//! The audit log: reading it, and writing down what is not done by the entity store. Such a deed is a pending line before it
//! begins and has its outcome after it ended, also when nobody waits for it any more (DESIGN 24).

use std::{future::Future, sync::Arc};

use serde_json::Value;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, permit_within},
    clock,
    domain::{AuditFilter, AuditLine, EntityRef, Page, PageLink, present},
    entity::{
        Author,
        audit::{self, Action, Deed},
    },
    error::Error,
};

/// Data longer than this is left out of a line.
const DATA_BYTES_MAX: usize = 4 << 10;

impl App {
    /// Lines of the tenant, newest first; sorted by `createdTime`, `entityType`, `entityName`, `userName`, `actionType` or
    /// `actionStatus`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless the caller administers a tenant, [`Error::Invalid`] for an unknown sort property.
    pub async fn audit_lines(&self, caller: &Caller, filter: &AuditFilter, link: &PageLink) -> Result<Page<AuditLine>, Error> {
        let scope = permit_within(caller, Resource::AuditLog, Operation::Read)?;
        Ok(audit::page(self.reader(), scope.tenant, filter, link).await?)
    }

    /// Does something outside of the entity store and writes down that it was done. `failed` says why an answer is a failure all
    /// the same.
    ///
    /// # Errors
    /// Those of `deed`.
    pub async fn audited<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        (action, entity, data): (Action, EntityRef, Value),
        deed: impl Future<Output = Result<T, Error>> + Send + 'static,
        failed: impl FnOnce(&T) -> Option<String> + Send + 'static,
    ) -> Result<T, Error> {
        let data = if data.to_string().len() > DATA_BYTES_MAX { Value::Object(serde_json::Map::new()) } else { data };
        let mut write = self.begin(caller).await?;
        let tenant = present(entity.tenant);
        let lines = write.record(&Deed { action, kind: entity.kind, ids: &[entity.id], tenant, data }).await?;
        write.commit().await?;
        let (app, author) = (Arc::clone(self), Author { user: Some(caller.user), name: caller.email.clone() });
        // A task of its own: a client that hangs up must not leave the line without its outcome.
        let doing = tokio::spawn(async move {
            let outcome = deed.await;
            let failure = match &outcome {
                Ok(value) => failed(value),
                Err(error) => Some(error.to_string()),
            };
            for line in lines {
                if let Err(error) = app.complete(&author, line, failure.clone()).await {
                    tracing::warn!(%error, %line, "the outcome of an audited deed was not written down");
                }
            }
            outcome
        });
        doing.await.unwrap_or_else(|error| Err(Error::Internal(format!("an audited deed: {error}"))))
    }

    async fn complete(&self, author: &Author, line: uuid::Uuid, failure: Option<String>) -> Result<(), Error> {
        let mut write = self.store.write(author.clone(), clock::now_ms()).await?;
        audit::complete(&mut write, line, failure).await?;
        write.commit().await?;
        Ok(())
    }
}
