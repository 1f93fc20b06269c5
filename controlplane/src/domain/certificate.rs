//! X.509 certificates as text and as what they say: who a device is, and whether an authority vouches for it. Signatures are
//! checked by webpki. Never asks the time, never holds a private key.

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, time::Duration};

use aws_lc_rs::digest::{SHA3_256, SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, UnixTime};
use schemas::credential::certificate_form;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::domain::{Invalid, hex};

/// The longest text of one certificate, in bytes.
const TEXT_BYTES_MAX: usize = 32_768;
/// Certificates that a device may show.
pub const CHAIN_MAX: usize = 10;
/// The longest certificate, in bytes of DER.
const DER_BYTES_MAX: usize = 16_384;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A certificate that could be read. Not yet one that is trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Vec<u8>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

impl Certificate {
    /// Reads one PEM certificate, with or without its header and footer, however its lines are broken.
    ///
    /// # Errors
    /// [`Invalid`] naming `field`: no PEM, more than one certificate, no X.509 version 3.
    pub fn read(field: &'static str, text: &str) -> Result<Self, Invalid> {
        match bodies(field, text)?.as_slice() {
            [body] => Self::from_body(field, body),
            several => Err(Invalid::new(field, &format!("{} certificates", several.len()), "must be one certificate")),
        }
    }

    /// The first of the certificates in a PEM file: of an authority, its own comes first.
    ///
    /// # Errors
    /// [`Invalid`] naming `field`.
    pub fn read_first(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let bodies = bodies(field, text)?;
        let first = bodies.first().ok_or_else(|| Invalid::new(field, "", "must be a PEM certificate"))?;
        let first = Self::from_body_as_is(field, first)?;
        anchor_from_trusted_cert(&CertificateDer::from(first.0.as_slice()))
            .map_err(|error| Invalid::new(field, "(a certificate)", format!("cannot be an authority: {error}")))?;
        Ok(first)
    }

    /// # Errors
    /// [`Invalid`]: no X.509 version 3.
    pub fn from_der(field: &'static str, der: Vec<u8>) -> Result<Self, Invalid> {
        if der.len() > DER_BYTES_MAX {
            let rule = format!("must have at most {DER_BYTES_MAX} bytes, has {}", der.len());
            return Err(Invalid::new(field, "(a certificate)", rule));
        }
        EndEntityCert::try_from(&CertificateDer::from(der.as_slice())).map_err(|error| {
            Invalid::new(field, "(a certificate)", format!("must be an X.509 certificate, version 3: {error}"))
        })?;
        Ok(Self(der))
    }

    fn from_body(field: &'static str, body: &str) -> Result<Self, Invalid> {
        let Self(der) = Self::from_body_as_is(field, body)?;
        Self::from_der(field, der)
    }

    fn from_body_as_is(field: &'static str, body: &str) -> Result<Self, Invalid> {
        let der = STANDARD.decode(body).map_err(|_| Invalid::new(field, body, "must be a PEM certificate: base64 of DER"))?;
        Ok(Self(der))
    }

    /// The PEM body on one line: ThingsBoard's `credentialsValue`.
    #[must_use]
    pub fn body(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// ThingsBoard's `credentialsId`: SHA3-256 of [`Certificate::body`] in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(digest(&SHA3_256, self.body().as_bytes()).as_ref())
    }

    /// What data planes find the device by.
    #[must_use]
    pub fn lookup(&self) -> Vec<u8> {
        digest(&SHA256, &certificate_form(&self.0)).as_ref().to_vec()
    }

    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The common name of its subject.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let der = CertificateDer::from(self.0.as_slice());
        let certificate = EndEntityCert::try_from(&der).ok()?;
        name::common(certificate.subject())
    }

    /// SHA-256, in hexadecimal, of the name of who signed it: what [`Certificate::subject_digest`] is of the signer.
    #[must_use]
    pub fn issuer_digest(&self) -> Option<String> {
        let der = CertificateDer::from(self.0.as_slice());
        let certificate = EndEntityCert::try_from(&der).ok()?;
        Some(hex(digest(&SHA256, certificate.issuer()).as_ref()))
    }

    /// SHA-256 of an authority's own name, in hexadecimal.
    #[must_use]
    pub fn subject_digest(&self) -> Option<String> {
        let der = CertificateDer::from(self.0.as_slice());
        let anchor = anchor_from_trusted_cert(&der).ok()?;
        Some(hex(digest(&SHA256, anchor.subject.as_ref()).as_ref()))
    }
}

