//! Dumps of a directory, which are quicker than asking for its pages.
//!
//! | layout | files | published by |
//! |---|---|---|
//! | bundles | `000001.jsonl.zst` and so on, 10,000 operations each, with `plc_bundles.json` | plcbundle |
//! | weeks | `1668643200.jsonl.gz` and so on, by the week's first second | Allegedly |
//!
//! Other folders of JSON lines, packed by gzip, zstd or not at all, are read in the order of their
//! numbers or names. A file is read twice: whether it is whole and what its hash says it is, and
//! only then into the folder. Of what is there already nothing is stored again, so that a dump is
//! gone on with after a kill, and one that overlaps what was fetched only adds to it. For that it
//! has to be in the order of time, as exports are.

mod index;
mod list;
mod unpack;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::time::Duration;

use anyhow::Context;

use crate::directory::Page;
use crate::fetch::Fetch;
use crate::page::{self, show_ms};
use crate::seen::KEEP_MS;
use crate::wait::Wait;
use index::Chain;
use list::{Dump, Item, Place};
use unpack::{Chunks, Content};

/// As much as one frame of the folder takes.
const CHUNK_BYTES: usize = 4 << 20;

/// Stored lines are synced when so much has come.
const SYNC_BYTES: u64 = 256 << 20;

/// The longest pause before a download is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What downloads may cost.
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    /// How many failures in a row are the end.
    pub(crate) failures_max: u32,
    pub(crate) pause_first: Duration,
}

/// Takes a dump in; false if a signal came first.
pub(crate) fn run(
    fetch: &mut Fetch<'_>,
    from: &str,
    tries: Tries,
    wait: Wait<'_>,
) -> anyhow::Result<bool> {
    let place = Place::new(from);
    let mut get = Getter { fetch, tries, wait };
    let Some(dump) = list::list(&place, &mut get)? else { return Ok(false) };
    let fetch = get.fetch;
    agree(fetch, &dump, from)?;
    if let Some(store) = &mut fetch.intake.sink.store {
        store.bulk(true)?;
    }
    fetch.came_by("import");
    let mut import = Import { chain: Chain::new(dump.index.as_ref()), newest_ms: 0, unsynced: 0 };
    let floor = fetch.intake.known_up_to().unwrap_or(0);
    let mut get = Getter { fetch, tries, wait };
    let Some(weeks) = get.weeks_hold(&place, &dump, floor)? else { return Ok(false) };
    let fetch = get.fetch;
    for (number, item) in dump.items.iter().enumerate() {
        if import.chain.skip(item, floor, weeks) {
            continue;
        }
        let mut get = Getter { fetch, tries, wait };
        let Some(file) = get.open(&place, item, &dump)? else { return Ok(false) };
        let said = format_args!("file {} of {}", number + 1, dump.items.len()).to_string();
        if !import.take(get.fetch, item, file, &said)? {
            return Ok(false);
        }
    }
    if let Some(store) = &mut fetch.intake.sink.store {
        store.sync()?;
        store.bulk(false)?;
    }
    fetch.intake.numbered = None;
    fetch.place = fetch.by_time();
    Ok(true)
}

/// Operations of one directory are not mixed with those of another.
fn agree(fetch: &mut Fetch<'_>, dump: &Dump, from: &str) -> anyhow::Result<()> {
    let Some(origin) = dump.index.as_ref().and_then(|index| index.origin()) else {
        fetch.cli.info(format_args!("{from}: it does not say which directory it is of"));
        return Ok(());
    };
    fetch.of_origin(origin, from)
}

