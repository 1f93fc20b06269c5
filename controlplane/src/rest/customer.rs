//! Customers over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{Customer, CustomerDraft, EntityKind},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Params, Segment, Signed},
        shape::{ContactShape, IdShape, PageShape, given},
    },
};

/// A customer as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Customer)]
pub(in crate::rest) struct CustomerShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    title: String,
    /// The same as the title.
    name: String,
    #[serde(flatten)]
    contact: ContactShape,
    external_id: Option<IdShape>,
    additional_info: Value,
    version: i64,
}

impl From<Customer> for CustomerShape {
    fn from(customer: Customer) -> Self {
        Self {
            id: IdShape::new(EntityKind::Customer, customer.id),
            created_time: customer.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, customer.tenant),
            name: customer.title.clone(),
            title: customer.title,
            contact: customer.contact.into(),
            external_id: None,
            additional_info: customer.additional_info,
            version: customer.version,
        }
    }
}

/// A customer to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CustomerForm)]
pub(in crate::rest) struct CustomerForm {
    id: Option<IdShape>,
    #[schema(example = "Acme")]
    title: String,
    #[serde(flatten)]
    contact: ContactShape,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl From<CustomerForm> for CustomerDraft {
    fn from(form: CustomerForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            title: form.title,
            contact: form.contact.into(),
            additional_info: form.additional_info,
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(save)).routes(routes!(read, delete)).routes(routes!(list))
}

/// Create or update a customer.
#[utoipa::path(post, path = "/api/customer", operation_id = "saveCustomer", tag = "customer",
    request_body = CustomerForm, responses((status = 200, body = CustomerShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<CustomerForm>,
) -> Result<Json<CustomerShape>, Error> {
    Ok(Json(web.app.save_customer(&caller, form.into()).await?.value.into()))
}

/// Read a customer.
#[utoipa::path(get, path = "/api/customer/{id}", operation_id = "getCustomerById", tag = "customer",
    params(("id" = Uuid, Path)), responses((status = 200, body = CustomerShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<CustomerShape>, Error> {
    Ok(Json(web.app.customer(&caller, id).await?.into()))
}

/// Delete a customer; its devices become unassigned, its users are deleted.
#[utoipa::path(delete, path = "/api/customer/{id}", operation_id = "deleteCustomer", tag = "customer",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_customer(&caller, id).await?))
}

/// A page of the tenant's customers.
#[utoipa::path(get, path = "/api/customers", operation_id = "getCustomers", tag = "customer",
    params(crate::rest::answer::Paging), responses((status = 200, body = PageShape<CustomerShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<CustomerShape>>, Error> {
    Ok(Json(PageShape::of(web.app.customers(&caller, &params.page()?).await?, Into::into)))
}
