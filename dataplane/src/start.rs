//! Starts and drains a data plane: sockets are bound first, stores opened, shards started on their cores, then the last
//! good configuration, then the line to the control plane. Knows the order of starting and nothing else.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

use crate::action;
use crate::admin;
use crate::auth::Forwarders;
use crate::clock::Clock;
use crate::limits;
use crate::link::{self, Link, LinkError, LinkSettings, Status, serve_queries};
use crate::metric::ShardReport;
use crate::settings::{self, Settings};
use crate::shard::bell;
use crate::shard::event::{Event, Mailbox};
use crate::shard::listening::{Listening, Protocol};
use crate::shard::mesh;
use crate::shard::run::{Driver, Parts, ShardError, run};
use crate::shard::{Placement, Shards, Submit};
use crate::snapshot::Directory;
use crate::snapshot::directory::DirectoryWriter;
use crate::store::placement::{self, Placed};
use crate::store::{Durability, StoreError};
use crate::transport::{self, CertificateFiles, Certificates};

/// Why a data plane did not start; nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{what} {address}: {source}")]
    Bind { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("{path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Certificates(#[from] transport::Unusable),
    #[error("driver io_uring: this kernel or its seccomp profile does not allow it; use driver = \"epoll\" or \"auto\"")]
    IoUringForbidden,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("shard {index}: {why}")]
    Shard { index: u16, why: String },
    #[error("a thread or runtime could not be made: {0}")]
    Thread(#[source] io::Error),
}

/// A shard ended with an error while draining.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct DrainError(Vec<String>);

/// A shard's thread, which ends with its shard.
type ShardThread = JoinHandle<Result<(), ShardError>>;

/// A running data plane.
#[derive(Debug)]
pub struct Running {
    pub mqtt: SocketAddr,
    pub mqtt_tls: Option<SocketAddr>,
    pub device_http: SocketAddr,
    pub device_http_tls: Option<SocketAddr>,
    pub query: SocketAddr,
    pub admin: SocketAddr,
    pub driver: &'static str,
    pub shards: u16,
    mailboxes: Shards,
    threads: Vec<(u16, ShardThread)>,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
}

/// The sockets of a data plane, bound before anything is served.
struct Sockets {
    mqtt: transport::Bound,
    mqtt_tls: Option<transport::Bound>,
    http: transport::Bound,
    http_tls: Option<transport::Bound>,
    query: TcpListener,
    admin: TcpListener,
}

/// Starts a data plane and returns when it serves.
///
/// # Errors
/// [`StartError`], with nothing left running.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let driver = choose(settings.driver)?;
    let directory = settings.data_dir.join("dataplane");
    let certificates = certificates(settings)?;
    let sockets = bind(settings)?;
    let placement = Placement::new(settings.shards);
    let placed = placement::open(&directory, settings.shards, &settings.pools, &mut say_progress)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("link")
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let clock = Clock::start();
    let shared = Directory::new();
    let (questions, asked) = tokio::sync::mpsc::channel(limits::QUESTIONS_PER_SHARD_MAX);
    let (calls_out, calls) = tokio::sync::mpsc::channel(limits::CALLS_AT_ONCE_MAX * usize::from(settings.shards));
    let listeners = listeners(&sockets, certificates.as_ref(), settings).map_err(StartError::Thread)?;
    let instance = instance_id(settings, &directory)?.into();
    let lines = Lines { questions, calls_out, instance };
    let built = build(settings, driver, placement, clock, (listeners, placed, Arc::clone(&shared)), &lines)?;
    let Built { parts, reports, mailboxes } = built;
    let threads = spawn(parts)?;
    let (stop, stopped) = watch::channel(false);
    let address = |listener: &TcpListener, what| {
        listener.local_addr().map_err(|source| StartError::Bind { what, address: settings.query_listen, source })
    };
    let (query, admin) = (address(&sockets.query, "query.listen")?, address(&sockets.admin, "admin.listen")?);
    let status = Status::new();
    let (link, line) = link(settings, &directory, (query, sockets.http.address), &mailboxes, shared, &status)?;
    let answers = link::answer(&line, directory.join("packages"), mailboxes.clone(), asked, stopped.clone())?;
    let tls = settings.query_tls.as_ref().map(|tls| (tls.cert.clone(), tls.key.clone()));
    let queries = serve_queries(sockets.query, settings.join_token.clone(), tls, mailboxes.clone(), stopped.clone());
    runtime.block_on(async {
        tokio::spawn(async move {
            if let Err(error) = queries.await {
                tracing::error!(%error, "the query server ended");
            }
        });
        tokio::spawn(answers);
        tokio::spawn(action::make(calls, mailboxes.clone(), stopped.clone()));
        if let Some(certificates) = certificates {
            tokio::spawn(watch_certificates(certificates, stopped.clone()));
        }
        tokio::spawn(admin::serve(sockets.admin, clock, reports, Arc::clone(&status), stopped.clone()));
        connect(link, &status, stopped).await;
    });
    Ok(Running {
        mqtt: sockets.mqtt.address,
        mqtt_tls: sockets.mqtt_tls.map(|bound| bound.address),
        device_http: sockets.http.address,
        device_http_tls: sockets.http_tls.map(|bound| bound.address),
        query,
        admin,
        driver: driver.name(),
        shards: settings.shards,
        mailboxes,
        threads,
        stop,
        runtime,
    })
}

