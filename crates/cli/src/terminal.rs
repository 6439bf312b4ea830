//! What people see in a terminal: results on stdout, everything else on stderr. Of sequences that a terminal obeys, only colours come
//! through, whoever wrote the text.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::util::SubscriberInitExt;

use crate::foreign;

/// Logs go to stderr, at `info` unless `RUST_LOG` says otherwise. What the SDK warns of while it looks for credentials is the error
/// of the call that needs them, and is told there.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,aws_config=error,firebreak=info,engine=info"));
    log(filter, std::io::stderr).init();
}

/// One event is one line, whoever wrote what is in it: strangers post to hooks and come back from providers, and what they send must
/// not look like a line of ours, nor steer the terminal of whoever reads the log.
fn log<W>(filter: EnvFilter, to: W) -> impl SubscriberInitExt
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(|to, field, value| {
        let said = foreign::line(&format!("{value:?}"));
        if field.name() == "message" { write!(to, "{said}") } else { write!(to, "{field}={said}") }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(to)
        .with_target(false)
        .fmt_fields(fields.delimited(" "))
        // A line that nobody reads any more is not worth a panic.
        .log_internal_errors(false)
        .finish()
}

/// Prints a result. Whoever reads it may stop reading: that is no reason to complain.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{}", foreign::shown(&text.to_string()));
}

/// Prints what is to be known beside a result that may be piped on.
pub(crate) fn remark(text: impl std::fmt::Display) {
    aside(format_args!("note: {text}\n"));
}

/// Prints why a command failed, with every cause that was not told yet: many errors quote theirs.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    aside(format_args!("error: {told}\n"));
}

/// Prints to stderr. Nobody may read that any more either (`2>&1 | head`): how a command ends never hangs on it.
fn aside(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(foreign::shown(&text.to_string()).as_bytes());
}

/// Asks a person something; what they typed, or nothing when there is nobody.
pub(crate) fn ask(question: &str) -> Option<String> {
    aside(format_args!("{question}"));
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed).ok()?;
    (read > 0).then(|| typed.trim_end_matches(['\n', '\r']).to_owned())
}

/// Lines that are drawn over and over in the same place.
#[derive(Default)]
pub(crate) struct Screen {
    /// So many lines stand there now.
    drawn: usize,
}

impl Screen {
    /// Draws lines in the place of those before, none wider than the terminal. When there are more than fit, the first `top` stay, and
    /// of the others the last.
    pub(crate) fn draw(&mut self, lines: &[String], top: usize) {
        use std::io::Write as _;
        let (width, height) = terminal_size::terminal_size()
            .map_or((100, 40), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let room = height.saturating_sub(2).max(top + 2);
        let hidden = lines.len().saturating_sub(room);
        let (kept, rest) = lines.split_at(top.min(lines.len()));
        let note = (hidden > 0).then(|| format!("  … {} lines above", hidden + 1));
        let skip = if hidden > 0 { hidden + 1 } else { 0 };
        let shown: Vec<&String> = kept.iter().chain(&note).chain(rest.iter().skip(skip)).collect();
        let mut text = String::new();
        if self.drawn > 0 {
            text += &format!("\u{1b}[{}A\u{1b}[J", self.drawn);
        }
        for line in &shown {
            text += &cut(&foreign::shown(line), width);
            text.push('\n');
        }
        self.drawn = shown.len();
        let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    }
}

/// As much of a line as fits; colours take no room.
fn cut(line: &str, width: usize) -> String {
    let (mut room, mut code, mut text) = (width, false, String::new());
    for c in line.chars() {
        match c {
            '\u{1b}' => code = true,
            'm' if code => {
                code = false;
                text.push(c);
                continue;
            }
            _ if !code && room == 0 => continue,
            _ if !code => room -= 1,
            _ => {}
        }
        text.push(c);
    }
    text
}

/// Is a person looking at stdout?
pub(crate) fn coloured() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_strangers_send_forges_no_line_of_the_log() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&written);
        let logs = log(EnvFilter::new("info"), move || Kept(Arc::clone(&kept)));
        let said = "no hook `x\n2024-05-07T14:42:00Z  INFO all is well\u{1b}[2K`";
        {
            let _logs = logs.set_default();
            tracing::warn!(source = said, from = %said, left = 3, "refused: {said}");
        }
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("\u{1b}[2K"), "{text}");
        let seen = r"refused: no hook `x ⏎ 2024-05-07T14:42:00Z  INFO all is well\u001b[2K`";
        assert!(text.contains(seen) && text.trim_end().ends_with("left=3"), "{text}");
        let from = r"from=no hook `x ⏎ 2024-05-07T14:42:00Z  INFO all is well\u001b[2K`";
        assert!(text.contains(from), "{text}");
    }

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it_and_never_in_a_colour() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("\u{1b}[31mabc\u{1b}[0mdef", 4), "\u{1b}[31mabc\u{1b}[0md");
        assert_eq!(cut("\u{1b}[31mabcdef\u{1b}[0m", 2), "\u{1b}[31mab\u{1b}[0m");
    }
}
