//! Relations between entities of the caller's tenant: drawn, erased, listed, walked along. Both ends exist when one is drawn;
//! nobody is shown a relation to what he cannot see.

use std::collections::{HashMap, HashSet};

use schemas::chain::MessageType;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{App, Written, announcing, new_id, permit_within, same_version},
    domain::{Arrow, End, EntityKind, NamedRelation, Relation, RelationGroup, RelationQuery, Side},
    entity::{
        Write,
        audit::{Action, Deed},
        named, relation,
    },
    error::Error,
};

/// Relations that one answer may hold, or one walk may pass.
const RELATIONS_MAX: usize = 10_000;
/// Levels that one walk may go.
const LEVELS_MAX: u32 = 100;
/// ThingsBoard's type of the relation from a gateway to a device that it made.
const CREATED: &str = "Created";

/// Entities and what they are called.
type Names = HashMap<End, String>;

impl App {
    /// Draws a relation, or replaces the one there is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] for either end, [`Error::Conflict`], [`Error::Forbidden`].
    pub async fn save_relation(
        &self,
        caller: &Caller,
        arrow: Arrow,
        version: Option<i64>,
        additional_info: Value,
    ) -> Result<Written<Relation>, Error> {
        let arrow = arrow.checked()?;
        let scope = permit_within(caller, Resource::Relation, Operation::Write)?;
        let mut write = self.begin(caller).await?;
        for end in [arrow.from, arrow.to] {
            exists(write.db(), &scope, end).await?;
        }
        let saved = match relation::find(write.db(), scope.tenant, &arrow).await? {
            None => draw(&mut write, scope.tenant, arrow, additional_info).await?,
            Some(stored) => {
                same_version(EntityKind::Relation, version, stored.version)?;
                let saved = Relation { version: stored.version + 1, additional_info, ..stored };
                relation::update(&mut write, scope.tenant, &saved).await?;
                tell(&mut write, MessageType::RelationAddOrUpdate, scope.tenant, &saved);
                record(&mut write, Action::RelationSaved, scope.tenant, &saved.arrow).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// Erases a relation; answers with what it was.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Forbidden`].
    pub async fn delete_relation(&self, caller: &Caller, arrow: &Arrow) -> Result<Written<Relation>, Error> {
        let scope = permit_within(caller, Resource::Relation, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        let stored = relation::find(write.db(), scope.tenant, arrow).await?.ok_or_else(missing)?;
        erase(&mut write, scope.tenant, &stored).await?;
        self.finish(write, stored).await
    }

    /// Erases the relations of the common group that an entity has, in both directions.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn delete_relations(&self, caller: &Caller, end: End) -> Result<Written<()>, Error> {
        let scope = permit_within(caller, Resource::Relation, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        exists(write.db(), &scope, end.checked()?).await?;
        relation::delete_group_of(&mut write, end, RelationGroup::Common).await?;
        announcing::related(&mut write, MessageType::RelationsDeleted, (scope.tenant, end), None);
        let ids = [end.id];
        let deed =
            Deed { action: Action::RelationsDeleted, kind: end.kind, ids: &ids, tenant: Some(scope.tenant), data: Value::Null };
        write.record(&deed).await?;
        self.finish(write, ()).await
    }

    /// # Errors
    /// [`Error::Missing`], also for a relation to what the caller cannot see.
    pub async fn relation(&self, caller: &Caller, arrow: &Arrow) -> Result<Relation, Error> {
        let scope = permit_within(caller, Resource::Relation, Operation::Read)?;
        let found = relation::find(self.reader(), scope.tenant, arrow).await?;
        let (mut visible, _) = self.visible(&scope, found.into_iter().collect()).await?;
        visible.pop().ok_or_else(missing)
    }

    /// The relations of one group that an entity has on one side, of one type if there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`].
    pub async fn relations(
        &self,
        caller: &Caller,
        (side, end): (Side, End),
        group: RelationGroup,
        kind: Option<&str>,
    ) -> Result<Vec<NamedRelation>, Error> {
        let scope = permit_within(caller, Resource::Relation, Operation::Read)?;
        exists(self.reader(), &scope, end.checked()?).await?;
        let limit = RELATIONS_MAX as u64 + 1;
        let found = relation::of_ends(self.reader(), scope.tenant, (side, &[end.id]), (group, kind), limit).await?;
        few_enough(found.len())?;
        self.named(&scope, found).await
    }

    /// What a walk along relations finds.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] for the root, [`Error::TooLarge`].
    pub async fn walk(&self, caller: &Caller, query: RelationQuery) -> Result<Vec<NamedRelation>, Error> {
        let scope = permit_within(caller, Resource::Relation, Operation::Read)?;
        let query = query.checked()?;
        exists(self.reader(), &scope, query.root).await?;
        let mut found = self.passed(&scope, &query).await?;
        found.retain(|relation| query.wants(&relation.arrow));
        self.named(&scope, found).await
    }

    /// The entities that a walk reaches, each once.
    ///
    /// # Errors
    /// As [`App::walk`].
    pub async fn reached(&self, caller: &Caller, query: RelationQuery) -> Result<Vec<End>, Error> {
        let side = query.side;
        let found = self.walk(caller, query).await?;
        let mut seen = HashSet::new();
        let ends = found.iter().map(|one| one.relation.arrow.other_end(side));
        Ok(ends.filter(|end| seen.insert(*end)).collect())
    }

    /// Every relation a walk passes, level by level; with `last_level_only` those behind which it did not go
    /// on.
    async fn passed(&self, scope: &Scope, query: &RelationQuery) -> Result<Vec<Relation>, Error> {
        let side = query.side;
        let mut seen: HashSet<Uuid> = HashSet::from([query.root.id]);
        let mut gone_on: HashSet<Uuid> = HashSet::new();
        let mut frontier = vec![query.root.id];
        let mut passed: Vec<Relation> = Vec::new();
        for level in 0.. {
            if frontier.is_empty() || query.levels.is_some_and(|levels| level >= levels) {
                break;
            }
            if level >= LEVELS_MAX {
                return Err(Error::TooLarge(format!("The relations are more than {LEVELS_MAX} levels deep: name maxLevel")));
            }
            let limit = (RELATIONS_MAX - passed.len()) as u64 + 1;
            let ends = (side, frontier.as_slice());
            let found = relation::of_ends(self.reader(), scope.tenant, ends, (query.group, None), limit).await?;
            gone_on.extend(found.iter().map(|relation| relation.arrow.end(side).id));
            frontier = found.iter().map(|relation| relation.arrow.other_end(side).id).filter(|id| seen.insert(*id)).collect();
            passed.extend(found);
            few_enough(passed.len())?;
        }
        if query.last_level_only {
            passed.retain(|relation| !gone_on.contains(&relation.arrow.other_end(side).id));
        }
        Ok(passed)
    }

    async fn named(&self, scope: &Scope, relations: Vec<Relation>) -> Result<Vec<NamedRelation>, Error> {
        let (visible, names) = self.visible(scope, relations).await?;
        let name = |end: End| names.get(&end).cloned().unwrap_or_default();
        let named = |relation: Relation| {
            let (from_name, to_name) = (name(relation.arrow.from), name(relation.arrow.to));
            NamedRelation { relation, from_name, to_name }
        };
        Ok(visible.into_iter().map(named).collect())
    }

    /// Those relations of which the caller sees both ends, and what the ends are called.
    async fn visible(&self, scope: &Scope, relations: Vec<Relation>) -> Result<(Vec<Relation>, Names), Error> {
        let mut by_kind: HashMap<EntityKind, Vec<Uuid>> = HashMap::new();
        for end in relations.iter().flat_map(|relation| [relation.arrow.from, relation.arrow.to]) {
            by_kind.entry(end.kind).or_default().push(end.id);
        }
        let mut names = Names::new();
        for (kind, mut ids) in by_kind {
            ids.sort_unstable();
            ids.dedup();
            let found = named::names(self.reader(), (scope.tenant, scope.customer), kind, &ids).await?;
            names.extend(found.into_iter().map(|(id, name)| (End { kind, id }, name)));
        }
        let seen = |arrow: &Arrow| names.contains_key(&arrow.from) && names.contains_key(&arrow.to);
        let visible = relations.into_iter().filter(|relation| seen(&relation.arrow)).collect();
        Ok((visible, names))
    }
}

/// A relation that is not there yet.
pub(super) async fn draw(write: &mut Write, tenant: Uuid, arrow: Arrow, additional_info: Value) -> Result<Relation, Error> {
    let drawn = Relation { id: new_id(), version: 1, arrow, additional_info };
    relation::insert(write, tenant, &drawn).await?;
    tell(write, MessageType::RelationAddOrUpdate, tenant, &drawn);
    record(write, Action::RelationSaved, tenant, &drawn.arrow).await?;
    Ok(drawn)
}

pub(super) async fn erase(write: &mut Write, tenant: Uuid, stored: &Relation) -> Result<(), Error> {
    relation::delete(write, stored).await?;
    tell(write, MessageType::RelationDeleted, tenant, stored);
    record(write, Action::RelationDeleted, tenant, &stored.arrow).await
}

/// The relation from a gateway to a device that was made for it, as in ThingsBoard.
pub(super) async fn relate_child(write: &mut Write, tenant: Uuid, gateway: Uuid, child: Uuid) -> Result<(), Error> {
    let device = |id| End { kind: EntityKind::Device, id };
    let arrow = Arrow { from: device(gateway), to: device(child), kind: CREATED.to_owned(), group: RelationGroup::Common };
    let relation = Relation { id: new_id(), version: 1, arrow, additional_info: Value::Null };
    Ok(relation::insert(write, tenant, &relation).await?)
}

pub(super) async fn exists(db: &impl sea_orm::ConnectionTrait, scope: &Scope, end: End) -> Result<(), Error> {
    let found = named::names(db, (scope.tenant, scope.customer), end.kind, &[end.id]).await?;
    if found.is_empty() { Err(Error::not_found(end.kind, end.id)) } else { Ok(()) }
}

/// ThingsBoard tells the chains of both ends.
fn tell(write: &mut Write, kind: MessageType, tenant: Uuid, relation: &Relation) {
    for end in [relation.arrow.from, relation.arrow.to] {
        announcing::related(write, kind, (tenant, end), Some(relation));
    }
}

/// ThingsBoard writes down both ends.
async fn record(write: &mut Write, action: Action, tenant: Uuid, arrow: &Arrow) -> Result<(), Error> {
    let shown = |end: End| json!({"entityType": end.kind.name(), "id": end.id});
    let data = json!({"relation": {
        "from": shown(arrow.from),
        "to": shown(arrow.to),
        "type": arrow.kind,
        "typeGroup": arrow.group.name(),
    }});
    for end in [arrow.from, arrow.to] {
        write.record(&Deed { action, kind: end.kind, ids: &[end.id], tenant: Some(tenant), data: data.clone() }).await?;
    }
    Ok(())
}

fn few_enough(relations: usize) -> Result<(), Error> {
    if relations <= RELATIONS_MAX {
        return Ok(());
    }
    Err(Error::TooLarge(format!("There are more than {RELATIONS_MAX} relations: name a type, or fewer levels")))
}

fn missing() -> Error {
    Error::Missing("Requested item wasn't found!".to_owned())
}
