//! What the administrator of the installation sets for all tenants: by which mail server nodes send that name none. Data planes are told
//! at once. A password that was set is never shown.

use schemas::chain::{Problem, system_mail};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, permit},
    domain::{EntityKind, Invalid},
    entity::{audit::Action, installation},
    error::Error,
};

const PASSWORD: &str = "password";
/// What a password belongs to.
const ACCOUNT: [&str; 3] = ["smtpHost", "smtpPort", "username"];

impl App {
    /// ThingsBoard's settings `mail`, without the password; `None` until they are set.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn mail_settings(&self, caller: &Caller) -> Result<Option<Map<String, Value>>, Error> {
        permit(caller, Resource::AdminSettings, Operation::Read)?;
        Ok(installation::mail(self.reader()).await?.map(without_password))
    }

    /// Replaces them. Where no password is said the one of the same account stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] with everything that is wrong, [`Error::Forbidden`].
    pub async fn save_mail_settings(
        &self,
        caller: &Caller,
        mut settings: Map<String, Value>,
    ) -> Result<Written<Map<String, Value>>, Error> {
        permit(caller, Resource::AdminSettings, Operation::Write)?;
        let mut write = self.begin(caller).await?;
        if let Some(stored) = installation::mail(write.db()).await?
            && settings.get(PASSWORD).is_none_or(Value::is_null)
            && ACCOUNT.iter().all(|field| settings.get(*field) == stored.get(*field))
            && let Some(password) = stored.get(PASSWORD)
        {
            settings.insert(PASSWORD.to_owned(), password.clone());
        }
        system_mail(&settings).map_err(|problems| invalid(&problems))?;
        installation::set_mail(&mut write, &settings).await?;
        write.audit(Action::Updated, EntityKind::Installation, Uuid::nil(), None).await?;
        self.finish(write, without_password(settings)).await
    }
}

fn without_password(mut settings: Map<String, Value>) -> Map<String, Value> {
    settings.remove(PASSWORD);
    settings
}

fn invalid(problems: &[Problem]) -> Invalid {
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Invalid::new("jsonValue", "", said.join("; "))
}
