//! Who is listened to: hosts that appear are joined, hosts that are no longer wanted are left.
//!
//! A host keeps its place in the list, and with it its id and its cursor, when it is left: if it
//! comes back it goes on where it was.

use std::time::Duration;

use anyhow::anyhow;
use cli::units::show_bytes;
use frame::HostId;

use crate::ask::Listing;
use crate::host::{Host, Phase};
use crate::hosts::{LEFT_OUT, Target};
use crate::tap::Tap;

/// When names have to wait for their budget, it is looked at again after this.
const BUDGET_EVERY: Duration = Duration::from_secs(60);

impl Tap<'_> {
    /// Compares the hosts that are wanted with those that there are.
    ///
    /// # Errors
    /// There is no room for their ids.
    pub(crate) fn arrange(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let wanted = self.sources.wanted();
        let mut is_wanted = vec![false; self.hosts.len()];
        let mut waiting: usize = 0;
        for target in wanted {
            match self.numbers.get(&target.endpoint.canonical).copied() {
                Some(index) => {
                    if let Some(is_wanted) = is_wanted.get_mut(index) {
                        *is_wanted = true;
                    }
                    if let Some(host) = self.hosts.get_mut(index) {
                        host.wanted(target, now);
                    }
                }
                None if self.may_join(&target) => self.add(target)?,
                None => waiting += 1,
            }
        }
        for (index, is_wanted) in is_wanted.into_iter().enumerate() {
            if !is_wanted {
                self.leave(index);
            }
        }
        self.look_at = now;
        self.arrange_at = (waiting > 0).then(|| now + BUDGET_EVERY);
        if waiting > 0 && !self.told_of_budget {
            self.told_of_budget = true;
            let budget = self.settings.new_names;
            self.stream.voice.loud(format_args!(
                "{waiting} names wait: no more than {budget} new ones are taken up a day \
                 (--new-names)"
            ));
        }
        self.descriptors.make_room(self.hosts.len(), self.cli);
        Ok(())
    }

    /// Whether there is budget for a name. It isn't needed for what was named by hand and for what
    /// was heard before.
    fn may_join(&mut self, target: &Target) -> bool {
        target.named
            || self.cursors.knows(&target.endpoint.canonical, target.role)
            || self.new_names.take(self.clock.now())
    }

    fn add(&mut self, target: Target) -> anyhow::Result<()> {
        let index = self.hosts.len();
        // Id 0 stands for no host.
        let id = u32::try_from(index + 1).map(HostId)?;
        let name = &target.endpoint.canonical;
        let known = self.cursors.knows(name, target.role);
        let cursor = self.cursors.of(name, target.role, self.has_begun);
        self.numbers.insert(name.clone(), index);
        let mut host = Host::new(target, id, cursor, (self.settings.retry, self.clock.now()));
        host.reached = known;
        self.hosts.push(host);
        Ok(())
    }

    fn leave(&mut self, index: usize) {
        let Some(host) = self.hosts.get_mut(index) else { return };
        if host.phase == Phase::Left {
            return;
        }
        if let Some(connection) = &mut host.connection {
            connection.close();
        }
        host.phase = Phase::Left;
        let name = host.name();
        self.stream.voice.info(format_args!("{name}: is no longer wanted, and left"));
        self.release(index);
    }

    /// SIGHUP: reads the files again.
    ///
    /// # Errors
    /// As [`Tap::arrange`].
    pub(crate) fn read_again(&mut self) -> anyhow::Result<()> {
        for error in self.sources.read_again() {
            self.stream.voice.loud(format_args!("{error:#}; it stays as it was"));
        }
        self.tell_left_out(self.sources.left_out());
        let before = self.count_wanted();
        self.arrange()?;
        self.leave_denied_addresses()?;
        let after = self.count_wanted();
        self.stream.voice.loud(format_args!("files read again: {after} hosts, {before} before"));
        Ok(())
    }

    /// Leaves those whose names lead to addresses that are denied by now.
    fn leave_denied_addresses(&mut self) -> anyhow::Result<()> {
        for index in 0..self.hosts.len() {
            let Some(host) = self.hosts.get(index) else { break };
            let denied = |address| self.sources.deny().denies_address(address);
            if host.connection.is_some() && host.address.is_some_and(denied) {
                self.lost(index, &anyhow!("its address is denied"))?;
            }
        }
        Ok(())
    }

    fn count_wanted(&self) -> usize {
        self.hosts.iter().filter(|host| host.phase != Phase::Left).count()
    }

    pub(crate) fn tell_left_out(&mut self, names: usize) {
        if names > 0 {
            self.stream.voice.loud(format_args!("{names} {LEFT_OUT}"));
        }
    }

    /// Asks the relays for which it is time.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn discover(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for (number, relay) in self.discovery.due(now) {
            self.errands.list(number, &relay)?;
        }
        if let Some(at) = self.discovery.next() {
            self.look_at = self.look_at.min(at);
        }
        Ok(())
    }

    /// A relay has listed its hosts, or some of them.
    ///
    /// # Errors
    /// As [`Tap::arrange`].
    pub(crate) fn listed(&mut self, number: usize, listing: Listing) -> anyhow::Result<()> {
        let now = self.clock.now();
        let whole = listing.error.is_none();
        let answered = self.discovery.answered(number, whole, listing.retry_after, now);
        let Some((relay, pause)) = answered else { return Ok(()) };
        let left_out = self.sources.take_listing(&relay, &listing.names);
        let (listed, seconds) = (listing.names.len(), pause.as_secs_f64());
        let before = self.hosts.len();
        self.arrange()?;
        let joined = self.hosts.len() - before;
        let voice = &mut self.stream.voice;
        match listing.error {
            None => voice.info(format_args!(
                "{relay}: lists {listed} hosts, {joined} of them new, {left_out} of no use"
            )),
            Some(error) => voice.warn(format_args!(
                "{relay}: {error:#}; {listed} hosts are taken from it; asked again in {seconds:.1} s"
            )),
        }
        if self.discovery.has_listed() {
            self.has_begun = true;
        }
        Ok(())
    }

    /// A host answers whether it is a PDS, after it called itself a relay.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn described(&mut self, index: usize, is_pds: bool) -> anyhow::Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        if host.phase != Phase::Asking {
            return Ok(());
        }
        if is_pds {
            host.described = true;
            return self.connect_anew(index);
        }
        self.refuse(
            index,
            &anyhow!("it is a relay, and no PDS: it is not listened to as one; --relay takes it"),
        );
        Ok(())
    }

    /// Messages that never end, of many hosts, may not take all memory: the longest is cut off,
    /// and its host asked for it again.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(crate) fn bound_unfinished(&mut self) -> anyhow::Result<()> {
        while self.unfinished > self.settings.unfinished {
            let largest = self.hosts.iter().enumerate().max_by_key(|(_, host)| host.unfinished);
            let Some((index, host)) = largest else { return Ok(()) };
            let (held, all) =
                (show_bytes(host.unfinished as u64), show_bytes(self.unfinished as u64));
            let error = anyhow!(
                "unfinished messages hold {all}, and its own is the longest with {held}: cut"
            );
            self.lost(index, &error)?;
        }
        Ok(())
    }
}
