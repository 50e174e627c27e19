//! The network's life: accounts are born on hosts, write, change their keys, sleep and go.
//!
//! Everything that is chosen is chosen by one random number generator, in one thread, so that the
//! seed decides it all. Names of hosts are in the directory, and so in the DIDs: with the same
//! addresses and a fixed start the same seed gives the same bytes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use fastrand::Rng;

use crate::clock::{Clock, tid};
use crate::events::Draft;
use crate::fault::Share;
use crate::host::{Account, Host, lock};
use crate::key::{Curve, Key};
use crate::mix::{Happening, Mix};
use crate::names::Names;
use crate::operation::{Operation, Service, State};
use crate::plc::Directory;
use crate::record;
use crate::repo::{Repo, Write};
use crate::truth::{self, History, Made};
use register::{Crowd, Past, Signer};

mod migrate;
mod register;
mod say;

/// What a world is made of.
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Accounts at the beginning.
    pub accounts: usize,
    /// Records that each of them has before its first event.
    pub records: usize,
    /// How many of them, the first ones, are did:web.
    pub web: usize,
    /// Events in all, over all hosts.
    pub events: Option<u64>,
    /// What happens.
    pub mix: Mix,
    /// Share of events that a false copy goes before.
    pub forge: Share,
    /// Share of events that are sent in a damaged form only.
    pub damage: Share,
    /// Whether what was made is to be remembered.
    pub truth: bool,
    /// So many operations of the directory in a row have one createdAt.
    pub crowd: u32,
    /// Share of operations that appear late.
    pub late: Share,
}

/// The most events that one happening makes: a birth, with no copy forged before any of them.
const EVENTS_AT_ONCE_MAX: u64 = 4;

/// The network, as its accounts live in it.
pub struct World {
    plan: Plan,
    rng: Rng,
    clock: Clock,
    hosts: Vec<Arc<Host>>,
    /// URL of each host, as the directory has it.
    endpoints: Vec<String>,
    /// Rotation key of each host.
    host_keys: Vec<Key>,
    directory: Arc<Directory>,
    names: Arc<Names>,
    members: Vec<Member>,
    /// Numbers of the members that write, and of those that sleep.
    awake: Vec<usize>,
    asleep: Vec<usize>,
    next_seq: Vec<i64>,
    stranger: Key,
    made: u64,
    truth: Vec<Made>,
    crowd: Crowd,
}

/// An account, with what its owner and the directory know.
struct Member {
    repo: Arc<Mutex<Repo>>,
    host: usize,
    recovery: Key,
    state: State,
    /// Its operations that are in force.
    log: Vec<Past>,
    /// createdAt of the newest one.
    newest_us: u64,
    /// Signing keys so far; the next one's number.
    keys: u32,
    /// It has lived on another host.
    moved: bool,
    history: History,
}

impl World {
    /// A world without accounts on these hosts.
    pub fn new(
        plan: Plan,
        clock: Clock,
        hosts: Vec<Arc<Host>>,
        endpoints: Vec<String>,
        directory: Arc<Directory>,
        names: Arc<Names>,
    ) -> Result<Self> {
        let host_key =
            |number| Key::from_seed(Curve::K256, plan.seed, &format!("host {number} rotation"));
        Ok(Self {
            rng: Rng::with_seed(plan.seed),
            clock,
            host_keys: (0..hosts.len()).map(host_key).collect::<Result<_>>()?,
            next_seq: vec![1; hosts.len()],
            stranger: Key::from_seed(Curve::K256, plan.seed, "stranger")?,
            hosts,
            endpoints,
            directory,
            names,
            members: Vec::new(),
            awake: Vec::new(),
            asleep: Vec::new(),
            made: 0,
            truth: Vec::new(),
            crowd: Crowd::default(),
            plan,
        })
    }

    /// The first accounts. Without records of their own their births are events; with records
    /// they were there before the window began.
    pub fn populate(&mut self) -> Result<()> {
        for _ in 0..self.plan.accounts {
            if self.plan.records > 0 {
                self.settle()?;
            } else if self.has_room(EVENTS_AT_ONCE_MAX) {
                self.birth()?;
            }
        }
        Ok(())
    }

    /// Events so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Whether the world has said all it will say.
    pub fn is_over(&self) -> bool {
        !self.has_room(1) || (self.awake.is_empty() && !self.has_room(EVENTS_AT_ONCE_MAX))
    }

    /// Time is that of the wall from here on.
    pub fn go_live(&mut self) {
        self.clock.go_live();
    }

