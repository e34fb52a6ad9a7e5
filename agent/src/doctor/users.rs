//! Whether pods can have users of their own, which is tried.

use std::path::Path;

use agent_runtime::UserNamespaces;

use super::Finding;

const NAME: &str = "user namespaces";

pub fn check(root: &Path) -> Finding {
    finding(UserNamespaces::try_with(Path::new("/proc/self/exe"), root))
}

fn finding(found: UserNamespaces) -> Finding {
    match found {
        UserNamespaces::ForAll => Finding::good(NAME, "for pods with hostUsers: false"),
        UserNamespaces::OnDisk(_) => Finding::doubtful(
            NAME,
            "pods with hostUsers: false run without a Secret, a token (automountServiceAccountToken: false) and volumes in \
             memory alone: this kernel cannot give such a volume the pod's users; Linux 6.3 and newer can",
        ),
        UserNamespaces::ForNone(why) => {
            Finding::doubtful(NAME, format!("pods with hostUsers: false are refused here: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_kernel_that_can_do_a_part_is_told_apart_from_one_that_can_do_none() {
        let part = finding(UserNamespaces::OnDisk("tmpfs".into()));
        assert_eq!((part.verdict, part.words.contains("Linux 6.3")), (Verdict::Doubtful, true));
        let none = finding(UserNamespaces::ForNone("user namespaces are off in this kernel".into()));
        assert!(none.words.ends_with("refused here: user namespaces are off in this kernel"), "{}", none.words);
        assert_eq!(finding(UserNamespaces::ForAll).verdict, Verdict::Good);
    }
}
