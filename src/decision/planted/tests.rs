use super::*;

#[test]
fn names_are_unique_and_lead_back() {
    for bug in Planted::ALL {
        assert_eq!(Planted::named(bug.name()), Some(*bug));
    }
    assert_eq!(Planted::named("no-such-bug"), None);
}

#[cfg(debug_assertions)]
#[test]
fn a_bug_is_planted_on_this_thread_while_its_guard_lives() {
    use Planted::{EpochIgnored, WentBackIgnored};
    assert!(!planted(EpochIgnored));
    let outer = EpochIgnored.plant();
    {
        let _inner = WentBackIgnored.plant();
        assert!(planted(EpochIgnored) && planted(WentBackIgnored));
        assert!(!std::thread::spawn(|| planted(EpochIgnored)).join().unwrap());
    }
    assert!(planted(EpochIgnored) && !planted(WentBackIgnored));
    drop(outer);
    assert!(!planted(EpochIgnored));
}

/// `make test-fast` compiles this crate once more without debug assertions for this test.
#[cfg(not(debug_assertions))]
#[test]
fn without_debug_assertions_nothing_can_be_planted() {
    // Evaluated by the compiler: every branch on it is dead code.
    const ANY: bool = {
        let mut any = false;
        let mut at = 0;
        while at < Planted::ALL.len() {
            any |= planted(Planted::ALL[at]);
            at += 1;
        }
        any
    };
    const { assert!(!ANY) };
}