impl Fetch<'_> {
    /// Remembers where operations come from, and refuses others.
    fn of_origin(&mut self, origin: &str, from: &str) -> anyhow::Result<()> {
        let origin = origin.trim_end_matches('/');
        if let Some(known) = self.state.origin.as_deref().filter(|known| *known != origin) {
            anyhow::bail!(
                "{from}: these are operations of {origin}, and those before them of {known}; \
                 keep each directory in a folder of its own"
            );
        }
        if self.state.origin.is_none() {
            if origin != self.directory.url {
                self.cli.info(format_args!(
                    "{from}: operations of {origin}; what comes after them is asked of {}",
                    self.directory.url
                ));
            }
            self.state.origin = Some(origin.to_owned());
            self.remember();
        }
        Ok(())
    }
}

/// A dump that is being taken in.
struct Import<'d> {
    chain: Chain<'d>,
    /// createdAt of the newest operation of the dump so far.
    newest_ms: u64,
    /// Stored and not yet durable, in bytes of JSON.
    unsynced: u64,
}

impl Import<'_> {
    /// Takes a file in; false if a signal came first.
    fn take(
        &mut self,
        fetch: &mut Fetch<'_>,
        item: &Item,
        mut file: File,
        said: &str,
    ) -> anyhow::Result<bool> {
        let name = || item.name.clone();
        let stop = || fetch.cli.stopping();
        let Some(content) = Content::of(&mut file, stop).with_context(name)? else {
            return Ok(false);
        };
        self.chain.check(item, &content).with_context(name)?;
        if let Some(origin) = content.origin() {
            fetch.of_origin(&origin, &item.name)?;
        }
        file.seek(SeekFrom::Start(0)).with_context(name)?;
        let mut chunks = Chunks::new(file, CHUNK_BYTES).with_context(name)?;
        while let Some(body) = chunks.next().with_context(name)? {
            let lines = page::lines(&body).map_err(|error| {
                anyhow::anyhow!("{}: line {}: no operation", item.name, chunks.line(&error))
            })?;
            for line in &lines {
                anyhow::ensure!(
                    line.created_ms.saturating_add(KEEP_MS) >= self.newest_ms,
                    "{}: after operations of {} it has one of {}; a dump has to be in the order \
                     of time",
                    item.name,
                    show_ms(self.newest_ms),
                    show_ms(line.created_ms)
                );
                self.newest_ms = self.newest_ms.max(line.created_ms);
            }
            fetch.cli.stats().events_in(lines.len() as u64);
            fetch.cli.stats().bytes_in(body.len() as u64);
            let new = fetch.intake.pick(&Page { body, lines });
            fetch.intake.append(&new)?;
            fetch.imported += new.lines;
            self.unsynced += new.text.len() as u64;
            if self.unsynced >= SYNC_BYTES {
                fetch.intake.sink.sync()?;
                self.unsynced = 0;
            }
            fetch.progress.importing(&fetch.intake, said);
            if fetch.cli.stopping() {
                fetch.intake.sink.sync()?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Gets files, as often as that takes.
struct Getter<'f, 'c> {
    fetch: &'f mut Fetch<'c>,
    tries: Tries,
    wait: Wait<'f>,
}

/// What a download came to.
enum Got<T> {
    Have(T),
    /// There is no such file.
    Missing,
    Stopped,
}

impl Getter<'_, '_> {
    /// A short file, whole.
    fn text(&mut self, url: &str) -> anyhow::Result<Got<Vec<u8>>> {
        self.again(url, |getter| {
            getter.fetch.directory.asker.send(url.to_owned())?;
            let answer = getter.fetch.directory.asker.answer(getter.wait)?;
            Ok(answer.map(|answer| answer.map(|got| (got.status, got.retry_after, got.body))))
        })
    }

    /// A file of the dump, at its beginning. Nothing if a signal came first.
    fn open(&mut self, place: &Place, item: &Item, dump: &Dump) -> anyhow::Result<Option<File>> {
        let base = match place {
            Place::Here(_) => {
                let path = item.path.as_path();
                return File::open(path).with_context(|| item.name.clone()).map(Some);
            }
            Place::There(base, _) => base,
        };
        for url in item.urls(base, dump) {
            let got = self.again(&url, |getter| {
                // A file without a name goes with this process.
                let file = match &getter.fetch.intake.sink.store {
                    Some(store) => tempfile::tempfile_in(store.folder()),
                    None => tempfile::tempfile(),
                }?;
                let asker = &mut getter.fetch.directory.asker;
                let got = asker.download(url.clone(), file.try_clone()?, getter.wait)?;
                Ok(got.map(|got| got.map(|(status, retry_after)| (status, retry_after, file))))
            })?;
            match got {
                Got::Have(mut file) => {
                    file.seek(SeekFrom::Start(0))?;
                    return Ok(Some(file));
                }
                Got::Stopped => return Ok(None),
                Got::Missing => {}
            }
        }
        anyhow::bail!("{base}: {} is not there", item.name)
    }

    /// Whether a week begins when its name says, and so ends then: what was stored of such a
    /// dump need not be read again. Nothing if a signal came first.
    fn weeks_hold(
        &mut self,
        place: &Place,
        dump: &Dump,
        floor: u64,
    ) -> anyhow::Result<Option<bool>> {
        let first = dump.items.first().and_then(|item| Some((item, item.week_end_ms()?)));
        let Some((item, end_ms)) = first.filter(|_| floor > 0) else { return Ok(Some(false)) };
        let Some(file) = self.open(place, item, dump)? else { return Ok(None) };
        let name = || item.name.clone();
        let line = Chunks::new(file, 1).with_context(name)?.next().with_context(name)?;
        let lines = page::lines(&line.unwrap_or_default()).unwrap_or_default();
        let first_ms = lines.first().map(|line| line.created_ms);
        Ok(Some(first_ms.is_some_and(|first| first < end_ms && first + list::WEEK_MS >= end_ms)))
    }

    /// Whether there is such a file.
    fn exists(&mut self, url: &str) -> anyhow::Result<Option<bool>> {
        let got = self.again(url, |getter| {
            let answer = getter.fetch.directory.asker.look(url.to_owned(), getter.wait)?;
            Ok(answer.map(|answer| answer.map(|(status, retry)| (status, retry, ()))))
        })?;
        Ok(match got {
            Got::Have(()) => Some(true),
            Got::Missing => Some(false),
            Got::Stopped => None,
        })
    }

    fn again<T>(
        &mut self,
        url: &str,
        mut ask: impl FnMut(
            &mut Self,
        )
            -> anyhow::Result<Option<Result<(u16, Option<Duration>, T), net::Error>>>,
    ) -> anyhow::Result<Got<T>> {
        let mut failures = 0;
        loop {
            let Some(answer) = ask(self)? else { return Ok(Got::Stopped) };
            let (error, asked_for) = match answer {
                Ok((200, _, got)) => return Ok(Got::Have(got)),
                // Object stores refuse what is not there, lest anybody learn of it.
                Ok((403 | 404 | 410, ..)) => return Ok(Got::Missing),
                Ok((status @ (408 | 429 | 500..), asked_for, _)) => {
                    (anyhow::anyhow!("status {status}"), asked_for)
                }
                Ok((status, ..)) => anyhow::bail!("{url}: status {status}"),
                Err(error @ (net::Error::Private { .. } | net::Error::Url { .. })) => {
                    return Err(anyhow::Error::from(error).context(url.to_owned()));
                }
                Err(error) => (error.into(), None),
            };
            failures += 1;
            if failures > self.tries.failures_max {
                return Err(error.context(format!("{url}: given up")));
            }
            let doubled = self.tries.pause_first.saturating_mul(1 << (failures - 1).min(16));
            let pause = asked_for.unwrap_or(doubled).min(PAUSE_MAX);
            self.fetch.cli.warn(format_args!("{url}: {error:#}; again in {pause:.1?}"));
            if self.wait.sleep(pause)? {
                return Ok(Got::Stopped);
            }
        }
    }
}
