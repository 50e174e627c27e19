//! `make bench-ring`: two processes and what can lie between them.
//!
//! Each frame is handed on by a call of its own, as a stage does that has nothing else to do: its
//! writer copies it in, and the reader takes as much as there is and reads every byte of it, as a
//! stage does that checks it. (A reader that looked at a word or two would leave the frame in the
//! writer's cache, where a buffer that is used again at once costs next to nothing.) Then
//! the same with frames gathered to 256 KiB, as our stages do under load. Last, frames that find
//! the reader asleep: how long it takes until it has them.
#![allow(missing_docs, reason = "a bench has no callers")]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use joints::{cpu_seconds, goal, median, now_ns};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::UsageWho;
use ring::{CAPACITY_BYTES, Patience, Reader, Ready, Writer};

const KINDS: &[&str] = &["pipe-64k", "pipe-1m", "socket", "ring", "iceoryx2"];
/// Bytes of a frame, and how many go by.
const SIZES: [(usize, usize); 3] = [(200, 1_000_000), (5_400, 200_000), (LARGE_BYTES, 6_000)];
const LARGE_BYTES: usize = 200_000;
const LARGE_REASON: &str =
    "      (At this size a joint is the copy in and the reading of it out of another core's cache,
      the same for both: a ring of twice the size saves a few in a hundred of it, a reader that never
      sleeps nothing. The sides of iceoryx2 look again and again while they wait: on a machine with
      something else to do that costs them more, and on a quiet one it can put them ahead.)";
/// What our tools copy into a ring before the reader may have it.
const PIECE_BYTES: usize = 64 << 10;
const ROUNDS: usize = 3;
/// A single wake-up is short, and whatever else the machine does is not.
const WAKE_ROUNDS: usize = 5;
const GATHERED_BYTES: usize = 256 << 10;
/// As many pieces as the system takes in one call.
const IOV_MAX: usize = 1_024;
/// Single frames into a sleeping reader, and the pause between them.
const WAKES: usize = 1_000;
const PAUSE: Duration = Duration::from_micros(500);
const IDLE: Duration = Duration::from_secs(1);
/// What a frame begins with: its length and when it was handed on.
const HEAD_BYTES: usize = 16;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(),
        ["write", kind, name, how, size, count] => {
            write(kind, name, how, size.parse()?, count.parse()?)
        }
        ["read", kind, name, size, count] => read(kind, name, size.parse()?, count.parse()?),
        _ => bail!("usage: ring"),
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    wall: f64,
    cpu: f64,
    wake_p50_us: f64,
    wake_p99_us: f64,
    reader_cpu: f64,
}

