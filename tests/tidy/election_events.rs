//! What can happen to an election, as `docs/election-states.md` lists it.

use super::election_states::{D, NOW, REVISION, Seat, holder, n, name, nonce, primary, seen, states};
use leaderl_decision::election::{Event, GateFacts};
use leaderl_decision::model::{Epoch, Lsn, Reason, Revision};
use leaderl_decision::postgres_report::PostgresState;
use leaderl_decision::records::RequestKind;
use std::time::Duration;

/// One row: what happens, and how the node learns of it.
pub(crate) struct Happening {
    pub(crate) words: &'static str,
    pub(crate) change: fn(&mut Seat),
    pub(crate) event: Event,
}

/// What can happen. An event that is missing here is a compile error in [`is_listed`].
pub(crate) fn happenings() -> Vec<Happening> {
    let mut all = found();
    all.extend(told());
    all
}

/// What a node finds when it looks.
fn found() -> Vec<Happening> {
    let look = |words, change| Happening { words, change, event: Event::Look };
    vec![
        look("looks again, nothing is new", |_| {}),
        look("the key is absent", |seat| seat.view.leader = None),
        look("the last renewal seen is 2D/3 old", |seat| seat.pass(D * 2 / 3)),
        look("... D old, and the bids prove completeness", |seat| {
            seat.pass(D + Duration::from_secs(1));
            seat.bids();
        }),
        look("the key has a revision that no read has confirmed, and is 2D/3 old", |seat| {
            seat.pass(D * 2 / 3);
            seat.view.leader = Some(seen(holder(2), Revision(71)));
        }),
        look("... 2D/3 old, and this copy has let go", |seat| {
            seat.pass(D * 2 / 3);
            seat.bids();
            seat.view.bids.clear();
        }),
        look("the leader has left, and the bids prove completeness", |seat| {
            seat.left(Some(n(2)));
            seat.bids();
        }),
        look("the key is this node's own, heart is armed, PostgreSQL leads", |seat| seat.holds()),
        look("the key is this node's own, PostgreSQL has ended", |seat| {
            seat.holds();
            seat.postgres.state = PostgresState::Down { initialised: true };
            seat.heart.iter_mut().for_each(|heart| {
                heart.postgres_gone = true;
                heart.gate.shut_for = Some(Epoch(2));
            });
        }),
        look("a newer epoch is held by another", |seat| {
            if let Some(epoch) = &mut seat.view.epoch {
                epoch.record.epoch = Epoch(3);
            }
            seat.view.leader = Some(seen(holder(2), Revision(79)));
        }),
        look("etcd's records went back", |seat| seat.view.went_back = Some(Reason::new("went-back", "example"))),
        look("no renewal confirmed for D/2", |seat| seat.pass(D / 2)),
        look("heart has fenced the epoch", |seat| {
            seat.heart.iter_mut().for_each(|heart| (heart.armed, heart.fenced) = (None, Some(Epoch(2))));
        }),
        look("heart is gone", |seat| seat.heart = None),
        look("the port gate is not open yet", |seat| {
            seat.heart.iter_mut().for_each(|heart| heart.gate = GateFacts::default());
        }),
        look("heart cannot keep the port gate", |seat| {
            seat.heart.iter_mut().for_each(|heart| heart.gate.failure = Some("example".into()));
        }),
        look("PostgreSQL has ended and is reaped", |seat| {
            seat.postgres.state = PostgresState::Down { initialised: true };
            seat.heart.iter_mut().for_each(|heart| heart.postgres_gone = true);
        }),
        look("PostgreSQL is writable, its voters lag", |seat| {
            seat.postgres.state = primary();
            seat.followers_at(Lsn(900));
        }),
        look("PostgreSQL is writable, a voter has it all", |seat| seat.postgres.state = primary()),
        look("the operator demotes the leader", |seat| seat.asked(RequestKind::Demote)),
    ]
}

/// What a node is told.
fn told() -> Vec<Happening> {
    let at = |words, event, change| Happening { words, change, event };
    vec![
        at("a read confirms the key's revision", Event::LeaderRead(REVISION), |seat| seat.pass(D * 2 / 3)),
        at("a read, bid or vacancy ended", Event::EffectEnded, |_| {}),
        at("the claim is committed", Event::ClaimWon { nonce: nonce(), revision: Revision(71) }, |_| {}),
        at("the claim surely is not", Event::ClaimLost { nonce: nonce() }, |_| {}),
        at(
            "a renewal is committed",
            Event::Renewed { nonce: nonce(), seq: 2, t0: NOW, revision: Revision(71) },
            |_| {},
        ),
        at("the key is surely lost", Event::HoldLost { nonce: nonce() }, |_| {}),
        at("heart is silent", Event::HeartSilent, |_| {}),
        at("the checkpoint ended", Event::CheckpointEnded, |_| {}),
        at("the VIP is gone, the gate not shut", Event::VipGone, |_| {}),
        at("the VIP is gone, the gate shut", Event::VipGone, |seat| {
            seat.heart.iter_mut().for_each(|heart| heart.gate.shut_for = Some(Epoch(2)));
        }),
        at("the vacancy was sent", Event::VacancySent, |_| {}),
        at("the daemon stops for good", Event::StopForGood, |_| {}),
    ]
}

/// Whether the table has a row of its own for this event.
fn is_listed(event: &Event) -> bool {
    let same = |other: &Event| std::mem::discriminant(other) == std::mem::discriminant(event);
    happenings().iter().any(|happening| same(&happening.event))
}

#[test]
fn every_event_has_a_row_and_every_state_a_column() {
    let events = [
        Event::Look,
        Event::LeaderRead(REVISION),
        Event::EffectEnded,
        Event::ClaimWon { nonce: nonce(), revision: REVISION },
        Event::ClaimLost { nonce: nonce() },
        Event::Renewed { nonce: nonce(), seq: 2, t0: NOW, revision: REVISION },
        Event::HoldLost { nonce: nonce() },
        Event::HeartSilent,
        Event::CheckpointEnded,
        Event::VipGone,
        Event::VacancySent,
        Event::StopForGood,
    ];
    for event in events {
        // A new event must come here, and so into the table.
        let listed = match event {
            Event::Look
            | Event::LeaderRead(_)
            | Event::EffectEnded
            | Event::ClaimWon { .. }
            | Event::ClaimLost { .. }
            | Event::Renewed { .. }
            | Event::HoldLost { .. }
            | Event::HeartSilent
            | Event::CheckpointEnded
            | Event::VipGone
            | Event::VacancySent
            | Event::StopForGood => is_listed(&event),
        };
        assert!(listed, "{event:?}");
    }
    for (wanted, state, _) in states() {
        assert_eq!(name(&state), wanted);
    }
}
