//! What is served over HTTP: metrics, health and the page, to friends and to others.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use support::{DEADLINE, Running, ghost_mon, pipeline, run, signal, write_hosts};

/// A monitor that serves; killed when it is dropped.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn of(dir: &Path, args: &[&str]) -> Served {
        let mut child = ghost_mon(dir)
            .args(["--listen", "127.0.0.1:0", "-v", "--interval", "50ms"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once("http://")?.1.replace('/', "")));
        std::thread::spawn(move || lines.for_each(drop));
        Served { child, address: said.unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// The status and the rest of the answer to these bytes; nothing if the peer hung up.
    fn ask(&self, request: &str) -> Option<(u16, String)> {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().unwrap();
        Some((status, answer))
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, answer) =
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Asks until the answer is as it should be.
    fn get_until(&self, path: &str, is_good: impl Fn(u16, &str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let (status, body) = self.get(path);
            if is_good(status, &body) {
                return body;
            }
            assert!(Instant::now() < until, "{status}: {body}");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pipeline with all its stages fresh as of now, an archive that is there, and hosts.
fn fresh() -> (Running, stats::HostTable) {
    let mut running = pipeline();
    let now_ns = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    running.pages.iter().for_each(|page| page.last_event(now_ns));
    let pack = &running.pages[3];
    pack.set_output(running.dir.path().to_str().unwrap());
    pack.named("raw-bytes").add(4 << 20);
    pack.gauge("stored-bytes").set(1 << 20);
    running.pages[2].unproved("no-answer").add(5);
    // This very process is the only one whose memory can be looked up under the name of its page.
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    running.pages.push(support::page(
        running.dir.path(),
        own.trim(),
        None,
        "pipe:[98]",
        "pipe:[99]",
    ));
    let table = write_hosts(&running.pages[0]);
    (running, table)
}

/// Samples by series, after a check that the format is kept.
fn samples(metrics: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut found = BTreeMap::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split_once(' ').unwrap().0), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name) && kinds.insert(name, kind).is_none(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|name| kinds.contains_key(name)))
                .unwrap_or(name);
            assert!(kinds.contains_key(family), "{line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(found.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    found
}

#[test]
fn metrics_have_all_that_is_known_of_stages_hosts_and_the_archive() {
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &[]);
    let metrics =
        served.get_until("/metrics", |_, body| body.contains("sovereign_host_lag_seconds{"));
    let samples = samples(&metrics);
    let verify = r#"stage="west",tool="sig-verify""#;
    let tap = r#"stage="pds-tap",tool="pds-tap""#;
    for (series, value) in [
        ("sovereign_stages".into(), 5.0),
        ("sovereign_fresh".into(), 1.0),
        (format!("sovereign_events_in_total{{{verify}}}"), 990.0),
        (format!("sovereign_events_out_total{{{verify}}}"), 981.0),
        (format!("sovereign_refused_total{{{verify}}}"), 9.0),
        (format!("sovereign_held_events{{{verify}}}"), 3.0),
        (format!("sovereign_queue_bytes{{{verify}}}"), 1_048_576.0),
        (format!("sovereign_refusals_total{{{verify},rule=\"bad-signature\"}}"), 7.0),
        (format!("sovereign_unproved_total{{{verify},rule=\"no-answer\"}}"), 5.0),
        (format!("sovereign_level{{{tap},level=\"hosts-connected\"}}"), 12.0),
        (format!("sovereign_hosts{{{tap},state=\"connected\"}}"), 9.0),
        (format!("sovereign_host_lag_seconds{{{tap},host=\"h8.example\"}}"), 0.008),
        (format!("sovereign_host_events_total{{{tap},host=\"h8.example\"}}"), 8.0),
        (format!("sovereign_latency_seconds_count{{{verify}}}"), 100.0),
        (format!("sovereign_latency_seconds_bucket{{{verify},le=\"0.000262144\"}}"), 99.0),
        (format!("sovereign_latency_seconds_bucket{{{verify},le=\"+Inf\"}}"), 100.0),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series} in {metrics}");
    }
    let starting =
        |start: &str| samples.iter().find(|(series, _)| series.starts_with(start)).unwrap().1;
    assert!(*starting("sovereign_free_bytes{") > 0.0);
    assert!(*starting("sovereign_days_until_full{") > 0.0);
    assert!(*starting("sovereign_last_event_age_seconds{") >= 0.0);
    // What hosts have no lag has no sample.
    assert!(
        !metrics
            .contains("sovereign_host_lag_seconds{stage=\"pds-tap\",tool=\"pds-tap\",host=\"new")
    );
    // Days are what a person wants to know, whatever the usual units are.
    let wrong = promtool(&["check", "metrics"], Some(&metrics));
    assert!(wrong.lines().all(|line| line.contains("_days_until_full use base unit")), "{wrong}");
}

