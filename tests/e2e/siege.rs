//! The short form of `make siege`: many hosts at once over TLS, no event lost, none twice.

use std::time::Duration;

use e2e::Siege;

fn small() -> Siege {
    Siege {
        hosts: 200,
        rate: 500,
        seconds: 4,
        churn: 0.0,
        away: Duration::from_secs(1),
        drop_conn: 0,
        settle: 2,
    }
}

#[test]
fn every_event_of_many_hosts_comes_once() {
    let report = small().run(|_| {});
    assert!(report.is_exact(), "{report}");
    assert_eq!((report.sent, report.resets), (2_000, 0), "{report}");
    assert_eq!((report.listed, report.listed_events), (200, 2_000), "{report}");
}

#[test]
fn hosts_that_go_away_and_connections_that_break_cost_no_event() {
    let siege = Siege { hosts: 60, churn: 10.0, drop_conn: 20, ..small() };
    let report = siege.run(|_| {});
    assert!(report.is_exact(), "{report}");
    assert!(report.sent == 2_000 && report.resets > 50, "{report}");
}
