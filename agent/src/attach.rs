//! A container's own streams, as the server asks for them on a user's behalf.

use agent_runtime::AttachSpec;
use control_api::stream::{AttachRequest, ExecInput, ExecOutput};
use control_wire::ExecPipe;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::adapters::chain;
use crate::daemon::Node;
use crate::exec::{feed, pump, running};

pub async fn attach(node: Node, request: AttachRequest, pipe: ExecPipe) {
    let ExecPipe { input, output } = pipe;
    let last = match serve(&node, &request, input, &output).await {
        Ok(()) => ExecOutput::Exited { code: 0 },
        Err(message) => ExecOutput::Failed { message },
    };
    // The client may be gone.
    let _ = output.send(last).await;
}

async fn serve(
    node: &Node,
    request: &AttachRequest,
    input: mpsc::Receiver<ExecInput>,
    output: &mpsc::Sender<ExecOutput>,
) -> Result<(), String> {
    let AttachRequest { namespace, pod, pod_uid, container, .. } = request;
    let id = running(node, pod_uid, container);
    let id = id.ok_or_else(|| format!("container {container} not found in pod {pod}_{namespace}"))?;
    let spec = AttachSpec { stdin: request.stdin, tty: request.tty };
    let mut handle = node.runtime.attach(pod_uid, &id, spec).await.map_err(|error| chain(&error))?;
    let mut stdin = handle.stdin.take();
    let shown = |wanted: bool| if wanted { Some(output.clone()) } else { None };
    let stdout = show(handle.stdout.take(), shown(request.stdout), ExecOutput::Stdout);
    let stderr = show(handle.stderr.take(), shown(request.stderr), ExecOutput::Stderr);
    let outputs = async {
        tokio::join!(stdout, stderr);
    };
    let mut outputs = std::pin::pin!(outputs);
    let resizer = handle.resizer();
    let resize = |columns, rows| {
        if let Err(error) = resizer.resize(columns, rows) {
            tracing::debug!(error = chain(&error), "a terminal is not resized");
        }
    };
    tokio::select! {
        () = &mut outputs => return Ok(()),
        () = feed(input, &mut stdin, resize, request.stdin) => {}
        // A container that reads nothing must not hide that the client left.
        () = output.closed() => {}
    }
    drop(stdin);
    // As with containerd: with `stdinOnce` and no terminal the container's input ends with the client's, and what it
    // still says is waited for; in every other case the end of the client's input detaches it.
    if request.stdin && request.stdin_once && !request.tty {
        node.runtime.close_stdin(pod_uid, &id).await.map_err(|error| chain(&error))?;
        tokio::select! {
            () = &mut outputs => {}
            () = output.closed() => {}
        }
    }
    Ok(())
}

/// Sends an output on, or reads it for nobody: that it ends shows that the container does.
async fn show(
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    output: Option<mpsc::Sender<ExecOutput>>,
    wrap: fn(Vec<u8>) -> ExecOutput,
) {
    match (from, output) {
        (Some(mut from), None) => drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await),
        (from, Some(output)) => pump(from, output, wrap).await,
        (None, None) => {}
    }
}
