//! Which processes are PostgreSQL's and which are a tool's.
//!
//! heart is a subreaper, so everything that its children ever forked descends from it: backends in sessions of their
//! own, orphans of a dead postmaster, stopped ones. What a previous heart left behind is found by its working directory.

use super::system::{ProcessHandle, WithRightsOf, hurry};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One line of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// Clock ticks after boot; with the pid it names a process for ever.
    pub started: u64,
    /// Uses PGDATA as its working directory as PostgreSQL does.
    pub in_data_dir: bool,
}

/// A running tool and everything that was ever seen to descend from it.
#[derive(Clone, Debug, Default)]
pub struct ToolTrack {
    /// The tool's pid, also its session.
    pub pid: u32,
    known: BTreeSet<(u32, u64)>,
}

impl ToolTrack {
    /// A tool that was just started.
    pub fn new(pid: u32) -> Self {
        Self { pid, known: BTreeSet::new() }
    }
}

/// What exists now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// PostgreSQL's processes.
    pub postgres: Vec<Process>,
    /// The tool's processes.
    pub tool: Vec<Process>,
}

/// Sorts a process table; remembers the tool's descendants in `track`. `orphans_are_postgres`: whose a child of heart is
/// that fits nowhere (an orphan never seen under its parent).
pub fn classify(table: &[Process], heart: u32, track: Option<&mut ToolTrack>, orphans_are_postgres: bool) -> Census {
    let parents: BTreeMap<u32, u32> = table.iter().map(|process| (process.pid, process.parent)).collect();
    let mut census = Census::default();
    let tool = track.as_ref().map(|track| track.pid);
    let mut tool_now = BTreeSet::new();
    for process in table {
        let known = track.as_ref().is_some_and(|track| track.known.contains(&(process.pid, process.started)));
        let of_tool = tool.is_some_and(|tool| {
            known || process.session == tool || process.pid == tool || descends(&parents, process.pid, tool)
        });
        let of_heart = process.pid != heart && descends(&parents, process.pid, heart);
        if of_tool && of_heart {
            tool_now.insert((process.pid, process.started));
            census.tool.push(process.clone());
        } else if of_heart && (orphans_are_postgres || tool.is_none()) || process.in_data_dir && process.pid != heart {
            census.postgres.push(process.clone());
        } else if of_heart {
            census.tool.push(process.clone());
        }
    }
    if let Some(track) = track {
        track.known = tool_now;
    }
    census
}

fn descends(parents: &BTreeMap<u32, u32>, pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    // The table is not read at one instant: a reused pid could close a circle.
    for _ in 0..parents.len() {
        match parents.get(&at) {
            Some(&parent) if parent == ancestor => return true,
            Some(&parent) if parent > 1 => at = parent,
            Some(_) | None => return false,
        }
    }
    false
}

/// Recognises processes that work in PGDATA.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// For this directory, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process table as it is now.
    pub fn read_table(&self) -> Vec<Process> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let here = std::fs::metadata(&self.path).ok();
        let _as_its_owner = here.as_ref().map(|here| WithRightsOf::user(here.uid(), here.gid()));
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| self.read_process(pid, here.as_ref())).collect()
    }

    fn read_process(&self, pid: u32, here: Option<&std::fs::Metadata>) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (mut process, terminal) = parse_stat(pid, &stat)?;
        process.in_data_dir = self.works_here(pid, here) && self.looks_like_postgres(pid, terminal, here);
        Some(process)
    }

    fn works_here(&self, pid: u32, here: Option<&std::fs::Metadata>) -> bool {
        let link = PathBuf::from(format!("/proc/{pid}/cwd"));
        let same = |there: std::fs::Metadata| here.is_some_and(|h| h.dev() == there.dev() && h.ino() == there.ino());
        // By path as well: the directory may have been removed or replaced under a process that lives on.
        std::fs::read_link(&link).is_ok_and(|path| {
            path == self.path || path.to_str().and_then(|p| p.strip_suffix(" (deleted)")) == self.path.to_str()
        }) || std::fs::metadata(&link).is_ok_and(same)
    }

    /// An operator's shell that happens to stand in PGDATA is neither PostgreSQL nor ours to kill.
    fn looks_like_postgres(&self, pid: u32, terminal: i64, here: Option<&std::fs::Metadata>) -> bool {
        let is_postgres = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
            exe.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.strip_suffix(" (deleted)").unwrap_or(name) == "postgres")
        });
        let owner = std::fs::metadata(format!("/proc/{pid}")).map(|it| it.uid());
        is_postgres || terminal == 0 && here.is_some_and(|here| owner.is_ok_and(|uid| uid == here.uid()))
    }
}

