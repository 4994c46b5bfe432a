//! Replaces the kernel's random bytes in this test binary, so that nonces and the order of hash maps come from the seed.
#![expect(unsafe_code, reason = "a C symbol of libc is overridden for this process")]

use super::rng::Rng;
use std::cell::RefCell;

thread_local! {
    static BYTES: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// From here on this thread's random bytes follow from the seed. Each simulation has a thread of its own: std's hash maps draw
/// their keys once per thread.
pub(crate) fn seed(seed: u64) {
    BYTES.with(|bytes| *bytes.borrow_mut() = Some(Rng::new(seed, 0xB17E5)));
}

/// What std and the getrandom crate call.
///
/// # Safety
/// `buffer` must be writable for `length` bytes, as libc demands.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let fill = |rng: &mut Rng| {
        for at in 0..length {
            // SAFETY: the caller vouches for `length` writable bytes.
            unsafe { buffer.add(at).write(rng.next().to_le_bytes()[0]) };
        }
    };
    BYTES.with(|bytes| {
        let mut bytes = bytes.borrow_mut();
        // A thread that simulates nothing needs no good randomness either.
        fill(bytes.get_or_insert_with(|| Rng::new(1, 1)));
    });
    isize::try_from(length).unwrap_or(isize::MAX)
}