    /// Lets one thing happen.
    pub fn step(&mut self) -> Result<()> {
        let mut happening = self.plan.mix.pick(&mut self.rng);
        if self.awake.is_empty() {
            happening = Happening::Birth;
        } else if !self.has_room(EVENTS_AT_ONCE_MAX) {
            // What is left is too little for a happening of several events.
            happening = Happening::Create;
        }
        if happening == Happening::Birth {
            return self.birth();
        }
        if happening == Happening::Activate {
            return self.activate();
        }
        let place = self.rng.usize(0..self.awake.len());
        let number = self.awake[place];
        match happening {
            Happening::Rotate => self.rotate(number, true),
            Happening::Stale => self.rotate(number, false),
            // What would come back is a state of the host that it left.
            Happening::Recover if self.members[number].moved => self.rotate(number, true),
            Happening::Recover => self.recover(number),
            Happening::Migrate if self.can_move(number) => self.migrate(number),
            Happening::Jump => {
                self.next_seq[self.members[number].host] += self.rng.i64(1..1000);
                self.write(number, Happening::Create)
            }
            Happening::Reset => {
                let host = self.members[number].host;
                self.next_seq[host] = 1;
                self.hosts[host].log.restart();
                self.write(number, Happening::Create)
            }
            Happening::Handle => self.change_handle(number),
            Happening::Deactivate | Happening::Remove => {
                self.awake.swap_remove(place);
                self.leave(number, happening == Happening::Remove)
            }
            _ => self.write(number, happening),
        }
    }

    /// Writes the truth so far, under the numbers that the events get when they are sent.
    pub fn write_truth_renumbered(
        &mut self,
        path: &Path,
        number: impl Fn(i64) -> i64,
    ) -> Result<()> {
        self.truth.iter_mut().for_each(|made| made.seq = number(made.seq));
        self.write_truth(path)
    }

    /// Writes the truth so far.
    pub fn write_truth(&self, path: &Path) -> Result<()> {
        let hosts: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        let members: Vec<&History> = self.members.iter().map(|member| &member.history).collect();
        truth::write(path, &hosts, &members, &self.truth)
    }

    fn has_room(&self, events: u64) -> bool {
        self.plan.events.is_none_or(|limit| limit.saturating_sub(self.made) >= events)
    }

    fn writer(host: usize) -> u16 {
        (host % 1024) as u16
    }

    /// A rev above all before it.
    fn rev(&mut self, host: usize) -> String {
        tid(self.clock.tick(), Self::writer(host))
    }

    fn signing_key(&self, number: usize, generation: u32) -> Result<Arc<Key>> {
        // Both curves, changing with the account and with the generation.
        let curve = match (number + generation as usize).is_multiple_of(3) {
            true => Curve::P256,
            false => Curve::K256,
        };
        let name = format!("account {number} signing {generation}");
        Ok(Arc::new(Key::from_seed(curve, self.plan.seed, &name)?))
    }

    /// Makes an account with an empty repository and the genesis operation of its DID, which is
    /// not registered yet: the first commit is signed before.
    fn conceive(&mut self) -> Result<(usize, Operation)> {
        let number = self.members.len();
        let host = number % self.hosts.len();
        let key = self.signing_key(number, 0)?;
        let recovery =
            Key::from_seed(Curve::K256, self.plan.seed, &format!("account {number} recovery"))?;
        let handle = format!("user{number}.test");
        let service = Service {
            kind: "AtprotoPersonalDataServer".to_owned(),
            endpoint: self.endpoints[host].clone(),
        };
        let host_key = &self.host_keys[host];
        let state = State {
            services: [("atproto_pds".to_owned(), service)].into(),
            also_known_as: vec![format!("at://{handle}")],
            rotation_keys: vec![recovery.did_key().to_string(), host_key.did_key().to_string()],
            verification_methods: [("atproto".to_owned(), key.did_key().to_string())].into(),
        };
        let genesis = Operation::update(&state, None, host_key)?;
        let is_web = number < self.plan.web;
        let did = if is_web { format!("did:web:{handle}") } else { genesis.did() };
        let repo = Arc::new(Mutex::new(Repo::new(did.clone(), handle, key)));
        self.hosts[host].add_account(did.clone(), Account::Made(Arc::clone(&repo)));
        let history = History { did, keys: Vec::new() };
        let log = Vec::new();
        let (newest_us, keys, moved) = (0, 1, false);
        let member = Member { repo, host, recovery, state, log, newest_us, keys, moved, history };
        self.members.push(member);
        self.awake.push(number);
        Ok((number, genesis))
    }

    /// An account as the official server makes it: first commit, DID, then the four events.
    fn birth(&mut self) -> Result<()> {
        let (number, genesis) = self.conceive()?;
        let rev = self.rev(self.members[number].host);
        let repo = Arc::clone(&self.members[number].repo);
        let first = lock(&repo).write(rev, Vec::new())?;
        self.register(number, &genesis, Signer::Host)?;
        self.say_identity(number)?;
        self.say_account(number)?;
        let head = first.commit().cloned().context("a commit has a commit")?;
        self.say(number, first)?;
        self.say(number, Draft::Sync { commit: head })
    }

