//! `sig-verify` beside the bare check of as many signatures.

use frame::verdict::{self, Rule, Status, notes};
use frame::{Decoder, Item, Kind};

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use sha2::{Digest, Sha256};

use crate::ROUNDS;
use crate::measure::{Spread, grouped, own, reap};
use crate::stages::fed;
use crate::streams::{Streams, length};

/// How long a commit is that is signed, about.
const MESSAGE_BYTES: usize = 200;

/// As many accounts as the capture has.
const SIGNERS: u8 = 120;

/// Prints the proofs.
pub(crate) fn report(streams: &Streams) {
    let checks = checks(streams);
    let total = (checks.k256 + checks.p256) as f64;
    assert!(total > streams.events.len() as f64 / 2.0, "most events have a signature: {checks:?}");
    let bare = Bare::new(checks);
    let (mut cpu, mut ratio, mut peer) = (Spread::default(), Spread::default(), Spread::default());
    for _ in 0..ROUNDS {
        let ours = fed(&mut command(streams), &streams.once).cpu;
        let theirs = own(|| bare.run()).cpu;
        cpu.push(ours);
        peer.push(theirs);
        ratio.push(ours / theirs);
    }
    println!(
        "\nPROOFS: sig-verify --index on the capture once, beside SHA-256 and the bare check of as"
    );
    println!(
        "many signatures with the crates k256 and p256 ({} K-256, {} P-256)",
        grouped(checks.k256 as f64),
        grouped(checks.p256 as f64)
    );
    println!("{:<12} {:>14} {:>10} {:>14}", "", "events/CPU s", "MB/CPU s", "proofs/CPU s");
    println!(
        "{:<12} {:>14} {:>10} {:>14}   CPU / CPU of the bare checks: {ratio}",
        "sig-verify",
        grouped(streams.events.len() as f64 / cpu.median()),
        grouped(length(&streams.once) / 1e6 / cpu.median()),
        grouped(total / cpu.median()),
    );
    println!("{:<12} {:>14} {:>10} {:>14}", "bare", "", "", grouped(total / peer.median()));
}

fn command(streams: &Streams) -> std::process::Command {
    let mut command = e2e::tool("sig-verify");
    command.arg("--index").arg(&streams.index);
    command
}

/// How many signatures are checked, by curve.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    k256: usize,
    p256: usize,
}

/// Counts in the verdicts what `sig-verify` checks: one for each proof and each signature that is
/// refused, and one more where the present key failed before a former one held.
fn checks(streams: &Streams) -> Checks {
    let judged = streams.scratch("judged.frames");
    let mut all = command(streams);
    all.arg("--pass-all").arg(&streams.once).arg("--out").arg(&judged);
    reap("sig-verify", &mut all.spawn().expect("sig-verify"));
    let bytes = std::fs::read(&judged).expect("its output");
    let (mut decoder, mut rest, mut checks) = (Decoder::default(), &bytes[..], Checks::default());
    while let Some((item, used)) = decoder.next(rest).expect("frames") {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        let verdict = verdict::read(&frame).expect("a verdict that can be read");
        let Some(verdict) = verdict.filter(|_| frame.header.kind == Kind::EVENT) else { continue };
        match (verdict.status, verdict.key) {
            (Status::Ok, Some([2, ..])) => checks.p256 += 1,
            (Status::Ok, Some(_)) => checks.k256 += 1,
            _ if verdict.rule == Some(Rule::BAD_SIGNATURE) => checks.k256 += 1,
            _ => {}
        }
        if verdict.notes & notes::FORMER_KEY != 0 {
            checks.k256 += 1;
        }
    }
    checks
}

/// Signatures to check, and keys as they are after the first event of an account: parsed.
struct Bare {
    k256: Vec<(k256::ecdsa::VerifyingKey, Vec<u8>, k256::ecdsa::Signature)>,
    p256: Vec<(p256::ecdsa::VerifyingKey, Vec<u8>, p256::ecdsa::Signature)>,
    checks: Checks,
}

impl Bare {
    fn new(checks: Checks) -> Bare {
        let (mut k256, mut p256) = (Vec::new(), Vec::new());
        for signer in 1..=SIGNERS {
            let (secret, message) = ([signer; 32], vec![signer; MESSAGE_BYTES]);
            let digest = Sha256::digest(&message);
            let key = k256::ecdsa::SigningKey::from_slice(&secret).expect("a K-256 key");
            let signature = key.sign_prehash(&digest).expect("a signature");
            k256.push((*key.verifying_key(), message.clone(), signature));
            let key = p256::ecdsa::SigningKey::from_slice(&secret).expect("a P-256 key");
            let signature = key.sign_prehash(&digest).expect("a signature");
            p256.push((*key.verifying_key(), message, signature));
        }
        Bare { k256, p256, checks }
    }

    fn run(&self) {
        for (key, message, signature) in self.k256.iter().cycle().take(self.checks.k256) {
            key.verify_prehash(&Sha256::digest(message), signature).expect("a good signature");
        }
        for (key, message, signature) in self.p256.iter().cycle().take(self.checks.p256) {
            key.verify_prehash(&Sha256::digest(message), signature).expect("a good signature");
        }
    }
}
