//! Which files a dump has, in order: by its index, by looking into the folder or at the page that
//! lists it, or by trying the names of weeks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::index::Index;
use super::{Getter, Got};

/// The names under which mirrors publish the index, the present one first.
const INDEXES: [&str; 2] = ["plc_bundles.json", "index.json"];

/// Endings of files of JSON lines.
const ENDINGS: [&str; 3] = [".jsonl.zst", ".jsonl.gz", ".jsonl"];

/// Digits of the name of a bundle.
const BUNDLE_DIGITS: usize = 6;

/// Names from this number on are unix seconds of weeks and not numbers of bundles.
const WEEK_MIN: u64 = 1_000_000_000;

const WEEK_S: u64 = 7 * 86_400;

pub(super) const WEEK_MS: u64 = WEEK_S * 1000;

/// The week of the first operation of plc.directory.
const WEEK_FIRST: u64 = 1_668_643_200;

/// Where a dump is.
pub(super) enum Place {
    Here(PathBuf),
    /// An URL without a slash at its end, and the one file there that is meant.
    There(String, Option<Item>),
}

/// A file of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// What it is called in messages.
    pub(super) name: String,
    /// Where it is, if it is on this machine.
    pub(super) path: PathBuf,
    /// The number that its name is.
    pub(super) number: Option<u64>,
}

/// A dump.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) items: Vec<Item>,
    pub(super) index: Option<Index>,
}

impl Place {
    pub(super) fn new(from: &str) -> Self {
        if !from.starts_with("http://") && !from.starts_with("https://") {
            return Self::Here(from.into());
        }
        let from = from.trim_end_matches('/');
        let one = from.rsplit_once('/').and_then(|(base, name)| {
            Some((base.to_owned(), Some(Item::new(name, PathBuf::new())?)))
        });
        let (base, one) = one.unwrap_or_else(|| (from.to_owned(), None));
        Self::There(base, one)
    }
}

impl Item {
    fn new(name: &str, path: PathBuf) -> Option<Self> {
        let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
        let digits = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| stem.parse().ok()).flatten();
        Some(Self { name: name.to_owned(), path, number })
    }

    fn is_week(&self) -> bool {
        self.number.is_some_and(|number| number >= WEEK_MIN)
    }

    /// The end of the week that it holds.
    pub(super) fn week_end_ms(&self) -> Option<u64> {
        let number = self.number.filter(|_| self.is_week())?;
        number.checked_add(WEEK_S)?.checked_mul(1000)
    }

    /// Where it may be behind an URL: a folder of files, or the server that comes with bundles.
    pub(super) fn urls(&self, base: &str, dump: &Dump) -> Vec<String> {
        let mut urls = vec![format!("{base}/{}", self.name)];
        if let (Some(number), Some(_)) = (self.number, &dump.index) {
            urls.push(format!("{base}/data/{number}"));
        }
        urls
    }
}

/// Lists a dump. Nothing if a signal came first.
pub(super) fn list(place: &Place, get: &mut Getter<'_, '_>) -> anyhow::Result<Option<Dump>> {
    let (dump, name) = match place {
        Place::Here(path) => (here(path)?, path.display().to_string()),
        Place::There(base, Some(one)) => {
            (Dump { items: vec![one.clone()], index: None }, base.clone())
        }
        Place::There(base, None) => match there(base, get)? {
            Some(dump) => (dump, base.clone()),
            None => return Ok(None),
        },
    };
    anyhow::ensure!(
        !dump.items.is_empty(),
        "{name}: no files of operations there: 000001.jsonl.zst, 1668643200.jsonl.gz and so on"
    );
    let dump = in_order(dump, get).with_context(|| name)?;
    Ok(Some(dump))
}

fn here(path: &Path) -> anyhow::Result<Dump> {
    let context = || path.display().to_string();
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let item = Item::new(&name, path.to_owned());
        let item = item.unwrap_or(Item { name, path: path.to_owned(), number: None });
        return Ok(Dump { items: vec![item], index: None });
    }
    let mut dump = Dump::default();
    for entry in fs::read_dir(path).with_context(context)? {
        let entry = entry.with_context(context)?;
        dump.items.extend(Item::new(&entry.file_name().to_string_lossy(), entry.path()));
    }
    for name in INDEXES {
        let file = path.join(name);
        if file.exists() {
            let named = || file.display().to_string();
            let json = fs::read(&file).with_context(named)?;
            dump.index = Some(Index::parse(&json).with_context(named)?);
            break;
        }
    }
    Ok(dump)
}

