//! One clock for all containers: they share the kernel, so CLOCK_BOOTTIME readings from any of them compare.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_BOOTTIME.
#[must_use]
pub fn boot_ns() -> u64 {
    // The clock exists on every kernel since 2.6.39; reading it cannot fail then.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}
