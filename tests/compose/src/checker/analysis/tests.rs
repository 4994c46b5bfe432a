use super::*;

fn acknowledged(client: u32, seq: u64, at_ms: u64, node: &str, timeline: u32) -> Attempt {
    Attempt {
        answer: Answer::Acknowledged,
        client,
        route: "vip".into(),
        seq,
        sent_ns: (at_ms - 1) * 1_000_000,
        answered_ns: at_ms * 1_000_000,
        node: node.into(),
        timeline,
    }
}

fn everywhere(rows: &[RowName]) -> BTreeMap<String, Vec<RowName>> {
    ["n1", "n2", "n3"].into_iter().map(|node| (node.to_string(), rows.to_vec())).collect()
}

fn names(attempts: &[Attempt]) -> Vec<RowName> {
    attempts.iter().map(name).collect()
}

fn one_second() -> Vec<Attempt> {
    (1..=50).map(|seq| acknowledged(1, seq, seq * 20, "n1", 1)).collect()
}

#[test]
fn a_run_without_faults_is_clean() {
    let attempts = one_second();
    let report = judge(&attempts, &everywhere(&names(&attempts)));
    assert_eq!(report.faults(), Vec::<String>::new());
    assert!((report.silence_ms - 20.0).abs() < 0.001);
}

#[test]
fn a_row_missing_on_one_node_is_lost() {
    let attempts = one_second();
    let mut rows = everywhere(&names(&attempts));
    rows.get_mut("n2").expect("n2").retain(|row| row.seq != 7);
    let report = judge(&attempts, &rows);
    assert_eq!(report.lost["n2"], [RowName { client: 1, seq: 7 }]);
    assert_eq!(report.worst_loss(), 1);
}

#[test]
fn a_row_of_unknown_outcome_may_be_there_or_not() {
    let mut attempts = one_second();
    attempts[6].answer = Answer::Unknown;
    let all = names(&attempts);
    assert!(judge(&attempts, &everywhere(&all)).is_clean());
    let without: Vec<RowName> = all.into_iter().filter(|row| row.seq != 7).collect();
    assert!(judge(&attempts, &everywhere(&without)).is_clean());
}

#[test]
fn a_row_that_exists_twice_and_one_nobody_sent_are_reported() {
    let attempts = one_second();
    let mut found = names(&attempts);
    found.push(found[3]);
    found.push(RowName { client: 9, seq: 1 });
    let report = judge(&attempts, &everywhere(&found));
    assert_eq!(report.duplicates["n1"], [RowName { client: 1, seq: 4 }]);
    assert_eq!(report.invented, 1);
}

#[test]
fn an_old_writer_that_goes_on_after_the_new_one_began_is_two_writers() {
    let mut attempts = one_second();
    attempts.extend((1..=50).map(|seq| acknowledged(2, seq, 900 + seq * 20, "n2", 2)));
    let report = judge(&attempts, &everywhere(&names(&attempts)));
    assert_eq!(report.two_writers.len(), 1);
    assert!((report.two_writers[0].overlap_ms - 80.0).abs() < 0.001, "{:?}", report.two_writers);
}

#[test]
fn one_timeline_never_has_two_nodes_at_once() {
    let mut attempts = one_second();
    attempts.extend((1..=10).map(|seq| acknowledged(2, seq, 500 + seq * 20, "n2", 1)));
    assert_eq!(judge(&attempts, &everywhere(&names(&attempts))).two_writers.len(), 1);
}

#[test]
fn a_lower_timeline_after_a_higher_one_is_wrong_even_without_overlap() {
    let mut attempts: Vec<Attempt> = (1..=10).map(|seq| acknowledged(1, seq, seq * 20, "n1", 2)).collect();
    attempts.extend((1..=10).map(|seq| acknowledged(2, seq, 1000 + seq * 20, "n2", 1)));
    assert_eq!(judge(&attempts, &everywhere(&names(&attempts))).two_writers.len(), 1);
}

#[test]
fn the_longest_silence_is_over_all_clients_and_by_route() {
    let mut attempts = one_second();
    attempts.extend((1..=10).map(|seq| acknowledged(1, 50 + seq, 1500 + seq * 20, "n1", 1)));
    let mut direct: Vec<Attempt> = (1..=30).map(|seq| acknowledged(2, seq, 900 + seq * 20, "n1", 1)).collect();
    for attempt in &mut direct {
        attempt.route = "n1".into();
    }
    attempts.extend(direct);
    let report = judge(&attempts, &everywhere(&names(&attempts)));
    assert!(report.silence_ms < 21.0, "{}", report.silence_ms);
    assert!((report.silence_by_route_ms["vip"] - 520.0).abs() < 0.001, "{:?}", report.silence_by_route_ms);
}
