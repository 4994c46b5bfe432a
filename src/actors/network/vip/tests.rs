use super::*;
use crate::actors::api::journal::JournalMessage;
use crate::actors::testing::{TestNode, journal_of};
use crate::adapters::netlink::NetlinkAddresses;
use crate::adapters::netlink::tests::{Neighbour, in_namespace, ip, until};
use crate::ports::{BoundAddress, MacAddress};
use crate::settings::Settings;
use tokio::sync::mpsc;

const VIP: &str = "10.0.0.100";

fn settings(addresses: &[&str]) -> Settings {
    let mut settings = Settings::default();
    settings.node.publish_address = Some("10.0.0.1".parse().unwrap());
    settings.vip.addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
    settings
}

fn bound(ip: &str, interface: &str) -> BoundAddress {
    BoundAddress { ip: ip.parse().unwrap(), prefix: 32, interface: interface.to_owned(), valid_for: None }
}

/// A node with its publish address on eth0, and its VipActor.
async fn start(settings: Settings) -> (Arc<TestNode>, ActorRef<VipMessage>, mpsc::UnboundedReceiver<JournalMessage>) {
    let node = Arc::new(TestNode::new(settings));
    node.kernel(|table| {
        table.insert(bound("10.0.0.1", "eth0"));
    });
    let journal = journal_of(&node).await;
    let (actor, _) = Actor::spawn(None, VipActor, node.clone() as Arc<dyn NodeParts>).await.unwrap();
    (node, actor, journal)
}

/// Lets everything that is due happen.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn release(actor: &ActorRef<VipMessage>, limit: Duration) -> bool {
    let asked = actor.call(|port| VipMessage::Release { gone: Some(port) }, Some(limit)).await.unwrap();
    matches!(asked, ractor::rpc::CallResult::Success(()))
}

fn codes(journal: &mut mpsc::UnboundedReceiver<JournalMessage>) -> Vec<String> {
    let mut codes = Vec::new();
    while let Ok(JournalMessage::Record(entry)) = journal.try_recv() {
        codes.push(format!("{}({})", entry.code, entry.epoch));
    }
    codes
}

fn problems(node: &TestNode) -> Vec<String> {
    node.board.vip.borrow().problems.iter().map(|problem| problem.code.clone()).collect()
}

fn has(node: &TestNode, ip: &str) -> bool {
    node.world().bound.iter().any(|found| found.ip.to_string() == ip)
}

