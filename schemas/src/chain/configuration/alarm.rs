//! Configurations of the nodes that begin, end and look at alarms.

use std::sync::Arc;

use super::Reader;
use crate::{
    alarm::{Propagation, RELATION_TYPES_MAX, Severity, Status},
    chain::{AlarmSeverity, ClearAlarm, CreateAlarm, NewAlarm},
    script::{Form, Script},
};

impl Reader<'_> {
    pub(super) fn create_alarm(&mut self) -> Option<CreateAlarm> {
        // Nodes that are older than that field build the details, too, as they say how.
        let builds = ["alarmDetailsBuildTbel", "alarmDetailsBuildJs"].iter().any(|script| self.value(script).is_some());
        let (from_message, overwrites) = (self.flag("useMessageAlarmData")?, self.flag_or("overwriteAlarmDetails", builds)?);
        if from_message {
            let details = if overwrites { Some(self.alarm_details()?) } else { None };
            return Some(CreateAlarm { new: NewAlarm::OfMessage, details });
        }
        let (kind, severity, details) = (self.name("alarmType"), self.alarm_severity(), self.alarm_details());
        let propagation = self.propagation();
        let new = NewAlarm::Of { kind: kind?, severity: severity?, propagation: propagation? };
        Some(CreateAlarm { new, details: Some(details?) })
    }

    pub(super) fn clear_alarm(&mut self) -> Option<ClearAlarm> {
        let (kind, details) = (self.name("alarmType"), self.alarm_details());
        Some(ClearAlarm { kind: kind?, details: details? })
    }

    pub(super) fn alarm_statuses(&mut self) -> Option<Vec<Status>> {
        let names = Status::ALL.iter().map(|status| status.name()).collect::<Vec<_>>().join(", ");
        self.required("alarmStatusList", &format!("an array of 1 or more of {names}"), |value| {
            let statuses = value.as_array().filter(|statuses| !statuses.is_empty())?;
            statuses.iter().map(|status| status.as_str().and_then(Status::parse)).collect()
        })
    }

    fn alarm_details(&mut self) -> Option<Arc<Script>> {
        self.script_in(Form::Details, ("alarmDetailsBuildTbel", "alarmDetailsBuildJs"))
    }

    /// A name that is none is a template only if the node says so, or writes it as one.
    fn alarm_severity(&mut self) -> Option<AlarmSeverity> {
        let dynamic = self.flag("dynamicSeverity")?;
        let names = Severity::ALL.iter().map(|severity| severity.name()).collect::<Vec<_>>().join(", ");
        self.required("severity", &format!("one of {names}, or a template"), |value| {
            let text = value.as_str()?;
            match Severity::parse(text) {
                Some(severity) => Some(AlarmSeverity::Fixed(severity)),
                None => (dynamic || text.contains("${") || text.contains("$[")).then(|| AlarmSeverity::Template(text.to_owned())),
            }
        })
    }

    fn propagation(&mut self) -> Option<Propagation> {
        let along_relations = self.flag("propagate");
        let (to_owner, to_tenant) = (self.flag("propagateToOwner"), self.flag("propagateToTenant"));
        let relation_types = self.strings("relationTypes");
        if relation_types.as_ref().is_some_and(|types| types.len() > RELATION_TYPES_MAX) {
            self.problem("relationTypes", format!("at most {RELATION_TYPES_MAX} relation types"));
            return None;
        }
        Some(Propagation {
            along_relations: along_relations?,
            to_owner: to_owner?,
            to_tenant: to_tenant?,
            relation_types: relation_types?,
        })
    }
}
