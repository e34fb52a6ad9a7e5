//! A profile of the node's administrator, as the OCI runtime specification writes it, made into a program.
//!
//! What is not understood is refused: a rule that is passed over would be a hole, or a container that fails later.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::str::FromStr;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde::Deserialize;

/// The largest profile read: Docker's own has 20 KiB.
const BYTES_MAX: u64 = 1 << 20;
/// Names of calls in all rules of a profile.
const CALLS_MAX: usize = 8192;
/// Arguments of a call that a filter can see.
const ARGUMENTS: u32 = 6;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<i32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<i32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// The text of the profile `name` below `folder`.
pub(super) fn read(folder: &Path, name: &str) -> io::Result<String> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !inside {
        return Err(io::Error::other("its path must be relative and hold no '..'"));
    }
    let mut text = String::new();
    let read = File::open(folder.join(name))?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The filter that a profile's text asks for.
pub(super) fn filter(text: &str, native: &[ScmpArch]) -> io::Result<ScmpFilterContext> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if profile.syscalls.iter().map(|rule| rule.names.len()).sum::<usize>() > CALLS_MAX {
        return Err(wrong(format!("it names more than {CALLS_MAX} calls")));
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut filter = ScmpFilterContext::new(default).map_err(library)?;
    for name in &profile.architectures {
        let arch = ScmpArch::from_str(name).map_err(|_| wrong(format!("architecture {name} is not known")))?;
        // A profile may be for many kinds of machine; programs of others do not run here.
        if native.contains(&arch) {
            filter.add_arch(arch).map_err(library)?;
        }
    }
    for rule in &profile.syscalls {
        let action = action(&rule.action, rule.errno_ret)?;
        // The library refuses rules that say what happens anyway.
        if action != default {
            add(&mut filter, rule, action)?;
        }
    }
    Ok(filter)
}

fn add(filter: &mut ScmpFilterContext, rule: &Rule, action: ScmpAction) -> io::Result<()> {
    let conditions = rule.args.iter().map(condition).collect::<io::Result<Vec<_>>>()?;
    for name in &rule.names {
        // Calls that this machine does not have are in most profiles.
        let Ok(call) = ScmpSyscall::from_name(name) else { continue };
        let mut arguments: Vec<u32> = rule.args.iter().map(|argument| argument.index).collect();
        arguments.sort_unstable();
        arguments.dedup();
        if arguments.len() == conditions.len() {
            filter.add_rule_conditional(action, call, &conditions).map_err(library)?;
            continue;
        }
        // Two conditions on one argument: any of them, as runc has it.
        for condition in &conditions {
            filter.add_rule_conditional(action, call, &[*condition]).map_err(library)?;
        }
    }
    Ok(())
}

fn action(name: &str, errno: Option<i32>) -> io::Result<ScmpAction> {
    match name {
        "SCMP_ACT_NOTIFY" => Err(wrong("SCMP_ACT_NOTIFY is not supported: nobody here answers".to_owned())),
        _ => ScmpAction::from_str(name, Some(errno.unwrap_or(libc::EPERM)))
            .map_err(|_| wrong(format!("action {name} is not known"))),
    }
}

fn condition(argument: &Argument) -> io::Result<ScmpArgCompare> {
    if argument.index >= ARGUMENTS {
        return Err(wrong(format!("argument {} of a call cannot be seen", argument.index)));
    }
    let operation = ScmpCompareOp::from_str(&argument.op);
    let operation = operation.map_err(|_| wrong(format!("comparison {} is not known", argument.op)))?;
    Ok(match operation {
        ScmpCompareOp::MaskedEqual(_) => {
            ScmpArgCompare::new(argument.index, ScmpCompareOp::MaskedEqual(argument.value), argument.value_two)
        }
        operation => ScmpArgCompare::new(argument.index, operation, argument.value),
    })
}

fn wrong(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn library(error: SeccompError) -> io::Error {
    wrong(format!("seccomp filter: {error}"))
}
