//! The examples do what they say.

#![allow(clippy::unwrap_used)]

#[path = "../examples/chain.rs"]
#[allow(dead_code, unreachable_pub)]
mod chain;

#[path = "../examples/connections.rs"]
#[allow(dead_code, unreachable_pub)]
mod connections;

#[tokio::test(start_paused = true)]
async fn a_chain_restarts_from_the_failed_step_on_and_gives_up_at_last() {
    let expected = [
        "three steps, started in this order:",
        "  reader running, incarnation 1",
        "  parser running, incarnation 1",
        "  writer running, incarnation 1",
        "the parser failed; the writer depends on it, the reader does not:",
        "  reader running, incarnation 1",
        "  parser running, incarnation 2, restarted after: cannot digest `rotten`",
        "  writer running, incarnation 2",
        "the reader failed, and all depend on it:",
        "  reader running, incarnation 2, restarted after: cannot digest `rotten`",
        "  parser running, incarnation 3, restarted after: cannot digest `rotten`",
        "  writer running, incarnation 3",
        "a third failure within a minute is one too many. The root ends: shutdown",
    ];
    assert_eq!(chain::story().await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn connections_come_back_when_they_failed_and_stay_away_when_they_are_done() {
    let expected = [
        "three peers: 3 connections",
        "ada failed and is back as incarnation 2",
        "ben was done and is gone: 2 connections",
        "cleo is sent away: 1 connection",
        "the root ended (shutdown): 0 connections",
    ];
    assert_eq!(connections::story().await.unwrap(), expected);
}
