//! What a server process uses, by the kernel's accounting: CPU of all its threads, resident memory, descriptors.
//! Never guesses: what cannot be read is an error.

use std::io;

use super::misuse::Misuse;

/// `USER_HZ`: the unit of times in /proc, 100 on every architecture this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// A process that is being watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// CPU time since the process started, all threads, ended ones included. Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl Cpu {
    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

impl Process {
    /// # Errors
    /// [`Misuse`] when there is no such process or it may not be looked at.
    pub(crate) fn of(pid: u32) -> Result<Self, Misuse> {
        let process = Self { pid };
        let looked = process.cpu().and_then(|_| process.resident_bytes()).and_then(|_| process.descriptors());
        looked.map(|_| process).map_err(|error| Misuse::new("--pid", pid, format!("must be a process of this user: {error}")))
    }

    pub(crate) fn cpu(self) -> io::Result<Cpu> {
        let stat = self.read("stat")?;
        cpu_of(&stat).ok_or_else(|| io::Error::other(format!("/proc/{}/stat has no CPU times", self.pid)))
    }

    /// Resident memory, counted exactly where the kernel allows it (`smaps_rollup`); costs a walk over the page table.
    pub(crate) fn resident_bytes(self) -> io::Result<u64> {
        match self.read("smaps_rollup") {
            Ok(text) => self.kib(&text, "Rss:"),
            Err(_) => self.resident_bytes_now(),
        }
    }

    /// Resident memory from the kernel's running counters, off by some hundred KiB; cheap.
    pub(crate) fn resident_bytes_now(self) -> io::Result<u64> {
        self.kib(&self.read("status")?, "VmRSS:")
    }

    pub(crate) fn descriptors(self) -> io::Result<u64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid))?.map(|_| 1).sum())
    }

    fn read(self, file: &str) -> io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid))
    }

    fn kib(self, text: &str, field: &str) -> io::Result<u64> {
        let number = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
        number.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other(format!("/proc/{} does not say {field}", self.pid)))
    }
}

/// Keeps this process on one core.
///
/// # Errors
/// [`Misuse`] when there is no such core or it may not be used.
pub(crate) fn pin(core: usize) -> Result<(), Misuse> {
    let misuse = |rule: String| Misuse::new("--core", core, rule);
    if core >= rustix::thread::CpuSet::MAX_CPU {
        return Err(misuse("there is no such core".to_owned()));
    }
    let mut own = rustix::thread::CpuSet::new();
    own.set(core);
    rustix::thread::sched_setaffinity(None, &own).map_err(|error| misuse(format!("cannot be used: {error}")))
}

/// Fields 14 and 15 of proc_pid_stat(5); the name before them may hold spaces and brackets.
fn cpu_of(stat: &str) -> Option<Cpu> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<u64>().ok()? as f64 / TICKS_PER_SECOND as f64);
    Some(Cpu { user_s: seconds()?, system_s: seconds()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 1250 75 0 0 20 0";
        assert_eq!(cpu_of(stat), Some(Cpu { user_s: 12.5, system_s: 0.75 }));
        assert_eq!(cpu_of("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_can_be_watched() {
        let process = Process::of(std::process::id()).unwrap();
        assert!(process.cpu().unwrap().total_s() >= 0.0);
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.resident_bytes_now().unwrap() > 0);
        assert!(process.descriptors().unwrap() > 2);
        let misuse = Process::of(u32::MAX).unwrap_err().to_string();
        assert!(misuse.starts_with("--pid 4294967295: must be a process"), "{misuse}");
    }
}
