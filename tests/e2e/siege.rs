//! The short form of `make siege`: many hosts at once over TLS, no event lost, none twice; then the
//! whole chain behind them, with stages killed.

use std::time::Duration;

use e2e::{ChainSiege, Siege};

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

#[test]
fn a_chain_whose_stages_are_killed_stores_each_event_once_and_no_forged_one() {
    let siege = ChainSiege {
        hosts: 20,
        accounts: 60,
        events: 3_000,
        rate: 1_000,
        kills: 2,
        slowness: 1,
        seed: 7,
    };
    let report = siege.run(|_| {});
    assert!(report.is_exact(), "{report}");
    assert!(report.forged > 50 && report.starts <= report.kills.len() + 1, "{report}");
}
