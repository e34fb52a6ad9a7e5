use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot talk to the kernel about Services")]
    Netlink(#[source] agent_nft::Error),
    #[error("cannot change the table {table}")]
    Table {
        table: String,
        #[source]
        source: agent_nft::Error,
    },
    #[error("cannot watch the kernel's tables")]
    Watch(#[source] io::Error),
    #[error("a change of Services ended early")]
    Task(#[source] tokio::task::JoinError),
}
