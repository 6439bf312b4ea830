//! `firebreak login`, `logout`, `whoami`: which server, with which token.
//!
//! Kept in `$XDG_CONFIG_HOME/firebreak/login.json` (else `~/.config/…`), which only its owner may read; a file that others can read
//! is not used. `FIREBREAK_URL` and `FIREBREAK_TOKEN` win.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::server::Server;
use super::{Remote, tell};
use crate::terminal::{ask, remark, say};

/// `firebreak login`
#[derive(clap::Args)]
pub(crate) struct Login {
    /// The server, such as https://firebreak.example.com
    url: String,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) url: String,
    pub(super) token: String,
}

/// Asks for a token, tries it, and keeps it.
pub(crate) async fn login(args: Login) -> anyhow::Result<ExitCode> {
    let url = address(&args.url)?;
    if std::io::stdin().is_terminal() {
        remark(format!(
            "make a token at {url}/settings; `firebreak token create` on the server makes one, too"
        ));
    }
    let token = if std::io::stdin().is_terminal() {
        rpassword::prompt_password("Token: ")?
    } else {
        ask("").unwrap_or_default()
    };
    let token = token.trim().to_owned();
    if token.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "no token was given; it is read from the terminal, or from a pipe",
        )
        .into());
    }
    let me = Server::with(url.clone(), token.clone())?.get("/api/v1/session").await?;
    let path = keep(&Kept { url, token })?;
    say(format!("Signed in: {}.\nKept in {}.", who(&me), path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Forgets what `login` kept.
pub(crate) fn logout() -> anyhow::Result<ExitCode> {
    let path = file();
    match fs::remove_file(&path) {
        Ok(()) => say("Forgotten. The token itself is still good: revoke it under Settings."),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => say("Nobody was signed in here."),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says who one is there.
pub(crate) async fn whoami(remote: Remote) -> anyhow::Result<ExitCode> {
    let server = Server::of(&remote)?;
    let mut me = server.get("/api/v1/session").await?;
    me["url"] = server.url.as_str().into();
    tell(remote.json, &me, |me| format!("{} at {}", who(me), server.url));
    Ok(ExitCode::SUCCESS)
}

fn who(me: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let token = &me["token"];
    let until = word(&token["expires_at"]);
    let until = until.split('T').next().unwrap_or_default();
    let only = match &token["scope"] {
        scope if scope["read_only"] == true => "; it only looks".to_owned(),
        scope => scope["runbooks"].as_array().map_or(String::new(), |names| {
            let names: Vec<_> = names.iter().map(word).collect();
            format!("; good for runs of {} alone", names.join(", "))
        }),
    };
    format!(
        "token {} of {}, {} (until {until}{only})",
        word(&token["name"]),
        word(&me["person"]),
        word(&me["role"])
    )
}

/// What an earlier login kept.
pub(super) fn kept() -> Result<Option<Kept>, Failure> {
    let path = file();
    let no = |why: String| {
        Failure::new(Exit::Usage, format!("{}: {why}; run `firebreak login` again", path.display()))
    };
    let mode = match fs::metadata(&path) {
        Ok(about) => about.permissions().mode(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(no(e.to_string())),
    };
    if mode & 0o077 != 0 {
        return Err(no("others can read it, and so the token in it: revoke that one".into()));
    }
    let text = fs::read_to_string(&path).map_err(|e| no(e.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|e| no(e.to_string()))
}

fn keep(kept: &Kept) -> anyhow::Result<PathBuf> {
    let path = file();
    let folder = path.parent().map(ToOwned::to_owned).unwrap_or_default();
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Written beside it and renamed: never half a file, and never one that others can read.
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(serde_json::to_string_pretty(kept)?.as_bytes())?;
    fs::rename(&new, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn file() -> PathBuf {
    let given = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config");
    given.unwrap_or_else(home).join("firebreak/login.json")
}

/// An address as it is kept; one without `https` only for this very machine, because a token goes over it.
pub(super) fn address(url: &str) -> Result<String, Failure> {
    let no = |why: &str| Err(Failure::new(Exit::Usage, format!("`{url}`: {why}")));
    let trimmed = url.trim().trim_end_matches('/');
    let Ok(parsed) = reqwest::Url::parse(trimmed) else { return no("an address begins with https://") };
    let here = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(trimmed.to_owned()),
        "http" if here => Ok(trimmed.to_owned()),
        "http" => no("a token is not sent without encryption; write https://"),
        _ => no("an address begins with https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_the_net_only_encrypted() {
        assert_eq!(address("https://firebreak.example.com/").unwrap(), "https://firebreak.example.com");
        assert_eq!(address("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        for wrong in ["http://firebreak.example.com", "firebreak.example.com", "ftp://x", ""] {
            assert_eq!(address(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }
}
