//! The gRPC Registry: what a data plane asks because only the control plane may create, or knows. Every answer that names a device leaves
//! after the data planes have it (DESIGN 26). Never decides: that is `app`.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use schemas::alarm::Alarm;
use schemas::generated::registry::{
    AlarmsReply, AlarmsRequest, CertificateReply, CertificateRequest, ChildReply, ChildRequest, ClaimReply, ClaimRequest,
    PackagePiece, PackageRequest, ProvisionReply, ProvisionRequest, WishReply, WishRequest, child_reply::Outcome,
    registry_server::Registry,
};
use schemas::wish::Wished;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    app::App,
    error::Error,
    push::{JoinToken, package::package},
};

/// The largest provisioning request, in bytes: a certificate with room to spare.
const PROVISION_BYTES_MAX: usize = 65_536;

/// The Registry service.
#[derive(Debug)]
pub struct Registrar {
    app: Arc<App>,
    token: JoinToken,
}

impl Registrar {
    #[must_use]
    pub fn new(app: Arc<App>, token: JoinToken) -> Self {
        Self { app, token }
    }

    /// What is asked, if an instance asks it.
    fn asked<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.token.check(request.metadata())?;
        Ok(request.into_inner())
    }
}

fn id(field: &'static str, bytes: &[u8]) -> Result<Uuid, Status> {
    schemas::id::uuid(field, bytes).map_err(|invalid| Status::invalid_argument(invalid.to_string()))
}

/// What the device did wrong, in words for it; what is wrong with us is the caller's to try again.
fn refusal(error: Error) -> Result<String, Status> {
    match error {
        Error::Unavailable(said) => Err(Status::unavailable(said)),
        Error::Internal(detail) => {
            tracing::error!(detail, "a data plane's question failed");
            Err(Status::internal("internal error"))
        }
        error => Ok(error.to_string()),
    }
}

fn failed(error: Error) -> Status {
    refusal(error).map_or_else(|status| status, Status::failed_precondition)
}

#[tonic::async_trait]
impl Registry for Registrar {
    type PackageStream = BoxStream<'static, Result<PackagePiece, Status>>;

    async fn child(&self, request: Request<ChildRequest>) -> Result<Response<ChildReply>, Status> {
        let ChildRequest { gateway_id, name, r#type } = self.asked(request)?;
        let outcome = match self.app.child(id("gateway_id", &gateway_id)?, &name, &r#type).await {
            Ok(device) => Outcome::DeviceId(device.into_bytes().to_vec()),
            Err(error) => Outcome::Refused(refusal(error)?),
        };
        Ok(Response::new(ChildReply { outcome: Some(outcome) }))
    }

    async fn provision(&self, request: Request<ProvisionRequest>) -> Result<Response<ProvisionReply>, Status> {
        let ProvisionRequest { payload } = self.asked(request)?;
        if payload.len() > PROVISION_BYTES_MAX {
            return Err(Status::invalid_argument(format!("payload: {} bytes, at most {PROVISION_BYTES_MAX}", payload.len())));
        }
        let answer = self.app.provision(&payload).await.map_err(failed)?;
        Ok(Response::new(ProvisionReply { payload: answer.to_string().into_bytes() }))
    }

    async fn certificate(&self, request: Request<CertificateRequest>) -> Result<Response<CertificateReply>, Status> {
        let CertificateRequest { chain } = self.asked(request)?;
        let found = self.app.device_by_certificate(chain).await.map_err(failed)?;
        Ok(Response::new(CertificateReply { device_id: found.map(|id| id.into_bytes().to_vec()).unwrap_or_default() }))
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Result<Response<ClaimReply>, Status> {
        let ClaimRequest { device_id, secret_key, duration_ms } = self.asked(request)?;
        let refused = match self.app.register_claim(id("device_id", &device_id)?, &secret_key, duration_ms).await {
            Ok(()) => String::new(),
            Err(error) => refusal(error)?,
        };
        Ok(Response::new(ClaimReply { refused }))
    }

    async fn alarms(&self, request: Request<AlarmsRequest>) -> Result<Response<AlarmsReply>, Status> {
        let AlarmsRequest { alarms } = self.asked(request)?;
        // What cannot be read now never can: it must not keep the others away.
        let read =
            |record: Vec<u8>| Alarm::decode(&record).map_err(|invalid| tracing::error!(%invalid, "an alarm was told")).ok();
        let alarms = alarms.into_iter().filter_map(read).collect();
        self.app.take_alarms(alarms).await.map_err(|error| match refusal(error) {
            Ok(said) => Status::unavailable(said),
            Err(status) => status,
        })?;
        Ok(Response::new(AlarmsReply {}))
    }

    async fn wish(&self, request: Request<WishRequest>) -> Result<Response<WishReply>, Status> {
        let wished = Wished::try_from(self.asked(request)?).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        let granted = match self.app.grant(wished).await {
            Ok(granted) => Ok(granted),
            Err(error) => Err(refusal(error)?),
        };
        Ok(Response::new(WishReply::from(granted)))
    }

    async fn package(&self, request: Request<PackageRequest>) -> Result<Response<Self::PackageStream>, Status> {
        let pieces = package(&self.app, self.asked(request)?).await?;
        Ok(Response::new(pieces.boxed()))
    }
}
