//! Lists of devices and their assignment to customers over HTTP. Single devices are in `device`.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    domain::{DeviceFilter, DeviceInfo, Invalid, Page},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        device::{DeviceInfoShape, DeviceShape},
        extract::{Params, Segment, Signed},
        shape::PageShape,
    },
};

/// Devices one request may name.
const NAMED_MAX: usize = 1_000;

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_infos))
        .routes(routes!(named))
        .routes(routes!(assign))
        .routes(routes!(publish))
        .routes(routes!(unassign))
        .routes(routes!(unassign_from))
        .routes(routes!(of_customer))
        .routes(routes!(infos_of_customer))
}

/// A page of the tenant's devices, or with `deviceName` the one of that name.
#[utoipa::path(get, path = "/api/tenant/devices", operation_id = "getTenantDevices", tag = "device",
    params(Paging,
        ("type" = Option<String>, Query, description = "Only devices of the profile of this name"),
        ("deviceName" = Option<String>, Query, description = "Answer one device instead of a page")),
    responses((status = 200, body = PageShape<DeviceShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Response, Error> {
    if let Some(name) = params.text("deviceName") {
        let device = web.app.device_by_name(&caller, name).await?;
        return Ok(Json(DeviceShape::from(device)).into_response());
    }
    let page = devices(&web, &caller, &params, None).await?;
    Ok(Json(PageShape::of(page, |info| DeviceShape::from(info.device))).into_response())
}

/// A page of the tenant's devices with the names a list shows.
#[utoipa::path(get, path = "/api/tenant/deviceInfos", operation_id = "getTenantDeviceInfos", tag = "device",
    params(Paging,
        ("type" = Option<String>, Query, description = "Only devices of the profile of this name"),
        ("deviceProfileId" = Option<Uuid>, Query, description = "Only devices of this profile")),
    responses((status = 200, body = PageShape<DeviceInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<DeviceInfoShape>>, Error> {
    let page = devices(&web, &caller, &params, None).await?;
    Ok(Json(with_activity(&web, page).await))
}

/// The devices with the given ids, as far as they exist and may be seen.
#[utoipa::path(get, path = "/api/devices", operation_id = "getDevicesByIds", tag = "device",
    params(("deviceIds" = String, Query, description = "UUIDs, separated by commas")),
    responses((status = 200, body = Vec<DeviceShape>)))]
async fn named(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<Vec<DeviceShape>>, Error> {
    let ids: Vec<Uuid> = params
        .list("deviceIds")
        .iter()
        .map(|text| text.parse().map_err(|_| Invalid::new("deviceIds", text, "must be UUIDs, separated by commas")))
        .collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > NAMED_MAX {
        let rule = format!("must name 1 to {NAMED_MAX} devices");
        return Err(Invalid::new("deviceIds", &format!("{} ids", ids.len()), rule).into());
    }
    Ok(Json(web.app.devices_by_ids(&caller, &ids).await?.into_iter().map(Into::into).collect()))
}

/// Assign a device to a customer, whose users then see it.
#[utoipa::path(post, path = "/api/customer/{customerId}/device/{deviceId}", operation_id = "assignDeviceToCustomer",
    tag = "device", params(("customerId" = Uuid, Path), ("deviceId" = Uuid, Path)),
    responses((status = 200, body = DeviceShape)))]
async fn assign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((customer, device)): Segment<(Uuid, Uuid)>,
) -> Result<Applied<DeviceShape>, Error> {
    Ok(Applied::of(web.app.assign_device(&caller, device, customer).await?))
}

/// Show a device to everybody: assign it to the tenant's public customer.
#[utoipa::path(post, path = "/api/customer/public/device/{deviceId}", operation_id = "assignDeviceToPublicCustomer",
    tag = "device", params(("deviceId" = Uuid, Path)), responses((status = 200, body = DeviceShape)))]
async fn publish(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(device): Segment<Uuid>,
) -> Result<Applied<DeviceShape>, Error> {
    Ok(Applied::of(web.app.publish_device(&caller, device).await?))
}

/// Take a device from its customer.
#[utoipa::path(delete, path = "/api/customer/device/{deviceId}", operation_id = "unassignDeviceFromCustomer",
    tag = "device", params(("deviceId" = Uuid, Path)), responses((status = 200, body = DeviceShape)))]
async fn unassign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(device): Segment<Uuid>,
) -> Result<Applied<DeviceShape>, Error> {
    Ok(Applied::of(web.app.unassign_device(&caller, device).await?))
}

/// Take a device from the customer named.
#[utoipa::path(delete, path = "/api/customer/{customerId}/device/{deviceId}", operation_id = "unassignDevice",
    tag = "device", params(("customerId" = Uuid, Path), ("deviceId" = Uuid, Path)),
    responses((status = 200, body = DeviceShape)))]
async fn unassign_from(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((customer, device)): Segment<(Uuid, Uuid)>,
) -> Result<Applied<DeviceShape>, Error> {
    if web.app.device(&caller, device).await?.customer != Some(customer) {
        return Err(Error::Refused(format!("Device with id [{device}] is not assigned to customer [{customer}]")));
    }
    Ok(Applied::of(web.app.unassign_device(&caller, device).await?))
}

/// A page of the devices assigned to a customer.
#[utoipa::path(get, path = "/api/customer/{customerId}/devices", operation_id = "getCustomerDevices", tag = "device",
    params(("customerId" = Uuid, Path), Paging,
        ("type" = Option<String>, Query, description = "Only devices of the profile of this name")),
    responses((status = 200, body = PageShape<DeviceShape>)))]
async fn of_customer(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(customer): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<DeviceShape>>, Error> {
    let page = devices(&web, &caller, &params, Some(customer)).await?;
    Ok(Json(PageShape::of(page, |info| info.device.into())))
}

/// A page of the devices assigned to a customer, with the names a list shows.
#[utoipa::path(get, path = "/api/customer/{customerId}/deviceInfos", operation_id = "getCustomerDeviceInfos",
    tag = "device", params(("customerId" = Uuid, Path), Paging,
        ("type" = Option<String>, Query, description = "Only devices of the profile of this name"),
        ("deviceProfileId" = Option<Uuid>, Query, description = "Only devices of this profile")),
    responses((status = 200, body = PageShape<DeviceInfoShape>)))]
async fn infos_of_customer(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(customer): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<DeviceInfoShape>>, Error> {
    let page = devices(&web, &caller, &params, Some(customer)).await?;
    Ok(Json(with_activity(&web, page).await))
}

async fn devices(web: &Web, caller: &Caller, params: &Params, customer: Option<Uuid>) -> Result<Page<DeviceInfo>, Error> {
    let filter = DeviceFilter { customer, kind: params.text("type").map(str::to_owned), profile: params.id("deviceProfileId")? };
    web.app.devices(caller, filter, &params.page()?).await
}

/// Adds to every device of a page whether it is active, which its shard knows: one question for all of them.
async fn with_activity(web: &Web, page: Page<DeviceInfo>) -> PageShape<DeviceInfoShape> {
    let Page { data, total_pages, total_elements, has_next } = page;
    let active = web.active(data.iter().map(|info| &info.device)).await;
    let data = data.into_iter().zip(active).map(|(info, active)| DeviceInfoShape::new(info, active)).collect();
    PageShape::of(Page { data, total_pages, total_elements, has_next }, |shape| shape)
}