/// What promtool has to say, where it is installed.
fn promtool(args: &[&str], input: Option<&str>) -> String {
    let child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return String::new() };
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &[]);
    let metrics =
        served.get_until("/metrics", |_, body| body.contains("sovereign_host_lag_seconds{"));
    let pipelines = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let rules = std::fs::read_to_string(pipelines.join("alerts.yml")).unwrap();
    let dashboard = std::fs::read_to_string(pipelines.join("grafana.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let parsed = yaml_rust2::YamlLoader::load_from_str(&rules).unwrap();
    let parsed = parsed[0]["groups"][0]["rules"].as_vec().unwrap();
    for rule in parsed {
        assert!(rule["alert"].as_str().is_some() && rule["expr"].as_str().is_some(), "{rule:?}");
        assert!(rule["annotations"]["action"].as_str().is_some(), "{rule:?}");
    }
    assert!(parsed.len() >= 4);
    let mut names = BTreeSet::new();
    for text in [&rules, &dashboard] {
        for (at, _) in text.match_indices("sovereign_") {
            let end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
            names.insert(text[at..].split(end).next().unwrap());
        }
    }
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let is_there =
            [format!("\n{name}{{"), format!("\n{name} ")].iter().any(|s| metrics.contains(s));
        assert!(is_there, "{name} is not in /metrics");
    }
    assert_eq!(
        promtool(&["check", "rules", pipelines.join("alerts.yml").to_str().unwrap()], None),
        ""
    );
}

#[test]
fn health_is_200_while_data_comes_and_503_with_a_reason_when_it_does_not() {
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &["--fresh", "1h"]);
    let said = served.get_until("/healthz", |status, _| status == 200);
    assert!(said.starts_with("longest silent is "), "{said}");

    let strict = Served::of(running.dir.path(), &["--fresh", "20ms"]);
    let said = strict.get_until("/healthz", |status, _| status == 503);
    assert!(said.contains(" has taken nothing in for "), "{said}");

    let healthy = run(running.dir.path(), &["--health", "--fresh", "1h"]);
    assert_eq!(healthy.status.code(), Some(0));
    assert!(healthy.stdout.starts_with(b"longest silent is "));

    let empty = tempfile::tempdir().unwrap();
    let ill = run(empty.path(), &["--health"]);
    assert_eq!(ill.status.code(), Some(1));
    assert_eq!(ill.stderr, b"ghost-mon: no tool of this system is running here\n");
    let nothing = Served::of(empty.path(), &[]);
    assert_eq!(nothing.get("/healthz"), (503, "no tool of this system is running here\n".into()));
    assert_eq!(samples(&nothing.get("/metrics").1)["sovereign_fresh"], 0.0);
}

#[test]
fn the_status_has_stages_and_curves_that_grow() {
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &[]);
    let points = |body: &str| {
        let status: Value = serde_json::from_str(body).unwrap();
        status["history"]["west"]["events_in_per_s"].as_array().map_or(0, Vec::len)
    };
    let body = served.get_until("/status.json", |_, body| points(body) >= 3);
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&status["type"], &status["fresh"]), (&"status".into(), &true.into()));
    assert_eq!(status["stages"][2]["label"], "west");
    assert_eq!(status["stages"][2]["unproved"], serde_json::json!({"no-answer": 5}));
    let archive = &status["stages"][3]["archive"];
    assert_eq!((&archive["raw_bytes"], &archive["saved_share"]), (&(4 << 20).into(), &0.75.into()));
}

#[test]
fn what_is_no_good_request_is_answered_or_cut_off_and_others_are_served() {
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &[]);
    for (request, status) in [
        ("POST / HTTP/1.1\r\n\r\n", 405),
        ("GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        ("GET /\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\n\r\n", 505),
    ] {
        assert_eq!(served.ask(request).unwrap().0, status, "{request}");
    }
    // A head without end. The server may hang up before it has read all of it.
    if let Some((status, _)) = served.ask(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(100_000)))
    {
        assert_eq!(status, 431);
    }
    // More than it takes, none of which says anything, and some that go in the middle of a word.
    let silent: Vec<TcpStream> = (0..200).map(|_| served.connect()).collect();
    for mut stream in silent.iter().take(100) {
        let _ = stream.write_all(b"GET /metr");
    }
    assert_eq!(served.get("/healthz").0, 200);
    drop(silent);
    let (status, answer) = served.ask("HEAD / HTTP/1.1\r\n\r\n").unwrap();
    assert!(status == 200 && answer.ends_with("\r\n\r\n"), "{answer}");
    let (status, page) = served.get("/?a=b");
    assert!(status == 200 && page.contains("<title>Sovereign</title>"), "{page}");
}

#[test]
fn an_address_that_is_taken_is_named_and_a_signal_ends_it() {
    let (running, _table) = fresh();
    let mut served = Served::of(running.dir.path(), &[]);
    let taken = run(running.dir.path(), &["--listen", &served.address]);
    let said = String::from_utf8(taken.stderr).unwrap();
    assert_eq!(taken.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("ghost-mon: {}: name another", served.address)), "{said}");
    signal(&served.child, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
}

/// `make status-page` runs this with a browser; without one there is nothing to look at it with.
#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = std::env::var_os("CHROMIUM") else { return };
    let (running, _table) = fresh();
    let served = Served::of(running.dir.path(), &["--fresh", "1h"]);
    let picture =
        std::env::var_os("SCREENSHOT").map_or(running.dir.path().join("page.png"), PathBuf::from);
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--window-size=1280,900", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", running.dir.path().join("browser").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("http://{}/", served.address))
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&output.stdout);
    for text in [
        "Well: ",
        ">archive-pack<",
        ">west<",
        ">bad-signature<",
        ">no-answer<",
        ">h8.example<",
        "<path d=\"M",
        "75.0 %",
    ] {
        assert!(
            drawn.contains(text),
            "{text} in {drawn}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(std::fs::metadata(picture).unwrap().len() > 10_000);
}
