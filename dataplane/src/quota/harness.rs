//! What must hold of limits for any sequence of deeds and moments: called by the property tests and by the fuzz target. Panics
//! when it does not hold, so the server never calls it.

mod connections;
mod logins;
mod rates;

/// Reads `script` as deeds done to one of the values of this module, compares it with a simple model after each.
///
/// # Panics
/// When they differ.
pub fn any(script: &[u8]) {
    let mut script = Script(script);
    match script.byte().map(|byte| byte % 5) {
        Some(0) => rates::bucket(&mut script),
        Some(1) => rates::device(&mut script),
        Some(2) => rates::leases(&mut script),
        Some(3) => logins::throttle(&mut script),
        Some(_) => connections::admission(&mut script),
        None => {}
    }
}

/// Bytes as numbers.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Of any size: 16 bits and by how far they are shifted. 0 at the end.
    fn number(&mut self) -> u64 {
        let [shift, high, low] = [self.byte(), self.byte(), self.byte()].map(Option::unwrap_or_default);
        u64::from(u16::from_be_bytes([high, low])) << (shift % 49)
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte().unwrap_or_default() % end
    }
}
