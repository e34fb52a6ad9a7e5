//! A pod's veth: names, addresses, routes and neighbours of both ends.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
    path::Path,
    time::Duration,
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoVeth, LinkAttribute, LinkFlags},
        route::RouteScope,
    },
};

use crate::{
    kernel::create_link,
    netns::{failed, inside, refused, sysctl},
    network::Error,
};

/// What a pod has as its next hop. Nobody holds it: a permanent neighbour says where it is.
const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Every host side may have the same, since each link has two ends only.
const HOST_MAC: [u8; 6] = [0xee; 6];
const POD_LINK: &str = "eth0";
const CARRIER_TRIES_MAX: usize = 50;
const CARRIER_PAUSE: Duration = Duration::from_millis(5);

/// Names of this node's links start so: 7 characters, of the 15 that the kernel takes.
pub(crate) fn link_prefix(node: &str) -> String {
    format!("br{}", node.get(..5).unwrap_or(node))
}

pub(crate) fn link_name(node: &str, uid: &str) -> String {
    format!("{}{:08x}", link_prefix(node), hash(uid) >> 32)
}

/// FNV-1a: the same for a uid in every version, as a link's name has to be.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn pod_mac(uid: &str) -> [u8; 6] {
    let [a, b, c, d, e, ..] = hash(uid).to_be_bytes();
    // Locally administered, for one receiver.
    [0x02, a, b, c, d, e]
}

/// One pod's link as it has to be.
#[derive(Clone, Debug)]
pub(crate) struct PodLink {
    pub name: String,
    pub uid: String,
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
}

/// Makes a pod's link, or mends it. Runs in the node's namespace.
pub(crate) async fn connect(node: &Handle, link: &PodLink, pod_netns: &Path) -> Result<(), Error> {
    let found = index_of(node, &link.name).await?;
    let pod_end = inside(Some(pod_netns), |pod| async move { index_of(&pod, POD_LINK).await }).await?;
    if found.is_none() || pod_end.is_none() {
        // A link without its other end here belonged to a namespace that is being taken down.
        if let Some(index) = found {
            node.link().del(index).execute().await.map_err(refused(format!("remove the stale link {}", link.name)))?;
        }
        create(node, link, pod_netns).await?;
    }
    let index = index_of(node, &link.name).await?;
    let index = index.ok_or_else(|| failed(format!("find link {}", link.name))(std::io::ErrorKind::NotFound.into()))?;
    configure_node_end(node, index, link).await?;
    let (link, name) = (link.clone(), link.name.clone());
    inside(Some(pod_netns), |pod| async move {
        configure_pod_end(&pod, &link).await?;
        carried(&pod, POD_LINK).await
    })
    .await?;
    carried(node, &name).await
}

/// Waits until the link takes packets: for a moment after both ends are up it drops them, and a pod's first
/// connection would be a second late. Newer kernels catch up when they are asked.
async fn carried(handle: &Handle, name: &str) -> Result<(), Error> {
    for _ in 0..CARRIER_TRIES_MAX {
        let link = handle.link().get().match_name(name).execute().try_next().await;
        let link = link.map_err(refused(format!("find link {name}")))?;
        if link.is_some_and(|link| link.header.flags.contains(LinkFlags::Running)) {
            return Ok(());
        }
        tokio::time::sleep(CARRIER_PAUSE).await;
    }
    // A link that is late all the same comes up by itself.
    Ok(())
}

async fn create(node: &Handle, link: &PodLink, pod_netns: &Path) -> Result<(), Error> {
    let netns = File::open(pod_netns).map_err(failed(format!("open {}", pod_netns.display())))?;
    let mtu = link.mtu;
    let pod_end = LinkMessageBuilder::<LinkUnspec>::new()
        .name(POD_LINK)
        .address(pod_mac(&link.uid).to_vec())
        .mtu(mtu)
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let message = LinkMessageBuilder::<LinkVeth>::new(&link.name, POD_LINK)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(pod_end)))
        .address(HOST_MAC.to_vec())
        .mtu(mtu)
        .build();
    create_link(node, &link.name, message, "veth").await
}

