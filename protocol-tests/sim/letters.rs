//! Dead letters out of durable subscriptions: a copy that was refused too often, or was discarded, is a message of the dead
//! letters from then on. Of one message no more than one copy dies, so that its letter can be told by what is in it.

use std::time::Duration;

use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Hold, Message, Outcome};
use crate::model::Model;
use crate::policy::{DEAD_LETTERS, GRAVE};
use crate::virtual_broker::START_EPOCH_MS;
use crate::wire::Frame;

/// What a dead letter was before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Died {
    /// Of which message it was a copy, and whose.
    number: usize,
    lasting: usize,
    /// Who settled it last.
    by: usize,
    is_refused: bool,
    is_discarded: bool,
    /// How often it was handed out at least.
    seen: u32,
    /// How often the broker had begun anew by then, and when that was, by the count of events.
    restarts: usize,
    died_at: usize,
}

impl Model {
    /// Whether a client may let a copy die; from then on it is the only one of its message that may.
    pub(crate) fn may_die(&mut self, lasting: usize, number: usize) -> bool {
        *self.dying.entry(number).or_insert(lasting) == lasting
    }

    /// A client has settled a copy in a way that makes it a dead letter, or may.
    pub(crate) fn die(&mut self, by: usize, lasting: usize, number: usize, outcome: Outcome) {
        let Some(copy) = self.lasting[lasting].copies.get(&number) else { return };
        let is_refused = copy.refusals >= self.policy_at("").max_deliveries;
        let is_discarded = outcome == Outcome::Discarded;
        if outcome == Outcome::Consumed || !is_refused && !is_discarded {
            return;
        }
        let (seen, restarts) = (copy.seen, self.restarts);
        self.events += 1;
        let died = Died { number, lasting, by, is_refused, is_discarded, seen, restarts, died_at: self.events };
        let letter = match self.messages[number].letter {
            Some(letter) => letter,
            None => self.write_letter(number),
        };
        let earlier = self.messages[letter].died;
        let is_refused = is_refused || earlier.is_some_and(|earlier| earlier.is_refused);
        let is_discarded = is_discarded || earlier.is_some_and(|earlier| earlier.is_discarded);
        let seen = earlier.map_or(died.seen, |earlier| earlier.seen.min(died.seen));
        self.messages[letter].died = Some(Died { is_refused, is_discarded, seen, ..died });
        self.messages[letter].has_moved = true;
        for place in [DEAD_LETTERS, GRAVE] {
            self.touched.insert(place);
            self.note_fullness(place);
        }
    }

    /// A letter that may be there from now on.
    fn write_letter(&mut self, number: usize) -> usize {
        let letter = self.messages.len();
        (self.orders, self.events) = (self.orders + 1, self.events + 1);
        let message = &mut self.messages[number];
        message.letter = Some(letter);
        let mut own = Message::new(message.origin, message.destination, message.size);
        (own.place, own.fate, own.id) = (DEAD_LETTERS, Fate::Possible, message.id.clone());
        own.wishes.persistent = message.wishes.persistent;
        (own.order, own.sent_event) = (self.orders, self.events);
        (own.entered, own.sent_at) = (self.now, self.quiets);
        self.messages.push(own);
        letter
    }

    /// Whether the dead letters certainly take what is to come there out of a durable subscription.
    fn takes_letter(&self, lasting: usize, number: usize) -> bool {
        let Some(letter) = self.letter_from(lasting, number).map(|letter| &self.messages[letter]) else { return false };
        let is_disk_sound = |died: Died| self.unsound_at.is_none_or(|unsound| unsound < died.died_at);
        letter.fate == Fate::Accepted
            || !self.full.contains(DEAD_LETTERS)
                && letter.died.is_some_and(is_disk_sound)
                && !self.messages[number].was_unreadable
    }

    /// A copy has come that somebody may have let die.
    pub(crate) fn check_alive(&mut self, lasting: usize, number: usize, frame: &Frame) -> Check {
        let takes_letter = self.takes_letter(lasting, number);
        let letter = self.letter_from(lasting, number);
        if let Some(letter) = letter {
            self.messages[letter].was_found |= self.messages[letter].is_twofold;
        }
        let Some(copy) = self.lasting[lasting].copies.get_mut(&number).filter(|copy| copy.is_dead) else {
            return Ok(());
        };
        if takes_letter {
            let text = format!("this copy should be a dead letter: {frame}");
            let origin = self.messages[number].origin;
            return Err(Violation::new(Law::DeadLetter, text, [origin]));
        }
        // The dead letters have not taken it.
        (copy.is_dead, copy.hold) = (false, Hold::Free);
        Ok(())
    }

