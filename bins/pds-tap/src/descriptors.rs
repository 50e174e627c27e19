//! How many sockets the system lets one process have.

use cli::Cli;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for everything but hosts.
const OTHERS: u64 = 64;

/// Raises the limit as far as this user may, and says so once if that isn't enough.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    told: bool,
}

impl Descriptors {
    /// So many hosts are to be listened to.
    pub(crate) fn make_room(&mut self, hosts: usize, cli: &Cli) {
        let wanted = hosts as u64 + OTHERS;
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
        if soft >= wanted {
            return;
        }
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        if wanted > hard && !self.told {
            self.told = true;
            cli.warn(format_args!(
                "{hosts} hosts need {wanted} descriptors and this user may have {hard}: some will \
                 not be reached; raise it with `ulimit -n {wanted}` or LimitNOFILE="
            ));
        }
    }
}
