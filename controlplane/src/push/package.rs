//! A device's package on its way to a data plane: facts with the first piece, then the bytes. Never asks who may: whoever holds the
//! join token may, and that was checked before.

use std::sync::Arc;

use futures_util::{Stream, stream};
use schemas::generated::registry::{PackageFacts, PackagePiece, PackageRequest};
use tonic::Status;
use uuid::Uuid;

use crate::{
    app::{App, PackageReading},
    domain::PackageKind,
    error::Error,
};

/// The largest piece, in bytes (`registry.proto`).
const PIECE_BYTES_MAX: usize = 256 << 10;

/// The answer to Registry.Package: one piece without facts when nothing is assigned or its bytes are not here.
///
/// # Errors
/// `InvalidArgument` for an id that is none, `NotFound` for a device that is not there, `Internal`.
pub async fn package(
    app: &Arc<App>,
    request: PackageRequest,
) -> Result<impl Stream<Item = Result<PackagePiece, Status>> + Send + 'static, Status> {
    let device = Uuid::from_slice(&request.device_id).map_err(|_| Status::invalid_argument("device_id: must have 16 bytes"))?;
    let kind = if request.software { PackageKind::Software } else { PackageKind::Firmware };
    let reading = app.package_of(device, kind).await.map_err(status)?;
    Ok(stream::try_unfold(Next::First(reading), next))
}

enum Next {
    First(Option<PackageReading>),
    Rest(PackageReading),
    Nothing,
}

async fn next(at: Next) -> Result<Option<(PackagePiece, Next)>, Status> {
    let (facts, mut reading) = match at {
        Next::Nothing => return Ok(None),
        Next::First(None) => return Ok(Some((PackagePiece::default(), Next::Nothing))),
        Next::First(Some(reading)) => (Some(facts(&reading)), reading),
        Next::Rest(reading) => (None, reading),
    };
    match reading.piece(PIECE_BYTES_MAX).await.map_err(status)? {
        Some(bytes) => Ok(Some((PackagePiece { facts, bytes }, Next::Rest(reading)))),
        None => Ok(None),
    }
}

fn facts(reading: &PackageReading) -> PackageFacts {
    let package = &reading.package;
    PackageFacts {
        id: package.id.as_bytes().to_vec(),
        title: package.title.clone(),
        version: package.release.clone(),
        size: reading.bytes.size,
    }
}

fn status(error: Error) -> Status {
    match error {
        Error::NotFound { .. } => Status::not_found(error.to_string()),
        Error::Unavailable(said) => Status::unavailable(said),
        other => {
            tracing::error!(error = ?other, "a package was not read");
            Status::internal("the package cannot be read")
        }
    }
}