fn report() -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!("JOINTS: two processes, {cores} cores; medians of {ROUNDS} runs, kinds in turn");
    for how in ["each", "gathered", "vectored"] {
        let what = match how {
            "each" => "each frame handed on by itself",
            "gathered" => {
                "frames gathered to 256 KiB before they are handed on (not iceoryx2: one is one)"
            }
            _ => "the same without gathering, from where each lies, by one vectored write",
        };
        println!("\n{what}:");
        println!("{:<10} {:>9} {:>12} {:>8} {:>12}", "", "frame", "ns a frame", "GB/s", "CPU s/GB");
        for (size, count) in SIZES {
            let kinds = KINDS.iter().copied().filter(|kind| match how {
                "each" => true,
                "gathered" => *kind != "iceoryx2",
                _ => *kind == "pipe-1m",
            });
            let kinds: Vec<&str> = kinds.collect();
            let mut runs = vec![Vec::new(); kinds.len()];
            for _ in 0..ROUNDS {
                for (kind, runs) in kinds.iter().zip(&mut runs) {
                    runs.push(run(kind, how, size, count)?);
                }
            }
            let of =
                |runs: &[Run], figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
            let bytes = (size * count) as f64;
            let mut ns = Vec::new();
            for (kind, runs) in kinds.iter().zip(&runs) {
                // Both sides together: on two cores they run beside each other, and a joint that
                // keeps one busy is no cheaper for that.
                let cpu = of(runs, |run| run.cpu);
                ns.push(1e9 * cpu / count as f64);
                println!(
                    "{kind:<10} {size:>9} {:>12.0} {:>8.2} {:>12.3}",
                    1e9 * cpu / count as f64,
                    bytes / of(runs, |run| run.wall) / 1e9,
                    cpu / (bytes / 1e9),
                );
            }
            let place = |kind| kinds.iter().position(|other| *other == kind).unwrap_or(0);
            let ratio = |kind| ns[place(kind)] / ns[place("ring")];
            match (how, size) {
                ("each", 200) => goal("200 B: 1 MiB pipe / ring", ratio("pipe-1m"), 5.0),
                ("each", 5_400) => goal("5.4 KB: 1 MiB pipe / ring", ratio("pipe-1m"), 3.0),
                ("vectored", _) => {}
                _ => println!("      1 MiB pipe / ring: {:.2}", ratio("pipe-1m")),
            }
            if how == "each" {
                goal(&format!("{size} B: iceoryx2 / ring"), ratio("iceoryx2"), 1.0);
                if size == LARGE_BYTES {
                    println!("{LARGE_REASON}");
                }
            }
        }
    }
    println!(
        "\none frame of 5.4 KB every half millisecond, into a reader that sleeps; then a second of nothing:"
    );
    println!("{:<10} {:>12} {:>12} {:>18}", "", "p50 us", "p99 us", "CPU s of the idle");
    let mut runs = vec![Vec::new(); KINDS.len()];
    for _ in 0..WAKE_ROUNDS {
        for (kind, runs) in KINDS.iter().zip(&mut runs) {
            runs.push((run(kind, "wake", 5_400, WAKES)?, run(kind, "idle", 5_400, 1)?));
        }
    }
    let of = |runs: &[(Run, Run)], figure: fn(&(Run, Run)) -> f64| {
        median(runs.iter().map(figure).collect())
    };
    let mut p50 = Vec::new();
    for (kind, runs) in KINDS.iter().zip(&runs) {
        let fifty = of(runs, |(woken, _)| woken.wake_p50_us);
        let ninety_nine = of(runs, |(woken, _)| woken.wake_p99_us);
        let idle = of(runs, |(_, idle)| idle.reader_cpu);
        println!("{kind:<10} {fifty:>12.1} {ninety_nine:>12.1} {idle:>18.4}");
        p50.push(fifty);
    }
    goal("wake-up, p50: 1 MiB pipe / ring", p50[1] / p50[3], 1.0);
    Ok(())
}

/// Both sides of one joint.
fn run(kind: &str, how: &str, size: usize, count: usize) -> Result<Run> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("bench-{}-{number}", std::process::id());
    let (reading, writing): (Option<OwnedFd>, Option<OwnedFd>) = match kind {
        "pipe-64k" | "pipe-1m" => {
            let (reading, writing) = std::io::pipe()?;
            let bytes = if kind == "pipe-1m" { 1 << 20 } else { 64 << 10 };
            let given = fcntl(&writing, FcntlArg::F_SETPIPE_SZ(bytes))?;
            ensure!(given == bytes, "the system gives no pipe of {bytes} bytes");
            (Some(reading.into()), Some(writing.into()))
        }
        "socket" => {
            let (reading, writing) = UnixStream::pair()?;
            (Some(reading.into()), Some(writing.into()))
        }
        _ => (None, None),
    };
    let (size, count) = (size.to_string(), count.to_string());
    let stdio = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    let this = std::env::current_exe()?;
    let mut reader = Command::new(&this)
        .args(["read", kind, &name, &size, &count])
        .stdin(stdio(reading))
        .stderr(Stdio::piped())
        .spawn()?;
    let mut writer = Command::new(&this)
        .args(["write", kind, &name, how, &size, &count])
        .stdout(stdio(writing))
        .stderr(Stdio::piped())
        .spawn()?;
    let [w_begun, _, w_cpu, ..] = told(&mut writer)?;
    let [_, r_ended, r_cpu, p50, p99] = told(&mut reader)?;
    Ok(Run {
        wall: (r_ended - w_begun) / 1e9,
        cpu: w_cpu + r_cpu,
        wake_p50_us: p50,
        wake_p99_us: p99,
        reader_cpu: r_cpu,
    })
}

/// What a side says at its end: when it began and ended, its CPU seconds, delays.
fn told(child: &mut Child) -> Result<[f64; 5]> {
    let mut text = String::new();
    child.stderr.take().context("a pipe")?.read_to_string(&mut text)?;
    ensure!(child.wait()?.success(), "a side failed: {text}");
    let figures: Vec<f64> =
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().context(text.clone())?;
    figures.try_into().map_err(|_| anyhow::anyhow!("{text}"))
}

