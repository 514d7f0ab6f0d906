//! Transactions: what a client wants done together, kept until COMMIT (Q7).

use super::Options;
use super::fault::{Fault, Limit, Violation};
use crate::message::{Content, Operation, Outcome, SubscriptionKey, Tags};

/// The open transactions of a session.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Few: a search through all is quicker than a map.
    open: Vec<Transaction>,
    last: u64,
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    name: Box<str>,
    /// Differs from that of every other transaction of the session, open or not.
    pub(super) number: u64,
    frames: usize,
    bytes: usize,
    /// What is to be done, in order; and for which subscription, if that is to settle.
    operations: Vec<(Option<SubscriptionKey>, Operation)>,
    /// Subscriptions with deliveries that were settled in it, each once.
    pub(super) touched: Vec<SubscriptionKey>,
    /// Whether something of it cannot be done any more, and so nothing of it may be.
    pub(super) is_broken: bool,
}

impl Transactions {
    /// BEGIN.
    pub(super) fn begin(&mut self, name: &str, options: &Options) -> Result<(), Fault> {
        if name.len() > options.max_id_bytes {
            return Err(Limit::IdBytes(options.max_id_bytes, "transaction").into());
        }
        if self.open.iter().any(|open| *open.name == *name) {
            return Err(Violation::TransactionExists(name.into()).into());
        }
        if self.open.len() >= options.max_transactions {
            return Err(Limit::Transactions(options.max_transactions).into());
        }
        self.last += 1;
        self.open.push(Transaction {
            name: name.into(),
            number: self.last,
            frames: 0,
            bytes: 0,
            operations: Vec::new(),
            touched: Vec::new(),
            is_broken: false,
        });
        Ok(())
    }

    /// The open transaction of this name, after one more frame that keeps so many bytes was counted to it.
    pub(super) fn enlist(&mut self, name: &str, bytes: usize, options: &Options) -> Result<&mut Transaction, Fault> {
        let all: usize = self.open.iter().map(|open| open.bytes).sum();
        let open = self.open.iter_mut().find(|open| *open.name == *name);
        let open = open.ok_or_else(|| Violation::UnknownTransaction(name.into()))?;
        let bytes = bytes.saturating_add(size_of::<Operation>());
        if open.frames >= options.max_transaction_operations {
            return Err(Limit::TransactionOperations(options.max_transaction_operations).into());
        }
        if all.saturating_add(bytes) > options.max_transaction_bytes {
            return Err(Limit::TransactionBytes(options.max_transaction_bytes).into());
        }
        open.frames += 1;
        open.bytes += bytes;
        Ok(open)
    }

    /// A subscription is gone: what it had to settle returns to its queue, and may come to this very session again. A
    /// COMMIT must not settle what was delivered since, nor do the rest without that.
    pub(super) fn forget(&mut self, subscription: SubscriptionKey) {
        for open in &mut self.open {
            open.is_broken |= open.operations.iter().any(|(of, _)| *of == Some(subscription));
        }
    }

    /// COMMIT or ABORT: the transaction, which is not open any more.
    pub(super) fn close(&mut self, name: &str) -> Result<Transaction, Fault> {
        let place = self.open.iter().position(|open| *open.name == *name);
        let place = place.ok_or_else(|| Violation::UnknownTransaction(name.into()))?;
        let closed = self.open.remove(place);
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        Ok(closed)
    }
}

impl Transaction {
    /// Adds a SEND.
    pub(super) fn send(&mut self, content: Content) {
        self.operations.push((None, Operation::Send(content)));
    }

    /// Adds an ACK or NACK of a subscription's deliveries.
    pub(super) fn settle(&mut self, subscription: SubscriptionKey, tags: Tags, outcome: Outcome) {
        if !tags.is_empty() {
            self.operations.push((Some(subscription), Operation::Settle(tags, outcome)));
        }
        if !self.touched.contains(&subscription) {
            self.touched.push(subscription);
        }
    }

    /// What is to be done, in order.
    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations.into_iter().map(|(_, operation)| operation).collect()
    }
}