    /// An account that was there before the window: its records are in one commit, unsaid.
    fn settle(&mut self) -> Result<()> {
        let (number, genesis) = self.conceive()?;
        let host = self.members[number].host;
        let mut writes = Vec::with_capacity(self.plan.records);
        for _ in 0..self.plan.records {
            let (path, block) = self.new_record(host)?;
            writes.push(Write::Put(path, block));
        }
        let rev = self.rev(host);
        lock(&self.members[number].repo).write(rev, writes)?;
        self.register(number, &genesis, Signer::Host)
    }

    fn new_record(&mut self, host: usize) -> Result<(String, crate::block::Block)> {
        let us = self.clock.tick();
        let other = self.rng.usize(0..self.members.len());
        record::new(&mut self.rng, us, Self::writer(host), &self.members[other].history.did)
    }

    fn write(&mut self, number: usize, happening: Happening) -> Result<()> {
        let host = self.members[number].host;
        let repo = Arc::clone(&self.members[number].repo);
        let count = match happening {
            Happening::Batch => self.rng.usize(2..=10),
            Happening::Empty => 0,
            _ => 1,
        };
        let mut touched = BTreeSet::new();
        let mut writes = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = match happening {
                Happening::Batch => {
                    let kinds = [Happening::Create, Happening::Update, Happening::Delete];
                    self.rng.choice(kinds).unwrap_or(Happening::Create)
                }
                one => one,
            };
            // An update or a delete where there is nothing (more) is a create.
            let old = lock(&repo).path(self.rng.usize(..)).map(str::to_owned);
            let old = old.filter(|path| kind != Happening::Create && touched.insert(path.clone()));
            writes.push(match old {
                None => {
                    let (path, block) = self.new_record(host)?;
                    Write::Put(path, block)
                }
                Some(path) if kind == Happening::Delete => Write::Delete(path),
                Some(path) => {
                    let us = self.clock.tick();
                    let did = &self.members[number].history.did;
                    let block = record::another(&mut self.rng, &path, us, did)?;
                    Write::Put(path, block)
                }
            });
        }
        let rev = self.rev(host);
        let mut draft = lock(&repo).write(rev, writes)?;
        if happening == Happening::Legacy {
            draft.forget_before();
        }
        self.say(number, draft)
    }

    /// A new signing key. A host that is told takes it at once; its head is then often signed
    /// anew, by an empty commit or a `#sync`.
    fn rotate(&mut self, number: usize, host_is_told: bool) -> Result<()> {
        let key = self.next_key(number)?;
        // Now and then the owner's own rotation key signs.
        let own = self.rng.u8(0..4) == 0;
        self.change_state(number, if own { Signer::Owner } else { Signer::Host })?;
        if host_is_told {
            lock(&self.members[number].repo).key = key;
        }
        self.say_identity(number)?;
        self.maybe_sign_anew(number)
    }

    /// Now and then a head is signed anew after a change of keys.
    fn maybe_sign_anew(&mut self, number: usize) -> Result<()> {
        let (host, repo) = (self.members[number].host, Arc::clone(&self.members[number].repo));
        match self.rng.u8(0..4) {
            0 => {
                let rev = self.rev(host);
                let draft = lock(&repo).sync(rev)?;
                self.say(number, draft)
            }
            1 => {
                let rev = self.rev(host);
                let draft = lock(&repo).write(rev, Vec::new())?;
                self.say(number, draft)
            }
            _ => Ok(()),
        }
    }

    fn change_handle(&mut self, number: usize) -> Result<()> {
        let handle = format!("user{number}-{}.test", self.rng.u32(..));
        let member = &mut self.members[number];
        member.state.also_known_as = vec![format!("at://{handle}")];
        lock(&member.repo).handle = handle;
        self.change_state(number, Signer::Host)?;
        self.say_identity(number)
    }

    fn leave(&mut self, number: usize, for_ever: bool) -> Result<()> {
        let member = &self.members[number];
        let mut repo = lock(&member.repo);
        repo.active = false;
        repo.status = Some(if for_ever { "deleted" } else { "deactivated" });
        drop(repo);
        if for_ever {
            self.end_did(number)?;
        } else {
            self.asleep.push(number);
        }
        self.say_account(number)
    }

    /// A sleeping account comes back, in the official order: `#account`, `#identity`, `#sync`.
    fn activate(&mut self) -> Result<()> {
        if self.asleep.is_empty() {
            let place = self.rng.usize(0..self.awake.len());
            return self.write(self.awake[place], Happening::Create);
        }
        let place = self.rng.usize(0..self.asleep.len());
        let number = self.asleep.swap_remove(place);
        self.awake.push(number);
        let repo = Arc::clone(&self.members[number].repo);
        let rev = self.rev(self.members[number].host);
        let sync = {
            let mut repo = lock(&repo);
            repo.active = true;
            repo.status = None;
            let head = repo.head().cloned().context("an account that was active has a commit")?;
            match repo.head_is_of_an_old_key() {
                true => repo.sync(rev)?,
                false => Draft::Sync { commit: head },
            }
        };
        self.say_account(number)?;
        self.say_identity(number)?;
        self.say(number, sync)
    }
}
