//! Rule chains over HTTP: shapes and handlers. What a chain does is its metadata, checked by `schemas::chain`.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::{ChainExport, ChainImported},
    domain::{self, EntityKind, Invalid, RuleChain, RuleChainDraft, ScriptTrial},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
    telemetry::NodeCount,
};

/// A rule chain as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleChain)]
pub(in crate::rest) struct ChainShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    name: String,
    /// Always `CORE`.
    r#type: &'static str,
    first_rule_node_id: Option<IdShape>,
    /// Where messages enter when the profile names no chain.
    root: bool,
    debug_mode: bool,
    configuration: Option<Value>,
    external_id: Option<IdShape>,
    version: i64,
    additional_info: Value,
}

impl From<RuleChain> for ChainShape {
    fn from(chain: RuleChain) -> Self {
        Self {
            id: IdShape::new(EntityKind::RuleChain, chain.id),
            created_time: chain.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, chain.tenant),
            name: chain.name,
            r#type: CORE,
            first_rule_node_id: chain.first_node.map(|id| IdShape { entity_type: "RULE_NODE".to_owned(), id }),
            root: chain.root,
            debug_mode: chain.debug_mode,
            configuration: None,
            external_id: None,
            version: chain.version,
            additional_info: chain.additional_info,
        }
    }
}

const CORE: &str = "CORE";

/// A rule chain to create (no id) or rename.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleChainForm)]
pub(in crate::rest) struct ChainForm {
    id: Option<IdShape>,
    #[schema(example = "Alarms")]
    name: String,
    #[schema(example = "CORE")]
    r#type: Option<String>,
    #[serde(default)]
    debug_mode: bool,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl TryFrom<ChainForm> for RuleChainDraft {
    type Error = Invalid;

    fn try_from(form: ChainForm) -> Result<Self, Invalid> {
        core_only(form.r#type.as_deref())?;
        Ok(Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            debug_mode: form.debug_mode,
            additional_info: form.additional_info,
        })
    }
}

fn core_only(kind: Option<&str>) -> Result<(), Invalid> {
    match kind {
        None | Some(CORE) => Ok(()),
        Some(other) => Err(Invalid::new("type", other, "must be CORE")),
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(list))
        .routes(routes!(read_metadata))
        .routes(routes!(save_metadata))
        .routes(routes!(set_root))
        .routes(routes!(export))
        .routes(routes!(import))
        .routes(routes!(counts))
        .routes(routes!(test_script))
}

/// Create or rename a rule chain. A new one has no nodes until its metadata is saved.
#[utoipa::path(post, path = "/api/ruleChain", operation_id = "saveRuleChain", tag = "rule chain",
    request_body = ChainForm, responses((status = 200, body = ChainShape)))]
async fn save(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<ChainForm>) -> Result<Applied<ChainShape>, Error> {
    Ok(Applied::of(web.app.save_chain(&caller, form.try_into()?).await?))
}

/// Read a rule chain.
#[utoipa::path(get, path = "/api/ruleChain/{id}", operation_id = "getRuleChainById", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = ChainShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<ChainShape>, Error> {
    Ok(Json(web.app.chain(&caller, id).await?.into()))
}

/// Delete a rule chain. The root chain cannot be deleted.
#[utoipa::path(delete, path = "/api/ruleChain/{id}", operation_id = "deleteRuleChain", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_chain(&caller, id).await?))
}

/// A page of the tenant's rule chains.
#[utoipa::path(get, path = "/api/ruleChains", operation_id = "getRuleChains", tag = "rule chain",
    params(Paging, ("type" = Option<String>, Query, description = "`CORE`, the only type there is")),
    responses((status = 200, body = PageShape<ChainShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<ChainShape>>, Error> {
    core_only(params.text("type"))?;
    Ok(Json(PageShape::of(web.app.chains(&caller, &params.page()?).await?, Into::into)))
}

/// Read what a rule chain does: its nodes and connections.
#[utoipa::path(get, path = "/api/ruleChain/{id}/metadata", operation_id = "getRuleChainMetaData", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = Value)))]
async fn read_metadata(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<Value>, Error> {
    Ok(Json(web.app.chain_metadata(&caller, id).await?))
}

/// Save what a rule chain does. Everything wrong with it is answered at once.
#[utoipa::path(post, path = "/api/ruleChain/metadata", operation_id = "saveRuleChainMetaData", tag = "rule chain",
    request_body = Value, responses((status = 200, body = Value)))]
async fn save_metadata(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(metadata): Body<Value>,
) -> Result<Applied<Value>, Error> {
    let id = metadata.pointer("/ruleChainId/id").and_then(Value::as_str).unwrap_or_default();
    let id = id.parse().map_err(|_| Invalid::new("ruleChainId", id, "must be an id object with a UUID"))?;
    let version = metadata.get("version").and_then(Value::as_i64);
    Ok(Applied::of(web.app.save_chain_metadata(&caller, id, version, metadata).await?))
}

/// Rule chains with what they do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleChainData)]
pub(in crate::rest) struct ExportShape {
    rule_chains: Vec<ChainShape>,
    metadata: Vec<Value>,
}

/// Rule chains to import, as they were exported.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleChainDataForm)]
pub(in crate::rest) struct ExportForm {
    rule_chains: Vec<ChainForm>,
    metadata: Vec<Value>,
}

/// What became of a rule chain of an import.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleChainImportResult)]
pub(in crate::rest) struct ImportedShape {
    tenant_id: IdShape,
    rule_chain_id: IdShape,
    rule_chain_name: String,
    /// One of the same name was replaced.
    updated: bool,
    error: Option<String>,
}

impl From<ChainImported> for ImportedShape {
    fn from(ChainImported { chain, updated }: ChainImported) -> Self {
        Self {
            tenant_id: IdShape::new(EntityKind::Tenant, chain.tenant),
            rule_chain_id: IdShape::new(EntityKind::RuleChain, chain.id),
            rule_chain_name: chain.name,
            updated,
            error: None,
        }
    }
}

/// Export the tenant's rule chains.
#[utoipa::path(get, path = "/api/ruleChains/export", operation_id = "exportRuleChains", tag = "rule chain",
    params(("limit" = Option<u64>, Query, description = "At most so many, 1 to 1,000")),
    responses((status = 200, body = ExportShape)))]