async fn configure_node_end(node: &Handle, index: u32, link: &PodLink) -> Result<(), Error> {
    let refuse = |what: &str| refused(format!("{what} link {}", link.name));
    // Loopback addresses may cross this link, for host ports reached from the node itself (the ruleset keeps
    // pods from using that). A pod cannot send from an address that is not its own.
    for (setting, value) in [("route_localnet", "1"), ("rp_filter", "1"), ("send_redirects", "0"), ("forwarding", "1")]
    {
        sysctl(&format!("ipv4/conf/{}/{setting}", link.name), value)?;
    }
    let up = LinkMessageBuilder::<LinkUnspec>::new().index(index).mtu(link.mtu).up().build();
    node.link().set(up).execute().await.map_err(refuse("bring up"))?;
    // The node's address towards pods is on each of their links, so that a node without a network has one too.
    node.address()
        .add(index, IpAddr::V4(link.gateway), 32)
        .replace()
        .execute()
        .await
        .map_err(refuse("give an address to"))?;
    node.neighbours()
        .add(index, IpAddr::V4(link.address))
        .link_layer_address(&pod_mac(&link.uid))
        .replace()
        .execute()
        .await
        .map_err(refuse("add a neighbour on"))?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(link.address, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .pref_source(link.gateway)
        .build();
    node.route().add(route).replace().execute().await.map_err(refuse("add a route to"))
}

async fn configure_pod_end(pod: &Handle, link: &PodLink) -> Result<(), Error> {
    let refuse = |what: &str| refused(format!("{what} the link of pod {}", link.uid));
    let find = |name: &'static str| async move {
        index_of(pod, name)
            .await?
            .ok_or_else(|| failed(format!("find link {name}"))(std::io::ErrorKind::NotFound.into()))
    };
    for index in [find("lo").await?, find(POD_LINK).await?] {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build();
        pod.link().set(up).execute().await.map_err(refuse("bring up"))?;
    }
    let index = find(POD_LINK).await?;
    let mtu = LinkMessageBuilder::<LinkUnspec>::new().index(index).mtu(link.mtu).build();
    pod.link().set(mtu).execute().await.map_err(refuse("set the MTU of"))?;
    pod.address()
        .add(index, IpAddr::V4(link.address), 32)
        .replace()
        .execute()
        .await
        .map_err(refuse("give an address to"))?;
    pod.neighbours()
        .add(index, IpAddr::V4(NEXT_HOP))
        .link_layer_address(&HOST_MAC)
        .replace()
        .execute()
        .await
        .map_err(refuse("add a neighbour on"))?;
    let next_hop = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(NEXT_HOP, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    pod.route().add(next_hop).replace().execute().await.map_err(refuse("add a route on"))?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(NEXT_HOP).output_interface(index).build();
    pod.route().add(default).replace().execute().await.map_err(refuse("add the default route on"))
}

pub(crate) async fn index_of(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::ENODEV => Ok(None),
        Err(error) => Err(refused(format!("find link {name}"))(error)),
    }
}

/// Removes this node's links except those to keep; answers with how many.
pub(crate) async fn sweep(node: &Handle, prefix: &str, keep: impl Fn(&str) -> bool) -> Result<usize, Error> {
    let mut links = node.link().get().execute();
    let mut doomed = Vec::new();
    while let Some(link) = links.try_next().await.map_err(refused("list links"))? {
        let name = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        if let Some(name) =
            name.filter(|name| name.starts_with(prefix) && name.len() == prefix.len() + 8 && !keep(name))
        {
            doomed.push((link.header.index, name));
        }
    }
    for (index, name) in &doomed {
        match node.link().del(*index).execute().await {
            // Its namespace went away meanwhile, and the link with it.
            Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::ENODEV => {}
            other => other.map_err(refused(format!("remove link {name}")))?,
        }
    }
    Ok(doomed.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_fits_and_tells_nodes_and_pods_apart() {
        let name = link_name("0123abcd", "8f7e0a2c-0000-4000-8000-000000000001");
        assert_eq!(name.len(), 15);
        assert!(name.starts_with("br0123a"));
        assert_ne!(name, link_name("0123abcd", "8f7e0a2c-0000-4000-8000-000000000002"));
        assert_ne!(name, link_name("9123abcd", "8f7e0a2c-0000-4000-8000-000000000001"));
    }
}
