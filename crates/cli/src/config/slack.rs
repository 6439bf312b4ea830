//! `slack`: the app through which people type, press and are shown runs.

use std::sync::Arc;

use actions::secrets;
use actions::slack::{Bot, BotSettings};
use anyhow::{Context as _, ensure};
use domain::inventory::SecretRef;
use serde::Deserialize;

/// The app at Slack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlackKeys {
    /// What Slack signs with; two while one replaces the other.
    signing_secrets: Vec<SecretRef>,
    /// The bot's token.
    token: SecretRef,
    /// The teams that are heard.
    teams: Vec<String>,
    /// The app that is heard.
    app: Option<String>,
    /// Where runs are shown that were not asked for in Slack.
    channel: Option<String>,
    /// For tests.
    api: Option<String>,
}

/// The app, ready to be served.
#[derive(Clone)]
pub(crate) struct Slack {
    pub(crate) bot: Arc<Bot>,
    pub(crate) web: server::Slack,
}

impl SlackKeys {
    /// Reads the secrets; calls nothing.
    pub(crate) fn open(&self, environment: Option<&str>) -> anyhow::Result<Slack> {
        let Self { signing_secrets, token, teams, app, channel, api } = self;
        ensure!(
            !signing_secrets.is_empty(),
            "slack.signing_secrets: is empty; name the app's signing secret"
        );
        let read = |place: &str, reference: &SecretRef| {
            secrets::read(reference).map_err(anyhow::Error::msg).with_context(|| place.to_owned())
        };
        let mut proofs = Vec::new();
        for secret in signing_secrets {
            let text = read("slack.signing_secrets", secret)?;
            // An empty one would let everybody in, or nobody.
            ensure!(
                text.expose().len() >= 16,
                "slack.signing_secrets: one has fewer than 16 characters, and so is none of Slack's"
            );
            proofs.push(server::Secret::new(text.expose()));
        }
        ensure!(
            !teams.is_empty(),
            "slack.teams: is empty, so that nobody would be heard; name the workspace, such as T0123456789"
        );
        let odd = teams.iter().find(|team| !is_id(team, &['T', 'E']));
        ensure!(
            odd.is_none(),
            "slack.teams: `{}` is no team; write its id, such as T0123456789",
            odd.map_or("", |t| t)
        );
        let odd = app.iter().find(|app| !is_id(app, &['A']));
        ensure!(
            odd.is_none(),
            "slack.app: `{}` is no app; write its id, such as A0123456789",
            odd.map_or("", |a| a)
        );
        let odd = channel.iter().find(|channel| !is_id(channel, &['C', 'G']));
        ensure!(
            odd.is_none(),
            "slack.channel: `{}` is no channel; write its id, such as C0123456789: names change",
            odd.map_or("", |c| c)
        );
        let bot = Bot::new(BotSettings {
            api: api.clone(),
            token: read("slack.token", token)?,
            channel: channel.clone(),
            environment: environment.map(str::to_owned),
        });
        let bot = Arc::new(bot.map_err(|why| anyhow::anyhow!("slack: {why}"))?);
        let web =
            server::Slack { secrets: proofs, teams: teams.clone(), app: app.clone(), chat: bot.clone() };
        Ok(Slack { bot, web })
    }

    /// The teams that are heard.
    pub(crate) fn teams(&self) -> &[String] {
        &self.teams
    }
}

/// Slack's ids begin with a letter that says of what they are.
fn is_id(text: &str, of: &[char]) -> bool {
    text.len() > 1
        && text.starts_with(of)
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actions::slack::Method;
    use serde_json::Value;

    use super::*;

    #[test]
    fn mistakes_are_named_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let (long, short) = (folder.path().join("long"), folder.path().join("short"));
        std::fs::write(&long, "8f742231b10e8888abcd99yyyzzz85a5\n").unwrap();
        std::fs::write(&short, "secret").unwrap();
        let (long, short) = (long.display(), short.display());
        let opened = |more: &str| {
            let keys: SlackKeys = serde_saphyr::from_str(more).map_err(anyhow::Error::from)?;
            keys.open(None)
        };
        let good = format!("signing_secrets: [{{ file: {long} }}]\ntoken: {{ file: {long} }}\nteams: [T1]\n");
        let slack = opened(&format!("{good}app: A1\nchannel: C1\n")).unwrap();
        assert_eq!((slack.web.teams, slack.web.app), (vec!["T1".to_owned()], Some("A1".to_owned())));
        for (wrong, says) in [
            (good.replace("teams: [T1]", "teams: []"), "slack.teams: is empty"),
            (good.replace("teams: [T1]", "teams: [acme]"), "slack.teams: `acme`"),
            (format!("{good}app: firebreak\n"), "slack.app: `firebreak`"),
            (format!("{good}channel: '#ops'\n"), "slack.channel: `#ops`"),
            (format!("{good}api: 'http://example.com'\n"), "slack: `http://example.com` is not https"),
            (good.replacen(&long.to_string(), &short.to_string(), 1), "slack.signing_secrets: one has fewer"),
            (good.replace("signing_secrets: [", "signing_secrets: [] #"), "slack.signing_secrets: is empty"),
            (good.replace("token: { file", "token: { env: FIREBREAK_TEST_UNSET } # "), "slack.token"),
            (format!("{good}chanel: C1\n"), "chanel"),
        ] {
            let e = format!("{:#}", opened(&wrong).err().unwrap_or_else(|| panic!("taken: {wrong}")));
            assert!(e.contains(says), "{wrong}: {e}");
        }
    }

    #[test]
    fn the_manifest_names_the_routes_and_scopes_that_are_used_and_no_more() {
        let manifest: Value =
            serde_saphyr::from_str(include_str!("../../../../deploy/slack/manifest.yaml")).unwrap();
        let words = |value: &Value| -> BTreeSet<String> {
            value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let mut scopes: BTreeSet<String> =
            Method::ALL.iter().flat_map(|method| method.scopes()).map(|scope| (*scope).to_owned()).collect();
        scopes.insert("commands".into());
        assert_eq!(words(&manifest["oauth_config"]["scopes"]["bot"]), scopes);
        let commands = manifest["features"]["slash_commands"].as_array().unwrap();
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0]["command"], server::SLACK_COMMAND);
        let at = |value: &Value| {
            let address = value.as_str().unwrap().strip_prefix("https://firebreak.example.com");
            address.unwrap_or_else(|| panic!("{value}")).to_owned()
        };
        let routes = [at(&commands[0]["url"]), at(&manifest["settings"]["interactivity"]["request_url"])];
        assert_eq!(routes, server::SLACK_PATHS);
        assert_eq!(manifest["settings"]["interactivity"]["is_enabled"], true);
    }
}
