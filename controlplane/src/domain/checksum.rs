//! The checksums of OTA packages, computed piece by piece as the bytes pass: a package is never whole in memory. Written as
//! devices' SDKs compare them, which is Guava's way: numbers as their bytes, the lowest first (reference 1.7, 5).

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use md5::{Digest, Md5};

/// How a package is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha384,
    Sha512,
    Crc32,
    Murmur3x32,
    Murmur3x128,
}

impl Algorithm {
    pub const ALL: [Self; 7] =
        [Self::Md5, Self::Sha256, Self::Sha384, Self::Sha512, Self::Crc32, Self::Murmur3x32, Self::Murmur3x128];

    /// ThingsBoard's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Crc32 => "CRC32",
            Self::Murmur3x32 => "MURMUR3_32",
            Self::Murmur3x128 => "MURMUR3_128",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Hexadecimal digits of a checksum.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Self::Crc32 | Self::Murmur3x32 => 8,
            Self::Md5 | Self::Murmur3x128 => 32,
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

/// A checksum under way.
#[derive(Debug)]
pub struct Checksum(State);

enum State {
    Md5(Md5),
    Sha(digest::Context),
    Crc32(crc32fast::Hasher),
    Murmur32(Blocks<4, Murmur32>),
    Murmur128(Blocks<16, Murmur128>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a checksum under way")
    }
}

impl Checksum {
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::Sha256 => State::Sha(digest::Context::new(&SHA256)),
            Algorithm::Sha384 => State::Sha(digest::Context::new(&SHA384)),
            Algorithm::Sha512 => State::Sha(digest::Context::new(&SHA512)),
            Algorithm::Crc32 => State::Crc32(crc32fast::Hasher::new()),
            Algorithm::Murmur3x32 => State::Murmur32(Blocks::new(Murmur32(0))),
            Algorithm::Murmur3x128 => State::Murmur128(Blocks::new(Murmur128(0, 0))),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(md5) => md5.update(bytes),
            State::Sha(sha) => sha.update(bytes),
            State::Crc32(crc) => crc.update(bytes),
            State::Murmur32(murmur) => murmur.update(bytes),
            State::Murmur128(murmur) => murmur.update(bytes),
        }
    }

    /// The checksum as lower-case hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        match self.0 {
            State::Md5(md5) => hex(&md5.finalize()),
            State::Sha(sha) => hex(sha.finish().as_ref()),
            State::Crc32(crc) => hex(&crc.finalize().to_le_bytes()),
            State::Murmur32(murmur) => hex(&murmur.finish()),
            State::Murmur128(murmur) => hex(&murmur.finish()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash of whole blocks and a tail.
trait Murmur<const BLOCK: usize> {
    fn block(&mut self, block: [u8; BLOCK]);
    /// `tail` is what did not fill a block, zeros behind it; `length` is that of everything.
    fn end(self, tail: [u8; BLOCK], length: u64) -> Vec<u8>;
}

/// Cuts what comes into blocks.
struct Blocks<const BLOCK: usize, M> {
    murmur: M,
    open: [u8; BLOCK],
    filled: usize,
    length: u64,
}

impl<const BLOCK: usize, M: Murmur<BLOCK>> Blocks<BLOCK, M> {
    fn new(murmur: M) -> Self {
        Self { murmur, open: [0; BLOCK], filled: 0, length: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if self.filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.keep(head);
            bytes = rest;
            if self.filled < BLOCK {
                return;
            }
            self.murmur.block(self.open);
            self.filled = 0;
        }
        let (blocks, tail) = bytes.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| self.murmur.block(*block));
        self.keep(tail);
    }

    fn keep(&mut self, bytes: &[u8]) {
        for (place, byte) in self.open.iter_mut().skip(self.filled).zip(bytes) {
            *place = *byte;
        }
        self.filled += bytes.len();
    }

    fn finish(mut self) -> Vec<u8> {
        self.open.iter_mut().skip(self.filled).for_each(|byte| *byte = 0);
        self.murmur.end(self.open, self.length)
    }
}

/// MurmurHash3_x86_32 with seed 0.
struct Murmur32(u32);

impl Murmur32 {
    fn mixed(word: u32) -> u32 {
        word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }
}

