//! Static bearer tokens, from a file as Kubernetes' `--token-auth-file` has it: `token,user,uid,"group1,group2"` a line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use control_apiserver::{Authenticator, User};
use control_wire::trust;

/// The largest file read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A shorter secret can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Users by the hash of their token: what is compared says nothing about a token that is nearly right.
#[derive(Debug)]
pub struct TokenFile {
    users: Vec<([u8; 32], User)>,
}

impl TokenFile {
    /// Reads `path`, which only its owner may read.
    pub fn load(path: &Path) -> Result<Self> {
        let what = || format!("cannot read the token file {}", path.display());
        let data = std::fs::metadata(path).with_context(what)?;
        if data.permissions().mode() & 0o077 != 0 {
            bail!("{} can be read by others than its owner: chmod 600 it", path.display());
        }
        anyhow::ensure!(data.len() <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        Self::parse(&std::fs::read_to_string(path).with_context(what)?).with_context(what)
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let users = lines.map(|(number, line)| user(line).with_context(|| format!("line {}", number + 1)));
        Ok(Self { users: users.collect::<Result<_>>()? })
    }
}

impl Authenticator for TokenFile {
    fn token(&self, token: &str) -> Option<User> {
        let hash = trust::hash(token.as_bytes());
        self.users.iter().find(|(known, _)| *known == hash).map(|(_, user)| user.clone())
    }
}

/// Never says the line itself: it holds a secret.
fn user(line: &str) -> Result<([u8; 32], User)> {
    let mut fields = line.splitn(4, ',').map(str::trim);
    let token = fields.next().unwrap_or_default();
    let (Some(name), Some(uid)) = (fields.next(), fields.next()) else {
        bail!("a line is token,user,uid and, in quotes, groups");
    };
    if token.len() < TOKEN_BYTES_MIN || name.is_empty() {
        bail!("a token has at least {TOKEN_BYTES_MIN} characters, and a user a name");
    }
    let groups = fields.next().unwrap_or_default().trim_matches('"');
    let mut groups: Vec<String> =
        groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Ok((trust::hash(token.as_bytes()), User { name: name.to_owned(), uid: uid.to_owned(), groups, ..User::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_user_with_groups() {
        let file = TokenFile::parse("# who\n0123456789abcdef,ann,1,\"system:masters,dev\"\nfedcba9876543210,bob,2\n");
        let file = file.expect("parses");
        let ann = file.token("0123456789abcdef").expect("is known");
        assert_eq!((ann.name.as_str(), ann.groups.len()), ("ann", 3));
        assert_eq!(file.token("fedcba9876543210").expect("is known").groups, ["system:authenticated"]);
        assert!(file.token("0123456789abcdee").is_none());
        assert!(file.token("").is_none());
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        let error = format!("{:#}", TokenFile::parse("\nshortsecret,ann,1\n").expect_err("is refused"));
        assert!(error.contains("line 2") && !error.contains("shortsecret"), "{error}");
    }
}
