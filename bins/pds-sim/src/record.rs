//! Records that accounts write: posts, likes, follows, profiles, of ordinary shape and size.

use std::collections::BTreeMap;

use anyhow::Result;
use fastrand::Rng;
use ipld_core::ipld::Ipld;

use crate::block::Block;
use crate::clock::{iso, tid};

const WORDS: [&str; 40] = [
    "the", "a", "of", "and", "to", "in", "sky", "blue", "post", "tree", "root", "leaf", "branch",
    "wind", "river", "stone", "light", "night", "morning", "signal", "proof", "key", "frame",
    "ring", "map", "letter", "window", "garden", "bread", "salt", "paper", "clock", "bridge",
    "road", "train", "cloud", "rain", "snow", "bird", "song",
];

fn text(rng: &mut Rng, words: usize) -> String {
    let mut text = String::new();
    for number in 0..words {
        if number > 0 {
            text.push(' ');
        }
        text.push_str(rng.choice(WORDS).unwrap_or_default());
    }
    text
}

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ipld::Map(fields.collect::<BTreeMap<_, _>>())
}

fn string(text: impl Into<String>) -> Ipld {
    Ipld::String(text.into())
}

/// A record and the path it is made at, at a time. `others` are DIDs to like and to follow.
pub fn new(rng: &mut Rng, us: u64, writer: u16, other: &str) -> Result<(String, Block)> {
    let rkey = tid(us, writer);
    let collection = match rng.u8(0..10) {
        0..5 => "app.bsky.feed.post",
        5..8 => "app.bsky.feed.like",
        8 => "app.bsky.graph.follow",
        _ => "app.bsky.feed.repost",
    };
    let record = of(rng, collection, us, other)?;
    Ok((format!("{collection}/{rkey}"), record))
}

/// Another record for a path.
pub fn another(rng: &mut Rng, path: &str, us: u64, other: &str) -> Result<Block> {
    let collection = path.split('/').next().unwrap_or_default();
    of(rng, collection, us, other)
}

fn of(rng: &mut Rng, collection: &str, us: u64, other: &str) -> Result<Block> {
    let created = string(iso(us));
    let kind = string(collection);
    let fields = match collection {
        "app.bsky.feed.like" | "app.bsky.feed.repost" => {
            let subject = Block::of(&rng.u64(..))?.cid;
            let uri = format!("at://{other}/app.bsky.feed.post/{}", tid(us / 2, 0));
            let subject = map([("cid", string(subject.to_string())), ("uri", string(uri))]);
            map([("$type", kind), ("subject", subject), ("createdAt", created)])
        }
        "app.bsky.graph.follow" => {
            map([("$type", kind), ("subject", string(other)), ("createdAt", created)])
        }
        _ => {
            let words = rng.usize(3..45);
            let langs = Ipld::List(vec![string("en")]);
            let text = string(text(rng, words));
            map([("$type", kind), ("text", text), ("langs", langs), ("createdAt", created)])
        }
    };
    Block::of(&fields)
}
