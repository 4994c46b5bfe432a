//! Orders on standard input, line by line.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Starts a thread that reads standard input; the channel ends with the input. The thread ends with the process.
#[must_use]
pub fn lines() -> UnboundedReceiver<String> {
    let (lines, received) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}
