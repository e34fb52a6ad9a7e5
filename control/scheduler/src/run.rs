//! The loop that binds.

use control_client::Client;
use tokio::sync::watch;

/// Runs until `shutdown` says true.
pub async fn run(_client: Client, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}
