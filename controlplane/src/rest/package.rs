//! OTA packages over HTTP: facts as JSON, bytes as an upload and a download that are never whole in memory. Who may is decided by
//! the application.

use axum::{
    Json,
    body::Body as Stream,
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State, multipart::Field},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::PackageReading,
    domain::{
        Algorithm, EntityKind, Invalid, Package, PackageDraft, PackageFilter, PackageKind, PackagePlace, UploadDraft, present,
    },
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
};

/// Bytes of a download that are read at once.
const PIECE_BYTES: usize = 64 << 10;
/// The field of the form that holds the bytes.
const FILE: &str = "file";
const BINARY: &str = "application/octet-stream";
const X_FILENAME: HeaderName = HeaderName::from_static("x-filename");

/// An OTA package as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OtaPackageInfo)]
pub(in crate::rest) struct PackageShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    device_profile_id: IdShape,
    /// `FIRMWARE` or `SOFTWARE`.
    r#type: &'static str,
    title: String,
    version: String,
    tag: Option<String>,
    /// Where devices fetch it themselves.
    url: Option<String>,
    /// Whether it may be given to devices: it has bytes or a URL.
    has_data: bool,
    file_name: Option<String>,
    content_type: Option<String>,
    #[schema(example = "SHA256")]
    checksum_algorithm: Option<&'static str>,
    checksum: Option<String>,
    data_size: Option<u64>,
    external_id: Option<IdShape>,
    additional_info: Value,
}

impl From<Package> for PackageShape {
    fn from(package: Package) -> Self {
        let has_data = package.has_data();
        let (url, bytes) = match package.place {
            PackagePlace::Nowhere => (None, None),
            PackagePlace::Here(bytes) => (None, Some(bytes)),
            PackagePlace::Url(url) => (Some(url), None),
        };
        Self {
            id: IdShape::new(EntityKind::OtaPackage, package.id),
            created_time: package.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, package.tenant),
            device_profile_id: IdShape::new(EntityKind::DeviceProfile, package.profile),
            r#type: package.kind.name(),
            title: package.title,
            version: package.release,
            tag: package.tag,
            url,
            has_data,
            checksum_algorithm: bytes.as_ref().map(|bytes| bytes.algorithm.name()),
            data_size: bytes.as_ref().map(|bytes| bytes.size),
            file_name: bytes.as_ref().map(|bytes| bytes.file_name.clone()),
            content_type: bytes.as_ref().map(|bytes| bytes.content_type.clone()),
            checksum: bytes.map(|bytes| bytes.checksum),
            external_id: None,
            additional_info: package.additional_info,
        }
    }
}

/// An OTA package to create (no id), or to change the additional info of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SaveOtaPackageInfoRequest)]
pub(in crate::rest) struct PackageForm {
    id: Option<IdShape>,
    device_profile_id: Option<IdShape>,
    #[schema(example = "FIRMWARE")]
    r#type: String,
    #[schema(example = "Thermometer")]
    title: String,
    #[schema(example = "1.0")]
    version: String,
    tag: Option<String>,
    url: Option<String>,
    /// ThingsBoard's: the package is a URL. Then there must be one.
    #[serde(default)]
    uses_url: bool,
    #[serde(default)]
    additional_info: Value,
}

impl TryFrom<PackageForm> for PackageDraft {
    type Error = Invalid;

    fn try_from(form: PackageForm) -> Result<Self, Invalid> {
        let url = form.url.filter(|url| !url.trim().is_empty());
        if form.uses_url && url.is_none() {
            return Err(Invalid::new("url", "", "must be given when usesUrl is true"));
        }
        Ok(Self {
            id: given(form.id),
            profile: given(form.device_profile_id),
            kind: kind(&form.r#type)?,
            title: form.title,
            release: form.version,
            tag: form.tag,
            url,
            additional_info: form.additional_info,
        })
    }
}

fn kind(name: &str) -> Result<PackageKind, Invalid> {
    PackageKind::parse(name).ok_or_else(|| Invalid::new("type", name, "must be FIRMWARE or SOFTWARE"))
}

fn algorithm(name: Option<&str>) -> Result<Algorithm, Invalid> {
    let Some(name) = name else { return Ok(Algorithm::Sha256) };
    let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let unknown = || Invalid::new("checksumAlgorithm", name, format!("must be one of {}", names.join(", ")));
    Algorithm::parse(name).ok_or_else(unknown)
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    // The bound on an upload is the application's: a setting, and the tenant's share.
    let uploads = OpenApiRouter::new().routes(routes!(upload, read, delete)).layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(save))
        .merge(uploads)
        .routes(routes!(read_info))
        .routes(routes!(download))
        .routes(routes!(list))
        .routes(routes!(list_of_profile))
}

/// Create a firmware or software package, whose bytes are uploaded then; with `url` it has none.
#[utoipa::path(post, path = "/api/otaPackage", operation_id = "saveOtaPackageInfo", tag = "ota package",
    request_body = PackageForm, responses((status = 200, body = PackageShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<PackageForm>,
) -> Result<Json<PackageShape>, Error> {
    Ok(Json(web.app.save_package(&caller, form.try_into()?).await?.into()))
}

/// Upload the bytes of a package, once, as the field `file` of a form.
#[utoipa::path(post, path = "/api/otaPackage/{id}", operation_id = "saveOtaPackageData", tag = "ota package",
    params(("id" = Uuid, Path),
        ("checksum" = Option<String>, Query, description = "Hexadecimal; must be that of the bytes. Absent: it is computed"),
        ("checksumAlgorithm" = Option<String>, Query,
            description = "`MD5`, `SHA256` (default), `SHA384`, `SHA512`, `CRC32`, `MURMUR3_32` or `MURMUR3_128`")),
    request_body(content = UploadForm, content_type = "multipart/form-data"), responses((status = 200, body = PackageShape)))]
