//! One file per outside system; each implements a trait of `ports`.