#[tokio::test(start_paused = true)]
async fn an_assignment_probes_orders_heart_verifies_announces_and_says_so() {
    let (node, actor, mut journal) = start(settings(&[VIP])).await;
    pass(Duration::from_millis(10)).await;
    assert!(node.done().is_empty(), "undecided after a restart: nothing is changed");
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_secs(40)).await;
    let done = node.done();
    assert_eq!(done[..3], [format!("probe {VIP}"), "assign under 7".to_owned(), format!("announce {VIP}")]);
    assert_eq!(done[3..], vec![format!("announce {VIP}"); 5], "0, 100, 300 ms, 1 s, 5 s, 35 s");
    let view = node.board.vip.borrow().clone();
    assert_eq!((view.configured, view.bound), (vec![format!("{VIP}/32")], vec![format!("{VIP}/32")]));
    assert_eq!(view.problems, []);
    assert_eq!(codes(&mut journal), ["vip-bound(7)"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_nobody_keeps_is_removed_before_anybody_says_who_leads() {
    let (node, _actor, mut journal) = start(settings(&[VIP])).await;
    node.kernel(|table| {
        table.insert(bound(VIP, "eth0"));
    });
    pass(Duration::from_millis(10)).await;
    assert!(!has(&node, VIP));
    assert!(has(&node, "10.0.0.1"), "the publish address stays");
    assert_eq!(codes(&mut journal).last().unwrap(), "vip-stale-removed(0)");
}

#[tokio::test(start_paused = true)]
async fn undecided_without_hearts_word_a_copy_stays() {
    let (node, _actor, _journal) = start(settings(&[VIP])).await;
    node.heart.send_replace(None);
    node.kernel(|table| {
        table.insert(bound(VIP, "eth0"));
    });
    pass(Duration::from_millis(10)).await;
    assert!(has(&node, VIP), "it may be the one that heart keeps");
}

#[tokio::test(start_paused = true)]
async fn release_is_answered_when_the_kernel_shows_no_copy_on_any_interface() {
    let (node, actor, mut journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_millis(10)).await;
    node.kernel(|table| {
        table.insert(bound(VIP, "lo"));
    });
    assert!(release(&actor, Duration::from_millis(50)).await);
    assert!(!has(&node, VIP));
    assert!(has(&node, "10.0.0.1"), "the publish address stays");
    assert_eq!(codes(&mut journal).last().unwrap(), "vip-released(7)");
    node.done();
    pass(Duration::from_secs(60)).await;
    assert_eq!(node.done(), Vec::<String>::new(), "what is not held is not announced");
}

#[tokio::test(start_paused = true)]
async fn without_a_vip_a_release_is_answered_at_once_and_nothing_is_ever_done() {
    let (node, actor, _journal) = start(settings(&[])).await;
    node.world().heart_alive = false;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    assert!(release(&actor, Duration::from_millis(1)).await);
    assert_eq!(node.done(), Vec::<String>::new());
    assert_eq!(problems(&node), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn with_heart_dead_the_copy_is_swept_but_gone_waits_for_hearts_word() {
    let (node, actor, _journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_millis(10)).await;
    node.world().heart_alive = false;
    assert!(!release(&actor, Duration::from_millis(500)).await, "heart might still refresh it");
    assert!(!has(&node, VIP));
    assert_eq!(problems(&node), ["vip-not-released"]);
    node.world().heart_alive = true;
    assert!(release(&actor, Duration::from_millis(500)).await);
    assert_eq!(problems(&node), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_order_of_an_older_epoch_is_refused() {
    let (node, actor, _journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    assert!(release(&actor, Duration::from_millis(50)).await);
    actor.cast(VipMessage::Assign { epoch: Epoch(6) }).unwrap();
    pass(Duration::from_secs(1)).await;
    assert!(!has(&node, VIP));
}

/// What the test above would not forgive: a daemon's orders come in order, so no simulation gives an older one later.
#[tokio::test(start_paused = true)]
async fn with_the_bug_planted_an_older_epoch_takes_the_vip_back() {
    let _planted = leaderl_decision::planted::Planted::EpochIgnored.plant();
    let (node, actor, _journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    assert!(release(&actor, Duration::from_millis(50)).await);
    actor.cast(VipMessage::Assign { epoch: Epoch(6) }).unwrap();
    pass(Duration::from_secs(1)).await;
    assert!(has(&node, VIP));
}

#[tokio::test(start_paused = true)]
async fn a_vip_removed_by_hand_is_ordered_again_and_announced_again() {
    let (node, actor, mut journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_secs(10)).await;
    node.done();
    node.kernel(|table| table.retain(|found| found.ip.to_string() != VIP));
    pass(Duration::from_millis(50)).await;
    assert!(has(&node, VIP));
    assert_eq!(codes(&mut journal), ["vip-bound(7)", "vip-lost(7)", "vip-bound(7)"]);
    assert_eq!(node.done(), ["assign under 7".to_owned(), format!("announce {VIP}")]);
    assert_eq!(problems(&node), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_holder_is_a_problem_and_starts_a_new_burst() {
    let (node, actor, mut journal) = start(settings(&[VIP])).await;
    let claim = |heard| (VIP.parse().unwrap(), ForeignClaim { mac: MacAddress([2, 0, 0, 0, 0, 9]), heard });
    node.claims.send_modify(|claims| claims.extend([claim(3)]));
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_secs(10)).await;
    assert_eq!(problems(&node), Vec::<String>::new(), "claims of the time before belong to the leader of that time");
    node.done();
    node.claims.send_modify(|claims| claims.extend([claim(4)]));
    pass(Duration::from_millis(350)).await;
    assert_eq!(problems(&node), ["vip-foreign-holder"]);
    assert_eq!(node.done(), vec![format!("announce {VIP}"); 3]);
    assert!(has(&node, VIP), "bound all the same");
    assert_eq!(codes(&mut journal), ["vip-bound(7)", "vip-foreign-holder(7)"]);
    pass(Duration::from_secs(70)).await;
    assert_eq!(problems(&node), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_nodes_own_publish_address_is_never_treated_as_a_vip() {
    let (node, actor, _journal) = start(settings(&["10.0.0.1/32", "nonsense"])).await;
    assert!(release(&actor, Duration::from_millis(50)).await);
    assert!(has(&node, "10.0.0.1"));
    assert_eq!(problems(&node), ["vip-is-publish-address", "vip-bad-address"]);
}

#[tokio::test(start_paused = true)]
async fn a_settled_node_is_quiet_although_orders_are_repeated() {
    let (node, actor, _journal) = start(settings(&[VIP])).await;
    for _ in 0..100 {
        actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
        pass(Duration::from_millis(500)).await;
    }
    let done = node.done();
    assert_eq!(done.iter().filter(|what| what.starts_with("assign")).count(), 1, "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_actor_leaves_the_vip_alone_until_told_and_has_no_news_of_it() {
    let (node, actor, mut journal) = start(settings(&[VIP])).await;
    actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
    pass(Duration::from_millis(10)).await;
    actor.stop_and_wait(None, None).await.unwrap();
    node.done();
    codes(&mut journal);
    let (_second, _) = Actor::spawn(None, VipActor, node.clone() as Arc<dyn NodeParts>).await.unwrap();
    pass(Duration::from_secs(20)).await;
    assert_eq!(node.done(), Vec::<String>::new());
    assert!(has(&node, VIP));
    assert_eq!(codes(&mut journal), Vec::<String>::new());
}

/// The whole actor on a real kernel with a real neighbour (needs root); only heart is played, by `ip`.
#[test]
fn on_a_real_kernel_the_neighbour_learns_the_vip_a_copy_is_swept_and_a_removed_one_comes_back() {
    in_namespace(|| async {
        let neighbour = Neighbour::new();
        neighbour.run("ip addr add 10.0.0.2/24 dev far");
        neighbour.run("ip addr add fd00:9::2/64 dev far nodad");
        ip("link set lo up");
        ip("addr add 10.0.0.1/24 dev near");
        ip("addr add 10.0.0.100/32 dev lo");
        let vips = [VIP, "fd00:9::100"];
        let mut node = TestNode::new(settings(&vips));
        node.real = Some(NetlinkAddresses::open());
        let node = Arc::new(node);
        let (actor, _) = Actor::spawn(None, VipActor, node.clone() as Arc<dyn NodeParts>).await.unwrap();
        let shown = async || {
            let seen = node.addresses().snapshot(KERNEL_LIMIT).await.unwrap();
            let ours = seen.addresses.into_iter().filter(|found| vips.contains(&found.ip.to_string().as_str()));
            ours.map(|found| format!("{} {}", found.ip, found.interface)).collect::<BTreeSet<_>>()
        };
        let here: BTreeSet<String> = vips.iter().map(|ip| format!("{ip} near")).collect();
        let mac = node.addresses().snapshot(KERNEL_LIMIT).await.unwrap().links;
        let mac = mac.into_iter().find(|link| link.name == "near").and_then(|link| link.mac).unwrap().to_string();
        let seed = |address: &str| {
            neighbour.run(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:99 nud stale dev far"))
        };
        vips.iter().for_each(|address| seed(address));
        actor.cast(VipMessage::Assign { epoch: Epoch(7) }).unwrap();
        for address in vips {
            until("the neighbour has learnt it", || neighbour.cache(address).contains(&mac)).await;
        }
        assert_eq!(shown().await, here, "bound where it belongs, and the copy on lo is gone");
        let began = std::time::Instant::now();
        seed(VIP);
        ip(&format!("addr del {VIP}/32 dev near"));
        until("the neighbour has learnt it again", || neighbour.cache(VIP).contains(&mac)).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(shown().await, here);
        assert!(release(&actor, Duration::from_secs(2)).await);
        assert_eq!(shown().await, BTreeSet::new());
        assert_eq!(node.board.vip.borrow().bound, Vec::<String>::new());
        actor.stop_and_wait(None, None).await.unwrap();
    });
}
