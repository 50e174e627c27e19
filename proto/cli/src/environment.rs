//! The variables that stand for options: a wrong name is said, not passed over in silence.
//!
//! They are written down once, in `pipelines/sovereign.env`, which people copy and systemd reads.
//! One file serves all tools of a chain, so a tool accepts the variables of the others.

use crate::usage;

/// Every variable, a line each: `NAME=` behind a `#` that people take off.
const DOCUMENTED: &str = include_str!("../../../pipelines/sovereign.env");
const PREFIX: &str = "SOVEREIGN_";
/// Set by `make test`, for the harness: the tools are built already.
const HARNESS: &str = "SOVEREIGN_BUILT";

/// Misuse if the environment has a variable of ours that no tool reads.
///
/// # Errors
/// If there is one: it is named.
pub(crate) fn check() -> anyhow::Result<()> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    match unknown(names) {
        None => Ok(()),
        Some(name) => Err(usage(format!(
            "{name}: no tool reads such a variable; pipelines/sovereign.env has all of them"
        ))),
    }
}

fn unknown(mut names: impl Iterator<Item = String>) -> Option<String> {
    names.find(|name| {
        name.starts_with(PREFIX) && name != HARNESS && !documented().any(|n| n == name)
    })
}

fn documented() -> impl Iterator<Item = &'static str> {
    let lines = DOCUMENTED.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    lines.filter(|line| line.starts_with(PREFIX)).filter_map(|line| Some(line.split_once('=')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_written_down_is_found() {
        let found = |names: &[&str]| unknown(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(found(&["HOME", "SOVEREIGN_FSYNC", "SOVEREIGN_STATS_DIR", HARNESS]), None);
        assert_eq!(found(&["HOME", "SOVEREIGN_FSYNCH"]), Some("SOVEREIGN_FSYNCH".into()));
    }
}
