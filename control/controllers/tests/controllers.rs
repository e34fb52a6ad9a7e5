//! The controllers over the real pipeline and the store's twin; a task stands in for the nodes.

#[path = "controllers/certificates.rs"]
mod certificates;
#[path = "controllers/cluster.rs"]
mod cluster;
#[path = "controllers/daemons.rs"]
mod daemons;
#[path = "controllers/decisions.rs"]
mod decisions;
#[path = "controllers/endpoints.rs"]
mod endpoints;
#[path = "controllers/jobs.rs"]
mod jobs;
#[path = "controllers/kinds.rs"]
mod kinds;
#[path = "controllers/stories.rs"]
mod stories;
#[path = "controllers/volumes.rs"]
mod volumes;
