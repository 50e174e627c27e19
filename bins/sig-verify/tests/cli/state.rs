//! What is known of accounts, kept in a file from one run to the next: through kills, at any moment.

use std::path::PathBuf;

use frame::Kind;

use crate::chain::Bench;
use crate::forge::{self, Draft};
use crate::harness::{self, Running, Seen, Stream};

fn state(bench: &Bench) -> PathBuf {
    bench.folder.path().join("state")
}

fn args(bench: &Bench) -> Vec<String> {
    let index = bench.folder.path().join("did.idx");
    let of = |path: &PathBuf| harness::path(path).to_owned();
    let words = ["--pass-all", "--index", &of(&index), "--state", &of(&state(bench))];
    words.map(str::to_owned).to_vec()
}

/// One run over these events; what it says of each that it does not drop.
fn run(bench: &Bench, bodies: &[Vec<u8>]) -> Vec<(String, Vec<&'static str>)> {
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (1..).zip(bodies) {
        stream.event(1, seq, body);
        stream.mark(seq);
    }
    let args = args(bench);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let seen = harness::proved(&args, &stream.end());
    seen.iter().map(|seen| (seen.verdict(), seen.notes())).collect()
}

fn bodies(drafts: &[Draft]) -> Vec<Vec<u8>> {
    drafts.iter().map(Draft::body).collect()
}