fn there(base: &str, get: &mut Getter<'_, '_>) -> anyhow::Result<Option<Dump>> {
    for name in INDEXES {
        let url = format!("{base}/{name}");
        match get.text(&url)? {
            Got::Stopped => return Ok(None),
            Got::Missing => {}
            Got::Have(json) => {
                let index = Index::parse(&json).with_context(|| url)?;
                let items = index.numbers().filter_map(|number| {
                    let name = format!("{number:0BUNDLE_DIGITS$}.jsonl.zst");
                    Item::new(&name, PathBuf::new())
                });
                return Ok(Some(Dump { items: items.collect(), index: Some(index) }));
            }
        }
    }
    let items = match get.text(&format!("{base}/"))? {
        Got::Stopped => return Ok(None),
        Got::Missing => Vec::new(),
        Got::Have(page) => links(&String::from_utf8_lossy(&page)),
    };
    if !items.is_empty() {
        return Ok(Some(Dump { items, index: None }));
    }
    weeks(base, get)
}

/// The files that a page links to.
fn links(page: &str) -> Vec<Item> {
    let quoted = page.split(['"', '\'', '<', '>', ' ', '\n']);
    let names = quoted.map(|link| link.rsplit('/').next().unwrap_or_default());
    let mut items: Vec<Item> = names.filter_map(|name| Item::new(name, PathBuf::new())).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    items.dedup();
    items
}

/// Weeks are named by their first second, and no page need list them.
fn weeks(base: &str, get: &mut Getter<'_, '_>) -> anyhow::Result<Option<Dump>> {
    let now = cli::now_ns() / 1_000_000_000;
    let mut dump = Dump::default();
    for week in (WEEK_FIRST..now).step_by(WEEK_S as usize) {
        let Some(item) = Item::new(&format!("{week}.jsonl.gz"), PathBuf::new()) else { continue };
        match get.exists(&format!("{base}/{}", item.name))? {
            None => return Ok(None),
            Some(true) => dump.items.push(item),
            // Behind the last one there is nothing; before the first one of a younger directory.
            Some(false) if dump.items.is_empty() => {}
            Some(false) => break,
        }
    }
    Ok(Some(dump))
}

/// Puts files in order and looks for what is missing among them.
fn in_order(mut dump: Dump, get: &Getter<'_, '_>) -> anyhow::Result<Dump> {
    let numbered = dump.items.iter().filter(|item| item.number.is_some()).count();
    if numbered > 0 {
        // What else lies there is no part of it.
        dump.items.retain(|item| item.number.is_some());
        let weeks = dump.items.iter().filter(|item| item.is_week()).count();
        anyhow::ensure!(
            weeks == 0 || weeks == numbered,
            "bundles and weeks in one place; name a folder that has one of them"
        );
    }
    dump.items.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    if let (Some(index), Some(last)) = (&dump.index, dump.items.last()) {
        let listed = index.numbers().last();
        if listed != last.number {
            get.fetch.cli.warn(format_args!(
                "the index goes up to bundle {}, the files up to {}",
                listed.unwrap_or(0),
                last.name
            ));
        }
        let known: Vec<u64> = index.numbers().collect();
        dump.items.retain(|item| item.number.is_some_and(|n| known.binary_search(&n).is_ok()));
    }
    for pair in dump.items.windows(2) {
        let [one, next] = pair else { continue };
        let (Some(number), Some(after)) = (one.number, next.number) else { continue };
        anyhow::ensure!(number != after, "{} and {} are the same part", one.name, next.name);
        if one.is_week() {
            if after != number + WEEK_S {
                get.fetch.cli.warn(format_args!(
                    "between {} and {} there is no file; if operations are missing there, they \
                     stay so",
                    one.name, next.name
                ));
            }
            continue;
        }
        anyhow::ensure!(
            after == number + 1,
            "between {} and {} a file is missing",
            one.name,
            next.name
        );
    }
    Ok(dump)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_pages_that_list_them() {
        let page = "<a href=\"1668643200.jsonl.gz\">1668643200.jsonl.gz</a>\n\
            <a href='/plc/1669248000.jsonl.gz'>x</a> <a href=\"readme.txt\">readme</a>";
        let items = links(page);
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["1668643200.jsonl.gz", "1669248000.jsonl.gz"]);
        assert_eq!(items[0].week_end_ms(), Some(1_669_248_000_000));
        let bundle = Item::new("000042.jsonl.zst", PathBuf::new()).unwrap();
        assert_eq!((bundle.number, bundle.week_end_ms()), (Some(42), None));
        assert_eq!(Item::new("plc.jsonl", PathBuf::new()).unwrap().number, None);
        assert_eq!(Item::new("plc_bundles.json", PathBuf::new()), None);
    }
}
