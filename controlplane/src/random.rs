//! Secrets nobody chose. Never repeats one, never logs one.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The largest multiple of the alphabet's length in a byte: bytes beyond it would make some letters likelier.
const FAIR: u8 = 248;

/// 64 bytes, the block of HMAC-SHA-512's output.
pub(crate) fn random_key() -> [u8; 64] {
    let mut key = [0; 64];
    fill(&mut key);
    key
}

/// Letters and digits, each as likely as any other.
pub(crate) fn random_text(chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    let mut bytes = [0; 32];
    while text.len() < chars {
        fill(&mut bytes);
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        text.extend(letters.take(chars - text.len()).map(|letter| char::from(*letter)));
    }
    text
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the system's random source answers: without it no secret can be made");
}
