//! The verbs of the command line.

use std::process::ExitCode;

use agent_pods::machine::{Phase, State};
use agent_pods::record::Records;
use agent_runtime::{ExecSpec, Runtime};
use agent_streams::LogReader;
use anyhow::{Context, Result, bail};
use control_api::stream::LogRequest;
use control_api::view::core::Pod;
use control_wire::NodeKey;
use tokio::io::{AsyncWriteExt, copy};

use crate::adapters::chain;
use crate::admin;
use crate::cache::Cache;
use crate::cli::{Cli, ImageVerb, Verb};
use crate::config::Config;
use crate::shortage::images_of;
use crate::{card, daemon, doctor, exec, offline};

/// Threads for file systems and archives; they end when idle.
const BLOCKING_THREADS_MAX: usize = 8;

pub fn run(cli: Cli) -> Result<ExitCode> {
    if cli.run.exit_with_parent {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).context("cannot follow the parent's end")?;
    }
    let _ = nix::sys::prctl::set_name(c"bramble-agent");
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(cli.log)
        .with_ansi(terminal)
        .with_writer(std::io::stderr)
        // A log on a full disk loses lines; to say so on the same stderr would be a panic.
        .log_internal_errors(false)
        .init();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::load(&cli)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(async {
        match cli.verb {
            None => daemon::run(config).await.map(|()| ExitCode::SUCCESS),
            Some(verb) => carry_out(config, verb).await,
        }
    });
    // A thread that still reads stdin must not hold the end up.
    runtime.shutdown_background();
    result
}

