//! Pod networking of Bramble's node agent, by netlink.
