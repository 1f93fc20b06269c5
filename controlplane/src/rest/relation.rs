//! Relations over HTTP: shapes and handlers (reference 2.3, 9). Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::Written,
    domain::{Arrow, End, EntityKind, Invalid, NamedRelation, Relation, RelationFilter, RelationGroup, RelationQuery, Side},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Params, Signed},
        shape::IdShape,
    },
};

/// A relation as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityRelation)]
pub(in crate::rest) struct RelationShape {
    from: IdShape,
    to: IdShape,
    #[schema(example = "Contains")]
    r#type: String,
    #[schema(example = "COMMON")]
    type_group: &'static str,
    version: i64,
    additional_info: Value,
}

impl From<Relation> for RelationShape {
    fn from(relation: Relation) -> Self {
        let Arrow { from, to, kind, group } = relation.arrow;
        Self {
            from: IdShape::new(from.kind, from.id),
            to: IdShape::new(to.kind, to.id),
            r#type: kind,
            type_group: group.name(),
            version: relation.version,
            additional_info: relation.additional_info,
        }
    }
}

/// A relation with the names of its ends.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityRelationInfo)]
pub(in crate::rest) struct RelationInfoShape {
    #[serde(flatten)]
    relation: RelationShape,
    from_name: String,
    to_name: String,
}

impl From<NamedRelation> for RelationInfoShape {
    fn from(named: NamedRelation) -> Self {
        Self { relation: named.relation.into(), from_name: named.from_name, to_name: named.to_name }
    }
}

/// A relation to draw.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityRelationForm)]
pub(in crate::rest) struct RelationForm {
    from: IdShape,
    to: IdShape,
    #[schema(example = "Contains")]
    r#type: String,
    /// Absent: `COMMON`.
    type_group: Option<String>,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

/// Where a walk along relations begins and how far it goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RelationsSearchParameters)]
pub(in crate::rest) struct WalkForm {
    root_id: Uuid,
    #[schema(example = "ASSET")]
    root_type: String,
    /// `FROM`: the root is where relations begin; `TO`: where they end.
    direction: String,
    /// Absent: `COMMON`.
    relation_type_group: Option<String>,
    /// 0 or absent: as far as they go, at most 100.
    #[serde(default)]
    max_level: i64,
    /// Only relations behind which the walk did not go on.
    #[serde(default)]
    fetch_last_level_only: bool,
}

/// Which of the relations that are walked along are wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RelationEntityTypeFilter)]
pub(in crate::rest) struct FilterForm {
    /// Absent: any.
    relation_type: Option<String>,
    /// Of what is reached; absent: any.
    entity_types: Option<Vec<String>>,
    /// Relations of other types than `relationType`.
    #[serde(default)]
    negate: bool,
}

/// Relations to find.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityRelationsQuery)]
pub(in crate::rest) struct QueryForm {
    parameters: WalkForm,
    /// One of them is enough; none: everything is wanted.
    filters: Option<Vec<FilterForm>>,
}

/// The entity that a name and an id mean.
pub(in crate::rest) fn end(field: &'static str, kind: &str, id: Uuid) -> Result<End, Invalid> {
    let kind = EntityKind::parse(kind).ok_or_else(|| Invalid::new(field, kind, "must be an entity type"))?;
    End { kind, id }.checked().map_err(|invalid| Invalid { field, ..invalid })
}

pub(in crate::rest) fn group(name: Option<&str>) -> Result<RelationGroup, Invalid> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(RelationGroup::Common) };
    let names = RelationGroup::ALL.map(RelationGroup::name).join(", ");
    RelationGroup::parse(name).ok_or_else(|| Invalid::new("relationTypeGroup", name, format!("must be one of {names}")))
}