async fn export(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<ExportShape>, Error> {
    let limit = params.text("limit").unwrap_or("1000");
    let limit = limit.parse().map_err(|_| Invalid::new("limit", limit, "must be a number"))?;
    let (rule_chains, metadata) =
        web.app.export_chains(&caller, limit).await?.into_iter().map(|(chain, text)| (chain.into(), text)).unzip();
    Ok(Json(ExportShape { rule_chains, metadata }))
}

/// Import rule chains, all of them or none. They get new ids, also where they enter each other.
#[utoipa::path(post, path = "/api/ruleChains/import", operation_id = "importRuleChains", tag = "rule chain",
    params(("overwrite" = Option<bool>, Query, description = "Replace chains of the same name")),
    request_body = ExportForm, responses((status = 200, body = Vec<ImportedShape>)))]
async fn import(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
    Body(form): Body<ExportForm>,
) -> Result<Applied<Vec<ImportedShape>>, Error> {
    let overwrite = params.text("overwrite") == Some("true");
    let chain = |form: ChainForm| {
        let draft = RuleChainDraft::try_from(form)?;
        Ok((draft.id, RuleChainDraft { id: None, version: None, ..draft }))
    };
    let chains = form.rule_chains.into_iter().map(chain).collect::<Result<_, Invalid>>()?;
    let exported = ChainExport { chains, metadata: form.metadata };
    let imported = web.app.import_chains(&caller, exported, overwrite).await?;
    Ok(Applied::of(imported.map(|all| all.into_iter().map(ImportedShape::from).collect::<Vec<_>>())))
}

/// What happened at a node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleNodeStatistics)]
pub(in crate::rest) struct CountShape {
    /// `None`: the node was saved without one.
    id: Option<IdShape>,
    name: String,
    /// Messages that came in.
    executed: u64,
    failed: u64,
    /// Messages that left, by label.
    left: BTreeMap<String, u64>,
    /// Messages whose time at the node was taken, one in 16 of those that entered a chain.
    timed: u64,
    /// What these took on average, in microseconds.
    mean_us: Option<f64>,
}

impl From<NodeCount> for CountShape {
    fn from(NodeCount { id, name, executed, failed, timed, timed_ns, left }: NodeCount) -> Self {
        let id = (!id.is_nil()).then(|| IdShape { entity_type: "RULE_NODE".to_owned(), id });
        let mean_ns = timed_ns.checked_div(timed).and_then(|mean| u32::try_from(mean).ok());
        Self { id, name, executed, failed, left, timed, mean_us: mean_ns.map(|mean| f64::from(mean) / 1_000.0) }
    }
}

/// What happened at each node since the chain was saved, on all data planes together, in the order of its nodes. Not one of
/// ThingsBoard's paths.
#[utoipa::path(get, path = "/api/ruleChain/{id}/statistics", operation_id = "getRuleChainStatistics", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = Vec<CountShape>)))]
async fn counts(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Vec<CountShape>>, Error> {
    Ok(Json(web.app.node_counts(&caller, id).await?.into_iter().map(Into::into).collect()))
}

/// A script to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ScriptTest)]
pub(in crate::rest) struct ScriptForm {
    #[schema(example = "return msg.temperature > 20;")]
    script: String,
    /// filter, switch, update or string
    #[schema(example = "filter")]
    script_type: String,
    /// JSON.
    #[schema(example = "{\"temperature\": 21.5}")]
    msg: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[schema(example = "POST_TELEMETRY_REQUEST")]
    msg_type: String,
}

/// What a script answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScriptTestResult)]
pub(in crate::rest) struct ScriptShape {
    /// JSON.
    output: String,
    /// Empty if it answered.
    error: String,
}

/// Try a script of a rule node on a data plane.
#[utoipa::path(post, path = "/api/ruleChain/testScript", operation_id = "testScript", tag = "rule chain",
    params(("scriptLang" = Option<String>, Query, description = "TBEL or JS, which it is if not given")),
    request_body = ScriptForm, responses((status = 200, body = ScriptShape)))]
async fn test_script(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
    Body(form): Body<ScriptForm>,
) -> Result<Json<ScriptShape>, Error> {
    let tbel = match params.text("scriptLang").unwrap_or("JS") {
        "TBEL" => true,
        "JS" => false,
        other => return Err(Invalid::new("scriptLang", other, "must be TBEL or JS").into()),
    };
    let ScriptForm { script: body, script_type, msg, metadata, msg_type } = form;
    let trial = ScriptTrial { form: domain::ScriptForm::parse(&script_type)?, tbel, body, msg, metadata, msg_type };
    Ok(Json(match web.app.try_script(&caller, &trial).await? {
        Ok(output) => ScriptShape { output, error: String::new() },
        Err(error) => ScriptShape { output: String::new(), error },
    }))
}

/// Make a rule chain the tenant's root chain.
#[utoipa::path(post, path = "/api/ruleChain/{id}/root", operation_id = "setRootRuleChain", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = ChainShape)))]
async fn set_root(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Applied<ChainShape>, Error> {
    Ok(Applied::of(web.app.set_root_chain(&caller, id).await?))
}
