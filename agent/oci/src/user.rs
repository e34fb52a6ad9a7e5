use std::{fs::File, io, io::Read, path::Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// An image's passwd or group file is read up to here.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Who a container's process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIds {
    pub uid: u32,
    pub gid: u32,
    /// Groups of /etc/group that list the user.
    pub additional_gids: Vec<u32>,
    /// From /etc/passwd, else `/`.
    pub home: String,
}

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("cannot read {file} of the image")]
    Read {
        file: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Turns `user[:group]` into ids by the root's own /etc/passwd and /etc/group, opened without leaving the root.
pub fn resolve_user(rootfs: &Path, user: &str) -> Result<UserIds, UserError> {
    let passwd = read_in(rootfs, "etc/passwd")?;
    let group = read_in(rootfs, "etc/group")?;
    resolve(&passwd, &group, user)
}

pub(crate) fn resolve(passwd: &str, group: &str, user: &str) -> Result<UserIds, UserError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let accounts = || passwd.lines().filter_map(Account::parse);
    // A name wins over a number that looks like it, as in every container runtime.
    let account = accounts().find(|a| a.name == user).or_else(|| accounts().find(|a| Some(a.uid) == number));
    let mut ids = match (&account, number) {
        (Some(account), _) => {
            UserIds { uid: account.uid, gid: account.gid, home: account.home.to_owned(), ..Default::default() }
        }
        (None, Some(uid)) => UserIds { uid, ..Default::default() },
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    if ids.home.is_empty() {
        ids.home = "/".into();
    }
    let groups = || group.lines().filter_map(Group::parse);
    if let Some(wanted) = wanted_group {
        let found = groups().find(|g| g.name == wanted).map(|g| g.gid);
        ids.gid = found.or_else(|| wanted.parse().ok()).ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?;
    }
    // Whatever its first group is: what the image says of a user adds to what a pod does.
    if let Some(account) = &account {
        ids.additional_gids =
            groups().filter(|g| g.members.split(',').any(|member| member == account.name)).map(|g| g.gid).collect();
    }
    Ok(ids)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.splitn(7, ':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
        Some(Self { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: rest.get(1).copied().unwrap_or("") })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.splitn(4, ':').collect();
        let [name, _, gid, rest @ ..] = fields.as_slice() else { return None };
        Some(Self { name, gid: gid.parse().ok()?, members: rest.first().copied().unwrap_or("") })
    }
}

/// Symlinks resolve inside the root. An image without the file has no names.
fn read_in(rootfs: &Path, file: &'static str) -> Result<String, UserError> {
    let failed = |source| UserError::Read { file, source };
    let root = File::open(rootfs).map_err(failed)?;
    // A fifo there must not hold the agent.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(&root, file, flags, Mode::empty(), resolve) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !opened.metadata().map_err(failed)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\nbad line\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nvideo:x:44:web\n";

    fn ids(user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        resolve(PASSWD, GROUP, user)
            .map(|ids| (ids.uid, ids.gid, ids.additional_gids, ids.home))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(ids("").unwrap(), (0, 0, vec![10], "/root".into()));
        assert_eq!(ids("web").unwrap(), (33, 34, vec![10, 44], "/srv".into()));
        assert_eq!(ids("33").unwrap(), (33, 34, vec![10, 44], "/srv".into()));
        assert_eq!(ids("1000").unwrap(), (1000, 0, vec![], "/".into()));
        assert_eq!(ids("1000:video").unwrap(), (1000, 44, vec![], "/".into()));
        assert_eq!(ids("web:7").unwrap(), (33, 7, vec![10, 44], "/srv".into()));
    }

    #[test]
    fn unknown_names_are_told() {
        assert_eq!(ids("nobody").unwrap_err(), "unable to find user nobody: no matching entries in passwd file");
        assert_eq!(ids("web:none").unwrap_err(), "unable to find group none: no matching entries in group file");
    }

    #[test]
    fn a_passwd_file_that_links_out_of_the_root_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("etc/passwd")).unwrap();
        // The link resolves to itself inside the root: a loop, and no names.
        assert!(resolve_user(dir.path(), "daemon").is_err());
    }
}
