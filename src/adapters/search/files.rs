//! The engine's directories and what the host offers it.

use super::failed;
use crate::ports::{SearchError, SearchHost, SearchPaths};
use leaderl_decision::search_plan::Engine;
use leaderl_decision::search_plan::render::EngineFiles;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// No file of ours is larger; what is, is not ours.
const LARGEST_FILE: u64 = 1 << 20;

type Owner = Option<(u32, u32)>;

/// What the host offers; what cannot be read counts as absent.
pub(super) fn host(paths: &SearchPaths, engine: Engine) -> SearchHost {
    SearchHost {
        memory_bytes: memory(),
        max_map_count: number("/proc/sys/vm/max_map_count"),
        binds_absent_addresses: number("/proc/sys/net/ipv4/ip_nonlocal_bind") == Some(1),
        java_home: java_home(&paths.home),
        engine_present: paths.program(engine).is_file(),
        has_run: fs::read_dir(&paths.data).is_ok_and(|mut entries| entries.next().is_some()),
    }
}

/// Whether the directory holds these files with these contents.
pub(super) fn matches(config: &Path, wanted: &EngineFiles) -> Result<bool, SearchError> {
    for (name, content) in &wanted.files {
        let path = config.join(name);
        let mut found = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => file.take(LARGEST_FILE).read_to_end(&mut found).map_err(failed("read", &path))?,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(false),
            Err(why) => return Err(failed("open", &path)(why)),
        };
        if found != content.as_bytes() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the directories and writes the files, the settings file last: it names the fingerprint of all.
pub(super) fn write(paths: &SearchPaths, wanted: &EngineFiles) -> Result<(), SearchError> {
    let owner = owner(&paths.os_user)?;
    for dir in [&paths.config, &paths.data, &paths.tmp, &paths.log] {
        make_dir(dir, owner)?;
    }
    let (settings, others): (Vec<_>, Vec<_>) = wanted.files.iter().partition(|(name, _)| name.ends_with(".yml"));
    for (name, content) in others.into_iter().chain(settings) {
        replace(&paths.config.join(name), content, owner)?;
    }
    let dir = fs::File::open(&paths.config).map_err(failed("open", &paths.config))?;
    dir.sync_all().map_err(failed("sync", &paths.config))
}

fn make_dir(dir: &Path, owner: Owner) -> Result<(), SearchError> {
    fs::create_dir_all(dir).map_err(failed("make", dir))?;
    // The engine writes its keystore into the configuration directory; nobody else reads its data.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o750)).map_err(failed("set the mode of", dir))?;
    own(dir, owner)
}

fn replace(path: &Path, content: &str, owner: Owner) -> Result<(), SearchError> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(failed("remove", &fresh)(why)),
        Ok(()) | Err(_) => {}
    }
    // The directory belongs to the engine's user: `create_new` follows no link planted there.
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o640).open(&fresh).map_err(failed("create", &fresh))?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", &fresh))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(failed("give away", &fresh))?;
    }
    fs::rename(&fresh, path).map_err(failed("rename", path))
}

fn own(path: &Path, owner: Owner) -> Result<(), SearchError> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(failed("give away", path))
}

/// Whom to give the files to; nobody when the daemon runs as that user itself.
fn owner(user: &str) -> Result<Owner, SearchError> {
    let no_user = || SearchError::NoUser { user: user.to_owned() };
    let found = nix::unistd::User::from_name(user).ok().flatten().ok_or_else(no_user)?;
    Ok((found.uid != nix::unistd::geteuid()).then_some((found.uid.as_raw(), found.gid.as_raw())))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The machine's memory or the control group's limit, whichever is smaller.
fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).unwrap_or(1 << 30);
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| number(path))
        .fold(machine, u64::min)
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The engine's own Java, or `JAVA_HOME`, or where `java` of the PATH really is.
fn java_home(home: &Path) -> Option<PathBuf> {
    let own = home.join("jdk");
    if own.join("bin/java").is_file() {
        return Some(own);
    }
    let named = std::env::var_os("JAVA_HOME").map(PathBuf::from).filter(|dir| dir.join("bin/java").is_file());
    named.or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let java = std::env::split_paths(&path).map(|dir| dir.join("java")).find(|java| java.is_file())?;
        Some(fs::canonicalize(java).ok()?.parent()?.parent()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_compared_and_replaced() {
        let top = tempfile::tempdir().unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let at = |name: &str| top.path().join(name);
        let paths = SearchPaths {
            home: at("home"),
            config: at("config"),
            data: at("data"),
            tmp: at("tmp"),
            log: at("log"),
            os_user: user,
        };
        let files = |content: &str| EngineFiles {
            files: [("elasticsearch.yml".to_owned(), content.to_owned())].into(),
            fingerprint: String::new(),
        };
        assert!(!matches(&paths.config, &files("a")).unwrap());
        write(&paths, &files("a")).unwrap();
        assert!(matches(&paths.config, &files("a")).unwrap());
        write(&paths, &files("b")).unwrap();
        assert!(!matches(&paths.config, &files("a")).unwrap());
        let host = host(&paths, Engine::Elasticsearch6);
        assert!(!host.has_run && !host.engine_present && host.memory_bytes > 0);
    }

    #[test]
    fn a_missing_user_is_named() {
        let why = owner("no-such-user-here").unwrap_err().to_string();
        assert!(why.contains("`no-such-user-here`"), "{why}");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       24000 kB\n"), Some(24_576_000));
        assert_eq!(total_memory("MemTotal: lots"), None);
    }
}
