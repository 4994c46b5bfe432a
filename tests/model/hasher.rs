//! A quick hash of 128 bits.

use super::world::World;
use std::hash::{Hash, Hasher};

/// The fingerprint of this very state.
pub(crate) fn hash(world: &World) -> u128 {
    let mut hasher = Twice::default();
    world.hash(&mut hasher);
    hasher.both()
}

/// Two multiplicative hashes over the same words.
pub(crate) struct Twice {
    one: u64,
    two: u64,
    waiting: u64,
    bits: u32,
}

impl Default for Twice {
    fn default() -> Self {
        Self { one: 0x9e37_79b9_7f4a_7c15, two: 0xc2b2_ae3d_27d4_eb4f, waiting: 0, bits: 0 }
    }
}

impl Twice {
    fn word(&mut self, word: u64) {
        self.one = (self.one.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.two = (self.two.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }

    fn both(&mut self) -> u128 {
        let (waiting, bits) = (self.waiting, u64::from(self.bits));
        self.word(waiting);
        self.word(bits);
        let mix = |mut x: u64| {
            x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
            x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
            x ^ (x >> 32)
        };
        u128::from(mix(self.one)) << 64 | u128::from(mix(self.two))
    }
}

impl Hasher for Twice {
    fn finish(&self) -> u64 {
        let mixed = (self.one ^ self.waiting).wrapping_mul(0x9fb2_1c65_1e98_df25);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.waiting |= u64::from(byte) << self.bits;
        self.bits += 8;
        if self.bits == 64 {
            let word = std::mem::take(&mut self.waiting);
            self.bits = 0;
            self.word(word);
        }
    }

    /// Discriminants are small.
    fn write_isize(&mut self, number: isize) {
        self.write_u8(number as u8);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u8(number as u8);
    }
}
