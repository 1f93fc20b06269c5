//! A disk that fills up: refused, said, nothing acknowledged lost, and it goes on when space returns (DESIGN 8.2, 5).
//! Needs root for a small file system of its own; says so where it cannot run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::harness::eventually;
use tests::harness::fixture::{self, devices};
use tests::harness::instance::{Home, Setup};
use tests::harness::load::{Ledger, assert_all_there, storm};
use tests::harness::mqtt::{V5, V311};

const DISK_MIB: u64 = 300;

/// A mounted tmpfs, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(home: &Home) -> Result<Self, String> {
        let path = home.path().join("disk");
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"]).arg(&path);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(Self(path)) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn free_mib(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1M"]).arg(&self.0).output().expect("df is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("df says a number")
    }

    /// A file that leaves this much free space.
    fn fill(&self, leave_mib: u64) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::options().create(true).append(true).open(&path).expect("the disk is writable");
        let block = vec![1_u8; 1 << 20];
        while self.free_mib() > leave_mib {
            file.write_all(&block).expect("there is space left");
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a killed process may still be going.
        let _status = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let home = Home::new();
    let disk = match Disk::mount(&home) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: a file system of its own cannot be mounted: {}", reason.trim());
            return;
        }
    };
    let data: &Path = &disk.0.join("data");
    let setup = Setup::standalone(&home).shards(2).data_in(data);
    let instance = setup.start();
    let made = devices(&fixture::tenant(&instance), "full", 10);
    let mut ledgers: Vec<Ledger> =
        made.into_iter().zip([V311, V5].into_iter().cycle()).map(|(device, version)| Ledger::new(device, version)).collect();
    let is_ready = || (instance.admin().get("/readyz").status == 200).then_some(());
    eventually("it is ready", is_ready);
    storm(&mut ledgers, instance.mqtt(), true, |progress| {
        progress.wait_for_more(500);
        // Below the reserve, but not to the last byte: the reserve is what makes the refusal orderly.
        let ballast = disk.fill(40);
        let said = eventually("readiness says that the disk is full", || {
            let reply = instance.admin().get("/readyz");
            (reply.status == 503).then_some(reply.text)
        });
        println!("readyz: {said}");
        assert!(["space", "disk", "full"].iter().any(|word| said.to_lowercase().contains(word)), "{said}");
        assert_eq!(instance.admin().get("/livez").status, 200, "alive");
        let refused = progress.acknowledged();
        std::fs::remove_file(ballast).expect("the ballast is there");
        eventually("it is ready again", is_ready);
        println!("{refused} messages were acknowledged before the refusal");
        progress.wait_for_more(500);
    });
    assert_all_there(&ledgers, &fixture::tenant(&instance), "after the disk was full");
    instance.kill();
    let instance = setup.start();
    assert_all_there(&ledgers, &fixture::tenant(&instance), "after the disk was full and a kill");
    instance.stop();
}
