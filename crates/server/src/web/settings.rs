//! One's own page: where one is signed in, the tokens of one's programs, and who speaks for one in Slack. An admin sees everybody's
//! tokens and links, and people.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::Role;
use domain::identity::governs;
use domain::token::{DAYS, DAYS_AT_MOST, Scope, Wish};
use serde::Deserialize;
use store::known::Known;
use store::people::Open;
use store::slack::Link;
use store::tokens::Token;
use uuid::Uuid;

use super::provider::leave;
use super::refused::Refusal;
use super::{Frame, html, with_status};
use crate::app::App;
use crate::error::Problem;
use crate::session::{self, SESSION_IDLE, Visitor};
use crate::{people, slack, tokens, words};

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    visitor: Visitor,
    sessions: Vec<Open>,
    tokens: Vec<Token>,
    links: Vec<Link>,
    /// Slack is set up here.
    slack: bool,
    /// Everybody, for an admin.
    people: Option<Vec<Known>>,
    runbooks: Vec<String>,
    /// What a new token is called, and its secret: shown this once.
    made: Option<(String, String)>,
    address: String,
    days: u32,
    days_at_most: u32,
    refused: Refusal,
}

impl Page {
    /// The role that the form of a new token begins with.
    fn wanted(&self, role: &Role) -> bool {
        match self.refused.filled("token", "", "role") {
            "" => *role == self.visitor.role,
            word => word == role.word(),
        }
    }

    fn is_here(&self, session: &Open) -> bool {
        session.token_hash == self.visitor.session
    }

    /// The roles that a token of theirs may have, the least first.
    fn roles(&self) -> impl Iterator<Item = Role> {
        let most = self.visitor.role;
        Role::ALL.into_iter().filter(move |role| *role <= most)
    }

    fn links_mine(&self, link: &Link) -> bool {
        link.person == self.visitor.person
    }

    fn is_mine(&self, token: &Token) -> bool {
        token.person == self.visitor.person
    }
}

async fn draw(app: &App, visitor: Visitor) -> Result<Page, Problem> {
    let people = match governs(&visitor.actor()) {
        Ok(()) => Some(people::list(app, &visitor).await?),
        Err(_) => None,
    };
    Ok(Page {
        frame: Frame::new(app, &visitor, "settings", "Settings"),
        people,
        sessions: store::people::sessions(app.people(), &visitor.person, SESSION_IDLE).await?,
        tokens: tokens::list(app, &visitor).await?,
        links: slack::link::list(app, &visitor).await?,
        slack: app.settings().slack.is_some(),
        runbooks: app.engine().library().iter().map(|(name, _)| name.to_owned()).collect(),
        made: None,
        address: app.settings().public_url.clone(),
        days: DAYS,
        days_at_most: DAYS_AT_MOST,
        refused: Refusal::default(),
        visitor,
    })
}

/// `GET /settings`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    html(&draw(&app, visitor).await?)
}

/// What the form says.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenForm {
    name: String,
    role: Role,
    #[serde(default)]
    scope: String,
    days: u32,
}

impl TokenForm {
    /// As it was filled in.
    fn filled(&self) -> Vec<(String, String)> {
        let fields = [
            ("name", self.name.clone()),
            ("role", self.role.word().to_owned()),
            ("scope", self.scope.clone()),
            ("days", self.days.to_string()),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn read(self) -> Wish {
        let scope = match self.scope.as_str() {
            "" => Scope::default(),
            "read-only" => Scope { read_only: true, runbooks: None },
            runbooks => {
                let names = runbooks.split(',').map(|name| name.trim().to_owned());
                Scope { read_only: false, runbooks: Some(names.filter(|name| !name.is_empty()).collect()) }
            }
        };
        Wish { name: self.name.trim().to_owned(), role: self.role, scope, days: self.days }
    }
}

/// `POST /settings/tokens`: draws the page at once, because the secret is shown once and kept nowhere.
pub(crate) async fn make(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Form<TokenForm>,
) -> Result<Response, Problem> {
    let filled = form.filled();
    match tokens::make(&app, &visitor, &form.read()).await {
        Ok((secret, token)) => {
            let mut page = draw(&app, visitor).await?;
            page.made = Some((token.name, secret));
            html(&page)
        }
        Err(problem) => {
            let (status, refused) = Refusal::of("token", "", filled, problem)?;
            let mut page = draw(&app, visitor).await?;
            page.refused = refused;
            with_status(status, &page)
        }
    }
}

/// `POST /settings/tokens/{id}/revoke`
pub(crate) async fn revoke(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    tokens::revoke(&app, &visitor, id).await?;
    Ok(Redirect::to("/settings").into_response())
}

/// `POST /settings/sign-out-everywhere`
pub(crate) async fn sign_out_everywhere(
    State(app): State<App>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let way_out = session::way_out(&app, &visitor).await?;
    let cookie = session::sign_out_everywhere(&app, &visitor).await?;
    leave(&app, way_out, cookie).await
}
