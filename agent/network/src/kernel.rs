//! Modules of the kernel that the network is made of. It loads them itself as they are asked for, where it has them.

use agent_nft::Socket;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkMessage;

use crate::{netns::refused, network::Error};

/// What the kernel lacks of what every node's rules need. In the namespace that this thread is in; changes nothing.
pub fn missing_modules() -> Result<Vec<&'static str>, agent_nft::Error> {
    Socket::open()?.missing_modules()
}

pub(crate) fn check() -> Result<(), Error> {
    let missing = missing_modules().map_err(Error::Rules)?;
    if missing.is_empty() { Ok(()) } else { Err(Error::Modules(missing)) }
}

/// Makes a link of a kind that a module brings.
pub(crate) async fn create_link(
    node: &Handle,
    name: &str,
    message: LinkMessage,
    module: &'static str,
) -> Result<(), Error> {
    match node.link().add(message).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::EOPNOTSUPP => {
            Err(Error::Modules(vec![module]))
        }
        result => result.map_err(refused(format!("create link {name}"))),
    }
}