pub(in crate::rest) fn filter(form: FilterForm) -> Result<RelationFilter, Invalid> {
    let kind =
        |name: &String| EntityKind::parse(name).ok_or_else(|| Invalid::new("filters.entityTypes", name, "must be entity types"));
    let entity_kinds = form.entity_types.unwrap_or_default().iter().map(kind).collect::<Result<_, _>>()?;
    Ok(RelationFilter { kind: form.relation_type.filter(|kind| !kind.is_empty()), entity_kinds, negate: form.negate })
}

/// The walk of the forms.
pub(in crate::rest) fn walk(form: WalkForm, filters: Vec<RelationFilter>) -> Result<RelationQuery, Invalid> {
    let side = match form.direction.as_str() {
        "FROM" => Side::From,
        "TO" => Side::To,
        other => return Err(Invalid::new("direction", other, "must be FROM or TO")),
    };
    Ok(RelationQuery {
        root: end("rootType", &form.root_type, form.root_id)?,
        side,
        group: group(form.relation_type_group.as_deref())?,
        levels: u32::try_from(form.max_level).ok().filter(|levels| *levels > 0),
        last_level_only: form.fetch_last_level_only,
        filters,
    })
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save, read, delete))
        .routes(routes!(save_and_show, delete_and_show))
        .routes(routes!(list, walked, delete_all))
        .routes(routes!(list_infos, walked_infos))
}

/// Draw a relation, or replace the one there is.
#[utoipa::path(post, path = "/api/relation", operation_id = "saveRelation", tag = "relation",
    request_body = RelationForm, responses((status = 200, description = "saved")))]
async fn save(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<RelationForm>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(saved(&web, &caller, form).await?.map(|_| ())))
}

/// Draw a relation, or replace the one there is, and show it.
#[utoipa::path(post, path = "/api/v2/relation", operation_id = "saveRelationV2", tag = "relation",
    request_body = RelationForm, responses((status = 200, body = RelationShape)))]
async fn save_and_show(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<RelationForm>,
) -> Result<Applied<RelationShape>, Error> {
    Ok(Applied::of(saved(&web, &caller, form).await?))
}

async fn saved(web: &Web, caller: &Caller, form: RelationForm) -> Result<Written<Relation>, Error> {
    let arrow = Arrow {
        from: end("from.entityType", &form.from.entity_type, form.from.id)?,
        to: end("to.entityType", &form.to.entity_type, form.to.id)?,
        kind: form.r#type,
        group: group(form.type_group.as_deref())?,
    };
    web.app.save_relation(caller, arrow, form.version, form.additional_info).await
}

/// Read a relation.
#[utoipa::path(get, path = "/api/relation", operation_id = "getRelation", tag = "relation",
    params(ArrowParams), responses((status = 200, body = RelationShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<RelationShape>, Error> {
    Ok(Json(web.app.relation(&caller, &arrow(&params)?).await?.into()))
}

/// Erase a relation.
#[utoipa::path(delete, path = "/api/relation", operation_id = "deleteRelation", tag = "relation",
    params(ArrowParams), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_relation(&caller, &arrow(&params)?).await?.map(|_| ())))
}

/// Erase a relation and show what it was.
#[utoipa::path(delete, path = "/api/v2/relation", operation_id = "deleteRelationV2", tag = "relation",
    params(ArrowParams), responses((status = 200, body = RelationShape)))]
