//! All pages of a directory, again and again.
//!
//! A monitor looks ten times a second; a table of ten thousand hosts is written once. So a reader
//! remembers which tables it has read and reads one again only when its count of edits has moved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::hosts::{self, Host};
use crate::place::{Found, hosts_of, list, open};
use crate::snapshot::{Reading, Skipped, Snapshot};

/// Pages read from one directory, which others may be able to write to.
const PAGES_MAX: usize = 1_024;

/// Reads the pages of directories. One that is kept reads what has not changed once.
#[derive(Debug, Default)]
pub struct Reader {
    /// The tables of hosts that the pages of the last look had.
    tables: HashMap<PathBuf, Table>,
}

/// A table of hosts, and how often it had been edited.
#[derive(Debug)]
struct Table {
    edits: u64,
    hosts: Arc<[Host]>,
}

impl Reader {
    /// Reads every page in a directory and removes those of dead writers.
    ///
    /// # Errors
    /// [`Error::List`]. A file that cannot be read is skipped and named in the result.
    pub fn read_all(&mut self, dir: &Path) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        let mut tables = HashMap::new();
        for path in list(dir)? {
            if reading.pages.len() == PAGES_MAX {
                let error = Error::TooMany { limit: PAGES_MAX };
                reading.skipped.push(Skipped { path, error });
                break;
            }
            let read = open(&path).and_then(|found| match found {
                Found::Alive(file) => Snapshot::read(&file).map(Some),
                Found::Removed => {
                    reading.removed += 1;
                    Ok(None)
                }
                Found::Gone => Ok(None),
            });
            match read {
                Ok(Some(mut page)) => {
                    let place = hosts_of(&path);
                    if page.host_rows > 0
                        && let Some(table) = self.table(&place)
                    {
                        page.hosts = Arc::clone(&table.hosts);
                        tables.insert(place, table);
                    }
                    reading.pages.push(page);
                }
                Ok(None) => {}
                Err(error) => reading.skipped.push(Skipped { path, error }),
            }
        }
        self.tables.retain(|path, _| path.parent() != Some(dir));
        self.tables.extend(tables);
        Ok(reading)
    }

    /// A table of hosts. One that can't be read costs no more than itself: its writer may have
    /// ended meanwhile.
    fn table(&mut self, path: &Path) -> Option<Table> {
        let known = self.tables.remove(path);
        match hosts::read(path, known.as_ref().map(|table| table.edits)).ok()? {
            Some((edits, hosts)) => Some(Table { edits, hosts: hosts.into() }),
            None => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Page;

    fn table(page: &Page, names: &[&str]) -> hosts::HostTable {
        let mut table = page.host_table().unwrap();
        let hosts = names.iter().map(|name| Host { name: *name, ..Host::default() });
        page.set_hosts(table.write(hosts).unwrap());
        table
    }

    #[test]
    fn a_table_is_read_again_when_it_has_been_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let page = Page::create_in(dir.path(), "a", None, "1").unwrap();
        let mut table = table(&page, &["a.example"]);
        let mut reader = Reader::default();
        let mut hosts = || Arc::clone(&reader.read_all(dir.path()).unwrap().pages[0].hosts);
        let first = hosts();
        assert!(Arc::ptr_eq(&first, &hosts()));
        table.write([Host { name: "b.example", ..Host::default() }].into_iter()).unwrap();
        let second = hosts();
        assert_eq!((first[0].name.as_str(), second[0].name.as_str()), ("a.example", "b.example"));
        drop(table);
        assert!(hosts().is_empty());
    }
}
