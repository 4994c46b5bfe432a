//! The wish `Detach`: what is promised, what marks the copy, and what proves it.

use super::*;

pub(super) fn mark() -> Token {
    Token { epoch: Epoch(0), nonce: Nonce("mark".into()) }
}

#[test]
fn a_copy_is_marked_with_its_first_promise_unless_its_token_is_the_last_leaders_proof() {
    let first = |keeps_token: bool, seen: &Observed| {
        plan(&PostgresOrder::Detach { revision: Revision(60), keeps_token }, None, seen).commands[0].clone()
    };
    let promise = |marks: bool| Command::Promise { revision: Revision(60), marks };
    let standby = world(2, 850, Process::Running, false);
    assert_eq!(first(false, &standby), promise(true));
    assert_eq!(first(true, &standby), promise(false));
    let primary = world(2, 950, Process::Running, true);
    assert_eq!(first(false, &primary), promise(false), "its token says which epoch it leads");
    let mut promised = standby;
    promised.files.promised = Revision(60);
    let again = first(false, &promised);
    assert!(!matches!(again, Command::Promise { .. }), "a claim that is under way names this mark: {again:?}");
}

#[test]
fn detached_needs_the_very_name_on_disk_and_nothing_left_to_replay() {
    let mut model = Model::new(world(2, 850, Process::Running, false));
    model.run(&PostgresOrder::Detach { revision: Revision(60), keeps_token: false }, None);
    let report = |seen: &Observed| describe(seen, &BTreeMap::new(), None).detached.map(|(at, _)| at);
    assert_eq!(report(&model.seen), Some(Revision(60)));
    let (mut busy, mut stale) = (model.seen.clone(), model.seen.clone());
    busy.server.as_mut().unwrap().waiting_for_wal = false;
    assert_eq!(report(&busy), None);
    stale.server.as_mut().unwrap().at_sentinel = Some("s0".into());
    assert_eq!(report(&stale), None);
}
