//! One binary: the daemon, the guardian and the operator's verbs.

fn main() -> std::process::ExitCode {
    leaderl::cli::main()
}
