//! An OTA package: firmware or software of the devices of one profile. Never holds its bytes.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Algorithm, Invalid, name, optional_name};

const URL_BYTES_MAX: usize = 2_048;
const ADDITIONAL_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageKind {
    Firmware,
    Software,
}

impl PackageKind {
    pub const ALL: [Self; 2] = [Self::Firmware, Self::Software];

    /// ThingsBoard's `type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Firmware => "FIRMWARE",
            Self::Software => "SOFTWARE",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the keys that devices see begin with: `fw_title`, `sw_title`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Firmware => "fw",
            Self::Software => "sw",
        }
    }

    /// How a sentence names it.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Software => "software",
        }
    }
}

/// What is known of a package's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageBytes {
    pub file_name: String,
    pub content_type: String,
    pub algorithm: Algorithm,
    /// Lower-case hexadecimal digits.
    pub checksum: String,
    pub size: u64,
}

/// Where a package is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackagePlace {
    /// Its bytes are still to be uploaded.
    Nowhere,
    /// The platform has them.
    Here(PackageBytes),
    /// Devices fetch it themselves.
    Url(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub profile: Uuid,
    pub kind: PackageKind,
    pub title: String,
    /// ThingsBoard's `version`, which is the package's own and no number of a row. Unique with the title in the tenant.
    pub release: String,
    pub tag: Option<String>,
    pub place: PackagePlace,
    pub additional_info: Value,
}

impl Package {
    /// How a list names it.
    #[must_use]
    pub fn named(&self) -> String {
        format!("{} {}", self.title, self.release)
    }

    /// May it be given to devices already?
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.place != PackagePlace::Nowhere
    }
}

/// What a client sends to create (`id: None`) or change a package. What it is never changes: devices may have it already.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageDraft {
    pub id: Option<Uuid>,
    pub profile: Option<Uuid>,
    pub kind: PackageKind,
    pub title: String,
    pub release: String,
    pub tag: Option<String>,
    pub url: Option<String>,
    pub additional_info: Value,
}

impl PackageDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        let url = self.url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        if let Some(url) = url {
            let known = ["http://", "https://", "coap://", "coaps://", "ftp://"].iter().any(|scheme| url.starts_with(scheme));
            if !known || url.len() > URL_BYTES_MAX || url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
                let rule = format!("must be a URL of at most {URL_BYTES_MAX} bytes, such as https://example.org/fw.bin");
                return Err(Invalid::new("url", url, rule));
            }
        }
        let additional_bytes = self.additional_info.to_string().len();
        if additional_bytes > ADDITIONAL_BYTES_MAX {
            let rule = format!("must have at most {ADDITIONAL_BYTES_MAX} bytes");
            return Err(Invalid::new("additionalInfo", &format!("{additional_bytes} bytes"), rule));
        }
        Ok(Self {
            title: name("title", &self.title)?,
            release: name("version", &self.release)?,
            tag: optional_name("tag", self.tag.as_deref())?,
            url: url.map(str::to_owned),
            ..self
        })
    }
}

/// Which packages of the tenant a list shows; `None` does not narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackageFilter {
    pub profile: Option<Uuid>,
    pub kind: Option<PackageKind>,
    /// Only those that may be given to devices.
    pub with_data: bool,
}

/// What an upload says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadDraft {
    pub file_name: String,
    pub content_type: String,
    pub algorithm: Algorithm,
    /// What the bytes must sum up to; `None`: whatever they do.
    pub checksum: Option<String>,
}

impl UploadDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        let digits = self.algorithm.digits();
        let checksum = self.checksum.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
        if let Some(text) = &checksum
            && (text.len() != digits || !text.chars().all(|digit| digit.is_ascii_hexdigit()))
        {
            let rule = format!("must be {digits} hexadecimal digits of {}", self.algorithm.name());
            return Err(Invalid::new("checksum", text, rule));
        }
        let file_name = name("fileName", &self.file_name)?;
        let content_type = name("contentType", &self.content_type)?;
        if !content_type.is_ascii() {
            return Err(Invalid::new("contentType", &content_type, "must be ASCII"));
        }
        Ok(Self { file_name, content_type, checksum, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> PackageDraft {
        PackageDraft {
            id: None,
            profile: None,
            kind: PackageKind::Firmware,
            title: "T".to_owned(),
            release: "1.0".to_owned(),
            tag: Some(" ".to_owned()),
            url: None,
            additional_info: Value::Null,
        }
    }

    fn upload(algorithm: Algorithm, checksum: &str) -> UploadDraft {
        let checksum = Some(checksum.to_owned());
        UploadDraft { file_name: "a.bin".to_owned(), content_type: "text/plain".to_owned(), algorithm, checksum }
    }

    fn check<T: std::fmt::Debug>(outcome: Result<T, Invalid>, expected: &str) {
        let said = outcome.map_or_else(|invalid| invalid.to_string(), |_| "accepted".to_owned());
        assert!(said.contains(expected), "{said} does not say {expected}");
    }

    #[test]
    fn packages_are_accepted_or_named() {
        check(draft().checked(), "accepted");
        assert_eq!(draft().checked().unwrap().tag, None, "a blank tag is none");
        check(PackageDraft { title: String::new(), ..draft() }.checked(), "title");
        check(PackageDraft { release: "\n".to_owned(), ..draft() }.checked(), "version");
        check(PackageDraft { url: Some("https://example.org/a.bin".to_owned()), ..draft() }.checked(), "accepted");
        for url in ["example.org", "javascript:alert(1)", "http://a b", &format!("http://{}", "a".repeat(URL_BYTES_MAX))] {
            check(PackageDraft { url: Some(url.to_owned()), ..draft() }.checked(), "url: ");
        }
        let long = Value::String("a".repeat(ADDITIONAL_BYTES_MAX));
        check(PackageDraft { additional_info: long, ..draft() }.checked(), "additionalInfo");
    }

    #[test]
    fn uploads_are_accepted_or_named() {
        check(upload(Algorithm::Crc32, "2639F4CB").checked(), "accepted");
        check(upload(Algorithm::Crc32, "").checked(), "accepted");
        check(upload(Algorithm::Crc32, "2639f4c").checked(), "must be 8 hexadecimal digits of CRC32");
        check(upload(Algorithm::Sha256, "2639f4cb").checked(), "64 hexadecimal");
        check(upload(Algorithm::Crc32, "2639f4cx").checked(), "checksum");
        check(UploadDraft { file_name: "a\0b".to_owned(), ..upload(Algorithm::Md5, "") }.checked(), "fileName");
        check(UploadDraft { content_type: "tëxt".to_owned(), ..upload(Algorithm::Md5, "") }.checked(), "contentType");
    }
}