async fn delete_and_show(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Applied<RelationShape>, Error> {
    Ok(Applied::of(web.app.delete_relation(&caller, &arrow(&params)?).await?))
}

/// The relations that begin (`fromId`, `fromType`) or end (`toId`, `toType`) at an entity.
#[utoipa::path(get, path = "/api/relations", operation_id = "getRelations", tag = "relation",
    params(EndParams), responses((status = 200, body = Vec<RelationShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<Vec<RelationShape>>, Error> {
    let found = listed(&web, &caller, &params).await?;
    Ok(Json(found.into_iter().map(|named| named.relation.into()).collect()))
}

/// The relations that begin or end at an entity, with the names of their ends.
#[utoipa::path(get, path = "/api/relations/info", operation_id = "getRelationInfos", tag = "relation",
    params(EndParams), responses((status = 200, body = Vec<RelationInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<Vec<RelationInfoShape>>, Error> {
    Ok(Json(listed(&web, &caller, &params).await?.into_iter().map(Into::into).collect()))
}

/// Erase the common relations of an entity, in both directions.
#[utoipa::path(delete, path = "/api/relations", operation_id = "deleteRelations", tag = "relation",
    params(("entityId" = Uuid, Query), ("entityType" = String, Query)),
    responses((status = 200, description = "deleted")))]
async fn delete_all(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Applied<()>, Error> {
    let of = named_end(&params, "entityType", "entityId")?;
    Ok(Applied::of(web.app.delete_relations(&caller, of).await?))
}

/// Relations found by walking along them: at most 10000, at most 100 levels deep.
#[utoipa::path(post, path = "/api/relations", operation_id = "findByQuery", tag = "relation",
    request_body = QueryForm, responses((status = 200, body = Vec<RelationShape>)))]
async fn walked(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<QueryForm>,
) -> Result<Json<Vec<RelationShape>>, Error> {
    let found = web.app.walk(&caller, query(form)?).await?;
    Ok(Json(found.into_iter().map(|named| named.relation.into()).collect()))
}

/// Relations found by walking along them, with the names of their ends.
#[utoipa::path(post, path = "/api/relations/info", operation_id = "findInfoByQuery", tag = "relation",
    request_body = QueryForm, responses((status = 200, body = Vec<RelationInfoShape>)))]
async fn walked_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<QueryForm>,
) -> Result<Json<Vec<RelationInfoShape>>, Error> {
    Ok(Json(web.app.walk(&caller, query(form)?).await?.into_iter().map(Into::into).collect()))
}

fn query(form: QueryForm) -> Result<RelationQuery, Invalid> {
    let filters = form.filters.unwrap_or_default().into_iter().map(filter).collect::<Result<_, _>>()?;
    walk(form.parameters, filters)
}

async fn listed(web: &Web, caller: &Caller, params: &Params) -> Result<Vec<NamedRelation>, Error> {
    let at = match (params.text("fromId"), params.text("toId")) {
        (Some(_), None) => (Side::From, named_end(params, "fromType", "fromId")?),
        (None, Some(_)) => (Side::To, named_end(params, "toType", "toId")?),
        _ => return Err(Invalid::new("fromId", "", "must be given, or toId, and not both").into()),
    };
    web.app.relations(caller, at, group(params.text("relationTypeGroup"))?, params.text("relationType")).await
}

fn named_end(params: &Params, kind: &'static str, id: &'static str) -> Result<End, Invalid> {
    let given = params.id(id)?.ok_or_else(|| Invalid::new(id, "", "must be given"))?;
    end(kind, params.text(kind).unwrap_or_default(), given)
}

fn arrow(params: &Params) -> Result<Arrow, Invalid> {
    let kind = params.text("relationType").ok_or_else(|| Invalid::new("relationType", "", "must be given"))?;
    Ok(Arrow {
        from: named_end(params, "fromType", "fromId")?,
        to: named_end(params, "toType", "toId")?,
        kind: kind.to_owned(),
        group: group(params.text("relationTypeGroup"))?,
    })
}

/// What makes a relation this one.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `arrow` reads the query")]
struct ArrowParams {
    from_id: Uuid,
    from_type: String,
    relation_type: String,
    /// Absent: `COMMON`.
    relation_type_group: Option<String>,
    to_id: Uuid,
    to_type: String,
}

/// The entity whose relations are wanted: either `from` or `to`.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `listed` reads the query")]
struct EndParams {
    from_id: Option<Uuid>,
    from_type: Option<String>,
    to_id: Option<Uuid>,
    to_type: Option<String>,
    /// Absent: of any type.
    relation_type: Option<String>,
    /// Absent: `COMMON`.
    relation_type_group: Option<String>,
}