fn tell(begun_ns: u64, cpu_before: f64, mut delays_us: Vec<f64>) {
    let (ended, cpu) = (now_ns(), cpu_seconds(UsageWho::RUSAGE_SELF) - cpu_before);
    delays_us.sort_by(f64::total_cmp);
    let at = |share: f64| delays_us.get((delays_us.len() as f64 * share) as usize).unwrap_or(&0.0);
    eprintln!("{begun_ns} {ended} {cpu} {} {}", at(0.5), at(0.99));
}

/// A way to hand frames on.
trait Sink {
    fn put(&mut self, frame: &[u8]) -> Result<()>;

    /// Several frames in one call, from where each lies.
    fn put_all(&mut self, _: &mut [IoSlice<'_>]) -> Result<()> {
        bail!("one by one")
    }
}

struct Fd(File);

impl Sink for Fd {
    fn put(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.0.write_all(frame)?)
    }

    fn put_all(&mut self, mut frames: &mut [IoSlice<'_>]) -> Result<()> {
        while !frames.is_empty() {
            let written = self.0.write_vectored(frames)?;
            IoSlice::advance_slices(&mut frames, written);
        }
        Ok(())
    }
}

impl Sink for Writer {
    fn put(&mut self, frame: &[u8]) -> Result<()> {
        for piece in frame.chunks(PIECE_BYTES) {
            self.reserve(piece.len())?.copy_from_slice(piece);
            self.publish(piece.len())?;
        }
        Ok(self.flush()?)
    }
}

fn write(kind: &str, name: &str, how: &str, size: usize, count: usize) -> Result<()> {
    match kind {
        "ring" => {
            let mut writer = Writer::create(name, CAPACITY_BYTES, Patience::default())?;
            send(&mut writer, how, size, count)?;
            Ok(writer.close()?)
        }
        "iceoryx2" => iceoryx::write(name, how, size, count),
        _ => {
            let file = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
            send(&mut Fd(file), how, size, count)
        }
    }
}

fn send(sink: &mut impl Sink, how: &str, size: usize, count: usize) -> Result<()> {
    let mut frame = vec![7; size];
    let mut gathered = Vec::with_capacity(GATHERED_BYTES + size);
    let mut together = 0;
    frame[..8].copy_from_slice(&(size as u64).to_le_bytes());
    // Both sides are there from here on.
    std::thread::sleep(Duration::from_millis(50));
    let (begun, cpu) = (now_ns(), cpu_seconds(UsageWho::RUSAGE_SELF));
    for number in 0..count {
        match how {
            "wake" | "idle" => {
                std::thread::sleep(PAUSE);
                frame[8..HEAD_BYTES].copy_from_slice(&now_ns().to_le_bytes());
                sink.put(&frame)?;
            }
            "gathered" => {
                gathered.extend_from_slice(&frame);
                if gathered.len() >= GATHERED_BYTES || number + 1 == count {
                    sink.put(&gathered)?;
                    gathered.clear();
                }
            }
            "vectored" => {
                together += 1;
                if together * size >= GATHERED_BYTES || together == IOV_MAX || number + 1 == count {
                    let mut slices = vec![IoSlice::new(&frame); together];
                    sink.put_all(&mut slices)?;
                    together = 0;
                }
            }
            _ => sink.put(&frame)?,
        }
    }
    if how == "idle" {
        std::thread::sleep(IDLE);
        sink.put(&frame)?;
    }
    tell(begun, cpu, Vec::new());
    Ok(())
}

/// Reads all of a frame, as quickly as the processor can.
fn sum(frame: &[u8]) -> u64 {
    let (words, rest) = frame.as_chunks::<8>();
    let rest = rest.iter().fold(0, |sum, byte| sum ^ u64::from(*byte));
    words.iter().fold(rest, |sum, word| sum ^ u64::from_le_bytes(*word))
}

/// Counts frames and looks at them.
struct Seen {
    left: usize,
    delays_us: Vec<f64>,
    sum: u64,
    cpu: Option<f64>,
    begun: u64,
}

impl Seen {
    fn new(count: usize) -> Seen {
        Seen { left: count, delays_us: Vec::with_capacity(count), sum: 0, cpu: None, begun: 0 }
    }

    /// Takes whole frames off the front; how many bytes they were.
    fn take(&mut self, bytes: &[u8], size: usize) -> usize {
        let begun = &mut self.begun;
        self.cpu.get_or_insert_with(|| {
            *begun = now_ns();
            cpu_seconds(UsageWho::RUSAGE_SELF)
        });
        let mut taken = 0;
        for frame in bytes.chunks_exact(size) {
            let word = |at: usize| {
                frame[at..].first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word))
            };
            let stamp = word(8);
            if stamp != u64::from_le_bytes([7; 8]) {
                self.delays_us.push(now_ns().saturating_sub(stamp) as f64 / 1e3);
            }
            self.sum ^= sum(frame);
            self.left = self.left.saturating_sub(1);
            taken += size;
        }
        taken
    }

    fn tell(self) {
        std::hint::black_box(self.sum);
        tell(self.begun, self.cpu.unwrap_or(0.0), self.delays_us);
    }
}

