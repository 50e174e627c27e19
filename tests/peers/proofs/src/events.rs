//! Events of a simulated network that `sig-verify` proves, and what their signatures are over.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use atproto::commit;
use atproto::event::{self, Event};
use frame::{Decoder, Item, Kind, verdict};
use keys::{Curve, PublicKey};
use tempfile::TempDir;

/// How many events are made.
const EVENTS: usize = 30_000;

/// A signed event, and what its signature is checked with.
pub struct Signed {
    pub body: Vec<u8>,
    pub key: PublicKey,
    pub digest: [u8; 32],
    pub signature: Vec<u8>,
}

pub struct Events {
    /// What is proved, as a stream of frames; the folder goes with this value.
    pub proved: PathBuf,
    pub index: PathBuf,
    pub signed: Vec<Signed>,
    pub bytes: usize,
    pub p256: usize,
    _folder: TempDir,
}

impl Events {
    pub fn make(bin: &Path) -> Result<Events> {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name);
        let (all, ops, index, proved) =
            (path("all.frames"), path("ops"), path("did.idx"), path("proved.frames"));
        {
            let ready = path("ready.json");
            let _sim = Sim::start(bin, &ready)?;
            let text = wait_for(&ready)?;
            let urls: Vec<&str> = text.split('"').filter(|it| it.contains("://")).collect();
            let mut tap = Command::new(bin.join("pds-tap"));
            tap.args(["--allow-private", "--cursor", "0", "--until-idle", "2", "--no-progress"]);
            for url in urls.iter().filter(|url| url.starts_with("ws")) {
                tap.args(["--host", url]);
            }
            run(tap.arg("--out").arg(&all))?;
            let plc = urls.iter().find(|url| url.starts_with("http")).context("no directory")?;
            let mut fetch = Command::new(bin.join("plc-fetch"));
            run(fetch.args(["--allow-private", "--url", plc]).arg("--out").arg(&ops))?;
        }
        let mut build = Command::new(bin.join("index-build"));
        run(build.arg("--ops").arg(&ops).arg("--out").arg(&index))?;
        let mut verify = Command::new(bin.join("sig-verify"));
        run(verify.arg("--index").arg(&index).arg(&all).arg("--out").arg(&proved))?;
        let signed = signed(&std::fs::read(&proved)?)?;
        ensure!(signed.len() > EVENTS / 2, "only {} events are signed", signed.len());
        let bytes = signed.iter().map(|event| event.body.len()).sum();
        let p256 = signed.iter().filter(|event| event.key.curve() == Curve::P256).count();
        Ok(Events { proved, index, signed, bytes, p256, _folder: folder })
    }
}

struct Sim(Child);

impl Sim {
    fn start(bin: &Path, ready: &Path) -> Result<Sim> {
        let mut sim = Command::new(bin.join("pds-sim"));
        sim.args(["--accounts", "400", "--hosts", "2", "--records", "60", "--seed", "7"]);
        let count = EVENTS.to_string();
        sim.args(["--backfill", &count, "--events", &count, "--ready-file"]).arg(ready);
        Ok(Sim(sim.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("pds-sim")?))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(ready: &Path) -> Result<String> {
    for _ in 0..6000 {
        if let Ok(text) = std::fs::read_to_string(ready)
            && !text.is_empty()
        {
            return Ok(text);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("pds-sim is not ready after two minutes")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// The signed events of a stream, under the keys that their verdicts name.
fn signed(stream: &[u8]) -> Result<Vec<Signed>> {
    let (mut decoder, mut rest, mut all) = (Decoder::default(), stream, Vec::new());
    while let Some((item, used)) = decoder.next(rest)? {
        rest = rest.get(used..).unwrap_or_default();
        let Item::Frame(frame) = item else { continue };
        if frame.header.kind != Kind::EVENT {
            continue;
        }
        let Some(key) = verdict::read(&frame)?.and_then(|verdict| verdict.key) else { continue };
        let event = event::parse(frame.body())?;
        let (car, _) = event.blocks().context("a key without blocks")?;
        let car = atproto::car::parse(car)?;
        let root = match event {
            Event::Commit(commit) => commit.commit,
            _ => car.root().context("no root")?,
        };
        let block = car.blocks().filter_map(Result::ok).find(|block| block.cid == root);
        let commit = commit::parse(block.context("no commit")?.data)?;
        all.push(Signed {
            body: frame.body().to_vec(),
            key: PublicKey::from_bytes(&key)?,
            digest: commit.signed_digest(),
            signature: commit.sig.to_vec(),
        });
    }
    Ok(all)
}
