//! Rendering, decoding, and a real `runsvdir` where runit is installed (no root needed).

use super::*;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

const LIMIT: Duration = Duration::from_secs(15);

fn definition(name: &str, argv: &[&str]) -> ServiceDefinition {
    ServiceDefinition {
        name: name.to_owned(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        log_dir: "/var/log/leaderl".into(),
        at_boot: true,
        ..ServiceDefinition::default()
    }
}

/// The four services as the packaged files have them.
fn packaged() -> [ServiceDefinition; 4] {
    let user = |name: &str| Some(name.to_owned());
    [
        definition(DAEMON_SERVICE, &["/usr/bin/leaderl", "run"]),
        definition(HEART_SERVICE, &["/usr/bin/leaderl", "heart"]),
        ServiceDefinition {
            user: user("etcd"),
            ..definition(ETCD_SERVICE, &["/usr/bin/etcd", "--data-dir=/var/lib/leaderl/etcd"])
        },
        ServiceDefinition {
            user: user("search"),
            open_files: Some(65536),
            env: BTreeMap::from([("ES_PATH_CONF".to_owned(), "/var/lib/leaderl/search/config".to_owned())]),
            ..definition(SEARCH_SERVICE, &["/opt/search/bin/elasticsearch"])
        },
    ]
}

#[test]
fn the_packaged_runit_files_are_what_an_install_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/runit");
    for service in packaged() {
        let read = |file: &str| std::fs::read_to_string(root.join(&service.name).join(file)).unwrap();
        assert_eq!(read("run").trim_end(), runit::run_script(&service).trim_end());
        assert_eq!(read("log/run").trim_end(), runit::log_script(&service).trim_end());
    }
}

#[test]
fn words_of_a_script_survive_the_shell() {
    let service = definition("leaderl-x", &["/bin/echo", "it's", "a b", "$HOME", ""]);
    let script = runit::run_script(&service);
    assert!(script.ends_with("exec /bin/echo 'it'\\''s' 'a b' '$HOME' ''\n"), "{script}");
}

#[test]
fn runsvs_status_file_is_read() {
    let now = std::time::UNIX_EPOCH + Duration::from_secs(1_000_060);
    let tai = (4_611_686_018_427_387_914u64 + 1_000_000).to_be_bytes();
    let status = |pid: u32, wanted: u8, running: u8| {
        let mut bytes = [0u8; 20];
        bytes[..8].copy_from_slice(&tai);
        bytes[12..16].copy_from_slice(&pid.to_le_bytes());
        bytes[17] = wanted;
        bytes[19] = running;
        runit::decode(&bytes, now)
    };
    let minute = Duration::from_secs(60);
    assert_eq!(status(4711, b'u', 1), ServiceState::Run { pid: 4711, up: minute });
    assert_eq!(status(4711, b'd', 1), ServiceState::Run { pid: 4711, up: minute }, "told to end, not ended");
    assert_eq!(status(0, b'd', 0), ServiceState::Down { down: minute });
    assert_eq!(status(0, b'u', 0), ServiceState::Changing);
    assert_eq!(status(0, b'd', 2), ServiceState::Changing, "its finish script runs");
}

#[test]
fn systemctls_answer_is_read() {
    let now = Duration::from_secs(100);
    let shown = |load: &str, active: &str, pid: u32| {
        let text = format!(
            "MainPID={pid}\nLoadState={load}\nActiveState={active}\nActiveEnterTimestampMonotonic=40000000\n\
             InactiveEnterTimestampMonotonic=90000000\n"
        );
        systemd::read_state(&text, now)
    };
    assert_eq!(shown("loaded", "active", 42), ServiceState::Run { pid: 42, up: Duration::from_secs(60) });
    assert_eq!(shown("loaded", "failed", 0), ServiceState::Down { down: Duration::from_secs(10) });
    assert_eq!(shown("loaded", "activating", 0), ServiceState::Changing);
    assert_eq!(shown("not-found", "inactive", 0), ServiceState::NotInstalled);
}

#[test]
fn a_rendered_unit_keeps_the_hardening_and_takes_program_user_and_paths() {
    let service = ServiceDefinition {
        user: Some("etcd".to_owned()),
        env: BTreeMap::from([("A".to_owned(), "b c".to_owned())]),
        write_paths: vec!["/srv/etcd".into()],
        ..definition(ETCD_SERVICE, &["/usr/bin/etcd", "--name=100%", "$x"])
    };
    let unit = systemd::render(&service);
    let has = |line: &str| unit.lines().any(|found| found == line);
    for line in ["ExecStart=/usr/bin/etcd --name=100%% $$x", "User=etcd", "Environment=\"A=b c\""] {
        assert!(has(line), "{line}\n{unit}");
    }
    assert!(has("ReadWritePaths=-/srv/etcd") && has("NoNewPrivileges=yes") && has("KillMode=mixed"), "{unit}");
    assert_eq!(unit.lines().filter(|line| line.starts_with("ExecStart=")).count(), 1);
}

