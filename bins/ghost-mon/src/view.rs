//! What a person looks at, and what keys do to that.

use stats::Host;

use crate::hosts::Order;
use crate::pipeline::Plan;

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    Enter,
    Back,
    /// A letter.
    Letter(u8),
}

const ESCAPE: u8 = 0x1b;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

impl Key {
    /// The keys in what a terminal sent.
    pub(crate) fn read(typed: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut rest = typed;
        while let [first, behind @ ..] = rest {
            rest = behind;
            keys.push(match (*first, behind) {
                (ESCAPE, [b'[' | b'O', letter @ b'A'..=b'D', behind @ ..]) => {
                    rest = behind;
                    match letter {
                        b'A' => Self::Up,
                        b'B' => Self::Down,
                        b'C' => Self::Enter,
                        _ => Self::Back,
                    }
                }
                // A key that says nothing here, and nobody knows where it ends.
                (ESCAPE, [b'[' | b'O', ..]) => break,
                (b'k', _) => Self::Up,
                (b'j' | b'\t', _) => Self::Down,
                (b'\r' | b'\n', _) => Self::Enter,
                (ESCAPE | BACKSPACE | DELETE, _) => Self::Back,
                (letter, _) => Self::Letter(letter.to_ascii_lowercase()),
            });
        }
        keys
    }
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// All tools.
    #[default]
    All,
    /// One tool.
    Stage,
    /// The list of hosts.
    Hosts,
    /// One host.
    Host,
}

/// What is shown, and what is picked. A pick is a name and not a number, so that it stays with
/// what it names while others come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) place: Place,
    /// The picked stage, by label.
    pub(crate) stage: Option<String>,
    /// The picked host.
    pub(crate) host: Option<String>,
    pub(crate) order: Order,
}

impl View {
    /// Does what a key says.
    pub(crate) fn obey(&mut self, key: Key, plan: &Plan) {
        match (&self.place, key) {
            (_, Key::Letter(b'h')) => self.place = Place::Hosts,
            (Place::Hosts, Key::Letter(b'o')) => self.order = self.order.next(),
            (Place::All, Key::Up) => self.pick_stage(plan, -1),
            (Place::All | Place::Stage, Key::Down) => self.pick_stage(plan, 1),
            (Place::Stage, Key::Up) => self.pick_stage(plan, -1),
            (Place::Hosts | Place::Host, Key::Up) => self.pick_host(plan, -1),
            (Place::Hosts | Place::Host, Key::Down) => self.pick_host(plan, 1),
            (Place::All, Key::Enter) => {
                if self.stage.is_none() {
                    self.pick_stage(plan, 1);
                }
                self.place = Place::Stage;
            }
            (Place::Hosts, Key::Enter) => {
                if self.host.is_none() {
                    self.pick_host(plan, 1);
                }
                self.place = Place::Host;
            }
            (Place::Host, Key::Back) => self.place = Place::Hosts,
            (Place::All, Key::Back) => (self.stage, self.host) = (None, None),
            (_, Key::Back) => self.place = Place::All,
            _ => {}
        }
    }

    fn pick_stage(&mut self, plan: &Plan, step: isize) {
        let labels: Vec<&str> = plan.stages.iter().map(|stage| stage.label.as_str()).collect();
        self.stage = stepped(&labels, self.stage.as_deref(), step);
    }

    fn pick_host(&mut self, plan: &Plan, step: isize) {
        let hosts = self.hosts(plan, usize::MAX);
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        self.host = stepped(&names, self.host.as_deref(), step);
    }

    /// So many of the hosts of all taps, in the order that was chosen.
    pub(crate) fn hosts<'a>(&self, plan: &'a Plan, most: usize) -> Vec<&'a Host> {
        let hosts = plan.stages.iter().flat_map(|stage| stage.page.hosts.iter());
        self.order.first(hosts, most)
    }
}

/// The name so many steps from the picked one; the first or last if none is.
fn stepped(names: &[&str], picked: Option<&str>, step: isize) -> Option<String> {
    let at = picked.and_then(|picked| names.iter().position(|name| *name == picked));
    let last = names.len().checked_sub(1)?;
    let at = match at {
        Some(at) => at.saturating_add_signed(step).min(last),
        None if step > 0 => 0,
        None => last,
    };
    names.get(at).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::stage;

    #[test]
    fn keys_are_read_whole_and_strange_ones_passed_over() {
        use Key::{Back, Down, Enter, Letter, Up};
        assert_eq!(Key::read(b"\x1b[A\x1bOBjk\r"), [Up, Down, Down, Up, Enter]);
        assert_eq!(Key::read(b"Q\x1b"), [Letter(b'q'), Back]);
        assert_eq!(Key::read(b"\x1b[200~h"), []);
        assert_eq!(Key::read(b"\x7f"), [Back]);
    }

    #[test]
    fn a_pick_stays_with_its_stage_and_stops_at_the_ends() {
        let plan = Plan::of(vec![stage("a", &[], &["p"]), stage("b", &["p"], &[])]);
        let mut view = View::default();
        let pick = |view: &mut View, key| {
            view.obey(key, &plan);
            view.stage.clone().unwrap_or_default()
        };
        assert_eq!(pick(&mut view, Key::Down), "a");
        assert_eq!(pick(&mut view, Key::Down), "b");
        assert_eq!(pick(&mut view, Key::Down), "b");
        view.obey(Key::Enter, &plan);
        assert_eq!(view.place, Place::Stage);
        assert_eq!(pick(&mut view, Key::Up), "a");
        view.obey(Key::Back, &plan);
        view.obey(Key::Letter(b'h'), &plan);
        view.obey(Key::Enter, &plan);
        assert_eq!((view.place, view.host), (Place::Host, None));
    }
}
