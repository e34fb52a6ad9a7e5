//! The controllers over the real pipeline and the store's twin; a task stands in for the nodes.

#[path = "controllers/cluster.rs"]
mod cluster;
#[path = "controllers/decisions.rs"]
mod decisions;
#[path = "controllers/stories.rs"]
mod stories;
