//! A choice after the other out of the bytes of an input. Beyond their end everything is 0 and empty, so that every input means something.

use std::borrow::Cow;

/// The bytes that are left.
#[derive(Debug, Clone, Copy)]
pub struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    /// Choices out of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// The next eight bytes as a number; most numbers that matter are small or at an edge, so a first byte below 240 is the number itself.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            small @ 0..240 => i64::from(small),
            240 => -1,
            241 => i64::MAX,
            242 => i64::MIN,
            243 => (1 << 40) - 1,
            244 => 1 << 40,
            245 => (1 << 23) - 1,
            _ => {
                let mut number = [0; 8];
                number.iter_mut().for_each(|byte| *byte = self.byte());
                i64::from_le_bytes(number)
            }
        }
    }

    /// The next run of bytes, with its length (two bytes) before it.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// As [`Dice::bytes`], as text.
    pub fn text(&mut self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }
}
