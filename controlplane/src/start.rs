//! Brings the control plane up and down: sockets first, then the store, then the servers. Never decides what they answer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use schemas::generated::{config::feed_server::FeedServer, registry::registry_server::RegistryServer};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub use crate::error::StartError;
use crate::{
    app::App,
    push::{JoinToken, Push, Registrar},
    rest,
    settings::Settings,
};

/// How long requests under way may take when the control plane stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent data plane is asked for a sign of life, and how long it has.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A control plane that serves.
#[derive(Debug)]
pub struct Running {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// Lines to show the operator, such as the password of the administrator that was created.
    pub notes: Vec<String>,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// Starts serving. Both sockets accept before anything else is done, so that nobody who was told the addresses is refused.
///
/// # Errors
/// [`StartError`] naming the setting, file or address.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    if settings.grpc_tls.is_none() && !is_loopback(settings.grpc_listen.ip()) {
        return Err(StartError::Insecure(settings.grpc_listen));
    }
    let (http_listener, http) = listen("http.listen", settings.http_listen).await?;
    let (grpc_listener, grpc) = listen("grpc.listen", settings.grpc_listen).await?;
    let tls = tls(&settings).await?;
    let app = App::open(&settings).await?;
    let notes = app.seed(&settings).await?.notes;
    let (stop, stopping) = watch::channel(false);
    let http_server = tokio::spawn(serve_http(http_listener, Arc::clone(&app), stopping.clone()));
    let (rolling, announcing) = (stopping.clone(), stopping.clone());
    let token = JoinToken::new(&settings.join_token);
    let push = Push::new(Arc::clone(&app), token.clone(), stopping.clone());
    let registrar = Registrar::new(Arc::clone(&app), token);
    let mut builder = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT));
    if let Some(tls) = tls {
        builder = builder.tls_config(tls).map_err(|error| StartError::Grpc(error.to_string()))?;
    }
    let router = builder.add_service(FeedServer::new(push)).add_service(RegistryServer::new(registrar));
    let grpc_server = tokio::spawn(async move {
        let serving = router.serve_with_incoming_shutdown(TcpListenerStream::new(grpc_listener), told(stopping));
        if let Err(error) = serving.await {
            tracing::error!(%error, "the gRPC server ended");
        }
    });
    let roll_out = tokio::spawn(Arc::clone(&app).roll_out(rolling));
    let announce = tokio::spawn(Arc::clone(&app).tell_chains(announcing));
    Ok(Running { http, grpc, notes, app, stop, servers: vec![http_server, grpc_server, roll_out, announce] })
}

impl Running {
    /// What serves, for whoever runs in the same process.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops accepting, lets requests under way finish for a few seconds, closes the database.
    pub async fn drain(self) {
        self.stop.send_replace(true);
        let mut ending = JoinSet::new();
        for server in self.servers {
            let abort = server.abort_handle();
            ending.spawn(async move {
                if tokio::time::timeout(DRAIN_TIMEOUT, server).await.is_err() {
                    // Long-lived connections, such as WebSockets, end here.
                    abort.abort();
                }
            });
        }
        ending.join_all().await;
        self.app.close().await;
    }
}

async fn serve_http(listener: TcpListener, app: Arc<App>, stopping: watch::Receiver<bool>) {
    let service = rest::router(app).into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(told(stopping)).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn told(mut stopping: watch::Receiver<bool>) {
    // An error means that nobody can say it any more, which is the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn tls(settings: &Settings) -> Result<Option<ServerTlsConfig>, StartError> {
    let Some(tls) = &settings.grpc_tls else { return Ok(None) };
    let cert = tokio::fs::read(&tls.cert).await;
    let cert = cert.map_err(|source| StartError::File { what: "grpc.tls_cert", path: tls.cert.clone(), source })?;
    let key = tokio::fs::read(&tls.key).await;
    let key = key.map_err(|source| StartError::File { what: "grpc.tls_key", path: tls.key.clone(), source })?;
    Ok(Some(ServerTlsConfig::new().identity(Identity::from_pem(cert, key))))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