async fn upload(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
    request: Request,
) -> Result<Json<PackageShape>, Error> {
    let algorithm = algorithm(params.text("checksumAlgorithm"))?;
    let refused = |why: String| Error::Refused(format!("request body: {why}"));
    let mut form = Multipart::from_request(request, &web).await.map_err(|rejection| refused(rejection.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| refused(error.body_text()))? {
        if field.name() != Some(FILE) {
            continue;
        }
        let draft = UploadDraft {
            file_name: field.file_name().filter(|name| !name.is_empty()).unwrap_or(FILE).to_owned(),
            content_type: field.content_type().unwrap_or(BINARY).to_owned(),
            algorithm,
            checksum: params.text("checksum").map(str::to_owned),
        };
        return Ok(Json(web.app.upload_package(&caller, id, draft, pieces(field)).await?.into()));
    }
    Err(Invalid::new(FILE, "", "must be a field of the form").into())
}

/// The field as it comes.
fn pieces(field: Field<'_>) -> impl futures_util::Stream<Item = Result<axum::body::Bytes, Error>> + '_ {
    stream::try_unfold(field, |mut field| async {
        let piece = field.chunk().await.map_err(|error| Error::Refused(format!("request body: {}", error.body_text())))?;
        Ok(piece.map(|piece| (piece, field)))
    })
}

/// What an upload is, for the OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the field exists for the OpenAPI document; `upload` reads the form")]
pub(in crate::rest) struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Read a package. Its bytes are at `download`.
#[utoipa::path(get, path = "/api/otaPackage/{id}", operation_id = "getOtaPackageById", tag = "ota package",
    params(("id" = Uuid, Path)), responses((status = 200, body = PackageShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<PackageShape>, Error> {
    Ok(Json(web.app.package(&caller, id).await?.into()))
}

/// Read a package.
#[utoipa::path(get, path = "/api/otaPackage/info/{id}", operation_id = "getOtaPackageInfoById", tag = "ota package",
    params(("id" = Uuid, Path)), responses((status = 200, body = PackageShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<PackageShape>, Error> {
    Ok(Json(web.app.package(&caller, id).await?.into()))
}

/// Delete a package that no device and no profile has.
#[utoipa::path(delete, path = "/api/otaPackage/{id}", operation_id = "deleteOtaPackage", tag = "ota package",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<(), Error> {
    web.app.delete_package(&caller, id).await
}

/// The bytes of a package.
#[utoipa::path(get, path = "/api/otaPackage/{id}/download", operation_id = "downloadOtaPackage", tag = "ota package",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn download(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Response, Error> {
    let reading = web.app.download_package(&caller, id).await?;
    let headers = headers(&reading);
    let pieces = stream::try_unfold(reading, |mut reading| async {
        Ok::<_, Error>(reading.piece(PIECE_BYTES).await?.map(|piece| (piece, reading)))
    });
    Ok((headers, Stream::from_stream(pieces)).into_response())
}

fn headers(reading: &PackageReading) -> HeaderMap {
    let bytes = &reading.bytes;
    // A name a header cannot hold, or that would end the quotes, is written with `_` in its place.
    let plain = |letter: char| if letter.is_ascii_graphic() && letter != '"' && letter != '\\' { letter } else { '_' };
    let name: String = bytes.file_name.chars().map(plain).collect();
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(BINARY));
    HeaderMap::from_iter([
        (CONTENT_TYPE, value(&bytes.content_type)),
        (CONTENT_LENGTH, HeaderValue::from(bytes.size)),
        (CONTENT_DISPOSITION, value(&format!("attachment; filename=\"{name}\""))),
        (X_FILENAME, value(&name)),
    ])
}

/// A page of the tenant's packages.
#[utoipa::path(get, path = "/api/otaPackages", operation_id = "getOtaPackages", tag = "ota package",
    params(Paging), responses((status = 200, body = PageShape<PackageShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<PackageShape>>, Error> {
    let page = web.app.packages(&caller, &PackageFilter::default(), &params.page()?).await?;
    Ok(Json(PageShape::of(page, Into::into)))
}

/// A page of the packages of one type that devices of a profile may have.
#[utoipa::path(get, path = "/api/otaPackages/{deviceProfileId}/{type}",
    operation_id = "getOtaPackagesByDeviceProfileIdAndType", tag = "ota package",
    params(("deviceProfileId" = Uuid, Path), ("type" = String, Path, example = "FIRMWARE"), Paging),
    responses((status = 200, body = PageShape<PackageShape>)))]
async fn list_of_profile(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((profile, name)): Segment<(Uuid, String)>,
    params: Params,
) -> Result<Json<PageShape<PackageShape>>, Error> {
    let filter = PackageFilter { profile: present(profile), kind: Some(kind(&name)?), with_data: true };
    Ok(Json(PageShape::of(web.app.packages(&caller, &filter, &params.page()?).await?, Into::into)))
}
