//! Short names made of numbers, written without the detour over `fmt`: that costs more than all the rest of a small frame.

/// Text of at most `ROOM` octets in memory of its own, written from its end to its beginning, as numbers are. What does not
/// fit is left out.
#[derive(Clone, Debug)]
pub(crate) struct Digits<const ROOM: usize> {
    text: [u8; ROOM],
    start: usize,
}

impl<const ROOM: usize> Digits<ROOM> {
    /// No text.
    pub(crate) fn new() -> Digits<ROOM> {
        Digits { text: [0; ROOM], start: ROOM }
    }

    /// Puts a letter before the text.
    #[inline]
    pub(crate) fn letter(mut self, letter: char) -> Digits<ROOM> {
        // Anything else would not be text octet by octet.
        let octet = if letter.is_ascii() { letter as u8 } else { b'?' };
        self.put(octet);
        self
    }

    /// Puts a number before the text.
    #[inline]
    pub(crate) fn decimal(mut self, mut number: u64) -> Digits<ROOM> {
        loop {
            // The remainder of ten is one digit.
            self.put(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                return self;
            }
        }
    }

    /// Puts a number before the text in lower-case hexadecimal, with zeros before it up to so many digits.
    #[inline]
    pub(crate) fn hexadecimal(mut self, mut number: u64, least: usize) -> Digits<ROOM> {
        let mut digits = 0;
        loop {
            // Four bits are one digit.
            let digit = (number & 15) as u8;
            self.put(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
            number >>= 4;
            digits += 1;
            if number == 0 && digits >= least {
                return self;
            }
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        // Invariant: every octet that was put is ASCII.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The octets of the text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }

    #[inline]
    fn put(&mut self, octet: u8) {
        if let Some(place) = self.start.checked_sub(1).and_then(|at| self.text.get_mut(at)) {
            *place = octet;
            self.start -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_fmt_writes_them() {
        for number in [0, 1, 9, 10, 15, 16, 99, 100, 255, 12_345, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Digits::<20>::new().decimal(number).as_str(), number.to_string());
            assert_eq!(Digits::<16>::new().hexadecimal(number, 1).as_str(), format!("{number:x}"));
            assert_eq!(Digits::<16>::new().hexadecimal(number, 8).as_str(), format!("{number:08x}"));
        }
        assert_eq!(Digits::<9>::new().decimal(12).letter('-').hexadecimal(0xab, 1).as_str(), "ab-12");
        assert_eq!(Digits::<2>::new().decimal(123).as_str(), "23");
    }
}
