//! What the system says of a running tool: its memory and its processor time.
//!
//! A page names a process, and proves nothing: the process may be of another namespace, or the page
//! may lie. So the figures are taken only from a process that is called like the tool.

use stats::Snapshot;

/// Letters of a process's name that the system keeps.
const COMM_BYTES: usize = 15;

/// Fields of `/proc/PID/stat` behind the name: user time, system time, resident pages.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const RESIDENT_PAGES: usize = 21;

/// Memory and processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub(crate) resident_bytes: u64,
    /// Since the start, of all its threads.
    pub(crate) cpu_ns: u64,
}

impl Vitals {
    /// Those of the tool of this page, where there is `/proc` and the process is this tool.
    pub(crate) fn of(page: &Snapshot) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", page.pid)).ok()?;
        Self::read(&stat, &page.tool)
    }

    fn read(stat: &str, tool: &str) -> Option<Self> {
        let (begin, rest) = stat.rsplit_once(") ")?;
        let (_, name) = begin.split_once(" (")?;
        let expected = tool.as_bytes().get(..COMM_BYTES).unwrap_or(tool.as_bytes());
        if name.as_bytes() != expected {
            return None;
        }
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number)?.parse::<u64>().ok();
        let ticks = field(USER_TICKS)?.saturating_add(field(SYSTEM_TICKS)?);
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let page_bytes = rustix::param::page_size() as u64;
        Some(Self {
            resident_bytes: field(RESIDENT_PAGES)?.saturating_mul(page_bytes),
            cpu_ns: ticks.saturating_mul(tick_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "77 (archive-compact) S 1 77 77 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 2 0 \
                        8000 250000000 300 18446744073709551615";

    #[test]
    fn figures_are_taken_from_a_process_of_that_name_only() {
        let stat = STAT.replace("archive-compact", "archive-compac");
        assert_eq!(Vitals::read(&stat, "archive-compact"), None);
        assert_eq!(Vitals::read("", "dedupe"), None);
        let vitals = Vitals::read(STAT, "archive-compact-2").unwrap();
        let page_bytes = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second();
        let expected =
            Vitals { resident_bytes: 300 * page_bytes, cpu_ns: 200 * (1_000_000_000 / ticks) };
        assert_eq!(vitals, expected);
    }
}
