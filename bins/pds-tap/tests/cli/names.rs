use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::server::{Call, LOCAL, Server, events};
use crate::tap::{Tap, start};

/// The names that a tap knows: a file that lies over `/etc/hosts` for it alone.
struct Names {
    dir: tempfile::TempDir,
}

impl Names {
    /// `None` where this user may not have a namespace of his own.
    fn new() -> Option<Names> {
        let mut command = Command::new("unshare");
        let output = command.args(["--user", "--map-root-user", "--mount", "true"]).output();
        if !output.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let names = Names { dir: tempfile::tempdir().unwrap() };
        names.are(&[]);
        Some(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The names that are known from here on; all are of this machine.
    fn are(&self, names: &[&str]) {
        let lines: String = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
        // In its place, because what lies over another file is this one and not its name.
        let options = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path("names"));
        let file = options.unwrap();
        file.write_all_at(lines.as_bytes(), 0).unwrap();
        file.set_len(lines.len() as u64).unwrap();
    }

    fn tap(&self, args: &[&str]) -> Tap {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command.arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#).arg(self.path("names"));
        command.arg(env!("CARGO_BIN_EXE_pds-tap"));
        let local = ["--allow-private", "--retry", "20ms", "--ca", LOCAL.1.to_str().unwrap()];
        start(command.args(local).args(args).stdin(Stdio::null()))
    }
}

fn host() -> Server {
    Server::start(|mut call: Call| {
        call.send_above(&events(1..=9));
        call.hold();
    })
}

#[test]
fn a_name_that_nobody_knew_for_a_while_is_reached_when_it_is_known() {
    let Some(names) = Names::new() else { return println!("skipped: no namespaces here") };
    let server = host();
    let url = format!("wss://pds.good.test:{}", server.port);
    let mut tap = names.tap(&["-v", "--host", &url, "--cursor", "0"]);
    tap.says_times("looking up pds.good.test", 3);
    names.are(&["pds.good.test"]);
    tap.until(1, 9);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert!(done.events(1) == events(1..=9), "{:?}", done.seqs(1));
    assert_eq!(server.cursors(), [Some(0)]);
    done.holds_together();
}

#[test]
fn hosts_below_one_domain_share_a_limit_and_are_denied_together() {
    let Some(names) = Names::new() else { return println!("skipped: no namespaces here") };
    names.are(&["a.evil.test", "b.evil.test", "c.evil.test", "d.evil.test", "pds.good.test"]);
    let evil: Vec<Server> = (0..4).map(|_| host()).collect();
    let good = host();
    let urls = evil.iter().zip("abcd".chars());
    let mut lines: Vec<String> =
        urls.map(|(host, name)| format!("wss://{name}.evil.test:{}\n", host.port)).collect();
    lines.push(format!("wss://pds.good.test:{}\n", good.port));
    std::fs::write(names.path("hosts"), lines.concat()).unwrap();
    std::fs::write(names.path("deny"), "").unwrap();
    let (hosts, deny) = (names.path("hosts"), names.path("deny"));
    let files = ["--hosts", hosts.to_str().unwrap(), "--deny", deny.to_str().unwrap()];
    let mut tap = names.tap(&[&files[..], &["-v", "--per-domain", "2", "--cursor", "0"]].concat());
    tap.until(5, 9);
    // Whose name is found first is joined first.
    let reached = || (0..4).filter(|n| !evil[*n].cursors().is_empty()).collect::<Vec<usize>>();
    crate::tap::wait_for("two hosts of the domain", || reached().len() == 2);
    for n in reached() {
        tap.until(n as u32 + 1, 9);
    }
    tap.says_times("2 hosts of evil.test are listened to already", 2);
    // Who leaves makes room for others.
    let one = ["a", "b", "c", "d"][reached()[0]];
    std::fs::write(names.path("deny"), format!("{one}.evil.test\n")).unwrap();
    tap.signal(Signal::SIGHUP);
    tap.says(": is no longer wanted, and left");
    crate::tap::wait_for("another host of the domain", || reached().len() == 3);
    std::fs::write(names.path("deny"), "evil.test\n").unwrap();
    tap.signal(Signal::SIGHUP);
    tap.says("files read again: 1 hosts, 4 before");
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!((reached().len(), good.cursors().len()), (3, 1));
    done.holds_together();
}

#[test]
fn who_is_listened_to_at_an_address_that_is_denied_is_left() {
    let server = host();
    let dir = tempfile::tempdir().unwrap();
    let deny = dir.path().join("deny");
    std::fs::write(&deny, "").unwrap();
    let url = format!("wss://localhost:{}", server.port);
    let args = ["--host", &url, "--deny", deny.to_str().unwrap(), "--cursor", "0"];
    let mut tap = crate::tap::tap(&args);
    tap.until(1, 9);
    std::fs::write(&deny, "127.0.0.1\n::1\n").unwrap();
    tap.signal(Signal::SIGHUP);
    tap.says("its address is denied");
    std::fs::write(&deny, "").unwrap();
    tap.signal(Signal::SIGHUP);
    crate::tap::wait_for("the host to be heard again", || server.cursors().len() == 2);
    tap.signal(Signal::SIGTERM);
    let done = tap.finish().ok();
    assert_eq!(server.cursors(), [Some(0), Some(9)]);
    done.holds_together();
}

#[test]
fn a_host_at_an_address_of_ipv6_is_heard() {
    let Ok(probe) = std::net::TcpListener::bind("[::1]:0") else {
        return println!("skipped: there is no IPv6 here");
    };
    drop(probe);
    let tls = Some(std::sync::Arc::clone(&LOCAL.0.config));
    let server = Server::visited_at("[::1]:0", tls, |visit| {
        let Some(mut call) = visit.call() else { return };
        call.send_above(&events(1..=9));
        call.hold();
    });
    let url = format!("wss://[::1]:{}", server.port);
    let done = crate::tap::tap(&["--host", &url, "--cursor", "0"]).stop_after(1, 9);
    assert_eq!(done.seqs(1), (1..=9).collect::<Vec<u64>>());
    done.holds_together();
}