impl Running {
    /// Stops accepting, tells MQTT 5 clients, commits, ends every thread.
    ///
    /// # Errors
    /// What kept a shard from its last commit; everything acknowledged is durable all the same.
    pub fn drain(self) -> Result<(), DrainError> {
        let mut errors = Vec::new();
        self.runtime.block_on(async {
            for mailbox in self.mailboxes.all() {
                mailbox.deliver(Event::Drain).await;
            }
        });
        for (index, thread) in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => errors.push(format!("shard {index}: {error}")),
                Err(_) => errors.push(format!("shard {index}: its thread panicked")),
            }
        }
        // Nobody listens any more when the last task has gone; that is what stopping means.
        let _told = self.stop.send(true);
        self.runtime.shutdown_timeout(Duration::from_millis(limits::DRAIN_MS));
        if errors.is_empty() { Ok(()) } else { Err(DrainError(errors)) }
    }
}

fn choose(wanted: settings::Driver) -> Result<Driver, StartError> {
    match (wanted, Driver::io_uring_works()) {
        (settings::Driver::Epoll, _) | (settings::Driver::Auto, false) => Ok(Driver::Epoll),
        (_, true) => Ok(Driver::IoUring),
        (settings::Driver::IoUring, false) => Err(StartError::IoUringForbidden),
    }
}

fn bind(settings: &Settings) -> Result<Sockets, StartError> {
    let failed = |what, address| move |source| StartError::Bind { what, address, source };
    let plain = |what, address| TcpListener::bind(address).map_err(failed(what, address));
    let shared = |what, address| transport::bind(address, settings.shards).map_err(failed(what, address));
    Ok(Sockets {
        mqtt: shared("mqtt.listen", settings.mqtt_listen)?,
        mqtt_tls: settings.mqtt_tls_listen.map(|address| shared("mqtt.tls_listen", address)).transpose()?,
        http: shared("device.http_listen", settings.device_http_listen)?,
        http_tls: settings.device_http_tls_listen.map(|address| shared("device.http_tls_listen", address)).transpose()?,
        query: plain("query.listen", settings.query_listen)?,
        admin: plain("admin.listen", settings.admin_listen)?,
    })
}

/// What devices see over TLS; `None` where nothing is spoken over TLS.
fn certificates(settings: &Settings) -> Result<Option<Certificates>, StartError> {
    if settings.device_tls.is_empty() {
        return Ok(None);
    }
    let files = settings.device_tls.iter().map(|tls| CertificateFiles { certificate: tls.cert.clone(), key: tls.key.clone() });
    Ok(Some(Certificates::load(files.collect())?))
}