fn ok(notes: &[&'static str]) -> (String, Vec<&'static str>) {
    ("ok".to_owned(), notes.to_vec())
}

fn no(verdict: &str) -> (String, Vec<&'static str>) {
    (verdict.to_owned(), Vec::new())
}

#[test]
fn the_next_run_goes_on_where_the_last_one_ended() {
    let bench = Bench::new();
    let chain = bodies(&bench.chain(6));
    assert_eq!(run(&bench, &chain[..3]), [ok(&["first"]), ok(&[]), ok(&[])]);
    assert_eq!(run(&bench, &chain[3..5]), [ok(&[]), ok(&[])]);
    // What came before and is not what the last run proved is stale, and what was lost is a gap.
    let mut twin = bench.draft(2);
    twin.since = None;
    let mut later = bench.draft(9);
    later.since = Some(twin.rev.clone());
    let stale = no("refused stale-rev");
    assert_eq!(run(&bench, &[twin.body(), later.body()]), [stale.clone(), ok(&["legacy", "gap"])]);
    assert_eq!(run(&bench, &chain[5..]), [stale]);
}

#[test]
fn what_comes_again_is_judged_as_it_was_the_first_time() {
    let bench = Bench::new();
    let mut drafts = bench.chain(5);
    drafts[3].since = None;
    let chain = bodies(&drafts);
    let first = [ok(&["first"]), ok(&[]), ok(&[]), ok(&["gap"]), ok(&[])];
    let short = [ok(&["first"]), ok(&[]), ok(&[])];
    assert_eq!(run(&bench, &chain[..3]), short);
    assert_eq!(run(&bench, &chain[..3]), short, "all of it again");
    assert_eq!(run(&bench, &chain[1..3]), short[1..], "a part of it");
    // Copies, and what follows, are what they would have been.
    let twice = [&chain[1..3], &chain[1..5]].concat();
    let repeat = no("unchecked repeat");
    let later = [ok(&[]), ok(&[]), repeat.clone(), repeat, first[3].clone(), ok(&[])];
    assert_eq!(run(&bench, &twice), later);
}

#[test]
fn a_sync_and_an_account_that_is_away_are_kept_too() {
    let bench = Bench::new();
    let chain = bench.chain(3);
    let mut sync = Draft::sync(&bench.did, &bench.secret, 2);
    sync.object.data = chain[0].object.data;
    sync.sign(&bench.secret);
    let away = forge::account(&bench.did, 3, false);
    let bodies = [chain[0].body(), sync.body(), away.clone(), chain[2].body()];
    let away = ("unchecked inactive".to_owned(), vec!["gap"]);
    let before = [ok(&["first"]), ok(&[]), ok(&[])];
    assert_eq!(run(&bench, &bodies), [&before[..], std::slice::from_ref(&away)].concat());
    assert_eq!(run(&bench, &bodies[1..]), [&before[1..], std::slice::from_ref(&away)].concat());
    assert_eq!(run(&bench, &bodies[3..]), [away]);
}

#[test]
fn killed_at_any_moment_it_refuses_nothing_true_and_passes_nothing_false() {
    let bench = Bench::new();
    let count = 60;
    let chain = bodies(&bench.chain(count));
    let args = args(&bench);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (mut durable, mut runs) = (0, 0);
    while durable < count as usize {
        // A stage behind that is killed with it had stored everything up to the last mark.
        let mut running = Running::start(&args);
        let mut stream = Stream::of("pds.example");
        for (seq, body) in (1..).zip(&chain).skip(durable) {
            stream.event(1, seq, body);
            if seq % 3 == 0 {
                stream.mark(seq);
            }
        }
        // One that was never in the chain, of a rev that is long past.
        stream.event(1, 99, &bench.draft(0).body());
        running.feed(&stream.bytes);
        // Events, marks, and the last one.
        let left = count as usize - durable;
        let wanted = (5 + runs % 7).min(left + left / 3 + 1);
        let mut seen: Vec<Seen> = (0..wanted).map(|_| running.next()).collect();
        seen.extend(running.kill());
        for seen in seen {
            match seen.kind {
                Kind::MARK => durable = seen.seq as usize,
                Kind::EVENT if seen.seq == 99 => {
                    assert_eq!(seen.verdict(), "refused stale-rev", "run {runs}");
                }
                Kind::EVENT => {
                    assert_eq!(seen.verdict(), "ok", "event {} of run {runs}", seen.seq);
                    let first = if seen.seq == 1 { vec!["first"] } else { vec![] };
                    assert_eq!(seen.notes(), first, "event {} of run {runs}", seen.seq);
                }
                _ => {}
            }
        }
        runs += 1;
    }
}

#[test]
fn a_file_in_use_or_of_another_kind_is_said_to_be() {
    let bench = Bench::new();
    let args = args(&bench);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut running = Running::start(&args);
    let mut stream = Stream::of("pds.example");
    stream.event(1, 1, &bench.draft(1).body());
    running.feed(&stream.bytes);
    assert!(running.next().is_ok());
    let other = harness::run(&args, &Stream::of("pds.example").end());
    assert_eq!(other.status.code(), Some(1));
    let said = harness::text(&other.stderr);
    assert!(said.contains("state") && said.contains("in use by another sig-verify"), "{said}");
    running.kill();
    // The lock died with the process.
    assert_eq!(run(&bench, &[]), []);
    std::fs::write(state(&bench), "something else").unwrap();
    let other = harness::run(&args, &Stream::of("pds.example").end());
    assert_eq!(other.status.code(), Some(1));
    assert!(harness::text(&other.stderr).contains("not a state file"));
    assert_eq!(std::fs::read(state(&bench)).unwrap(), b"something else");
}

/// The file may grow no further, as on a full disk: the tool says so and ends, no mark goes on behind
/// what could not be kept, and with room again nothing true is refused.
#[test]
fn where_there_is_no_room_nothing_is_passed_on_that_could_not_be_kept() {
    let bench = Bench::new();
    let count = 40;
    let chain = bodies(&bench.chain(count));
    let mut stream = Stream::of("pds.example");
    for (seq, body) in (1..).zip(&chain) {
        stream.event(1, seq, body);
        stream.mark(seq);
    }
    let input = bench.folder.path().join("in.frames");
    std::fs::write(&input, stream.end()).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", limited, env!("CARGO_BIN_EXE_sig-verify")])
        .args(args(&bench))
        .arg(&input)
        .output()
        .unwrap();
    let said = harness::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("state") && said.contains("File too large"), "{said}");
    let (seen, ended) = harness::decode(&output.stdout);
    assert!(!ended, "it does not look whole");
    let durable = seen.iter().rfind(|seen| seen.kind == Kind::MARK).map_or(0, |mark| mark.seq);
    assert!((1..count).contains(&durable), "{durable}");
    // What is behind the last mark comes again, and what follows.
    let rest = run(&bench, &chain[durable as usize..]);
    assert_eq!(rest, vec![ok(&[]); chain.len() - durable as usize]);
}

/// A file that is cut off anywhere is a state a little earlier, at the least that of an earlier mark.
#[test]
fn a_file_that_is_cut_off_anywhere_is_read_up_to_there() {
    let bench = Bench::new();
    let chain = bodies(&bench.chain(4));
    assert_eq!(run(&bench, &chain[..3]), [ok(&["first"]), ok(&[]), ok(&[])]);
    let whole = std::fs::read(state(&bench)).unwrap();
    for cut in (0..whole.len()).step_by(29) {
        std::fs::write(state(&bench), &whole[..cut]).unwrap();
        let all = run(&bench, &chain);
        assert_eq!(all[1..], [ok(&[]), ok(&[]), ok(&[])], "cut at {cut}");
        assert_eq!(all[0], ok(&["first"]), "cut at {cut}");
    }
    // A flipped byte is no better than its end.
    for at in [9, 20, whole.len() / 2] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(state(&bench), &flipped).unwrap();
        assert!(run(&bench, &chain).iter().all(|(verdict, _)| verdict == "ok"), "flipped at {at}");
    }
}