impl Murmur<4> for Murmur32 {
    fn block(&mut self, block: [u8; 4]) {
        self.0 ^= Self::mixed(u32::from_le_bytes(block));
        self.0 = self.0.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the algorithm counts bytes in 32 bits")]
    fn end(self, tail: [u8; 4], length: u64) -> Vec<u8> {
        // A tail of zeros mixes to zero, so an empty one changes nothing.
        let mut hash = self.0 ^ Self::mixed(u32::from_le_bytes(tail)) ^ length as u32;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        (hash ^ hash >> 16).to_le_bytes().to_vec()
    }
}

/// MurmurHash3_x64_128 with seed 0.
struct Murmur128(u64, u64);

impl Murmur128 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;

    fn words(block: [u8; 16]) -> (u64, u64) {
        let both = u128::from_le_bytes(block);
        #[expect(clippy::cast_possible_truncation, reason = "the lower and the upper half")]
        let words = (both as u64, (both >> 64) as u64);
        words
    }

    fn low(word: u64) -> u64 {
        word.wrapping_mul(Self::C1).rotate_left(31).wrapping_mul(Self::C2)
    }

    fn high(word: u64) -> u64 {
        word.wrapping_mul(Self::C2).rotate_left(33).wrapping_mul(Self::C1)
    }

    fn avalanche(mut word: u64) -> u64 {
        word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ word >> 33
    }
}

impl Murmur<16> for Murmur128 {
    fn block(&mut self, block: [u8; 16]) {
        let (low, high) = Self::words(block);
        self.0 = (self.0 ^ Self::low(low)).rotate_left(27).wrapping_add(self.1);
        self.0 = self.0.wrapping_mul(5).wrapping_add(0x52dc_e729);
        self.1 = (self.1 ^ Self::high(high)).rotate_left(31).wrapping_add(self.0);
        self.1 = self.1.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }

    fn end(self, tail: [u8; 16], length: u64) -> Vec<u8> {
        let (low, high) = Self::words(tail);
        let (mut one, mut two) = (self.0 ^ Self::low(low) ^ length, self.1 ^ Self::high(high) ^ length);
        one = one.wrapping_add(two);
        two = two.wrapping_add(one);
        (one, two) = (Self::avalanche(one), Self::avalanche(two));
        one = one.wrapping_add(two);
        two = two.wrapping_add(one);
        [one.to_le_bytes(), two.to_le_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(algorithm: Algorithm, bytes: &[u8], expected: &str) {
        let mut sum = Checksum::new(algorithm);
        sum.update(bytes);
        let found = sum.finish();
        assert_eq!((found.as_str(), found.len()), (expected, algorithm.digits()), "{algorithm:?} of {bytes:?}");
    }

    /// Known answers; the numbers of CRC32 and Murmur3 with their lowest byte first.
    #[test]
    fn sums_are_those_devices_compute() {
        let fox = b"The quick brown fox jumps over the lazy dog";
        check(Algorithm::Md5, fox, "9e107d9d372bb6826bd81d3542a419d6");
        check(Algorithm::Sha256, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let sha384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        check(Algorithm::Sha384, b"abc", sha384);
        let sha512 = concat!(
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
        check(Algorithm::Sha512, b"abc", sha512);
        check(Algorithm::Crc32, b"123456789", "2639f4cb");
        check(Algorithm::Murmur3x32, b"", "00000000");
        check(Algorithm::Murmur3x32, b"hello", "47fa8b24");
        check(Algorithm::Murmur3x32, fox, "23f74f2e");
        check(Algorithm::Murmur3x128, b"", &"0".repeat(32));
        check(Algorithm::Murmur3x128, b"hello", "029bbd41b3a7d8cb191dae486a901e5b");
        check(Algorithm::Murmur3x128, fox, "6c1b07bc7bbc4be347939ac4a93c437a");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<[prop::sample::Index; 3]>()) {
            for algorithm in Algorithm::ALL {
                let mut whole = Checksum::new(algorithm);
                whole.update(&bytes);
                let mut cuts: Vec<usize> = cut.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort_unstable();
                let mut pieces = Checksum::new(algorithm);
                cuts.windows(2).for_each(|pair| pieces.update(&bytes[pair[0]..pair[1]]));
                prop_assert_eq!(whole.finish(), pieces.finish());
            }
        }
    }
}
