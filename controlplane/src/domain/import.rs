//! Devices out of a CSV file, as ThingsBoard's bulk import takes them: which column means what, and what each line asks for.
//! Never looks at what is stored.

use serde_json::json;

use crate::domain::{Certificate, CredentialDraft, DeviceDraft, Invalid};

/// Lines of one import.
pub const IMPORT_LINES_MAX: usize = 50_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Name,
    Type,
    Label,
    Description,
    IsGateway,
    AccessToken,
    X509,
    MqttClientId,
    MqttUserName,
    MqttPassword,
}

impl Column {
    /// By ThingsBoard's name.
    ///
    /// # Errors
    /// [`Invalid`]: there is no such column type, or this version does not offer it.
    pub fn named(name: &str) -> Result<Self, Invalid> {
        match name {
            "NAME" => Ok(Self::Name),
            "TYPE" => Ok(Self::Type),
            "LABEL" => Ok(Self::Label),
            "DESCRIPTION" => Ok(Self::Description),
            "IS_GATEWAY" => Ok(Self::IsGateway),
            "ACCESS_TOKEN" => Ok(Self::AccessToken),
            "X509" => Ok(Self::X509),
            "MQTT_CLIENT_ID" => Ok(Self::MqttClientId),
            "MQTT_USER_NAME" => Ok(Self::MqttUserName),
            "MQTT_PASSWORD" => Ok(Self::MqttPassword),
            other => {
                let rule = "must be NAME, TYPE, LABEL, DESCRIPTION, IS_GATEWAY, ACCESS_TOKEN, X509, MQTT_CLIENT_ID, \
                            MQTT_USER_NAME or MQTT_PASSWORD; this version imports no others";
                Err(Invalid::new("mapping.columns.type", other, rule))
            }
        }
    }
}

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub columns: Vec<Column>,
    pub delimiter: u8,
    /// The first line holds titles.
    pub header: bool,
}

/// What one line asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedDevice {
    pub draft: DeviceDraft,
    /// `None`: an access token is made up for a new device, an old one keeps what it has.
    pub credentials: Option<CredentialDraft>,
}

/// A line by its number in the file, from 1, and what is wrong with it if something is.
pub type ImportLine = (u64, Result<ImportedDevice, String>);

