//! Alarm queries: alarms of the entities that match, and when somebody has to look again because alarms have changed. Never keeps an
//! alarm.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, permit_within, query::readable},
    clock,
    domain::{AlarmCount, AlarmFilter, AlarmInfo, AlarmListing, AlarmRow, EntityQuery, ListedEntity, Page},
    entity::{alarm, alarm_parent, asset, device},
    error::Error,
};

/// Changes that a slow listener may be behind; then it looks at everything again.
pub(super) const CHANGES_MAX: usize = 256;

/// The entities that a query found; `None`: everything is asked for.
pub type Among = Option<Arc<[Uuid]>>;

impl App {
    /// The entities whose alarms a query asks for, at most 10,000.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`] when there are more, [`Error::Unavailable`].
    pub async fn alarm_entities(&self, caller: &Caller, query: Option<&EntityQuery>) -> Result<Among, Error> {
        let Some(query) = query else { return Ok(None) };
        let mut query = query.clone().checked()?;
        let scope = readable(caller, &query)?;
        self.resolve(caller, &mut query).await?;
        let rows = self.matching(&scope, &query, &query.remote_keys()).await?;
        Ok(Some(rows.into_iter().map(|row| row.entity.id).collect()))
    }

    /// A page of the alarms of these entities, each with what is shown of its entity.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Unavailable`].
    pub async fn find_alarms(&self, caller: &Caller, listing: &AlarmListing, among: &Among) -> Result<Page<AlarmRow>, Error> {
        let filter = within(&listing.count, among);
        let page = self.alarms(caller, &filter, &listing.link).await?;
        let scope = permit_within(caller, Resource::Device, Operation::ReadValues)?;
        let shown = self.shown_entities(&page, &filter).await?;
        let mut ids: Vec<Uuid> = shown.clone();
        ids.sort_unstable();
        ids.dedup();
        let devices = device::by_ids(self.reader(), scope.tenant, scope.customer, &ids).await?;
        let assets = asset::by_ids(self.reader(), scope.tenant, scope.customer, &ids).await?;
        let entities = devices.into_iter().map(ListedEntity::from).chain(assets.into_iter().map(ListedEntity::from));
        let mut rows = self.rows(&scope, entities.collect()).await?;
        self.fill(&mut rows, &listing.shown).await?;
        let rows: HashMap<Uuid, _> = rows.into_iter().map(|row| (row.entity.id, row)).collect();
        let mut shown = shown.into_iter();
        Ok(page.map(|info| AlarmRow { entity: shown.next().and_then(|id| rows.get(&id).cloned()), info }))
    }

    /// The entity of each alarm: of those that were asked for, the one to which it is propagated if it is of none of them.
    async fn shown_entities(&self, page: &Page<AlarmInfo>, filter: &AlarmFilter) -> Result<Vec<Uuid>, Error> {
        let mut through = HashMap::new();
        if let (true, Some(among)) = (filter.propagated, &filter.among) {
            let asked: HashSet<Uuid> = among.iter().copied().collect();
            let others = page.data.iter().filter(|info| !asked.contains(&info.alarm.originator.0));
            let others: Vec<Uuid> = others.map(|info| info.alarm.id).collect();
            through = alarm_parent::through(self.reader(), &others, among).await?;
        }
        let entity = |info: &AlarmInfo| through.get(&info.alarm.id).copied().unwrap_or(info.alarm.originator.0);
        Ok(page.data.iter().map(entity).collect())
    }

    /// How many alarms of these entities there are.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn count_alarms(&self, caller: &Caller, count: &AlarmCount, among: &Among) -> Result<u64, Error> {
        let filter = within(count, among);
        let walls = self.alarm_walls(caller, &filter).await?;
        Ok(alarm::count(self.reader(), walls, &filter).await?)
    }

    /// Whose alarms have changed, by tenant, as far as this process was told.
    #[must_use]
    pub fn alarm_changes(&self) -> broadcast::Receiver<Arc<[Uuid]>> {
        self.alarms_changed.subscribe()
    }
}

fn within(count: &AlarmCount, among: &Among) -> AlarmFilter {
    AlarmFilter { among: among.clone(), ..count.filter_at(clock::now_ms()) }
}
