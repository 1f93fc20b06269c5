//! ThingsBoard's bulk import of devices over HTTP: shapes and the one handler.

use axum::extract::{DefaultBodyLimit, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Imported,
    domain::{self, Column, Invalid, Mapping},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Signed},
    },
};

/// The largest request, in bytes: 50,000 lines of some hundred bytes with room to spare.
const IMPORT_BYTES_MAX: usize = 16 << 20;

/// A CSV file and how to read it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkImportRequest)]
pub(in crate::rest) struct ImportForm {
    /// The file's text, at most 50,000 lines.
    #[schema(example = "Thermometer 1,default,token-1\n")]
    file: String,
    mapping: MappingForm,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkImportMapping)]
pub(in crate::rest) struct MappingForm {
    columns: Vec<ColumnForm>,
    /// One ASCII character; a comma if not given.
    delimiter: Option<String>,
    /// Replace devices that exist; else they are refused.
    #[serde(default)]
    update: bool,
    /// The first line holds titles.
    #[serde(default)]
    header: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkImportColumn)]
pub(in crate::rest) struct ColumnForm {
    /// NAME, TYPE, LABEL, DESCRIPTION, IS_GATEWAY, ACCESS_TOKEN, X509, MQTT_CLIENT_ID, MQTT_USER_NAME or MQTT_PASSWORD; a line
    /// may hold one kind of credentials.
    #[schema(example = "NAME")]
    r#type: String,
}

impl MappingForm {
    fn read(&self) -> Result<Mapping, Invalid> {
        let delimiter = match self.delimiter.as_deref().unwrap_or(",").as_bytes() {
            [delimiter] if delimiter.is_ascii() && !matches!(delimiter, b'"' | b'\n' | b'\r') => *delimiter,
            _ => {
                let shown = self.delimiter.as_deref().unwrap_or_default();
                return Err(Invalid::new("mapping.delimiter", shown, "must be one ASCII character, no quote and no line end"));
            }
        };
        let columns = self.columns.iter().map(|column| Column::named(&column.r#type)).collect::<Result<_, _>>()?;
        Ok(Mapping { columns, delimiter, header: self.header })
    }
}

/// What became of the lines.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkImportResult)]
pub(in crate::rest) struct ImportShape {
    created: u64,
    updated: u64,
    errors: u64,
    /// `Line 3: ...`, in the order of the file.
    errors_list: Vec<String>,
}

impl From<Imported> for ImportShape {
    fn from(imported: Imported) -> Self {
        let Imported { created, updated, errors } = imported;
        Self { created, updated, errors: errors.len() as u64, errors_list: errors }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(import)).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX))
}

/// Create or update many devices from a CSV file. A line that breaks a rule is counted and named; the others go in.
#[utoipa::path(post, path = "/api/device/bulk_import", operation_id = "processDevicesBulkImport", tag = "device",
    request_body = ImportForm, responses((status = 200, body = ImportShape)))]
async fn import(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<ImportForm>,
) -> Result<Applied<ImportShape>, Error> {
    let mapping = form.mapping.read()?;
    let lines = domain::read_lines(&form.file, &mapping)?;
    Ok(Applied::of(web.app.import_devices(&caller, lines, form.mapping.update).await?))
}
