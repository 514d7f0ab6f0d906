//! UTF-8 validation of text that arrives in pieces.

use super::Violation;

/// Checks the text of one packet piece by piece, and fails at the first byte that no text could continue with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Check {
    /// The beginning of a character whose end has not come yet.
    tail: [u8; 3],
    len: u8,
}

impl Utf8Check {
    /// Takes the next piece of the text.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let rest = self.finish_character(piece)?;
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Violation::InvalidUtf8),
            Err(error) => {
                let tail = rest.get(error.valid_up_to()..).unwrap_or_default();
                self.keep(tail);
                Ok(())
            }
        }
    }

    /// Ends the text: it must not break off within a character.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        if self.len == 0 { Ok(()) } else { Err(Violation::InvalidUtf8) }
    }

    /// Completes the character begun in an earlier piece, if there is one, and gives back what lies behind it.
    fn finish_character<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Violation> {
        let mut rest = piece;
        while self.len > 0 {
            let Some((next, behind)) = rest.split_first() else {
                break;
            };
            let [a, b, c] = self.tail;
            let mut character = [a, b, c, 0];
            let len = usize::from(self.len);
            if let Some(slot) = character.get_mut(len) {
                *slot = *next;
            }
            let character = character.get(..=len).unwrap_or_default();
            rest = behind;
            match std::str::from_utf8(character) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(Violation::InvalidUtf8),
                Err(_) => self.keep(character),
            }
        }
        Ok(rest)
    }

    fn keep(&mut self, begun: &[u8]) {
        // Invariant: a character has at most four bytes, so what is valid so far and incomplete has at most three.
        debug_assert!(begun.len() <= self.tail.len());
        for (slot, byte) in self.tail.iter_mut().zip(begun) {
            *slot = *byte;
        }
        self.len = begun.len().min(self.tail.len()) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks `text` cut at every position; `fails_at` is the first byte that must be refused, or the length when the
    /// text only breaks off too early.
    fn check(text: &[u8], fails_at: Option<usize>) {
        for cut in 0..=text.len() {
            let mut state = Utf8Check::default();
            let verdict =
                state.feed(&text[..cut]).and_then(|()| state.feed(&text[cut..])).and_then(|()| state.finish());
            assert_eq!(verdict.is_err(), fails_at.is_some(), "{text:x?} cut at {cut}");
        }
        let mut state = Utf8Check::default();
        let failed = text.iter().position(|byte| state.feed(&[*byte]).is_err());
        let failed = failed.or_else(|| state.finish().is_err().then_some(text.len()));
        assert_eq!(failed, fails_at, "{text:x?} byte by byte");
    }

    #[test]
    fn judges_text_at_the_first_bad_byte() {
        check(b"", None);
        check(b"plain", None);
        check("κόσμε — 漢字 😀".as_bytes(), None);
        check(b"\xf4\x8f\xbf\xbf", None);
        check(b"\xed\x9f\xbf\xee\x80\x80", None);
        check(b"a\x80", Some(1));
        check(b"\xc0\xaf", Some(0));
        check(b"\xe0\x80\xaf", Some(1));
        check(b"\xed\xa0\x80", Some(1));
        check(b"\xf4\x90\x80\x80", Some(1));
        check(b"\xf5", Some(0));
        check(b"\xce\xbaz\xce", Some(4));
        check(b"\xe2\x82", Some(2));
        check(b"\xe2\x82a", Some(2));
        check(b"\xf0\x9f\x98", Some(3));
    }
}
