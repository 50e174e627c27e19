use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Ops, Running, directory::Directory, said, wait_until};

/// Operations in a bundle; fewer than in the bundles of mirrors, for the sake of time.
const BUNDLE: usize = 1000;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Writes bundles and their index, as plcbundle does.
fn bundles(folder: &Path, lines: &[String], origin: &str) {
    fs::create_dir_all(folder).unwrap();
    let (mut parent, mut listed) = (String::new(), Vec::new());
    for (number, lines) in lines.chunks(BUNDLE).enumerate() {
        let content = text(lines);
        let content_hash = hex(&content);
        let before = if parent.is_empty() { "plcbundle:genesis" } else { &*parent };
        let hash = hex(format!("{before}:{content_hash}"));
        let last: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        let name = format!("{:06}.jsonl.zst", number + 1);
        fs::write(folder.join(name), zstd::encode_all(content.as_bytes(), 3).unwrap()).unwrap();
        listed.push(json!({
            "bundle_number": number + 1, "operation_count": lines.len(), "hash": hash,
            "content_hash": content_hash, "parent": parent, "end_time": last["createdAt"],
            "start_time": "x", "did_count": 1, "compressed_hash": "x", "cursor": "",
        }));
        parent = hash;
    }
    let index = json!({ "version": "1.0", "origin": origin, "bundles": listed });
    fs::write(folder.join("plc_bundles.json"), index.to_string()).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// Writes weeks, as Allegedly does: an hour each, for the sake of a short directory.
fn weeks(folder: &Path, lines: &[String]) {
    fs::create_dir_all(folder).unwrap();
    for (number, lines) in lines.chunks(3600).enumerate() {
        let name = format!("{}.jsonl.gz", 1_668_643_200 + number * 604_800);
        fs::write(folder.join(name), gzip(&text(lines))).unwrap();
    }
}

/// A directory of 12,500 operations, two a second.
fn directory() -> Directory {
    Directory::new((0..12_500).map(|number| number / 4 * 2000), 1000)
}

fn import(ops: &Ops, directory: &Directory, from: &Path, more: &[&str]) -> Output {
    ops.run(directory, &[&["--import", from.to_str().unwrap()][..], more].concat())
}

#[test]
fn both_layouts_are_taken_in_and_the_export_goes_on_behind_them() {
    for layout in ["bundles", "weeks"] {
        let directory = directory();
        let ops = Ops::new();
        let dump = ops.0.path().join("dump");
        match layout {
            "bundles" => bundles(&dump, &directory.lines()[..12_000], "https://plc.example"),
            _ => weeks(&dump, &directory.lines()[..12_000]),
        }
        let output = import(&ops, &directory, &dump, &["--json"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["imported"], 12_000, "{layout}");
        assert_eq!(report["operations"], 12_500);
        assert_eq!(report["interfaces"], json!(["import", "time"]));
        assert_eq!(ops.lines(), directory.lines());
        // From the dump's end on, and not from the beginning.
        assert!(directory.requests() < 10, "{}", directory.requests());
        // Again, it brings nothing.
        let output = import(&ops, &directory, &dump, &[]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(ops.lines(), directory.lines());
    }
}

#[test]
fn a_dump_goes_on_by_number_where_the_directory_has_numbers() {
    let directory = directory();
    directory.know(crate::directory::Numbers::Known);
    let ops = Ops::new();
    let dump = ops.0.path().join("dump");
    bundles(&dump, &directory.lines()[..12_000], &directory.url);
    let output = import(&ops, &directory, &dump, &[]);
    assert!(output.status.success(), "{output:?}");
    let stored = ops.lines();
    assert_eq!(stored[..12_000], directory.lines()[..12_000]);
    assert_eq!(stored[12_000..], directory.numbered_lines()[12_000..]);
    assert!(directory.requests() < 30, "{}", directory.requests());
}

#[test]
fn a_dump_of_a_quiet_directory_is_not_stored_twice_by_going_on_by_number() {
    // Ten minutes apart: all of them are within one page of the last.
    let directory = Directory::numbered((0..140).map(|number| number * 600_000), 1000);
    let ops = Ops::new();
    let dump = ops.0.path().join("dump");
    bundles(&dump, &directory.lines()[..100], &directory.url);
    let output = import(&ops, &directory, &dump, &[]);
    assert!(output.status.success(), "{output:?}");
    let stored = ops.lines();
    assert_eq!(stored.len(), 140);
    assert_eq!(stored[100..], directory.numbered_lines()[100..]);
}

#[test]
fn a_dump_that_is_killed_is_gone_on_with() {
    let directory = directory();
    for layout in ["bundles", "weeks"] {
        let ops = Ops::new();
        let dump = ops.0.path().join("dump");
        match layout {
            "bundles" => bundles(&dump, &directory.lines(), "https://plc.example"),
            _ => weeks(&dump, &directory.lines()),
        }
        let more = ["--import", dump.to_str().unwrap(), "--import-only", "--file-lines", "2000"];
        let mut kills = 0;
        for round in 0..8u64 {
            let before = ops.lines().len();
            let mut child = Running::start(ops.command(&directory, &more));
            let length = || ops.files().last().map_or(0, |path| fs::metadata(path).unwrap().len());
            let (files, bytes) = (ops.files().len(), length());
            wait_until("something new", || {
                child.has_ended() || ops.files().len() > files || length() > bytes
            });
            thread::sleep(Duration::from_micros(round * 500));
            // It may have come to its end by itself.
            let _ = child.child().kill();
            kills += u32::from(!child.ended().status.success());
            let stored = ops.lines();
            assert!(stored.len() >= before);
            assert!(stored == directory.lines()[..stored.len()], "{layout}, after kill {round}");
        }
        assert!(kills > 1, "{layout}");
        let output = ops.run(&directory, &more);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(ops.lines(), directory.lines());
    }
}

#[test]
fn a_bundle_that_is_not_what_its_hash_says_is_refused_and_those_before_it_are_kept() {
    let directory = directory();
    let ops = Ops::new();
    let dump = ops.0.path().join("dump");
    let lines = directory.lines();
    bundles(&dump, &lines, "https://plc.example");
    let mut forged = lines[3000..4000].to_vec();
    forged[17] = forged[17].replace("u0041", "u0042");
    let packed = zstd::encode_all(text(&forged).as_bytes(), 3).unwrap();
    fs::write(dump.join("000004.jsonl.zst"), packed).unwrap();
    let output = import(&ops, &directory, &dump, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("000004.jsonl.zst: its content has the hash"), "{output:?}");
    assert_eq!(ops.lines(), lines[..3000]);
    // A chain that was forged with it.
    let index = fs::read_to_string(dump.join("plc_bundles.json")).unwrap();
    let index = index.replace(&hex(text(&lines[3000..4000])), &hex(text(&forged)));
    fs::write(dump.join("plc_bundles.json"), index).unwrap();
    let output = import(&ops, &directory, &dump, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the hash of bundle 4"), "{output:?}");
    assert_eq!(ops.lines(), lines[..3000]);
}

#[test]
fn operations_of_two_directories_are_not_mixed() {
    let directory = directory();
    let ops = Ops::new();
    let (one, two) = (ops.0.path().join("one"), ops.0.path().join("two"));
    bundles(&one, &directory.lines()[..3000], "https://plc.example");
    bundles(&two, &directory.lines()[..4000], "https://plc.other.example");
    assert!(import(&ops, &directory, &one, &["--import-only"]).status.success());
    let output = import(&ops, &directory, &two, &["--import-only"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains("https://plc.other.example, and those before them of https://plc.example")
    );
    assert_eq!(ops.lines(), directory.lines()[..3000]);
    // In one dump: a bundle says in its head where it comes from.
    let ops = Ops::new();
    let mixed = ops.0.path().join("mixed");
    bundles(&mixed, &directory.lines()[..3000], "https://plc.example");
    let label = json!({ "origin": "https://plc.other.example" }).to_string();
    let name = mixed.join("000003.jsonl.zst");
    let packed = fs::read(&name).unwrap();
    let head = [&0x184D_2A50u32.to_le_bytes()[..], &(label.len() as u32).to_le_bytes()].concat();
    fs::write(&name, [&head, label.as_bytes(), &packed].concat()).unwrap();
    let output = import(&ops, &directory, &mixed, &["--import-only"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(ops.lines(), directory.lines()[..2000]);
}

#[test]
fn what_is_missing_cut_short_or_out_of_order_is_named() {
    let directory = directory();
    let lines = directory.lines();
    let fresh = || {
        let ops = Ops::new();
        let dump = ops.0.path().join("dump");
        weeks(&dump, &lines);
        (ops, dump)
    };
    let second = "1669248000.jsonl.gz";
    let (ops, dump) = fresh();
    let packed = fs::read(dump.join(second)).unwrap();
    fs::write(dump.join(second), &packed[..packed.len() - 20]).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(second), "{output:?}");
    assert_eq!(ops.lines(), lines[..3600]);

    let (ops, dump) = fresh();
    fs::write(dump.join(second), gzip("{\"did\":\"x\"}\n")).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert!(said(&output).contains("1669248000.jsonl.gz: line 1: no operation"), "{output:?}");

    let (ops, dump) = fresh();
    fs::write(dump.join(second), gzip(&text(&lines[..3600]))).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert!(said(&output).contains("has to be in the order of time"), "{output:?}");

    let (ops, dump) = fresh();
    fs::remove_file(dump.join(second)).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert!(output.status.success() && said(&output).contains("there is no file"), "{output:?}");

    let ops = Ops::new();
    let dump = ops.0.path().join("dump");
    bundles(&dump, &lines, "https://plc.example");
    fs::remove_file(dump.join("000005.jsonl.zst")).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert!(said(&output).contains("a file is missing"), "{output:?}");
    fs::remove_dir_all(&dump).unwrap();
    fs::create_dir(&dump).unwrap();
    let output = import(&ops, &directory, &dump, &["--import-only"]);
    assert!(said(&output).contains("no files of operations there"), "{output:?}");
}

/// Serves files: those in a folder at `/dump/NAME`, with a page that lists them or not.
struct Files {
    url: String,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Files {
    fn serve(folder: PathBuf, lists: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/dump", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        let counts = Arc::clone(&asked);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                let Some(Ok(request)) = lines.next() else { continue };
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let name = request.split(' ').nth(1).unwrap();
                let name = name.strip_prefix("/dump/").unwrap_or("none").to_owned();
                let times = {
                    let mut counts = counts.lock().unwrap();
                    let times = counts.entry(name.clone()).or_insert(0);
                    *times += 1;
                    *times
                };
                let body = match name.as_str() {
                    "" if lists => {
                        let entries = fs::read_dir(&folder).unwrap();
                        let names = entries.map(|entry| entry.unwrap().file_name());
                        let links = names.map(|name| format!("<a href={name:?}>x</a>\n"));
                        Ok(links.collect::<String>().into_bytes())
                    }
                    name => fs::read(folder.join(name)),
                };
                let Ok(body) = body else {
                    let _ = socket.write_all(
                        b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    );
                    continue;
                };
                let length = body.len();
                // The first time half of a file comes.
                let half = if times == 1 && length > 1000 { length / 2 } else { length };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                let _ = socket.write_all(&[head.as_bytes(), &body[..half]].concat());
            }
        });
        Self { url, asked }
    }
}

#[test]
fn a_dump_behind_an_url_is_fetched_file_by_file_however_often_that_takes() {
    let directory = directory();
    for (layout, lists) in [("bundles", false), ("weeks", true), ("weeks", false)] {
        let ops = Ops::new();
        let dump = ops.0.path().join("dump");
        match layout {
            "bundles" => bundles(&dump, &directory.lines()[..12_000], "https://plc.example"),
            _ => weeks(&dump, &directory.lines()[..12_000]),
        }
        let files = Files::serve(dump, lists);
        let output = ops.run(&directory, &["--import", &files.url]);
        assert!(output.status.success(), "{layout}: {output:?}");
        assert_eq!(ops.lines(), directory.lines(), "{layout}");
        let asked = files.asked.lock().unwrap();
        assert!(asked.iter().any(|(name, times)| name.contains(".jsonl.") && *times > 1));
        // Nothing is left of the downloads.
        let left = fs::read_dir(ops.folder()).unwrap().count();
        assert_eq!(left, ops.files().len() + 2);
    }
    let ops = Ops::new();
    let files = Files::serve(ops.0.path().join("nowhere"), false);
    let output = ops.run(&directory, &["--import", &files.url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no files of operations there"), "{output:?}");
}
