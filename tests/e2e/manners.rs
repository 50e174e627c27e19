//! What every tool does alike, so that who knows one knows them all.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use e2e::{Pty, TOOLS, tool};

/// Tools that read frames from standard input and write frames to standard output.
fn filters() -> [(&'static str, Vec<&'static str>); 4] {
    [
        ("frame-meter", vec![]),
        ("dedupe", vec!["--window", "1000"]),
        ("car-extract", vec![]),
        ("sig-verify", vec!["--resolve", "http://127.0.0.1:9", "--allow-private"]),
    ]
}

/// Runs a filter on these bytes: exit code, output, what it said.
fn feed(name: &str, args: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = tool(name);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A tool that refuses its input may be gone before it has read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), ended.stdout, String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// A magic, two events of a host, no `end`.
fn torn_stream() -> Vec<u8> {
    let mut stream = Vec::new();
    frame::put_magic(&mut stream);
    frame::host::put(&mut stream, frame::HostId(1), frame::host::Role::Pds, "a.example").unwrap();
    for seq in 1..=2 {
        let header = frame::Header::new(frame::Kind::EVENT, 1);
        let header = frame::Header { host: frame::HostId(1), seq, ..header };
        frame::put(&mut stream, &header, b"no event").unwrap();
    }
    stream
}

fn with_end(mut stream: Vec<u8>) -> Vec<u8> {
    frame::put(&mut stream, &frame::Header::new(frame::Kind::END, 1), b"").unwrap();
    stream
}

#[test]
fn every_tool_has_help_with_an_example_and_a_version() {
    for name in TOOLS {
        let help = tool(name).arg("--help").output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0), "{name}");
        let example = text.split("Example:").nth(1).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(example.contains(name), "{name}: {text}");
        assert!(text.contains("Exit status:"), "{name}: {text}");
        let short = tool(name).arg("-h").output().unwrap();
        assert_eq!(short.status.code(), Some(0), "{name}");
        let version = tool(name).arg("--version").output().unwrap();
        let text = String::from_utf8(version.stdout).unwrap();
        assert!(text.starts_with(&format!("{name} 0.1.0 (")), "{text}");
        assert!(text.contains("frame stream version 1"), "{text}");
    }
}

#[test]
fn every_tool_makes_its_man_page_and_completions() {
    for name in TOOLS {
        for what in ["man", "complete-bash", "complete-zsh", "complete-fish"] {
            let made = tool(name).args(["--generate", what]).output().unwrap();
            assert_eq!(made.status.code(), Some(0), "{name} {what}");
            assert!(String::from_utf8(made.stdout).unwrap().contains(name), "{name} {what}");
        }
    }
}

#[test]
fn an_unknown_option_is_misuse_and_the_message_begins_with_the_tool() {
    for name in TOOLS {
        let wrong = tool(name).arg("--no-such-option").output().unwrap();
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{name}: {said}");
        assert!(said.starts_with(&format!("{name}: ")), "{said}");
    }
}

#[test]
fn frames_do_not_go_to_a_terminal_unless_it_is_named() {
    let sources: [(&str, &[&str]); 5] = [
        ("dedupe", &[]),
        ("car-extract", &[]),
        ("sig-verify", &["--resolve", "http://127.0.0.1:9"]),
        ("pds-tap", &["--host", "ws://127.0.0.1:9", "--allow-private"]),
        ("archive-cat", &["."]),
    ];
    for (name, args) in sources {
        let refused = Pty::run(tool(name).args(args), false, true);
        assert_eq!(refused.code, Some(2), "{name}: {}", refused.screen);
        assert!(refused.screen.contains("frame-cat"), "{name}: {}", refused.screen);
    }
    let named = Pty::run(tool("dedupe").args(["-o", "-", "/dev/null"]), false, true);
    assert_eq!(named.code, Some(1), "an empty input is torn: {}", named.screen);
}

#[test]
fn frames_do_not_come_from_a_terminal() {
    for (name, args) in filters().into_iter().chain([("frame-cat", vec![])]) {
        let refused = Pty::run(tool(name).args(&args), true, false);
        assert_eq!(refused.code, Some(2), "{name}: {}", refused.screen);
        assert!(refused.screen.contains("--help"), "{name}: {}", refused.screen);
    }
}

#[test]
fn a_torn_stream_is_passed_on_as_far_as_it_is_whole_and_ends_with_1() {
    let whole = torn_stream();
    for cut in [0, 1, 39] {
        let input = &whole[..whole.len() - cut];
        for (name, args) in filters() {
            let args =
                [&args[..], if name == "sig-verify" { &["--pass-all"] } else { &[] }].concat();
            let (code, output, said) = feed(name, &args, input);
            assert_eq!(code, Some(1), "{name}: {said}");
            assert!(said.contains("offset") && said.contains("torn"), "{name}: {said}");
            let events = count_events(&output);
            assert_eq!(events, if cut == 0 { 2 } else { 1 }, "{name}: {said}");
        }
    }
}

