//! What clients were promised, and what they got: the one place that decides what is wrong.

use std::collections::{HashMap, HashSet};

/// Names a message: its queue, its producer, its number. This is its body on the wire, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) queue: usize,
    pub(crate) producer: usize,
    pub(crate) number: u64,
}

impl Name {
    pub(crate) fn text(self) -> String {
        format!("{} {} {}", self.queue, self.producer, self.number)
    }

    pub(crate) fn parse(text: &str) -> Option<Name> {
        let mut parts = text.split(' ');
        let queue = parts.next()?.parse().ok()?;
        let producer = parts.next()?.parse().ok()?;
        Some(Name { queue, producer, number: parts.next()?.parse().ok()? })
    }
}

/// One consumer's view of the order, for one connection.
#[derive(Debug, Default)]
pub(crate) struct Order(HashMap<(usize, usize), u64>);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    receipted: HashSet<Name>,
    delivered: HashSet<Name>,
    /// Their ACK was sent, whatever became of it.
    given_up: HashSet<Name>,
    /// They are in the dead letters.
    dead: HashSet<Name>,
    /// Their ACK was receipted.
    settled: HashSet<Name>,
    /// Sent together in one transaction.
    together: Vec<Vec<Name>>,
    pub(crate) again: u64,
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    /// These have the broker's word.
    pub(crate) fn note_receipt(&mut self, names: &[Name]) {
        self.receipted.extend(names);
    }

    pub(crate) fn note_together(&mut self, names: &[Name]) {
        self.together.push(names.to_vec());
    }

    pub(crate) fn note_ack(&mut self, name: Name) {
        self.given_up.insert(name);
    }

    pub(crate) fn note_dead(&mut self, name: Name) {
        self.dead.insert(name);
    }

    pub(crate) fn note_settled(&mut self, name: Name) {
        self.settled.insert(name);
    }

    /// A consumer got this. With `all` the order holds for what comes again, too: nobody has refused anything.
    pub(crate) fn note_delivery(&mut self, name: Name, redelivered: bool, order: &mut Order, all: bool) {
        if self.settled.contains(&name) {
            self.wrong.push(format!("{name:?} comes again after the receipt of its ACK"));
        }
        if !self.delivered.insert(name) {
            self.again += 1;
            if !redelivered {
                self.wrong.push(format!("{name:?} comes again without redelivered:true"));
            }
        }
        if all || !redelivered {
            let last = order.0.insert((name.queue, name.producer), name.number);
            if last.is_some_and(|last| last >= name.number) {
                self.wrong.push(format!("{name:?} comes after {last:?}"));
            }
        }
    }

    /// How many came to the dead letters.
    pub(crate) fn dead(&self) -> usize {
        self.dead.len()
    }

    /// How many have the broker's word, and how many were delivered.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.receipted.len(), self.delivered.len())
    }

    /// Everything that is wrong when all queues were drained.
    pub(crate) fn verdict(mut self) -> Vec<String> {
        let is_lost = |name: &&Name| !self.given_up.contains(name) && !self.dead.contains(name);
        let lost = self.receipted.iter().filter(is_lost).count();
        if lost > 0 {
            self.wrong.push(format!("{lost} messages with a receipt are lost: nobody has acknowledged them"));
        }
        for names in &self.together {
            let came = names.iter().filter(|name| self.delivered.contains(name)).count();
            if came != 0 && came != names.len() {
                self.wrong.push(format!("{came} messages of the transaction {names:?} came"));
            }
        }
        self.wrong
    }
}
