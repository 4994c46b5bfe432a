//! Carrying out what the guard decides.

use super::super::guard::{Effect, Event};
use super::super::processes::{ToolTrack, kill_all};
use super::super::protocol::{HeartState, PostgresStart, StopMode, ToolRequest, VipAddress};
use super::super::sockets::Connection;
use super::super::spawn::{Child, open_log};
use super::super::system::{ProcessHandle, WithRightsOf, hurry};
use super::Shell;
use crate::stop_points::{StopPoint, reach};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

impl Shell {
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::CloseGate => return self.close_gate(),
            Effect::SetGate { plan, ends, asked } => return self.set_gate(plan, ends, asked),
            Effect::RemoveVips(vips) => self.remove_vips(&vips),
            Effect::RefreshVips { vips, valid_s, asked } => {
                return Some(Event::VipsRefreshed { asked, valid_s, failed: self.refresh_vips(&vips, valid_s) });
            }
            Effect::SignalPostmaster { pid, mode } => self.signal_postmaster(pid, mode),
            Effect::KillPostgres => {
                let census = self.fresh_census();
                kill_all(&census.postgres, self.guard.postmaster_pid());
            }
            Effect::KillTool => {
                let census = self.fresh_census();
                kill_all(&census.tool, self.guard.tool_pid());
            }
            Effect::KillDaemon => {
                self.log.warn("another daemon attaches: the one before it is killed");
                if let Some(Err(error)) = self.daemon.as_ref().map(ProcessHandle::kill) {
                    self.log.warn(&format!("the daemon before could not be killed: {error}"));
                }
            }
            Effect::Adopt(id) => {
                self.daemon = self.connections.get_mut(&id).and_then(|connection| connection.handle.take());
            }
            Effect::CloseConnection(id) => drop(self.connections.remove(&id)),
            Effect::StartPostmaster { start, asked } => {
                return Some(Event::PostmasterStarted { asked, result: self.start_postmaster(&start) });
            }
            Effect::StartTool { tool, asked } => {
                let result = self.start_tool(&tool);
                self.track = result.as_ref().ok().map(|pid| ToolTrack::new(*pid));
                return Some(Event::ToolStarted { asked, tool: tool.id, result });
            }
            Effect::Push => self.push(),
            Effect::Reply { to, refused } => {
                if let Some(reason) = &refused {
                    self.log.info(&format!("refused an order: {reason}"));
                }
                self.send(to.connection, |connection| connection.reply(to.id, refused));
            }
            Effect::Exit => self.ended = true,
        }
        None
    }

    fn push(&mut self) {
        let now = describe(&self.guard.view());
        if now != self.said {
            self.log.info(&now);
            self.said = now;
        }
        if let Some(id) = self.guard.attached() {
            self.send(id, Connection::push_state);
        }
    }

    fn signal_postmaster(&mut self, pid: u32, mode: StopMode) {
        let signal = match mode {
            StopMode::Fast => Signal::SIGINT,
            StopMode::Immediate => Signal::SIGQUIT,
        };
        // An unreaped child keeps its number, so this cannot reach another process.
        let sent = i32::try_from(pid).map_err(|_| Errno::ESRCH).and_then(|pid| kill(Pid::from_raw(pid), signal));
        if let Err(error) = sent {
            self.log.warn(&format!("{signal} to the postmaster ({pid}): {error}"));
        }
        if mode == StopMode::Immediate {
            for process in self.fresh_census().postgres {
                hurry(process.pid);
            }
        }
    }

    fn start_postmaster(&mut self, start: &PostgresStart) -> Result<u32, String> {
        let directory = self.data_dir.path();
        if start.data_dir != directory {
            return Err(format!("heart guards {}, not {}", directory.display(), start.data_dir.display()));
        }
        {
            let _as_its_owner = WithRightsOf::user(start.uid, start.gid);
            if let Err(error) = std::fs::symlink_metadata(directory.join("standby.signal")) {
                return Err(format!("standby.signal in {}: {error}", directory.display()));
            }
            // Nothing of PostgreSQL exists, so a lock file in it is stale; its pid may be anybody's by now.
            match std::fs::remove_file(directory.join("postmaster.pid")) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("postmaster.pid: {error}")),
                Ok(()) | Err(_) => {}
            }
        }
        let output =
            open_log(&start.log_file, false).map_err(|error| format!("{}: {error}", start.log_file.display()))?;
        let mut args = vec![OsStr::new("-D"), directory.as_os_str()];
        args.extend(start.args.iter().map(OsStr::new));
        let death_signal = libc::SIGQUIT;
        let PostgresStart { program, uid, gid, .. } = start;
        let child = Child { program, args, env: &[], directory, uid: *uid, gid: *gid, output, death_signal };
        self.launcher.spawn(child).map_err(|error| format!("{}: {error}", program.display()))
    }

    fn start_tool(&mut self, tool: &ToolRequest) -> Result<u32, String> {
        let output = open_log(&tool.log_file, true).map_err(|error| format!("{}: {error}", tool.log_file.display()))?;
        let ToolRequest { program, env, uid, gid, .. } = tool;
        let args = tool.args.iter().map(OsStr::new).collect();
        let (directory, death_signal) = (Path::new("/"), libc::SIGKILL);
        let child = Child { program, args, env, directory, uid: *uid, gid: *gid, output, death_signal };
        self.launcher.spawn(child).map_err(|error| format!("{}: {error}", program.display()))
    }

    fn refresh_vips(&mut self, vips: &[VipAddress], valid_s: u32) -> Option<String> {
        let Some(addresses) = &mut self.addresses else { return Some("heart has no netlink socket".to_owned()) };
        let mut failed = None;
        reach(StopPoint::VipRefresh);
        for vip in vips {
            if let Err(error) = addresses.refresh(vip, valid_s) {
                failed = failed.or(Some(chain(&error)));
            }
        }
        if failed != self.vip_failure {
            if let Some(failure) = &failed {
                self.log.warn(&format!("VIP: {failure}"));
            }
            self.vip_failure.clone_from(&failed);
        }
        failed
    }

    fn remove_vips(&mut self, vips: &[VipAddress]) {
        let Some(addresses) = &mut self.addresses else { return };
        for vip in vips {
            if let Err(error) = addresses.remove(vip) {
                self.log.warn(&format!("VIP not removed, its lifetime ends it: {}", chain(&error)));
            }
        }
    }

    /// A previous heart's addresses, should they still live.
    pub(super) fn sweep_addresses(&mut self, configured: &[String]) {
        let ip = |text: &String| text.split('/').next().unwrap_or_default().parse::<IpAddr>().ok();
        let ips: Vec<IpAddr> = configured.iter().filter_map(ip).collect();
        let Some(addresses) = self.addresses.as_mut().filter(|_| !ips.is_empty()) else { return };
        match addresses.sweep(&ips) {
            Ok(0) => {}
            Ok(removed) => self.log.info(&format!("removed {removed} addresses of a heart before this one")),
            Err(error) => self.log.warn(&format!("addresses not swept: {}", chain(&error))),
        }
    }
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The state without what every renewal changes.
fn describe(state: &HeartState) -> String {
    let epoch = |epoch: Option<leaderl_decision::model::Epoch>| epoch.map_or("none".to_owned(), |it| it.to_string());
    let vips: Vec<String> = state.vips.iter().map(|vip| vip.ip.to_string()).collect();
    let (armed, fenced) = (epoch(state.armed.as_ref().map(|it| it.epoch)), epoch(state.fenced));
    let tool = state.tool_running.map_or("none".to_owned(), |id| id.to_string());
    let vips = vips.join(",");
    let gate = match (&state.gate.off, &state.gate.failure, state.gate.open_for) {
        (Some(_), _, _) => "off".to_owned(),
        (None, Some(failure), _) => format!("missing ({failure})"),
        (None, None, Some(epoch)) => format!("open for {epoch}"),
        (None, None, None) => "shut".to_owned(),
    };
    format!("armed={armed} fenced={fenced} postgres={:?} vips=[{vips}] gate={gate} tool={tool}", state.postgres)
}
