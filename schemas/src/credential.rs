//! What is hashed to find a device by what it shows. Both planes must agree on it byte for byte; the hashing itself is theirs:
//! SHA-256 for what nobody can guess, HMAC-SHA-256 under the installation's key for passwords (DESIGN 8.7, 27).

/// MQTT basic credentials, as stored or as shown; `None`: not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Basic<'a> {
    pub client_id: Option<&'a str>,
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

impl Basic<'_> {
    /// The bytes whose HMAC-SHA-256 under the installation's key is the credential's `token_sha256`. No two different
    /// credentials have the same.
    #[must_use]
    pub fn form(&self) -> Vec<u8> {
        let mut form = b"tidegate basic 1".to_vec();
        for field in [self.client_id.map(str::as_bytes), self.user_name.map(str::as_bytes), self.password] {
            form.push(u8::from(field.is_some()));
            let field = field.unwrap_or_default();
            form.extend_from_slice(&(field.len() as u64).to_be_bytes());
            form.extend_from_slice(field);
        }
        form
    }
}

/// The bytes whose SHA-256 is the `token_sha256` of a certificate, given in DER.
#[must_use]
pub fn certificate_form(der: &[u8]) -> Vec<u8> {
    [b"tidegate x509 1", der].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_credentials_have_different_forms() {
        let field = [None, Some(""), Some("a"), Some("ab"), Some("b")];
        let mut forms = Vec::new();
        for client_id in field {
            for user_name in field {
                for password in field {
                    forms.push(Basic { client_id, user_name, password: password.map(str::as_bytes) }.form());
                }
            }
        }
        let count = forms.len();
        forms.sort();
        forms.dedup();
        assert_eq!(forms.len(), count);
    }
}
