//! The recipes of the README for an archive, as they stand there, with each tool that is here.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::{Chain, bin, fixture};

use crate::{Refnet, text};

fn is_here(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    found.is_ok_and(|found| found.status.success())
}

/// A PostgreSQL of our own, gone with the value.
struct Postgres {
    dir: tempfile::TempDir,
}

/// It does not run as root; this is `nobody`.
const NOBODY: u32 = 65534;

impl Postgres {
    /// `None` where there is none, or where it can't be started.
    fn start() -> Option<Postgres> {
        if !is_here("initdb") || !is_here("pg_ctl") {
            return None;
        }
        let postgres = Postgres { dir: tempfile::tempdir().ok()? };
        let dir = postgres.dir.path();
        if nix::unistd::geteuid().is_root() {
            chown(dir, Some(NOBODY), Some(NOBODY)).ok()?;
        }
        let data = dir.join("data");
        let init =
            postgres.run("initdb", &["--auth=trust", "--username=me", "--pgdata", text(&data)]);
        let options = format!("-k {} -c listen_addresses=", dir.display());
        let log = dir.join("log");
        let start = [
            "start",
            "--wait",
            "--pgdata",
            text(&data),
            "--options",
            &options,
            "--log",
            text(&log),
        ];
        (init && postgres.run("pg_ctl", &start)).then_some(postgres)
    }

    fn run(&self, tool: &str, args: &[&str]) -> bool {
        let mut command = Command::new(tool);
        command.args(args).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        self.run("pg_ctl", &["stop", "--mode=immediate", "--pgdata", text(&data)]);
    }
}

/// Runs a line in a folder, with our tools before all others.
fn shell(line: &str, dir: &Path, postgres: Option<&Postgres>) -> Output {
    let ours: PathBuf = bin("archive-cat").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir).stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", ours.display()));
    if let Some(postgres) = postgres {
        command
            .env("PGHOST", postgres.dir.path())
            .env("PGUSER", "me")
            .env("PGDATABASE", "postgres");
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {stderr}");
    output
}

#[test]
fn the_recipes_of_the_readme_run_with_each_tool_that_is_here() {
    let refnet = Refnet::start(&[]);
    let (index, archive) = (refnet.index(), refnet.path("archive"));
    Chain::new()
        .stage("pds-tap", &refnet.tap())
        .stage("sig-verify", &["--index", &index])
        .stage("archive-pack", &["--out", text(&archive)])
        .succeed();
    let dir = archive.parent().unwrap();
    let readme = fixture("").join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let recipes: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("archive-cat archive/") && line.contains(" | "))
        .collect();
    assert!(recipes.len() >= 5, "{recipes:?}");
    for recipe in recipes {
        let tool = recipe.split(" | ").nth(1).and_then(|next| next.split(' ').next()).unwrap();
        if !is_here(tool) && !e2e::TOOLS.contains(&tool) {
            println!("skipped: {tool} is not here: {recipe}");
            continue;
        }
        if tool != "psql" {
            shell(recipe, dir, None);
            let parquet = dir.join("records.parquet");
            assert!(tool != "duckdb" || parquet.metadata().unwrap().len() > 1000);
            continue;
        }
        let Some(postgres) = Postgres::start() else {
            println!("skipped: no PostgreSQL can be started here: {recipe}");
            continue;
        };
        shell("psql -c 'create table events (line jsonb)'", dir, Some(&postgres));
        shell(recipe, dir, Some(&postgres));
        let rows = "psql --no-align --tuples-only --command \
                    \"select count(*) from events where line->>'kind' = 'event'\"";
        let rows = shell(rows, dir, Some(&postgres)).stdout;
        let events = shell("archive-cat archive/ --json | grep -c '\"kind\":\"event\"'", dir, None);
        assert_eq!(rows, events.stdout, "each event is a row");
    }
}
