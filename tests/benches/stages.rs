//! Each stage alone, fed through a pipe, beside a `cat` in its place.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::ROUNDS;
use crate::measure::{Cost, Spread, grouped, reap};
use crate::streams::{Streams, length};

/// Prints the stages that move events.
pub(crate) fn report(streams: &Streams) {
    nothing_is_dropped(streams);
    println!("\nSTAGES ALONE: cat FRAMES | STAGE > /dev/null, beside cat FRAMES | cat > /dev/null");
    println!(
        "{:<12} {:>14} {:>10}   CPU of the stage / CPU of cat",
        "", "events/CPU s", "MB/CPU s"
    );
    for stage in ["dedupe", "car-extract", "frame-cat"] {
        let (mut cpu, mut ratio) = (Spread::default(), Spread::default());
        for _ in 0..ROUNDS {
            let ours = fed(&mut e2e::tool(stage), &streams.copies).cpu;
            let peer = fed(&mut Command::new("cat"), &streams.copies).cpu;
            cpu.push(ours);
            ratio.push(ours / peer);
        }
        let (events, bytes) = (streams.copied_events(), length(&streams.copies));
        println!(
            "{stage:<12} {:>14} {:>10}   {ratio:.1}",
            grouped(events / cpu.median()),
            grouped(bytes / 1e6 / cpu.median()),
        );
    }
}

/// What `dedupe` drops costs it less and the stage behind it nothing, so there must be none.
fn nothing_is_dropped(streams: &Streams) {
    let kept = streams.scratch("kept.frames");
    let mut dedupe = e2e::tool("dedupe");
    dedupe.arg(&streams.copies).arg("--out").arg(&kept);
    reap("dedupe", &mut dedupe.spawn().expect("dedupe"));
    assert_eq!(length(&kept), length(&streams.copies), "dedupe dropped some of the copies");
    std::fs::remove_file(&kept).expect("its output");
}

/// Runs `cat FRAMES | STAGE > /dev/null`; what the stage took, without the first `cat`.
pub(crate) fn fed(stage: &mut Command, frames: &Path) -> Cost {
    let what = format!("{stage:?}");
    let begun = Instant::now();
    let mut feeder = Command::new("cat").arg(frames).stdout(Stdio::piped()).spawn().expect("cat");
    stage.stdin(feeder.stdout.take().expect("its output")).stdout(Stdio::null());
    let mut child = stage.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    // The command keeps the reading end open; with it, a stage that dies would not stop `cat`.
    stage.stdin(Stdio::null());
    reap("cat", &mut feeder);
    let cpu = reap(&what, &mut child);
    Cost { cpu, wall: begun.elapsed().as_secs_f64() }
}
