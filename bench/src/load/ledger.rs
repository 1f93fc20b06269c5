//! What the server was told and what it promised, per device. Small, because messages are numbered: number n of a device was
//! stamped `base_ts + n`, and acknowledgements come in order. Never asks a server.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) version: u32,
    /// The payload as `payload::Template` reads it.
    pub(crate) template: String,
    pub(crate) base_ts: u64,
    pub(crate) devices: Vec<Account>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) seed: u64,
    /// Numbers below this were sent.
    pub(crate) sent: u64,
    /// Numbers below this were acknowledged, or refused.
    pub(crate) acked: u64,
    pub(crate) refused: Vec<u64>,
}

const VERSION: u32 = 1;

impl Ledger {
    pub(crate) fn new(template: &str, base_ts: u64) -> Self {
        Self { version: VERSION, template: template.to_owned(), base_ts, devices: Vec::new() }
    }
}

/// # Errors
/// What the file system says.
pub(crate) fn write(path: &Path, ledger: &Ledger) -> anyhow::Result<()> {
    let text = serde_json::to_string(ledger)?;
    std::fs::write(path, text).with_context(|| format!("--ledger {}", path.display()))
}

/// # Errors
/// The file cannot be read or is no ledger.
pub(crate) fn read(path: &Path) -> anyhow::Result<Ledger> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--ledger {}", path.display()))?;
    let ledger: Ledger = serde_json::from_str(&text).with_context(|| format!("--ledger {}: no ledger", path.display()))?;
    anyhow::ensure!(
        ledger.version == VERSION,
        "--ledger {}: version {}, this program reads {VERSION}",
        path.display(),
        ledger.version
    );
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let mut ledger = Ledger::new("[{\"ts\":\u{4}\u{4}}]", 1_700_000_000_000);
        ledger.devices.push(Account { id: Uuid::from_u128(7), seed: 1, sent: 9, acked: 8, refused: vec![3] });
        write(&path, &ledger).unwrap();
        assert_eq!(read(&path).unwrap(), ledger);
        std::fs::write(&path, "{}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no ledger"));
        ledger.version = 2;
        write(&path, &ledger).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("version 2"));
    }
}