/// The bodies of the certificates in a PEM text, without white space; of a text without header, the text.
fn bodies(field: &'static str, text: &str) -> Result<Vec<String>, Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Invalid::new(field, "", format!("must have at most {TEXT_BYTES_MAX} bytes, has {}", text.len())));
    }
    let bare = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
    if !text.contains(BEGIN) {
        return Ok(vec![bare(text)]);
    }
    let bodies = text.split(BEGIN).skip(1).map(|rest| {
        let (body, _) = rest.split_once(END).ok_or_else(|| Invalid::new(field, rest, "must end with its PEM footer"))?;
        Ok(bare(body))
    });
    bodies.collect()
}

/// Whether `authority` vouches, over the intermediates shown, for the first of `chain` as a client, at this time: signatures,
/// dates, key usage and constraints (RFC 5280).
///
/// # Errors
/// webpki's own word for what is wrong.
pub fn verify(chain: &[Certificate], authority: &Certificate, now_ms: i64) -> Result<(), webpki::Error> {
    let [leaf, issuers @ ..] = chain else { return Err(webpki::Error::UnknownIssuer) };
    let leaf = CertificateDer::from(leaf.der());
    let authority = CertificateDer::from(authority.der());
    let anchors = [anchor_from_trusted_cert(&authority)?];
    let issuers: Vec<_> = issuers.iter().map(|one| CertificateDer::from(one.der())).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)));
    let leaf = EndEntityCert::try_from(&leaf)?;
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &issuers, now, KeyUsage::client_auth(), None, None)?;
    Ok(())
}

/// Distinguished names (X.501), as far as a common name needs. Total on any bytes.
mod name {
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    const UTF8_STRING: u8 = 0x0c;
    const PRINTABLE_STRING: u8 = 0x13;
    const TELETEX_STRING: u8 = 0x14;
    const IA5_STRING: u8 = 0x16;
    const BMP_STRING: u8 = 0x1e;
    /// 2.5.4.3
    const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

    /// The first common name in the content of an `RDNSequence`.
    pub(super) fn common(mut names: &[u8]) -> Option<String> {
        while let Some((SET, mut attributes, rest)) = element(names) {
            while let Some((SEQUENCE, attribute, others)) = element(attributes) {
                if let Some((OBJECT_IDENTIFIER, kind, value)) = element(attribute)
                    && kind == COMMON_NAME
                {
                    let (tag, text, _) = element(value)?;
                    return string(tag, text);
                }
                attributes = others;
            }
            names = rest;
        }
        None
    }

    fn string(tag: u8, bytes: &[u8]) -> Option<String> {
        match tag {
            UTF8_STRING | PRINTABLE_STRING | IA5_STRING => std::str::from_utf8(bytes).ok().map(str::to_owned),
            // Of no one's alphabet for sure; what is in use is ISO 8859-1.
            TELETEX_STRING => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
            BMP_STRING => {
                let (pairs, rest) = bytes.as_chunks::<2>();
                let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
                rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
            }
            _ => None,
        }
    }

    /// The first DER element: tag, content, what follows it.
    fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        Some((*tag, content, rest))
    }

    fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
        let (first, rest) = bytes.split_first()?;
        if *first < 0x80 {
            return Some((usize::from(*first), rest));
        }
        let count = usize::from(*first & 0x7f);
        let (digits, rest) = rest.split_at_checked(count)?;
        // Longer than any certificate that is taken.
        if count == 0 || count > 3 {
            return None;
        }
        Some((digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest))
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;

        fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
            let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
            let inside = [wrap(OBJECT_IDENTIFIER, kind), wrap(tag, value)].concat();
            wrap(SET, &wrap(SEQUENCE, &inside))
        }

        #[test]
        fn the_first_common_name_counts_in_every_alphabet() {
            let organisation = attribute(&[0x55, 0x04, 0x0a], UTF8_STRING, b"Acme");
            let check = |tag, value: &[u8], expected: Option<&str>| {
                let names = [organisation.clone(), attribute(&COMMON_NAME, tag, value)].concat();
                assert_eq!(common(&names).as_deref(), expected, "{tag:x}");
            };
            check(UTF8_STRING, "Zähler".as_bytes(), Some("Zähler"));
            check(PRINTABLE_STRING, b"meter 1", Some("meter 1"));
            check(TELETEX_STRING, b"Z\xe4hler", Some("Zähler"));
            check(BMP_STRING, &[0, b'm', 0, 0xe4], Some("mä"));
            check(BMP_STRING, &[0], None);
            check(UTF8_STRING, b"\xff", None);
            check(0x02, b"1", None);
            assert_eq!(common(&organisation), None);
            assert_eq!(common(&[]), None);
        }

        proptest! {
            #[test]
            fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
                let _ = common(&bytes);
                let _ = common(&attribute(&COMMON_NAME, UTF8_STRING, &bytes));
            }
        }
    }
}
