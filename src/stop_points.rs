//! Places between a look at the clock and a call that renews a fence, at which a test may stop the process (P17).
//!
//! In a build with debug assertions, a process whose environment names a directory in `LEADERL_STOP_POINTS` stops itself
//! (SIGSTOP) at a place whose file is there, and removes the file first. A release build has nothing of this: there
//! [`reach`] is a constant function, which cannot make a system call, and `tests/stop_points.rs` looks at the machine code.
#![cfg_attr(debug_assertions, expect(unsafe_code, reason = "this file is also compiled alone, without any crate"))]

/// The places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPoint {
    /// heart, before the VIP's lifetime is renewed in the kernel.
    VipRefresh,
    /// heart, before the port gate's deadline is renewed in the kernel.
    GateRefresh,
    /// heart, after it, before it looks at the clock again.
    GateRefreshed,
    /// The daemon, before it orders the VIP.
    VipOrder,
    /// The daemon, before it orders the gate to open.
    GateOrder,
    /// The daemon, before it tells heart of a renewal.
    GuardFeed,
    /// The daemon, between reading t0 and sending a renewal.
    KeyRenewal,
}

/// A release build passes by.
#[cfg(not(debug_assertions))]
pub const fn reach(_point: StopPoint) {}
#[cfg(not(debug_assertions))]
const _: () = reach(StopPoint::KeyRenewal);

/// Stops here, if a test has asked for it.
#[cfg(debug_assertions)]
pub fn reach(point: StopPoint) {
    armed::reach(point);
}

#[cfg(debug_assertions)]
mod armed {
    use super::StopPoint;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    /// SIGSTOP on every architecture that we build for.
    const STOP: i32 = 19;

    unsafe extern "C" {
        fn raise(signal: i32) -> i32;
    }

    fn name(point: StopPoint) -> &'static str {
        match point {
            StopPoint::VipRefresh => "vip-refresh",
            StopPoint::GateRefresh => "gate-refresh",
            StopPoint::GateRefreshed => "gate-refreshed",
            StopPoint::VipOrder => "vip-order",
            StopPoint::GateOrder => "gate-order",
            StopPoint::GuardFeed => "guard-feed",
            StopPoint::KeyRenewal => "key-renewal",
        }
    }

    pub(super) fn reach(point: StopPoint) {
        static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
        let directory = DIRECTORY.get_or_init(|| std::env::var_os("LEADERL_STOP_POINTS").map(PathBuf::from));
        let Some(directory) = directory else { return };
        if std::fs::remove_file(directory.join(name(point))).is_ok() {
            // SAFETY: a plain call of the C library; this thread stops in it, and with it the process.
            unsafe { raise(STOP) };
        }
    }
}
