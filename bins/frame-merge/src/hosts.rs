//! Host ids: each input has its own, the output has one for each name.

use std::collections::HashMap;

use frame::host::{HOSTS_MAX, Host, Role};
use frame::{Frame, HostId};

/// The names of all inputs.
pub(crate) struct Hosts {
    /// Of each input: its id, ours.
    inputs: Vec<HashMap<HostId, HostId>>,
    pdses: HashMap<Box<str>, HostId>,
    relays: HashMap<Box<str>, HostId>,
}

/// What a `host` frame comes to.
pub(crate) struct Named {
    /// The id in the output.
    pub(crate) id: HostId,
    /// Whether the output has not named it yet.
    pub(crate) is_new: bool,
}

impl Hosts {
    pub(crate) fn new(inputs: usize) -> Hosts {
        let inputs = vec![HashMap::new(); inputs];
        Hosts { inputs, pdses: HashMap::new(), relays: HashMap::new() }
    }

    /// The input's ids mean other hosts from here on.
    pub(crate) fn start(&mut self, input: usize) {
        if let Some(ids) = self.inputs.get_mut(input) {
            ids.clear();
        }
    }

    /// Learns from a `host` frame. Names beyond what a stream may have are not kept.
    pub(crate) fn name(
        &mut self,
        input: usize,
        frame: &Frame<'_>,
    ) -> Result<Option<Named>, frame::Error> {
        let Host { role, name } = frame::host::read(frame)?;
        let count = self.pdses.len() + self.relays.len();
        let names = match role {
            Role::Pds => &mut self.pdses,
            Role::Relay => &mut self.relays,
        };
        let (id, is_new) = match names.get(name) {
            Some(id) => (*id, false),
            None if count >= HOSTS_MAX => return Ok(None),
            None => {
                // Zero means no host.
                let id = HostId(u32::try_from(count + 1).unwrap_or(u32::MAX));
                names.insert(name.into(), id);
                (id, true)
            }
        };
        if let Some(ids) = self.inputs.get_mut(input) {
            ids.insert(frame.header.host, id);
        }
        Ok(Some(Named { id, is_new }))
    }

    /// Our id for an input's; zero stays zero.
    pub(crate) fn id(&self, input: usize, id: HostId) -> Option<HostId> {
        match id {
            HostId(0) => Some(id),
            _ => self.inputs.get(input)?.get(&id).copied(),
        }
    }
}
