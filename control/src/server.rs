//! `bramble server`: the ordered start of the control plane's parts, and their end in reverse.
//!
//! ```text
//! pki -> store -> api -> nodes' listener -> namespaces -> controllers, scheduler -> kubeconfig -> HTTPS -> ready
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use control_apiserver::bootstrap::services;
use control_apiserver::{Api, User};
use control_cli::data_dir::DataDir;
use control_cli::pidfile::Pidfile;
use control_client::Client;
use control_controllers::steps::StepsFile;
use control_nodes::{Nodes, NodesConfig};
use control_pki::Pki;
use control_store::DurableStore;
use control_wire::Listener;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::full_disk;
use crate::presence::Presence;
use crate::signer::CaSigner;
use crate::token_file::TokenFile;

/// Enough to serve while another request computes; each costs memory.
const WORKERS: usize = 2;
/// Threads for what must block; the control plane has little of it.
const BLOCKING_THREADS_MAX: usize = 4;

/// Runs until SIGTERM or SIGINT.
pub fn run(data: &DataDir, options: &control_cli::arguments::Server) -> Result<()> {
    // A supervisor that waits for signals on a descriptor leaves them blocked in its children.
    SigSet::all().thread_unblock().context("cannot unblock signals")?;
    if options.exit_with_parent {
        set_pdeathsig(Signal::SIGTERM).context("cannot follow the parent's end")?;
    }
    let config = Config::load(options.config.as_deref())?;
    let _pidfile = Pidfile::hold(&data.pidfile("server"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.spawn(control_wire::supervisor::keep_watchdog());
    runtime.block_on(serve(data, options, &config))
}

async fn serve(data: &DataDir, options: &control_cli::arguments::Server, config: &Config) -> Result<()> {
    let ranges = config.ranges().context("the configured ranges cannot be")?;
    let presence = Presence::new(config)?;
    let pki = Pki::open_with(&data.pki(), &presence.names()?, config.lifetimes()?);
    let pki = Arc::new(pki.context("cannot prepare the cluster's certificates")?);
    let pool = control_controllers::Pool::parse(&config.load_balancer_pool).context("loadBalancerPool")?;
    let external_cloud = config.cloud_provider.is_some() || options.cloud_provider.is_some();
    let store = DurableStore::open(&data.store()).context("cannot open the store")?;
    let api = Api::with_ranges(store.clone(), ranges.clone());
    api.sign_tokens(pki.account_key());
    if let Some(path) = &config.token_file {
        api.accept_tokens(Arc::new(TokenFile::load(path)?));
    }
    let tcp =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}/tcp", config.listen))?;
    let agents = Listener::bind(config.listen, pki.quic_config(), &pki.quic_secret())
        .with_context(|| format!("cannot listen on {}/udp", config.listen))?;
    let closer = agents.closer();
    control_apiserver::bootstrap::bootstrap(&api).await.context("cannot make the first namespaces")?;

    let (stop, stopping) = watch::channel(false);
    let client = |name: &str| Client::new(api.clone(), User::system(name));
    let nodes_config = NodesConfig {
        pod_range: config.pod_range.clone(),
        service_range: ranges.services,
        external_cloud,
        servers: presence.servers(),
        ..NodesConfig::default()
    };
    let nodes = Nodes::start(client("system:nodes"), pki.clone(), agents, nodes_config);
    api.connect_nodes(nodes);
    let controllers = control_controllers::Config {
        ca_pem: pki.ca_pem(),
        addresses: presence.endpoints(),
        port: address_of(&tcp)?.port(),
        signer: Some(Arc::new(CaSigner::new(pki.clone()))),
        load_balancers: if external_cloud { None } else { Some(pool) },
        steps_file: StepsFile::new(&data.clock_file()).ok(),
    };
    let mut loops = tokio::task::JoinSet::new();
    let port = address_of(&tcp)?.port();
    // What cannot be made now is said by `keep`, which tries again.
    let _unmade = services::make(&api, port).await;
    loops.spawn(services::keep(api.clone(), port, stopping.clone()));
    loops.spawn(control_controllers::run(api.clone(), controllers, stopping.clone()));
    loops.spawn(control_scheduler::run(client("system:kube-scheduler"), stopping.clone()));

    let address = address_of(&tcp)?;
    write_private(&data.kubeconfig(), &pki.kubeconfig(&local_url(address)))?;
    // Only `bramble up` ends its server with itself.
    if config.discovery.unwrap_or(!options.exit_with_parent) {
        loops.spawn(presence.announce(pki.ca_hash(), address.port(), stopping.clone()));
    }
    let following = tokio::spawn(presence.follow(pki.clone(), data.kubeconfig(), address));
    let serving = control_apiserver::serve(api.clone(), pki.https_config(), tcp, stopped(stopping.clone()));
    let serving = tokio::spawn(serving);
    tell_ready(data, options, address)?;

    let mended = until_an_end(&store, &data.store()).await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    following.abort();
    serving.await.context("the API's task failed")?.context("the API ended in an error")?;
    while loops.join_next().await.is_some() {}
    closer.close("the server is stopping").await;
    // The last word is the store's: everything above has stopped writing.
    tokio::task::spawn_blocking(move || store.close()).await.context("the store did not close")?;
    anyhow::ensure!(!mended, "the store's disk, which had refused it, takes writes again: another start goes on");
    Ok(())
}

/// From here on others may start that need the server.
fn tell_ready(data: &DataDir, options: &control_cli::arguments::Server, address: SocketAddr) -> Result<()> {
    tracing::info!(%address, kubeconfig = %data.kubeconfig().display(), "the API is served");
    if options.admit_own_agent {
        control_cli::token::leave_for_this_machine(data).context("cannot leave a token for this machine's agent")?;
    }
    control_wire::supervisor::ready().context("cannot tell the supervisor that the server is ready")
}

fn address_of(tcp: &TcpListener) -> Result<SocketAddr> {
    tcp.local_addr().context("cannot tell the API's address")
}

/// How programs on this machine reach the API.
pub fn local_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("https://127.0.0.1:{}", address.port())
    } else {
        format!("https://{address}")
    }
}

/// An error means that the sender is gone, which is an end too.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Whether it is the store that needs another start.
async fn until_an_end(store: &DurableStore, folder: &Path) -> Result<bool> {
    tokio::select! {
        signal = wait_for_signal() => signal.map(|()| false),
        () = full_disk::mended(store, folder) => Ok(true),
    }
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
