//! What people see in a terminal: results on stdout, everything else on stderr.

use tracing_subscriber::EnvFilter;

/// Logs go to stderr, at `info` unless `RUST_LOG` says otherwise.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,firebreak=info,engine=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

/// Prints a result.
#[expect(clippy::print_stdout, reason = "the one place where a command's result is printed")]
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Prints what is to be known beside a result that may be piped on.
#[expect(clippy::print_stderr, reason = "the one place where a remark is printed")]
pub(crate) fn remark(text: impl std::fmt::Display) {
    eprintln!("note: {text}");
}

/// Prints why a command failed, with every cause.
#[expect(clippy::print_stderr, reason = "the one place where a command's failure is printed")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Is a person looking at stdout?
pub(crate) fn coloured() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
