//! Nondeterminism inside a move: the code asks, and is run again for every other answer.

/// The answers of one run, and which questions had more of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    given: Vec<u8>,
    asked: Vec<(u8, u8)>,
}

impl Choices {
    /// One of `of` ways to go on: 0 at first.
    pub(crate) fn pick(&mut self, of: u8) -> u8 {
        let picked = self.given.get(self.asked.len()).copied().unwrap_or(0);
        self.asked.push((picked, of));
        picked
    }

    /// The answers for the next run; `None` when every way has been gone.
    fn next(mut self) -> Option<Self> {
        while let Some((picked, of)) = self.asked.pop() {
            if picked + 1 < of {
                let mut given: Vec<u8> = self.asked.iter().map(|(picked, _)| *picked).collect();
                given.push(picked + 1);
                return Some(Self { given, asked: Vec::new() });
            }
        }
        None
    }
}

/// Runs once for every combination of answers.
pub(crate) fn every<T>(mut run: impl FnMut(&mut Choices) -> T) -> Vec<T> {
    let mut outcomes = Vec::new();
    let mut choices = Some(Choices::default());
    while let Some(mut answers) = choices {
        outcomes.push(run(&mut answers));
        choices = answers.next();
    }
    outcomes
}

#[test]
fn every_combination_is_run_once() {
    let runs = every(|choices| {
        let first = choices.pick(2);
        (first, if first == 1 { choices.pick(3) } else { 0 })
    });
    assert_eq!(runs, [(0, 0), (1, 0), (1, 1), (1, 2)]);
}
