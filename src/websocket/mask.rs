//! Removing a client's mask.

/// A frame's masking key, turned to the position that the next byte has in the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// Unmasks the next piece of the frame's payload in place.
    pub(super) fn apply(&mut self, piece: &mut [u8]) {
        let [a, b, c, d] = self.0;
        // Whole blocks as one integer each: the compiler turns this into vector instructions.
        let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
        let (blocks, rest) = piece.as_chunks_mut::<16>();
        for block in blocks {
            *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
        }
        let (words, rest) = rest.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(self.0)).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0) {
            *byte ^= key;
        }
        // Only the rest turns the key: by less than four bytes, whose number fits.
        self.0 = u32::from_le_bytes(self.0).rotate_right(8 * rest.len() as u32).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasks_by_position_however_the_payload_is_cut() {
        let key = [0x11, 0x80, 0xff, 0x03];
        let plain: Vec<u8> = (0..100).collect();
        let masked: Vec<u8> = plain.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for first in 0..=plain.len() {
            for second in [first, (first + 3).min(100), (first + 17).min(100), (first + 32).min(100)] {
                let mut bytes = masked.clone();
                let mut mask = Mask::new(key);
                mask.apply(&mut bytes[..first]);
                mask.apply(&mut bytes[first..second]);
                mask.apply(&mut bytes[second..]);
                assert_eq!(bytes, plain, "cut at {first} and {second}");
            }
        }
    }
}
