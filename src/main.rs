//! Dispatch only: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    lehr::cli::main()
}
