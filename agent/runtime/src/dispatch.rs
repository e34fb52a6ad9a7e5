//! The roles that the agent's binary plays when it is executed again.

use std::process::exit;

pub(crate) const SHIM: &str = "@shim";
pub(crate) const CREATE: &str = "@create-worker";
pub(crate) const EXEC: &str = "@exec-worker";
pub(crate) const NAMESPACES: &str = "@namespaces";
pub(crate) const MAKE_HOLDER: &str = "@make-holder";
pub(crate) const HOLD: &str = "@hold";
pub(crate) const TRY_USERS: &str = "@try-users";

/// To be called first in `main`, before any thread exists: when the command line asks for a shim, a worker or a
/// helper, plays that role and never returns.
pub fn dispatch() {
    let args: Vec<String> = std::env::args_os().take(4).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let arg = |n: usize| args.get(n).map_or("", String::as_str);
    let result = match arg(1) {
        SHIM => crate::shim::run(arg(2), arg(3)),
        CREATE => crate::worker::create(arg(2), arg(3)),
        EXEC => crate::worker::exec(arg(2), arg(3)),
        NAMESPACES => crate::namespaces::helper(arg(2)),
        MAKE_HOLDER => crate::holder::maker(arg(2)),
        HOLD => crate::holder::hold(arg(2)),
        TRY_USERS => crate::trial::helper(arg(2)),
        _ => return,
    };
    match result {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{error}");
            exit(1)
        }
    }
}
