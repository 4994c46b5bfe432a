use super::*;
use crate::actors::testing::{TestNode, election_of, journal_of};
use crate::ports::{LocalStoreStatus, PostgresAnswer};
use crate::settings::Settings;
use leaderl_decision::model::Reason;
use leaderl_decision::postgres_report::{PostgresReport, PostgresState};
use std::time::Duration;
use tokio::sync::mpsc;

const STANDBY: PostgresState = PostgresState::Standby { streaming_from: None };

struct Watched {
    node: Arc<TestNode>,
    actor: ActorRef<HealthMessage>,
    service: ServiceName,
    election: mpsc::UnboundedReceiver<ElectionMessage>,
    journal: mpsc::UnboundedReceiver<JournalMessage>,
}

impl Watched {
    async fn start(service: ServiceName, settings: Settings) -> Self {
        let node = Arc::new(TestNode::new(settings));
        node.board.postgres.send_modify(|report| report.state = STANDBY);
        let (election, journal) = (election_of(&node).await, journal_of(&node).await);
        let actor = incarnation(&node, service).await;
        Self { node, actor, service, election, journal }
    }

    async fn restart(&mut self) {
        self.actor.kill();
        self.actor = incarnation(&self.node, self.service).await;
    }

    fn view(&self) -> HealthView {
        self.node.board.health.borrow().get(&self.service).cloned().unwrap_or_default()
    }

    /// What the election was told last, and how often it was told.
    fn told(&mut self) -> (usize, Option<bool>) {
        let (mut times, mut last) = (0, None);
        while let Ok(ElectionMessage::Health { service, tripped, .. }) = self.election.try_recv() {
            assert_eq!(service, self.service);
            (times, last) = (times + 1, Some(tripped));
        }
        (times, last)
    }

    fn codes(&mut self) -> Vec<String> {
        let mut codes = Vec::new();
        while let Ok(JournalMessage::Record(entry)) = self.journal.try_recv() {
            codes.push(entry.code);
        }
        codes
    }
}

async fn incarnation(node: &Arc<TestNode>, service: ServiceName) -> ActorRef<HealthMessage> {
    let arguments = HealthArguments { context: node.clone(), service };
    Actor::spawn(None, HealthActor, arguments).await.unwrap().0
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_postgres_trips_after_the_sixth_failure_and_recovers_with_the_first_answer() {
    let mut watched = Watched::start(ServiceName::Postgres, Settings::default()).await;
    // Checks begin at 0, 5, 10, ... and fail 2 s later.
    seconds(23).await;
    assert_eq!((watched.view().failures, watched.view().tripped), (5, false));
    assert_eq!(watched.told(), (5, Some(false)));
    seconds(5).await;
    assert_eq!((watched.view().failures, watched.view().tripped), (6, true));
    assert_eq!(watched.told(), (1, Some(true)));
    watched.node.world().postgres = Some(PostgresAnswer::Answers);
    seconds(5).await;
    assert_eq!((watched.view().failures, watched.view().tripped), (0, false));
    assert_eq!(watched.told(), (1, Some(false)));
    assert_eq!(watched.codes(), ["health-tripped", "health-recovered"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_actor_goes_on_counting_and_a_failed_service_does_not_recover_by_it() {
    let mut watched = Watched::start(ServiceName::Postgres, Settings::default()).await;
    // Each incarnation fails one check, after 2 s.
    for _ in 0..5 {
        seconds(3).await;
        watched.restart().await;
    }
    assert_eq!(watched.told().1, Some(false));
    seconds(3).await;
    assert_eq!((watched.view().failures, watched.view().tripped), (6, true));
    watched.restart().await;
    seconds(3).await;
    assert_eq!(watched.told().1, Some(true));
    assert_eq!(watched.codes().iter().filter(|code| *code == "health-tripped").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn postgres_that_leaderl_itself_stops_or_rebuilds_has_not_failed() {
    let mut watched = Watched::start(ServiceName::Postgres, Settings::default()).await;
    let rebuilding = PostgresReport { state: STANDBY, busy: Some("base copy".to_owned()), ..PostgresReport::default() };
    let down = PostgresReport { state: PostgresState::Down { initialised: true }, ..PostgresReport::default() };
    for report in [rebuilding, down] {
        watched.node.board.postgres.send_replace(report);
        seconds(60).await;
        assert_eq!(watched.view().failures, 0);
    }
    assert_eq!(watched.told().1, Some(false));
}

#[tokio::test(start_paused = true)]
async fn starting_and_full_count_as_answers() {
    let watched = Watched::start(ServiceName::Postgres, Settings::default()).await;
    for answer in [PostgresAnswer::Starting, PostgresAnswer::Full] {
        watched.node.world().postgres = Some(answer);
        seconds(30).await;
        assert_eq!(watched.view().failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_offline_engine_counts_and_another_role_does_not() {
    let mut watched = Watched::start(ServiceName::Search, Settings::default()).await;
    watched.node.board.search.send_modify(|view| view.role = "not_master".to_owned());
    seconds(30).await;
    assert_eq!(watched.view().failures, 0);
    watched.node.board.search.send_modify(|view| {
        view.role = "offline".to_owned();
        view.problems = vec![Reason::new("search-offline", "nothing listens on 9200")];
    });
    seconds(31).await;
    assert!(watched.view().tripped);
    assert_eq!(watched.view().detail, "nothing listens on 9200");
    assert_eq!(watched.told().1, Some(true));
}

#[tokio::test(start_paused = true)]
async fn etcd_is_shown_as_tripped_but_never_counts_against_leading() {
    let mut watched = Watched::start(ServiceName::Etcd, Settings::default()).await;
    seconds(60).await;
    assert!(watched.view().tripped);
    assert_eq!(watched.told().1, Some(false));
    watched.node.world().etcd = Some(LocalStoreStatus { has_leader: true, ..LocalStoreStatus::default() });
    seconds(5).await;
    assert_eq!(watched.view().detail, "");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_writes_trips_at_once() {
    let mut watched = Watched::start(ServiceName::System, Settings::default()).await;
    seconds(1).await;
    assert_eq!(watched.told(), (1, Some(false)));
    for errno in [libc::EIO, libc::EROFS, libc::ENOSPC] {
        watched.node.world().disk_errno = errno;
        seconds(5).await;
        assert_eq!(watched.told(), (1, Some(true)), "errno {errno}");
        watched.node.world().disk_errno = 0;
        seconds(5).await;
        assert_eq!(watched.told(), (1, Some(false)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_trips_at_the_third_check() {
    let mut watched = Watched::start(ServiceName::System, Settings::default()).await;
    watched.node.world().disk_errno = libc::ETIMEDOUT;
    seconds(6).await;
    assert_eq!(watched.told().1, Some(false));
    seconds(5).await;
    assert_eq!(watched.told().1, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_counts_unless_the_settings_say_otherwise() {
    for fatal in [true, false] {
        let mut settings = Settings::default();
        settings.health.fatal_system_checks = fatal;
        let mut watched = Watched::start(ServiceName::System, settings).await;
        watched.node.world().free_bytes = 249 * 1024 * 1024;
        seconds(6).await;
        assert!(watched.view().tripped && watched.view().detail.contains("249 MB free"), "{:?}", watched.view());
        assert_eq!(watched.told().1, Some(fatal));
    }
}