    /// The letter that has come, by what it was before.
    pub(crate) fn letter_of(&mut self, session: usize, number: usize, frame: &Frame) -> Result<usize, Violation> {
        let wrong = |law, text: &str| Violation::new(law, format!("{text}: {frame}"), [session]);
        let letter = self.messages[number].letter;
        let letter = letter.ok_or_else(|| wrong(Law::DeadLetter, "nothing of this topic's message has died"))?;
        let own = &self.messages[letter];
        let Some(died) = own.died.filter(|_| own.fate != Fate::Refused) else {
            return Err(wrong(Law::DeadLetter, "nothing of this topic's message has died"));
        };
        let is_new = own.seen == 0 && own.place == DEAD_LETTERS;
        if is_new && frame.header("destination") == Some(DEAD_LETTERS) {
            self.check_death(own, died, frame).map_err(|text| wrong(Law::DeadLetter, text))?;
        }
        let Some(copy) = self.lasting[died.lasting].copies.get(&number) else { return Ok(letter) };
        let (hold, is_doubtful) = (copy.hold, copy.is_doubtful);
        if let Hold::Held(by) = hold
            && self.surely_holds(by)
            && !is_doubtful
            && !self.sessions[self.subscriptions[by].session].was_stalled
        {
            return Err(wrong(Law::TwoConsumers, "a session has this copy"));
        }
        if let Some(copy) = self.lasting[died.lasting].copies.get_mut(&number) {
            // It is forgotten in the moment in which the letter is stored.
            (copy.hold, copy.is_settled) = (Hold::Consumed(died.by), true);
        }
        Ok(letter)
    }

    /// Whether a copy died for the reason that its letter says, at that time.
    fn check_death(&self, letter: &Message, died: Died, frame: &Frame) -> Result<(), &'static str> {
        let was_restarted = died.restarts < self.restarts;
        let is_due = match frame.header("dead-letter-reason") {
            Some("discarded") => died.is_discarded,
            // What was discarded before a crash is found as one that was refused too often.
            Some("max-deliveries") => died.is_refused || died.is_discarded && was_restarted,
            _ => false,
        };
        if !is_due {
            return Err("moved to the dead letters for another reason");
        }
        let count = frame.header("delivery-count").and_then(|text| text.parse::<u32>().ok());
        if count.is_none_or(|count| count < died.seen) && !was_restarted {
            return Err("it was delivered more often");
        }
        let time = frame.header("dead-letter-time").and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let time = Duration::from_millis(time.saturating_sub(START_EPOCH_MS));
        if time > self.now || time < letter.entered { Err("moved at a wrong time") } else { Ok(()) }
    }

    /// There is word that these copies are settled, and that this is stored: their letters are there.
    pub(crate) fn letters_stored(&mut self, lasting: usize, settled: &[usize]) {
        for number in settled {
            self.accept_letter(lasting, *number);
        }
    }

    /// All is quiet: who has died is among the dead letters.
    pub(crate) fn accept_letters(&mut self) {
        for letter in 0..self.messages.len() {
            if let Some(died) = self.messages[letter].died.filter(|_| !self.messages[letter].is_forgotten) {
                self.accept_letter(died.lasting, died.number);
            }
        }
    }

    fn accept_letter(&mut self, lasting: usize, number: usize) {
        let is_dead = |copy: &crate::copies::Copy| copy.is_dead && matches!(copy.hold, Hold::Consumed(_));
        let is_dead = self.lasting[lasting].copies.get(&number).is_some_and(is_dead);
        let letter = self.letter_from(lasting, number);
        if let Some(letter) = letter.filter(|_| is_dead && self.takes_letter(lasting, number)) {
            self.messages[letter].has_moved = false;
            self.accept(letter);
        }
    }

    /// A copy is not settled after all.
    pub(crate) fn tear_letter(&mut self, lasting: usize, number: usize) {
        if let Some(letter) = self.letter_from(lasting, number) {
            self.messages[letter].fate = Fate::Refused;
            self.messages[number].letter = None;
        }
    }

    /// The letter that may have come of a copy.
    pub(crate) fn letter_from(&self, lasting: usize, number: usize) -> Option<usize> {
        let letter = self.messages[number].letter?;
        self.messages[letter].died.filter(|died| died.lasting == lasting).map(|_| letter)
    }

    /// Whether a copy that is nowhere else may be, or have been, among the dead letters.
    pub(crate) fn may_be_letter(&self, lasting: usize, number: usize) -> bool {
        self.letter_from(lasting, number).is_some_and(|letter| {
            let own = &self.messages[letter];
            let is_found = own.was_found || own.seen > 0 || own.hold != Hold::Free || own.fate == Fate::Accepted;
            is_found || self.may_be_gone(own) || self.at_risk(&self.places(own)) > 0
        })
    }
}
