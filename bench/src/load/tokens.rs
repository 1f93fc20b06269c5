//! The file of access tokens: one a line, or `device_id,token`. Never asks a server.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use uuid::Uuid;

use super::misuse::Misuse;

/// One device to publish as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Known when the file says it.
    pub(crate) id: Option<Uuid>,
    pub(crate) token: String,
}

/// Reads the first `count` devices.
///
/// # Errors
/// [`Misuse`] naming the file, and the line where one is wrong.
pub(crate) fn read(path: &Path, count: usize) -> Result<Vec<Device>, Misuse> {
    let misuse = |rule: String| Misuse::new("--tokens", path.display(), rule);
    let file = File::open(path).map_err(|error| misuse(error.to_string()))?;
    let mut devices = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| misuse(format!("line {}: {error}", index + 1)))?;
        let line = line.trim();
        if line.is_empty() || line == "device_id,token" {
            continue;
        }
        devices.push(parse(line).map_err(|rule| misuse(format!("line {}: {rule}", index + 1)))?);
        if devices.len() == count {
            return Ok(devices);
        }
    }
    Err(misuse(format!("has {} tokens, --connections {count} needs as many (one device per connection)", devices.len())))
}

fn parse(line: &str) -> Result<Device, String> {
    let (id, token) = match line.split_once(',') {
        None => (None, line),
        Some((id, token)) => {
            let id = Uuid::parse_str(id.trim()).map_err(|_| format!("\"{id}\" before the comma must be a device's UUID"))?;
            (Some(id), token.trim())
        }
    };
    let visible = !token.is_empty() && token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_graphic());
    if visible {
        Ok(Device { id, token: token.to_owned() })
    } else {
        Err("a token is 1 to 256 visible ASCII characters".to_owned())
    }
}

/// Writes `device_id,token` lines, whole or not at all, readable by the owner only.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(path: &Path, devices: &[Device]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension("partial");
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut out = BufWriter::new(file);
    for device in devices {
        match device.id {
            Some(id) => writeln!(out, "{id},{}", device.token)?,
            None => writeln!(out, "{}", device.token)?,
        }
    }
    out.flush()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_files_are_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.csv");
        let devices: Vec<Device> =
            (0..3).map(|number| Device { id: Some(Uuid::from_u128(number)), token: format!("t{number}") }).collect();
        write(&path, &devices).unwrap();
        assert_eq!(read(&path, 3).unwrap(), devices);
        assert_eq!(read(&path, 2).unwrap(), devices[..2]);
        std::fs::write(&path, "device_id,token\nA1\n\n  B2 \n").unwrap();
        let plain: Vec<String> = read(&path, 2).unwrap().into_iter().map(|device| device.token).collect();
        assert_eq!(plain, ["A1", "B2"]);
    }

    #[test]
    fn mistakes_name_the_file_the_line_and_the_rule() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.csv");
        for (text, rule) in [
            ("A1\n", "has 1 tokens, --connections 2"),
            ("A1\nnot-a-uuid,B\n", "line 2: \"not-a-uuid\""),
            ("A 1\n", "line 1: a token is"),
        ] {
            std::fs::write(&path, text).unwrap();
            let misuse = read(&path, 2).unwrap_err().to_string();
            assert!(misuse.contains("tokens.csv") && misuse.contains(rule), "{misuse}");
        }
    }
}