/// Reads certificates again when their files change; bad ones are told and the old ones stay.
async fn watch_certificates(mut certificates: Certificates, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(Duration::from_millis(limits::CERTIFICATES_LOOK_MS)) => {}
        }
        if certificates.changed() {
            match certificates.reload() {
                Ok(()) => tracing::info!(expiry = certificates.expiry().0, "certificates were read again"),
                Err(error) => tracing::error!(%error, "the new certificates are not used"),
            }
        }
    }
}

/// Every shard's own listeners.
fn listeners(sockets: &Sockets, certificates: Option<&Certificates>, settings: &Settings) -> io::Result<Vec<Vec<Listening>>> {
    let tls = certificates.map(Certificates::current);
    let all = [
        (Some(&sockets.mqtt), Protocol::Mqtt, None),
        (sockets.mqtt_tls.as_ref(), Protocol::Mqtt, tls.clone()),
        (Some(&sockets.http), Protocol::Http, None),
        (sockets.http_tls.as_ref(), Protocol::Http, tls),
    ];
    let mut per_shard: Vec<Vec<Listening>> = (0..settings.shards).map(|_| Vec::new()).collect();
    for (bound, protocol, tls) in all {
        let proxied = match protocol {
            Protocol::Mqtt => settings.mqtt_proxied,
            Protocol::Http => settings.device_http_proxied,
        };
        for (listening, socket) in per_shard.iter_mut().zip(bound.into_iter().flat_map(|bound| &bound.listeners)) {
            let socket = socket.try_clone()?;
            listening.push(Listening { socket, protocol, tls: tls.clone(), proxied, waiting: true });
        }
    }
    Ok(per_shard)
}

/// All shards, not yet running.
struct Built {
    parts: Vec<Parts>,
    reports: Vec<ShardReport>,
    mailboxes: Shards,
}

/// What shards say outside, and under which name.
struct Lines {
    questions: tokio::sync::mpsc::Sender<crate::registry::Question>,
    calls_out: tokio::sync::mpsc::Sender<crate::owed::Due>,
    instance: Arc<str>,
}

fn build(
    settings: &Settings,
    driver: Driver,
    placement: Placement,
    clock: Clock,
    (listeners, placed, directory): (Vec<Vec<Listening>>, Placed, Arc<Directory>),
    lines: &Lines,
) -> Result<Built, StartError> {
    let mut doorbells = Vec::new();
    let mut ears = Vec::new();
    for _ in 0..settings.shards {
        let (doorbell, heard) = bell::doorbell().map_err(StartError::Thread)?;
        doorbells.push(doorbell);
        ears.push(heard);
    }
    let mailboxes: Vec<Mailbox> = doorbells.iter().cloned().map(Mailbox::new).collect();
    let meshes = mesh::full_mesh(&doorbells);
    let durability = match settings.durability {
        settings::Durability::Synced => Durability::Synced,
        settings::Durability::Buffered => Durability::Buffered,
    };
    let rpc_submit = match settings.rpc_submit {
        settings::Submit::Burst => Submit::Burst,
        settings::Submit::OnAck => Submit::OnAck,
        settings::Submit::OnResponse => Submit::OnResponse,
    };
    let forwarders = Forwarders::new(&settings.join_token);
    let Placed { engines, epoch, opener } = placed;
    let mut parts = Vec::new();
    let mut reports = Vec::new();
    let pieces = listeners.into_iter().zip(ears).zip(meshes).zip(engines).zip(doorbells).zip(&mailboxes);
    for (index, (((((listeners, heard), mesh), engine), doorbell), mailbox)) in (0..).zip(pieces) {
        let report = ShardReport { counters: Arc::default(), health: Arc::default() };
        reports.push(report.clone());
        let opener = opener.clone();
        parts.push(Parts {
            index,
            placement,
            driver,
            durability,
            clock,
            listeners,
            heard,
            doorbell,
            mailbox: mailbox.clone(),
            mesh,
            directory: Arc::clone(&directory),
            report,
            engine,
            reopen: Box::new(move || opener.open(index)),
            epoch,
            pools: settings.pools,
            connections_per_address: settings.connections_per_address,
            rpc_submit,
            forwarders: forwarders.clone(),
            questions: lines.questions.clone(),
            calls_out: lines.calls_out.clone(),
            instance: Arc::clone(&lines.instance),
        });
    }
    Ok(Built { parts, reports, mailboxes: Shards::new(placement, mailboxes) })
}