/// Parent, session, terminal and start time from `/proc/<pid>/stat`; the name in parentheses may contain anything.
fn parse_stat(pid: u32, stat: &str) -> Option<(Process, i64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let process = Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        in_data_dir: false,
    };
    Some((process, fields.get(4)?.parse().ok()?))
}

/// SIGKILL to each, `first` before the others; a number that was reused meanwhile is left alone.
pub fn kill_all(processes: &[Process], first: Option<u32>) {
    let (early, late): (Vec<&Process>, Vec<&Process>) =
        processes.iter().partition(|process| Some(process.pid) == first);
    for process in early.into_iter().chain(late) {
        let Ok(handle) = ProcessHandle::open(process.pid) else { continue };
        let still = std::fs::read_to_string(format!("/proc/{}/stat", process.pid))
            .ok()
            .and_then(|stat| parse_stat(process.pid, &stat));
        if still.is_some_and(|(now, _)| now.started == process.started) {
            hurry(process.pid);
            // A process that ended in between is what was wanted; any other failure shows in the next census.
            let _ended_meanwhile = handle.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, session: u32) -> Process {
        Process { pid, parent, session, started: u64::from(pid), in_data_dir: false }
    }

    fn pids(processes: &[Process]) -> Vec<u32> {
        processes.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn everything_below_heart_is_postgresql_whatever_its_session() {
        let table =
            [process(1, 0, 1), process(10, 1, 10), process(20, 10, 20), process(21, 20, 21), process(30, 1, 30)];
        assert_eq!(pids(&classify(&table, 10, None, true).postgres), [20, 21]);
    }

    #[test]
    fn what_a_previous_heart_left_is_known_by_its_directory() {
        let left = Process { in_data_dir: true, ..process(40, 1, 40) };
        assert_eq!(pids(&classify(&[process(10, 1, 10), left], 10, None, true).postgres), [40]);
    }

    #[test]
    fn a_tools_descendants_stay_the_tools_after_their_parent_died() {
        let mut track = ToolTrack::new(50);
        let table = [process(10, 1, 10), process(50, 10, 50), process(51, 50, 51), process(20, 10, 20)];
        let census = classify(&table, 10, Some(&mut track), true);
        assert_eq!((pids(&census.tool), pids(&census.postgres)), (vec![50, 51], vec![20]));
        let table = [process(10, 1, 10), process(51, 10, 51), process(20, 10, 20)];
        let census = classify(&table, 10, Some(&mut track), true);
        assert_eq!((pids(&census.tool), pids(&census.postgres)), (vec![51], vec![20]));
    }

    #[test]
    fn a_tools_process_in_the_data_directory_is_the_tools() {
        let mut track = ToolTrack::new(50);
        let single = Process { in_data_dir: true, ..process(51, 50, 50) };
        let census = classify(&[process(10, 1, 10), process(50, 10, 50), single], 10, Some(&mut track), false);
        assert_eq!((pids(&census.tool), pids(&census.postgres)), (vec![50, 51], vec![]));
    }

    #[test]
    fn an_orphan_never_seen_before_belongs_to_what_runs() {
        let table = [process(10, 1, 10), process(50, 10, 50), process(60, 10, 60)];
        let mut track = ToolTrack::new(50);
        assert_eq!(pids(&classify(&table, 10, Some(&mut track), true).postgres), [60]);
        assert_eq!(pids(&classify(&table, 10, Some(&mut track), false).tool), [50, 60]);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read() {
        let stat = "77 (a) b (c) S 5 77 77 34816 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987 1 1";
        let (process, terminal) = parse_stat(77, stat).expect("a stat line");
        assert_eq!((process.parent, process.session, process.started, terminal), (5, 77, 987, 34816));
    }
}
