//! A network to try things against: `pds-sim`, as another process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::tool;

/// A running `pds-sim`; it dies with this value.
#[derive(Debug)]
pub struct Sim {
    child: Child,
    /// The directory's address.
    pub plc: String,
    /// The hosts' addresses.
    pub hosts: Vec<String>,
    /// The relay's address, if there is one.
    pub relay: Option<String>,
    /// The name server's address, if there is one.
    pub dns: Option<String>,
}

impl Sim {
    /// Starts it and waits until it is ready.
    pub fn start(args: &[&str]) -> Sim {
        let mut child = tool("pds-sim").args(args).stdout(Stdio::piped()).spawn().expect("pds-sim");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut ready).expect("it says that it is ready");
        let ready: serde_json::Value =
            serde_json::from_str(&ready).unwrap_or_else(|_| panic!("not ready: {ready:?}"));
        let text = |value: &serde_json::Value| value.as_str().expect("an address").to_owned();
        let hosts = ready["hosts"].as_array().expect("hosts").iter().map(text).collect();
        let may_be = |name: &str| ready[name].as_str().map(str::to_owned);
        let (relay, dns) = (may_be("relay"), may_be("dns"));
        Sim { child, plc: text(&ready["plc"]), hosts, relay, dns }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