fn read(kind: &str, name: &str, size: usize, count: usize) -> Result<()> {
    let mut seen = Seen::new(count);
    match kind {
        "ring" => {
            let mut reader = Reader::attach(name, Patience::default())?;
            while reader.wait()? == Ready::More {
                let taken = seen.take(reader.data()?, size);
                reader.consume(taken)?;
            }
        }
        "iceoryx2" => iceoryx::read(name, size, count, &mut seen)?,
        _ => {
            let mut file = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            let mut buffer = vec![0; (1 << 20) + size];
            let mut held = 0;
            loop {
                let read = file.read(&mut buffer[held..])?;
                if read == 0 {
                    break;
                }
                held += read;
                let taken = seen.take(&buffer[..held], size);
                buffer.copy_within(taken..held, 0);
                held -= taken;
            }
        }
    }
    seen.tell();
    Ok(())
}

/// The peer: samples of bytes, and an event that wakes a reader who sleeps.
mod iceoryx {
    use std::time::Duration;

    use anyhow::Result;
    use iceoryx2::prelude::*;
    use ring::CAPACITY_BYTES;

    use super::{Seen, Sink, WAKES, send};

    type Service = ipc::Service;

    /// The writing end.
    struct Iceoryx {
        publisher: iceoryx2::port::publisher::Publisher<Service, [u8], ()>,
        notifier: iceoryx2::port::notifier::Notifier<Service>,
        /// Whether the reader may be asleep.
        wakes: bool,
    }

    impl Sink for Iceoryx {
        fn put(&mut self, frame: &[u8]) -> Result<()> {
            let sample = self.publisher.loan_slice_uninit(frame.len()).map_err(other)?;
            sample.write_from_slice(frame).send().map_err(other)?;
            if self.wakes {
                self.notifier.notify().map_err(other)?;
            }
            Ok(())
        }
    }

    fn other(error: impl std::fmt::Debug) -> anyhow::Error {
        anyhow::anyhow!("iceoryx2: {error:?}")
    }

    /// Samples that may wait: as many bytes as a ring holds, at most 4,096.
    fn waiting(size: usize) -> usize {
        (CAPACITY_BYTES / size).clamp(2, 4_096)
    }

    pub fn write(name: &str, how: &str, size: usize, count: usize) -> Result<()> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<Service>().map_err(other)?;
        let service = node
            .service_builder(&ServiceName::new(name).map_err(other)?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(waiting(size))
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(other)?;
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(other)?;
        let event = node
            .service_builder(&ServiceName::new(name).map_err(other)?)
            .event()
            .open_or_create()
            .map_err(other)?;
        let notifier = event.notifier_builder().create().map_err(other)?;
        // It has no meeting: a sample without a subscriber is lost.
        while service.dynamic_config().number_of_subscribers() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        while event.dynamic_config().number_of_listeners() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let wakes = matches!(how, "wake" | "idle");
        send(&mut Iceoryx { publisher, notifier, wakes }, how, size, count)?;
        // What it holds goes with it.
        while service.dynamic_config().number_of_subscribers() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub fn read(name: &str, size: usize, count: usize, seen: &mut Seen) -> Result<()> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<Service>().map_err(other)?;
        let service = node
            .service_builder(&ServiceName::new(name).map_err(other)?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(waiting(size))
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(other)?;
        let event = node
            .service_builder(&ServiceName::new(name).map_err(other)?)
            .event()
            .open_or_create()
            .map_err(other)?;
        let listener = event.listener_builder().create().map_err(other)?;
        let subscriber = service.subscriber_builder().create().map_err(other)?;
        // In a run of single frames it sleeps; in the others it looks again and again, as a
        // wake-up for each frame would cost it more.
        let sleeps = count <= WAKES;
        while seen.left > 0 {
            match subscriber.receive().map_err(other)? {
                Some(sample) => {
                    seen.take(sample.payload(), size);
                }
                None if sleeps => {
                    listener.timed_wait(|_| {}, Duration::from_secs(2)).map_err(other)?;
                }
                None => std::thread::yield_now(),
            }
        }
        Ok(())
    }
}
