//! The few facts of an X.509 certificate that a handshake needs: dates, purposes, host names, key. Reads DER and is total on any
//! bytes. Verifies nothing, knows nothing of chains.

use std::time::Duration;

use rustls::pki_types::UnixTime;

/// What is read of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    /// The whole SubjectPublicKeyInfo.
    pub(super) public_key_info: &'a [u8],
    /// Its AlgorithmIdentifier, without tag and length.
    pub(super) key_algorithm: &'a [u8],
    pub(super) key: &'a [u8],
    /// May authenticate a TLS client: it says so, or names no purposes at all.
    pub(super) for_clients: bool,
    /// The content of subjectAltName.
    names: &'a [u8],
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1D, 0x25, 0x00];
const CLIENT_AUTHENTICATION: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

impl<'a> Facts<'a> {
    /// Reads a certificate of any version; `None` if it is not one.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut signed = Der(outer.expect(SEQUENCE)?);
        let mut body = Der(signed.expect(SEQUENCE)?);
        let (_algorithm, _signature) = (signed.expect(SEQUENCE)?, signed.expect(BIT_STRING)?);
        if !outer.0.is_empty() || !signed.0.is_empty() {
            return None;
        }
        body.optional(VERSION);
        let _serial = body.expect(INTEGER)?;
        let (_algorithm, _issuer) = (body.expect(SEQUENCE)?, body.expect(SEQUENCE)?);
        let mut validity = Der(body.expect(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let _subject = body.expect(SEQUENCE)?;
        let before = body.0;
        let mut public_key = Der(body.expect(SEQUENCE)?);
        let public_key_info = before.get(..before.len() - body.0.len())?;
        let key_algorithm = public_key.expect(SEQUENCE)?;
        let (unused_bits, key) = public_key.expect(BIT_STRING)?.split_first()?;
        let extensions = body.last(EXTENSIONS)?;
        if *unused_bits != 0 {
            return None;
        }
        let extension = |id| extensions.map_or(Some(None), |extensions| find_extension(extensions, id));
        let for_clients = extension(EXTENDED_KEY_USAGE)?.map_or(Some(true), allows_clients)?;
        let names = extension(SUBJECT_ALT_NAME)?.map_or(Some(&[][..]), |value| Der(value).expect(SEQUENCE))?;
        Some(Self { not_before, not_after, public_key_info, key_algorithm, key, for_clients, names })
    }

    /// The DNS names in subjectAltName.
    pub(super) fn dns_names(&self) -> impl Iterator<Item = &'a str> {
        let mut names = Der(self.names);
        let elements = std::iter::from_fn(move || names.element());
        elements.filter(|(tag, _)| *tag == DNS_NAME).filter_map(|(_, name)| std::str::from_utf8(name).ok())
    }
}

/// Whether a certificate's name stands for this host: itself, or with `*` for the first label.
pub(super) fn matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        None => name.eq_ignore_ascii_case(host),
        Some(domain) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && domain.eq_ignore_ascii_case(rest)),
    }
}

/// The value of an extension, if it is there; `None` if they are malformed.
fn find_extension<'a>(extensions: &'a [u8], id: &[u8]) -> Option<Option<&'a [u8]>> {
    let mut list = Der(Der(extensions).expect(SEQUENCE)?);
    while !list.0.is_empty() {
        let mut extension = Der(list.expect(SEQUENCE)?);
        let found = extension.expect(OBJECT_IDENTIFIER)? == id;
        extension.optional(BOOLEAN);
        let value = extension.expect(OCTET_STRING)?;
        if found {
            return Some(Some(value));
        }
    }
    Some(None)
}

fn allows_clients(extended_key_usage: &[u8]) -> Option<bool> {
    let mut purposes = Der(Der(extended_key_usage).expect(SEQUENCE)?);
    let mut allowed = false;
    while !purposes.0.is_empty() {
        let purpose = purposes.expect(OBJECT_IDENTIFIER)?;
        allowed |= purpose == CLIENT_AUTHENTICATION || purpose == ANY_PURPOSE;
    }
    Some(allowed)
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        // No certificate has longer lengths than three bytes can say, nor tags beyond one byte.
        let (length, rest) = match usize::from(*first) {
            length @ ..=0x7F => (length, rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(*first & 0x7F))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                // DER has one way to say a length: the shortest.
                let shortest = length > 0x7F && bytes.first() != Some(&0);
                (shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.element()?;
        (found == tag).then_some(content)
    }

    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.expect(tag)?;
        *self = ahead;
        Some(content)
    }

    /// The element with this tag, behind others that may be there; `None` if what is left is malformed.
    fn last(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        while !self.0.is_empty() {
            let (found, content) = self.element()?;
            if found == tag {
                return Some(Some(content));
            }
        }
        Some(None)
    }

    /// UTCTime or GeneralizedTime, in UTC and with seconds, as certificates must have them (RFC 5280, 4.1.2.5).
    fn time(&mut self) -> Option<UnixTime> {
        let (tag, text) = self.element()?;
        let digits = text.strip_suffix(b"Z")?;
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
            }
            (GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let mut pairs = rest.chunks(2).map(number);
        let mut next = |range: std::ops::RangeInclusive<i64>| pairs.next().flatten().filter(|value| range.contains(value));
        let (month, day) = (next(1..=12)?, next(1..=31)?);
        let (hour, minute, second) = (next(0..=23)?, next(0..=59)?, next(0..=60)?);
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        // Whatever lies before 1970 is as far in the past as can be said.
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar: years begin in March, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(tag: u8, text: &str) -> Option<u64> {
        let mut element = vec![tag, u8::try_from(text.len()).unwrap()];
        element.extend_from_slice(text.as_bytes());
        Der(&element).time().map(|time| time.as_secs())
    }

    #[test]
    fn times_are_read_as_the_calendar_has_them() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "240229235959Z", Some(1_709_251_199)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "20000301000000Z", Some(951_868_800)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "19690720201700Z", Some(0)),
            (UTC_TIME, "2402292359Z", None),
            (UTC_TIME, "240229235959+0100", None),
            (UTC_TIME, "241329235959Z", None),
            (UTC_TIME, "24022923595xZ", None),
            (GENERALIZED_TIME, "240229235959Z", None),
            (INTEGER, "240229235959Z", None),
            (UTC_TIME, "", None),
        ] {
            assert_eq!(time(tag, text), expected, "{text}");
        }
    }

    #[test]
    fn names_match_hosts() {
        for (name, host, expected) in [
            ("mqtt.example.com", "MQTT.example.com", true),
            ("mqtt.example.com", "example.com", false),
            ("*.example.com", "mqtt.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("*", "example", false),
        ] {
            assert_eq!(matches(name, host), expected, "{name} {host}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_certificate_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Some(facts) = Facts::read(&bytes) {
                assert!(facts.dns_names().count() <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_certificate_is_one_or_not(at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<prop::sample::Index>()) {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["a.example".to_owned(), "b.example".to_owned()]).unwrap();
            let mut der = params.self_signed(&key).unwrap().der().to_vec();
            assert_eq!(Facts::read(&der).unwrap().dns_names().collect::<Vec<_>>(), ["a.example", "b.example"]);
            let index = at.index(der.len());
            assert_eq!(Facts::read(&der[..index]), None, "cut off");
            der[index] ^= 1 << bit;
            let _facts = Facts::read(&der[..=cut.index(der.len())]);
            let _facts = Facts::read(&der).map(|facts| facts.dns_names().count());
        }
    }
}