async fn carry_out(config: Config, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Stop => stop(&config).await?,
        Verb::Doctor => {
            let good = doctor::run(&config);
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Reset => {
            stop(&config).await?;
            reset(&config)?;
        }
        Verb::Card { verb, root } => card::run(&root, &verb).await?,
        Verb::Image { verb } => image(&config, verb).await?,
        Verb::Pods => pods(&config)?,
        Verb::Logs { pod, container, follow, previous, timestamps, tail } => {
            let (pod, container) = find(&config, &pod, container.as_deref())?;
            let meta = pod.metadata;
            let request = LogRequest {
                namespace: meta.namespace.unwrap_or_default(),
                pod: meta.name.unwrap_or_default(),
                pod_uid: meta.uid.unwrap_or_default(),
                container,
                follow,
                previous,
                timestamps,
                tail_lines: tail,
                ..LogRequest::default()
            };
            logs(&config, request).await?;
        }
        Verb::Exec { pod, container, stdin, command } => {
            let (pod, container) = find(&config, &pod, container.as_deref())?;
            return run_in(&config, &pod, &container, stdin, command).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn stop(config: &Config) -> Result<()> {
    if admin::say(&config.layout.socket(), admin::STOP).await.context("cannot reach the agent")? {
        return Ok(());
    }
    offline::stop(config).await
}

/// Only what the agent made: a server may keep its own data in the same folder.
fn reset(config: &Config) -> Result<()> {
    let root = &config.layout.root;
    remove_logs(config)?;
    let own = ["agent", "pods", "network", "images", "layers", "containers", "agent.pid", "logs", "log-links"];
    for path in own.map(|name| root.join(name)) {
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Logs of this node's pods, which by default lie where other programs keep theirs too.
fn remove_logs(config: &Config) -> Result<()> {
    let logs = config.layout.logs();
    for pod in Cache::open(config.layout.cache())?.pods() {
        let folder = agent_pods::spec::log_dir(&logs, &pod);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
            _ => {}
        }
    }
    let links = std::fs::read_dir(config.layout.log_links()).into_iter().flatten().flatten();
    for link in links.map(|entry| entry.path()) {
        let ours = std::fs::read_link(&link).is_ok_and(|target| target.starts_with(&logs));
        if ours && !link.exists() {
            std::fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
        }
    }
    // Only where they are empty now.
    let _ = (std::fs::remove_dir(&logs), std::fs::remove_dir(config.layout.log_links()));
    Ok(())
}

async fn image(config: &Config, verb: ImageVerb) -> Result<()> {
    let images = daemon::images(config)?;
    match verb {
        ImageVerb::Import { archive } => {
            let names = match archive.to_str() {
                Some("-") => images.import_stream(std::io::stdin()).await?,
                _ => images.import(&archive).await?,
            };
            for name in names {
                println!("{name}");
            }
            admin::say(&config.layout.socket(), admin::RETRY).await.context("cannot tell the running agent")?;
        }
        ImageVerb::List => {
            println!("{:<60} {:<16} SIZE", "NAME", "ID");
            for image in images.list()? {
                let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
                println!("{:<60} {id:<16} {} MiB", image.name, image.size_bytes >> 20);
            }
        }
        ImageVerb::Prune => {
            let pods = Cache::open(config.layout.cache())?.pods();
            let in_use = images_of(&pods, &images)?;
            let pruned = images.prune(&in_use).await?;
            println!(
                "removed {} images, {} layers, {} MiB",
                pruned.names.len(),
                pruned.layers,
                pruned.freed_bytes >> 20
            );
        }
    }
    Ok(())
}

fn state(config: &Config, pod: &Pod) -> Option<State> {
    Records::new(config.layout.pods()).load(pod.metadata.uid.as_deref()?)
}

fn pods(config: &Config) -> Result<()> {
    println!("{:<20} {:<44} {:<6} {:<10} {:<9} IP", "NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS");
    for pod in Cache::open(config.layout.cache())?.pods() {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        let Some(state) = state(config, &pod) else {
            println!("{namespace:<20} {name:<44} -      Pending");
            continue;
        };
        let running = state.slots.iter().filter(|slot| matches!(slot.phase, Phase::Running { .. })).count();
        let ready = format!("{running}/{}", state.slots.len());
        let restarts: i32 = state.slots.iter().map(agent_pods::machine::Slot::restart_count).sum();
        let phase = agent_pods::status::phase(&pod, &state);
        let ip = state.pod_ips.first().cloned().unwrap_or_default();
        println!("{namespace:<20} {name:<44} {ready:<6} {phase:<10} {restarts:<9} {ip}");
    }
    Ok(())
}

/// `POD` or `NAMESPACE/POD`, and the container: the first one by default.
fn find(config: &Config, name: &str, container: Option<&str>) -> Result<(Pod, String)> {
    let (namespace, name) = name.split_once('/').map_or((None, name), |(space, name)| (Some(space), name));
    let mut pods = Cache::open(config.layout.cache())?.pods();
    pods.retain(|pod| pod.metadata.name.as_deref() == Some(name));
    pods.retain(|pod| namespace.is_none() || pod.metadata.namespace.as_deref() == namespace);
    if pods.len() > 1 {
        bail!("several pods are named {name}: say NAMESPACE/{name}");
    }
    let pod = pods.pop().with_context(|| format!("no pod {name} on this node"))?;
    let first = || Some(pod.spec.as_ref()?.containers.first()?.name.clone());
    let container = container.map(str::to_owned).or_else(first).context("the pod has no container")?;
    Ok((pod, container))
}

async fn logs(config: &Config, request: LogRequest) -> Result<()> {
    let folder = exec::log_folder(&config.layout.logs(), &request);
    let reader = LogReader::open(&folder, request)?;
    let (_alive, alive) = tokio::sync::watch::channel(true);
    let print = |bytes: bytes::Bytes| async move {
        let mut out = tokio::io::stdout();
        out.write_all(&bytes).await.is_ok() && out.flush().await.is_ok()
    };
    Ok(reader.run(alive, print).await?)
}

async fn run_in(config: &Config, pod: &Pod, container: &str, stdin: bool, command: Vec<String>) -> Result<ExitCode> {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let slot = state(config, pod).and_then(|state| state.slots.into_iter().find(|slot| slot.name == container));
    let slot = slot.filter(|slot| matches!(slot.phase, Phase::Running { .. }));
    let id = slot.and_then(|slot| slot.container_id).with_context(|| format!("container {container} does not run"))?;
    let key = NodeKey::load_or_create(&config.layout.identity())?;
    let runtime = agent_runtime::Config::new(&config.layout.root, format!("bramble-{}", key.short()));
    let runtime = Runtime::new(runtime).await?;
    let spec = ExecSpec { args: command, stdin, ..ExecSpec::default() };
    let mut handle = runtime.exec(&uid, &id, spec).await?;
    if let Some(mut to) = handle.stdin.take() {
        tokio::spawn(async move { copy(&mut tokio::io::stdin(), &mut to).await });
    }
    let (stdout, stderr) = (handle.stdout.take(), handle.stderr.take());
    let out = async {
        match stdout {
            Some(mut from) => copy(&mut from, &mut tokio::io::stdout()).await.map(drop),
            None => Ok(()),
        }
    };
    let err = async {
        match stderr {
            Some(mut from) => copy(&mut from, &mut tokio::io::stderr()).await.map(drop),
            None => Ok(()),
        }
    };
    let (out, err, code) = tokio::join!(out, err, handle.wait());
    for result in [out, err] {
        if let Err(error) = result {
            tracing::debug!(%error, "output of the command ended early");
        }
    }
    let code = code.map_err(|error| anyhow::anyhow!(chain(&error)))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