/// `systemd-analyze verify` over the units, with a program that exists on every machine.
#[test]
fn systemd_accepts_the_units() {
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for service in packaged() {
        let argv = [&["/bin/true".to_owned()], &service.argv[1..]].concat();
        let path = dir.path().join(format!("{}.service", service.name));
        std::fs::write(&path, systemd::render(&ServiceDefinition { argv, ..service })).unwrap();
        units.push(path);
    }
    let Ok(checked) = Command::new("systemd-analyze").arg("verify").args(&units).output() else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && !said.contains(&dir.path().display().to_string()), "{said}");
}

#[tokio::test]
async fn an_external_service_is_refused_with_its_name() {
    let mut settings = Settings::default();
    settings.etcd.mode = RunMode::External;
    settings.node.runit_dir = tempfile::tempdir().unwrap().path().join("service");
    let services = service_control(&settings);
    for refused in [services.start(ETCD_SERVICE, LIMIT).await, services.stop(ETCD_SERVICE, LIMIT).await] {
        assert!(matches!(&refused, Err(ServiceError::External { name }) if name == ETCD_SERVICE), "{refused:?}");
    }
    assert_eq!(services.status(SEARCH_SERVICE, LIMIT).await.unwrap(), ServiceState::NotInstalled);
    let started = services.start(SEARCH_SERVICE, LIMIT).await;
    assert!(matches!(started, Err(ServiceError::NotSupervised { .. })), "{started:?}");
}

#[test]
fn our_own_services_start_this_program() {
    let settings = Settings::default();
    let (daemon, heart) = (daemon_service(&settings, false).unwrap(), heart_service(&settings).unwrap());
    assert_eq!((daemon.argv[1].as_str(), daemon.at_boot), ("run", false));
    assert_eq!((heart.argv[1].as_str(), heart.at_boot), ("heart", true));
    assert!(Path::new(&daemon.argv[0]).is_file());
}

/// Ends with the test.
struct Runsvdir(Child);

impl Drop for Runsvdir {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        // SIGHUP: runsvdir ends every runsv, each ends its service.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP);
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_service_is_installed_started_restarted_stopped_killed_and_removed_through_runit() {
    let dir = tempfile::tempdir().unwrap();
    let service_dir = dir.path().join("service");
    let manager = Runit::new(&service_dir);
    // The second service ignores SIGTERM: only SIGKILL ends it.
    let service = |name: &str, script: &str| ServiceDefinition {
        log_dir: dir.path().join("log"),
        at_boot: false,
        ..definition(name, &["/bin/sh", "-c", script])
    };
    let (tame, wild) =
        (service("tame", "echo hello; exec sleep 1000"), service("wild", "trap '' TERM; while :; do sleep 1; done"));
    assert_eq!(manager.status("tame", LIMIT).await.unwrap(), ServiceState::NotInstalled);
    assert!(manager.install(&tame, LIMIT).await.unwrap());
    assert!(!manager.install(&tame, LIMIT).await.unwrap(), "nothing to do the second time");
    manager.install(&wild, LIMIT).await.unwrap();
    let Ok(runsvdir) =
        Command::new("runsvdir").arg("-P").arg(&service_dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    else {
        println!("skipped: runit is not installed");
        return;
    };
    let runsvdir = Runsvdir(runsvdir);
    manager.start("tame", LIMIT).await.unwrap();
    let ServiceState::Run { pid, .. } = manager.status("tame", LIMIT).await.unwrap() else { panic!("it does not run") };
    manager.start("tame", LIMIT).await.unwrap();
    manager.restart("tame", LIMIT).await.unwrap();
    let ServiceState::Run { pid: next, .. } = manager.status("tame", LIMIT).await.unwrap() else {
        panic!("it does not run")
    };
    assert_ne!(pid, next);
    manager.stop("tame", LIMIT).await.unwrap();
    assert!(is_down(manager.status("tame", LIMIT).await.unwrap()));
    manager.start("wild", LIMIT).await.unwrap();
    manager.stop("wild", Duration::from_millis(300)).await.unwrap();
    assert!(is_down(manager.status("wild", LIMIT).await.unwrap()));
    let log = std::fs::read_to_string(dir.path().join("log/tame/current")).unwrap();
    assert!(log.starts_with("hello"), "{log}");
    for name in ["tame", "wild"] {
        manager.uninstall(name, LIMIT).await.unwrap();
        assert_eq!(manager.status(name, LIMIT).await.unwrap(), ServiceState::NotInstalled);
    }
    drop(runsvdir);
}
