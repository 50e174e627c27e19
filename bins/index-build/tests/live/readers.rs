//! Other processes that look up while the index is changed under them.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use didindex::DidIndex;

use crate::directory::{did, keys, line, operation, text};
use crate::place::Place;

const ACCOUNTS: usize = 40;
const ROUNDS: usize = 60;
const BEGIN_MS: u64 = 1_785_000_000_000;

/// Every account has in round n its n-th key and its n-th host.
fn round(keys: &[String], number: usize) -> String {
    let lines: Vec<_> = (0..ACCOUNTS)
        .map(|account| {
            let key = &keys[(account + number) % keys.len()];
            let created_ms = BEGIN_MS + (number * ACCOUNTS + account) as u64 * 1000;
            let operation = operation(key, &format!("h{number}.example"));
            line(account, number, number.checked_sub(1), created_ms, operation)
        })
        .collect();
    text(&lines)
}

fn key_bytes(keys: &[String]) -> Vec<[u8; 34]> {
    keys.iter().map(|key| keys::PublicKey::from_did_key(key).unwrap().to_bytes()).collect()
}

/// Looks all accounts up; every answer is one that was written, and none is older than before.
fn look(index: &DidIndex, keys: &[[u8; 34]], seen: &mut [usize]) {
    for (account, seen) in seen.iter_mut().enumerate() {
        let entry = index.entry(&did(account)).expect("it is gone");
        let host = entry.pds().unwrap();
        let number: usize = host[1..].strip_suffix(".example").unwrap().parse().unwrap();
        assert!(number >= *seen, "account {account} goes back from {seen} to {number}");
        *seen = number;
        assert_eq!(entry.key(), Some(keys[(account + number) % keys.len()]), "torn");
        let mut count = 0;
        for (at, period) in entry.history().enumerate() {
            assert_eq!(period.key, Some(keys[(account + at) % keys.len()]), "torn");
            count += 1;
        }
        assert_eq!(count, number + 1, "torn");
    }
}

/// The other process: this very program, told by a variable what to read.
#[test]
fn reader() {
    let Ok(path) = std::env::var("READER_OF") else { return };
    let path = Path::new(&path);
    let keys = key_bytes(&keys());
    let mut index = DidIndex::open(path).unwrap();
    let (mut seen, mut looks, mut moves) = ([0; ACCOUNTS], 0u64, 0u64);
    let stop = path.with_extension("stop");
    while seen.iter().any(|seen| *seen + 1 < ROUNDS) {
        moves += u64::from(index.refresh().unwrap());
        look(&index, &keys, &mut seen);
        looks += 1;
        assert!(!stop.exists(), "told to stop at {seen:?}");
    }
    println!("{} look-ups, {moves} moves to another file", looks * ACCOUNTS as u64);
}

fn begin_reader(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "readers::reader", "--nocapture"])
        .env("READER_OF", place.path("did.idx"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn readers_never_see_a_torn_or_an_older_state_and_move_to_the_new_file_by_themselves() {
    let keys = keys();
    let place = Place::new();
    place.build("did.idx", &round(&keys, 0));
    let readers: Vec<Child> = (0..2).map(|_| begin_reader(&place)).collect();
    // Merged several times; also begun anew, and killed, in between.
    let mut keeper = place.keep(&["--merge-at", "300"]);
    for number in 1..ROUNDS {
        keeper.tell(&round(&keys, number));
        if number % 20 == 0 {
            keeper.end();
            keeper = place.keep(&["--merge-at", "300"]);
        }
        if number % 15 == 0 {
            keeper.kill();
            keeper = place.keep(&["--merge-at", "300"]);
            // What was on its way comes again.
            for again in number.saturating_sub(15).max(1)..=number {
                keeper.tell(&round(&keys, again));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    keeper.end();
    let began = Instant::now();
    for mut reader in readers {
        while reader.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(120) {
                fs::write(place.path("did.stop"), "").unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = reader.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        print!("{}", said.lines().filter(|line| line.contains("look-ups")).collect::<String>());
        assert!(!said.contains(" 0 moves"), "{said}");
    }
    // Of all the files there were, those of the last one are left.
    let left = place.files().len();
    assert_eq!(left, 4, "{:?}", place.files());
}

#[test]
fn a_new_key_is_in_force_for_a_reader_that_is_running() {
    let keys = keys();
    let place = Place::new();
    place.build("did.idx", &round(&keys, 0));
    let mut keeper = place.keep(&["--merge-at", "100"]);
    let mut index = DidIndex::open(&place.path("did.idx")).unwrap();
    let mut longest = Duration::ZERO;
    for number in 1..20 {
        let host = format!("h{number}.example");
        let told = Instant::now();
        keeper.tell(&round(&keys, number));
        for account in 0..ACCOUNTS {
            loop {
                index.refresh().unwrap();
                if index.entry(&did(account)).unwrap().pds() == Some(host.as_str()) {
                    break;
                }
                assert!(told.elapsed() < Duration::from_secs(60), "not in force");
                std::thread::yield_now();
            }
        }
        longest = longest.max(told.elapsed());
    }
    keeper.end();
    println!("all keys of a round in force after {longest:?} at most");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

#[test]
fn an_index_built_anew_is_found_by_readers_of_the_old_one() {
    let keys = keys();
    let place = Place::new();
    let all = round(&keys, 0);
    place.build("did.idx", &all);
    place.update(&[], &round(&keys, 1));
    let mut index = DidIndex::open(&place.path("did.idx")).unwrap();
    let before = index.id();
    place.build("did.idx", &[all, round(&keys, 1), round(&keys, 2)].concat());
    let began = Instant::now();
    while !index.refresh().unwrap() {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    assert_ne!(index.id(), before);
    look(&index, &key_bytes(&keys), &mut [2; ACCOUNTS]);
    assert_eq!(place.files().len(), 4, "{:?}", place.files());
}