/// Starts every shard's thread and waits until all of them serve.
fn spawn(parts: Vec<Parts>) -> Result<Vec<(u16, ShardThread)>, StartError> {
    let mut threads = Vec::new();
    let (serving, served) = mpsc::channel();
    let count = parts.len();
    for part in parts {
        let index = part.index;
        let serving = serving.clone();
        let failed = serving.clone();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                let guard = AbortOnPanic;
                // The starter waits for one word of every shard and for no second one.
                let ran = run(part, move || drop(serving.send(Ok(()))));
                if let Err(error) = &ran {
                    drop(failed.send(Err(StartError::Shard { index, why: error.to_string() })));
                }
                std::mem::forget(guard);
                ran
            })
            .map_err(StartError::Thread)?;
        threads.push((index, thread));
    }
    drop(serving);
    for word in served.iter().take(count) {
        word?;
    }
    Ok(threads)
}

/// A broken invariant on a shard ends the process: half a shard would acknowledge what it cannot keep (DESIGN 8.2, 7).
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn link(
    settings: &Settings,
    directory: &Path,
    (query, http): (SocketAddr, SocketAddr),
    shards: &Shards,
    shared: Arc<Directory>,
    status: &Arc<Status>,
) -> Result<(Link, LinkSettings), StartError> {
    let scheme = if settings.query_tls.is_some() { "https" } else { "http" };
    let link_settings = LinkSettings {
        endpoint: settings.control_plane.clone(),
        join_token: settings.join_token.clone(),
        tls_ca: settings.link_tls_ca.clone(),
        instance_id: instance_id(settings, directory)?,
        query_endpoint: settings.query_advertise.clone().unwrap_or_else(|| format!("{scheme}://{query}")),
        // The control plane is no balancer.
        device_endpoint: if settings.device_http_proxied { String::new() } else { format!("http://{}", reachable(http)) },
        cache: directory.join("config.cache"),
        shards: settings.shards,
    };
    let link = Link::new(link_settings.clone(), shards.clone(), DirectoryWriter::new(shared), Arc::clone(status))?;
    Ok((link, link_settings))
}

/// An address that this machine reaches a listener by.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// The name under which the control plane knows this instance; the same after every restart.
fn instance_id(settings: &Settings, directory: &Path) -> Result<String, StartError> {
    if let Some(id) = &settings.instance_id {
        return Ok(id.clone());
    }
    let path = directory.join("instance-id");
    if let Ok(id) = std::fs::read_to_string(&path)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let id = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &id).map_err(|source| StartError::Directory { path, source })?;
    Ok(id)
}

/// The last good configuration first; if there is none, the first one of the control plane, for a while.
async fn connect(mut link: Link, status: &Arc<Status>, stopped: watch::Receiver<bool>) {
    link.load_cache().await;
    drop(link.follow(stopped));
    let step = Duration::from_millis(limits::TICK_MS / 10);
    let mut waited = Duration::ZERO;
    while !status.configured() && waited < Duration::from_millis(limits::FIRST_CONFIGURATION_MS) {
        tokio::time::sleep(step).await;
        waited += step;
    }
    if !status.configured() {
        tracing::warn!("no configuration yet: devices are refused until the control plane has sent one");
    }
}

fn say_progress(progress: placement::Progress) {
    tracing::info!(moved = progress.moved, of = progress.of, "moving partitions to the new number of shards");
}