/// Events of a stream that may be torn.
fn count_events(mut stream: &[u8]) -> usize {
    let (mut decoder, mut events) = (frame::Decoder::default(), 0);
    while let Some((item, used)) = decoder.next(stream).unwrap() {
        if let frame::Item::Frame(frame) = item {
            events += usize::from(frame.header.kind == frame::Kind::EVENT);
        }
        stream = &stream[used..];
    }
    events
}

#[test]
fn a_stream_of_streams_is_a_stream_and_operands_are_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let whole = with_end(torn_stream());
    let path = dir.path().join("a.frames");
    std::fs::write(&path, &whole).unwrap();
    let twice = [&whole[..], &whole].concat();
    let (code, joined, said) = feed("car-extract", &[], &twice);
    assert_eq!((code, count_events(&joined)), (Some(0), 4), "{said}");
    let path = path.to_str().unwrap();
    let (code, operands, said) = feed("car-extract", &[path, "-", path], &whole);
    assert_eq!((code, count_events(&operands)), (Some(0), 6), "{said}");
}

#[test]
fn other_files_are_named_with_the_tool_that_reads_them() {
    for (name, args) in filters() {
        for (input, hint) in [
            (&b"{\"did\":\"did:plc:x\"}\n"[..], "JSON"),
            (b"\x28\xb5\x2f\xfd and so on", "zstdcat"),
            (b"SVRNfrm9 from the future", "version"),
        ] {
            let (code, output, said) = feed(name, &args, input);
            assert_eq!(code, Some(1), "{name}: {said}");
            assert!(said.contains(hint) && said.contains("offset 0"), "{name}: {said}");
            assert_eq!(count_events(&output), 0, "{name}");
        }
    }
}

#[test]
fn a_closed_output_ends_quietly_with_0() {
    for (name, args) in filters() {
        let mut command = tool(name);
        command.args(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        // It waits for input all the while, and must see that nobody wants its output.
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(&torn_stream());
        let said = {
            let mut said = String::new();
            std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
            said
        };
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{name}");
        drop(stdin);
    }
}

#[test]
fn an_output_file_is_not_overwritten_without_force_and_never_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frames");
    std::fs::write(&path, with_end(torn_stream())).unwrap();
    let before = std::fs::read(&path).unwrap();
    let (name, copy) = (path.to_str().unwrap(), dir.path().join("b.frames"));
    let copy = copy.to_str().unwrap();
    assert_eq!(feed("dedupe", &[name, "-o", name, "--force"], b"").0, Some(2));
    assert_eq!(feed("dedupe", &[name, "-o", copy], b"").0, Some(0));
    let (code, _, said) = feed("dedupe", &[name, "-o", copy], b"");
    assert!(code == Some(1) && said.contains("--force"), "{code:?} {said}");
    assert_eq!(feed("dedupe", &[name, "-o", copy, "--force"], b"").0, Some(0));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_stage_drains_its_input_after_sigterm_and_a_second_one_kills() {
    use nix::sys::signal::{Signal, kill};
    let signal = |child: &std::process::Child| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    };
    for (drained, expected) in [(true, Some(0)), (false, None)] {
        let mut command = tool("dedupe");
        command.args(["--window", "1000"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&torn_stream()).unwrap();
        // The first frames come out as soon as it waits, so its handlers are installed by then.
        let mut first = [0; 8];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
        signal(&child);
        if drained {
            stdin.write_all(&with_end(Vec::new())).unwrap();
            drop(stdin);
        } else {
            std::thread::sleep(std::time::Duration::from_millis(200));
            signal(&child);
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), expected, "{status}");
    }
}

#[test]
fn every_variable_is_written_down_and_one_that_is_not_is_misuse() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = std::fs::read_to_string(root.join("pipelines/sovereign.env")).unwrap();
    let written: BTreeSet<String> = file
        .lines()
        .filter_map(|line| Some(line.strip_prefix("#SOVEREIGN_")?.split_once('=')?.0))
        .map(|name| format!("SOVEREIGN_{name}"))
        .collect();
    let mut read = BTreeSet::new();
    for name in TOOLS {
        let help = tool(name).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let variables = help.split("[env: ").skip(1).filter_map(|rest| rest.split('=').next());
        read.extend(variables.map(str::to_owned));
    }
    assert_eq!(read, written);

    let nothing = ["frame-cat", "/nowhere/at/all"];
    let with =
        |variable: &str| tool(nothing[0]).arg(nothing[1]).env(variable, "1").output().unwrap();
    assert_eq!(with("SOVEREIGN_FSYNC").status.code(), Some(1), "another tool's is accepted");
    let refused = with("SOVEREIGN_FSYNCH");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("SOVEREIGN_FSYNCH: no tool reads"), "{said}");
}
