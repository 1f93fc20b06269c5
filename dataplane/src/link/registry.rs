//! Asks the control plane what shards want to know (DESIGN 8.3, 10) and posts the answers. Every question is answered: when the
//! control plane is away or slow, with that. Never decides anything itself.

mod packages;

use std::{path::PathBuf, time::Duration};

use schemas::generated::registry::{self as wire, registry_client::RegistryClient};
use schemas::id::DeviceId;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{LinkError, LinkSettings, stopped, subscribe};
use crate::limits;
use crate::registry::{Ask, Question, Told};
use crate::shard::{Event, Shards};
use packages::Packages;

/// The line for questions: one connection, made when it is needed and made again when it breaks.
#[derive(Clone, Debug)]
struct Line {
    channel: Channel,
    bearer: MetadataValue<Ascii>,
}

/// Answers until `shutdown` is true. `directory`: where packages lie that were fetched.
///
/// # Errors
/// [`LinkError`] when the endpoint or the join token cannot be used.
pub fn answer(
    settings: &LinkSettings,
    directory: PathBuf,
    shards: Shards,
    questions: mpsc::Receiver<Question>,
    shutdown: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, LinkError> {
    let endpoint: Endpoint = subscribe::endpoint(settings)?;
    let bearer = subscribe::bearer(&settings.join_token)?;
    Ok(async move {
        let line = Line { channel: endpoint.connect_lazy(), bearer };
        serve(line, directory, shards, questions, shutdown).await;
    })
}

async fn serve(
    line: Line,
    directory: PathBuf,
    shards: Shards,
    mut questions: mpsc::Receiver<Question>,
    mut shutdown: watch::Receiver<bool>,
) {
    let packages = Packages::start(line.clone(), directory, shards.clone());
    let mut open = JoinSet::new();
    loop {
        let room = open.len() < limits::QUESTIONS_AT_ONCE_MAX;
        tokio::select! {
            () = stopped(&mut shutdown) => return,
            Some(_) = open.join_next() => {}
            question = questions.recv(), if room => match question {
                None => return,
                Some(Question { shard, number, ask: Ask::Piece { device, software, chunk, size } }) => {
                    packages.ask(packages::Piece { shard, number, device, software, chunk, size, of: None }).await;
                }
                Some(Question { shard, number, ask: Ask::Stretch { device, software, named, chunk, size, from } }) => {
                    let of = Some(packages::Download { named, from });
                    packages.ask(packages::Piece { shard, number, device, software, chunk, size, of }).await;
                }
                Some(Question { shard, number, ask }) => {
                    let (line, shards) = (line.clone(), shards.clone());
                    open.spawn(async move { tell(&shards, shard, number, ask_once(line, ask).await).await });
                }
            },
        }
    }
}

/// Posts an answer to the shard that asked.
async fn tell(shards: &Shards, shard: u16, number: u64, told: Told) {
    if let Some(mailbox) = shards.all().get(usize::from(shard)) {
        mailbox.deliver(Event::Told { number, told }).await;
    }
}

async fn ask_once(line: Line, ask: Ask) -> Told {
    let deadline = Duration::from_millis(limits::QUESTION_MS);
    match timeout(deadline, line.ask(ask)).await {
        Ok(Ok(told)) => told,
        Ok(Err(status)) => Told::Unavailable(status.message().to_owned()),
        Err(_) => Told::Unavailable("no answer in time".to_owned()),
    }
}

impl Line {
    fn client(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    async fn ask(&self, ask: Ask) -> Result<Told, tonic::Status> {
        let mut client = self.client();
        Ok(match ask {
            Ask::Child { gateway, name, kind } => {
                let request = wire::ChildRequest { gateway_id: bytes(gateway), name: name.to_string(), r#type: kind };
                match client.child(self.request(request)).await?.into_inner().outcome {
                    Some(wire::child_reply::Outcome::DeviceId(id)) => device(&id),
                    Some(wire::child_reply::Outcome::Refused(reason)) => Told::Nobody(reason),
                    None => Told::Unavailable("an answer without an outcome".to_owned()),
                }
            }
            Ask::Provision { payload } => {
                let reply = client.provision(self.request(wire::ProvisionRequest { payload })).await?;
                Told::Provisioned(reply.into_inner().payload)
            }
            Ask::Certificate { chain } => {
                let reply = client.certificate(self.request(wire::CertificateRequest { chain })).await?.into_inner();
                if reply.device_id.is_empty() {
                    Told::Nobody("nobody has this certificate".to_owned())
                } else {
                    device(&reply.device_id)
                }
            }
            Ask::Claim { device, secret_key, duration_ms } => {
                let request = wire::ClaimRequest { device_id: bytes(device), secret_key, duration_ms };
                let refused = client.claim(self.request(request)).await?.into_inner().refused;
                if refused.is_empty() { Told::Claimed } else { Told::Nobody(refused) }
            }
            Ask::Alarms { alarms } => {
                client.alarms(self.request(wire::AlarmsRequest { alarms })).await?;
                Told::Taken
            }
            Ask::Wish(wished) => match client.wish(self.request(wire::WishRequest::from(*wished))).await {
                Ok(reply) => match schemas::wish::answered(reply.into_inner()) {
                    Ok(Ok(granted)) => Told::Granted(granted),
                    Ok(Err(refused)) => Told::Nobody(refused),
                    Err(invalid) => Told::Failed(invalid.to_string()),
                },
                // Others may well be granted.
                Err(status) if matches!(status.code(), Code::Internal | Code::InvalidArgument | Code::Unimplemented) => {
                    Told::Failed(status.message().to_owned())
                }
                Err(status) => return Err(status),
            },
            // `packages` asks for these.
            Ask::Piece { .. } | Ask::Stretch { .. } => Told::NoPackage,
        })
    }
}

fn bytes(device: DeviceId) -> Vec<u8> {
    device.0.as_bytes().to_vec()
}

fn device(bytes: &[u8]) -> Told {
    match Uuid::from_slice(bytes) {
        Ok(id) => Told::Device(DeviceId(id)),
        Err(_) => Told::Unavailable(format!("device_id: expected 16 bytes, got {}", bytes.len())),
    }
}
