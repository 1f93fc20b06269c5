//! Changes of alarms, over the Query service: the originator's shard makes them (DESIGN 8.6, 23).

use schemas::{alarm::Alarm, generated::query as wire};

use crate::{
    domain::{AlarmChange, ChangedAlarm},
    telemetry::{
        Client, Entity, Unanswered,
        client::{WRITE_TIMEOUT, to_wire, within},
    },
};

impl Client {
    /// Changes an alarm, as it is known here: what the shard knows of it wins. Answers when the change is durable.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn change_alarm(&self, entity: &Entity, alarm: &Alarm, change: AlarmChange) -> Result<ChangedAlarm, Unanswered> {
        let assignee = if let AlarmChange::Assign(user) = change { user } else { None };
        let change = match change {
            AlarmChange::Save => wire::AlarmChange::Save,
            AlarmChange::Acknowledge => wire::AlarmChange::Acknowledge,
            AlarmChange::Clear => wire::AlarmChange::Clear,
            AlarmChange::Assign(_) => wire::AlarmChange::Assign,
            AlarmChange::Delete => wire::AlarmChange::Delete,
        };
        let request = wire::ChangeAlarmRequest {
            entity: Some(to_wire(entity)),
            alarm: alarm.encode(),
            change: change.into(),
            assignee_id: assignee.map(|user| user.as_bytes().to_vec()).unwrap_or_default(),
        };
        let mut stub = self.0.clone();
        let reply = within(WRITE_TIMEOUT, stub.change_alarm(request)).await?;
        let alarm = Alarm::decode(&reply.alarm).map_err(|invalid| Unanswered::Unavailable(invalid.to_string()))?;
        Ok(ChangedAlarm { alarm, changed: reply.changed })
    }
}