/// Reads all lines. A line that breaks a rule says so and stands in nobody's way.
///
/// # Errors
/// [`Invalid`] when nothing can be read at all: no name column, a column twice, too many lines.
pub fn read_lines(file: &str, mapping: &Mapping) -> Result<Vec<ImportLine>, Invalid> {
    for (index, column) in mapping.columns.iter().enumerate() {
        if mapping.columns[..index].contains(column) {
            return Err(Invalid::new("mapping.columns", &format!("{column:?}"), "must not hold a column type twice"));
        }
    }
    if !mapping.columns.contains(&Column::Name) {
        return Err(Invalid::new("mapping.columns", "", "must hold a NAME column"));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(mapping.delimiter)
        .has_headers(mapping.header)
        .flexible(true)
        .from_reader(file.as_bytes());
    let mut lines = Vec::new();
    for record in reader.records() {
        if lines.len() == IMPORT_LINES_MAX {
            return Err(Invalid::new("file", "", format!("must have at most {IMPORT_LINES_MAX} lines; send it in pieces")));
        }
        match record {
            Ok(record) => {
                let number = record.position().map_or(0, csv::Position::line);
                lines.push((number, read_line(&record, &mapping.columns)));
            }
            Err(error) => {
                let number = error.position().map_or(0, csv::Position::line);
                lines.push((number, Err(error.to_string())));
            }
        }
    }
    Ok(lines)
}

fn read_line(record: &csv::StringRecord, columns: &[Column]) -> Result<ImportedDevice, String> {
    if record.len() != columns.len() {
        return Err(format!("has {} columns, the mapping has {}", record.len(), columns.len()));
    }
    let of = |column: Column| {
        let at = columns.iter().position(|one| *one == column)?;
        record.get(at).map(str::trim).filter(|text| !text.is_empty())
    };
    let mut additional = serde_json::Map::new();
    if let Some(description) = of(Column::Description) {
        additional.insert("description".to_owned(), json!(description));
    }
    if let Some(gateway) = of(Column::IsGateway) {
        let gateway: bool =
            gateway.to_lowercase().parse().map_err(|_| format!("IS_GATEWAY: \"{gateway}\" must be true or false"))?;
        additional.insert("gateway".to_owned(), json!(gateway));
    }
    let draft = DeviceDraft {
        firmware: None,
        software: None,
        name: of(Column::Name).unwrap_or_default().to_owned(),
        kind: of(Column::Type).map(str::to_owned),
        label: of(Column::Label).map(str::to_owned),
        additional_info: if additional.is_empty() { serde_json::Value::Null } else { additional.into() },
        ..DeviceDraft::default()
    };
    let draft = draft.checked().map_err(|invalid| invalid.to_string())?;
    let credentials = credentials(of).map_err(|invalid| invalid.to_string())?;
    Ok(ImportedDevice { draft, credentials })
}

/// The credentials of a line, which may name one kind of them.
fn credentials<'a>(of: impl Fn(Column) -> Option<&'a str>) -> Result<Option<CredentialDraft>, Invalid> {
    let (token, certificate) = (of(Column::AccessToken), of(Column::X509));
    let (client, user, password) = (of(Column::MqttClientId), of(Column::MqttUserName), of(Column::MqttPassword));
    let basic = client.is_some() || user.is_some() || password.is_some();
    match (token, certificate, basic) {
        (None, None, false) => Ok(None),
        (Some(token), None, false) => CredentialDraft::token("ACCESS_TOKEN", token).map(Some),
        (None, Some(text), false) => Certificate::read("X509", text).map(CredentialDraft::Certificate).map(Some),
        (None, None, true) => CredentialDraft::basic(client, user, password).map(Some),
        _ => Err(Invalid::new("ACCESS_TOKEN, X509, MQTT_…", "***", "must be one kind of credentials a line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(columns: &[Column], header: bool) -> Mapping {
        Mapping { columns: columns.to_vec(), delimiter: b';', header }
    }

    fn token(text: &str) -> Option<CredentialDraft> {
        Some(CredentialDraft::Token(text.to_owned()))
    }

    #[test]
    fn every_kind_of_credentials_has_its_columns() {
        let columns =
            [Column::Name, Column::AccessToken, Column::X509, Column::MqttClientId, Column::MqttUserName, Column::MqttPassword];
        let file = "a;t;;;;\nb;;;c;u;p\nc;;;;u;\nd;;;;;\ne;t;;;u;\nf;;AAAA;;;\ng;;;c;;p\n";
        let lines = read_lines(file, &mapping(&columns, false)).unwrap();
        let read: Vec<_> = lines.iter().map(|(_, line)| line.as_ref().map(|line| line.credentials.clone())).collect();
        let basic = |client, user, password| CredentialDraft::basic(client, user, password).ok();
        assert_eq!(read[0], Ok(token("t")));
        assert_eq!(read[1], Ok(basic(Some("c"), Some("u"), Some("p"))));
        assert_eq!(read[2], Ok(basic(None, Some("u"), None)));
        assert_eq!(read[3], Ok(None));
        for (line, says) in [(4, "one kind of credentials"), (5, "X509"), (6, "password")] {
            assert!(read[line].clone().unwrap_err().contains(says), "{:?}", read[line]);
        }
    }

    #[test]
    fn lines_are_read_by_their_columns() {
        let columns = [Column::AccessToken, Column::Name, Column::Type, Column::Description, Column::IsGateway];
        let file = "token;name;type;text;gateway\nt-1;\"a;b\";meter;\"two\nlines\";TRUE\n;c;;;\n";
        let lines = read_lines(file, &mapping(&columns, true)).unwrap();
        let (number, first) = &lines[0];
        let first = first.as_ref().unwrap();
        assert_eq!((*number, first.draft.name.as_str(), &first.credentials), (2, "a;b", &token("t-1")));
        assert_eq!(first.draft.additional_info, json!({"description": "two\nlines", "gateway": true}));
        let (number, second) = &lines[1];
        let second = second.as_ref().unwrap();
        assert_eq!((*number, second.draft.kind.clone(), second.credentials.clone()), (4, None, None));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_and_the_others_are_read() {
        let columns = [Column::Name, Column::AccessToken, Column::IsGateway];
        let file = "a;t;maybe\nb;t\n;t;\nc;white space;\nd;t;false\n";
        let lines = read_lines(file, &mapping(&columns, false)).unwrap();
        let wrong: Vec<_> = lines.iter().filter_map(|(number, line)| Some((*number, line.as_ref().err()?.as_str()))).collect();
        assert_eq!(wrong.len(), 4);
        for ((number, said), says) in wrong.iter().zip(["IS_GATEWAY", "has 2 columns", "name", "ACCESS_TOKEN"]) {
            assert!(said.contains(says), "line {number}: {said}");
        }
        assert!(lines[4].1.is_ok());
    }

    #[test]
    fn what_cannot_be_read_at_all_is_refused() {
        let refused = |columns: &[Column]| read_lines("a", &mapping(columns, false)).unwrap_err().to_string();
        assert!(refused(&[Column::Label]).contains("NAME"));
        assert!(refused(&[Column::Name, Column::Name]).contains("twice"));
        assert!(Column::named("SNMP_HOST").unwrap_err().to_string().contains("SNMP_HOST"));
        let long = "a\n".repeat(IMPORT_LINES_MAX + 1);
        assert!(read_lines(&long, &mapping(&[Column::Name], false)).unwrap_err().to_string().contains("at most"));
    }
}
