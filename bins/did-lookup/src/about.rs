//! What the index holds.

use std::cmp::Reverse;
use std::time::SystemTime;

use cli::units::show_bytes;
use didindex::{DidIndex, Host};
use serde::Serialize;

use cli::Text;
use lines::rfc3339_ms;

/// So many hosts are shown to a person.
const HOSTS_SHOWN: usize = 20;

/// What `--info --json` prints.
#[derive(Serialize)]
struct About<'a> {
    r#type: &'static str,
    accounts: u64,
    slots: u64,
    load: f64,
    bytes: u64,
    bytes_per_did: f64,
    accounts_rotated: u64,
    former_keys: u64,
    /// States of accounts since the index was built.
    changes: u64,
    /// Accounts since the index was built.
    accounts_added: u64,
    operations: u64,
    last_created_at: Option<String>,
    age_seconds: Option<u64>,
    hosts: Vec<OnHost<'a>>,
}

/// A line of `--hosts --json`.
#[derive(Serialize)]
struct HostLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    host: OnHost<'a>,
}

#[derive(Serialize)]
struct OnHost<'a> {
    name: &'a str,
    accounts: u64,
}

/// Prints numbers: for people, or as one JSON object.
pub(crate) fn info(index: &DidIndex, as_json: bool, out: &mut Text<'_>) -> anyhow::Result<()> {
    let info = index.info();
    let (changes, added) = info.delta.map_or((0, 0), |delta| (delta.states, delta.added));
    let built = info.entries - added;
    let load = built as f64 / info.slots as f64;
    let bytes_per_did = info.bytes as f64 / built.max(1) as f64;
    // An index of nothing has no last operation.
    let last_ms = Some(info.cursor.created_ms).filter(|last_ms| *last_ms > 0);
    let last = last_ms.and_then(rfc3339_ms);
    let age = last_ms.map(age_seconds);
    let hosts = by_accounts(index);
    if as_json {
        let hosts = hosts.iter().map(|host| OnHost { name: host.name, accounts: host.accounts });
        return out.object(&About {
            r#type: "info",
            accounts: info.entries,
            slots: info.slots,
            load,
            bytes: info.bytes,
            bytes_per_did,
            accounts_rotated: info.rotated,
            former_keys: info.former_keys,
            changes,
            accounts_added: added,
            operations: info.cursor.operations,
            last_created_at: last,
            age_seconds: age,
            hosts: hosts.collect(),
        });
    }
    out.line(format_args!("accounts        {}", info.entries))?;
    out.line(format_args!("slots           {} (load {load:.3})", info.slots))?;
    let bytes = show_bytes(info.bytes);
    out.line(format_args!("bytes           {bytes} ({bytes_per_did:.1} an account)"))?;
    let former = info.former_keys;
    out.line(format_args!("keys rotated    {} accounts, {former} former keys", info.rotated))?;
    out.line(format_args!("changes         {changes} since it was built, {added} new accounts"))?;
    out.line(format_args!("operations      {}", info.cursor.operations))?;
    match last.zip(age) {
        Some((last, age)) => {
            out.line(format_args!("last operation  {last} ({} ago)", span(age)))?;
        }
        None => out.line("last operation  none")?,
    }
    out.line(format_args!("hosts           {}", info.hosts))?;
    for host in hosts.iter().take(HOSTS_SHOWN) {
        out.line(format_args!("{:>14}  {}", host.accounts, host.name))?;
    }
    match hosts.len().saturating_sub(HOSTS_SHOWN) {
        0 => Ok(()),
        more => out.line(format_args!("                and {more} more; --hosts lists all")),
    }
}

/// Prints the names of hosts that have accounts; as JSON, with how many.
pub(crate) fn hosts(index: &DidIndex, as_json: bool, out: &mut Text<'_>) -> anyhow::Result<()> {
    for host in by_accounts(index) {
        if as_json {
            let host = OnHost { name: host.name, accounts: host.accounts };
            out.object(&HostLine { r#type: "host", host })?;
        } else {
            out.line(host.name)?;
        }
    }
    Ok(())
}

/// Most accounts first, then by name.
fn by_accounts(index: &DidIndex) -> Vec<Host<'_>> {
    let mut hosts: Vec<Host<'_>> = index.hosts().collect();
    hosts.sort_by_key(|host| (Reverse(host.accounts), host.name));
    hosts
}

fn age_seconds(unix_ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs().saturating_sub(unix_ms / 1000)
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
