//! The command `gnist`.

fn main() -> std::process::ExitCode {
    gnist::cli::main()
}
