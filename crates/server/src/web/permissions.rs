//! Who may use which route: the table of routes, drawn. It cannot be out of date, because it is the table itself.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use domain::Role;

use super::{Frame, html};
use crate::app::App;
use crate::error::Problem;
use crate::routes::{Access, Route, table};
use crate::session::Visitor;

#[derive(Template)]
#[template(path = "permissions.html")]
struct Page {
    frame: Frame,
    routes: Vec<Route>,
}

impl Page {
    fn roles(&self) -> [Role; 4] {
        Role::ALL
    }

    /// Is it for people and programs with a role?
    fn by_role(&self, route: &Route) -> bool {
        route.access == Access::SignedIn
    }

    fn lets(&self, route: &Route, role: &Role) -> bool {
        *role >= route.needs
    }

    fn others(&self, route: &Route) -> &'static str {
        match route.access {
            Access::Source => "alert sources and Slack, each by its own proof",
            Access::Public | Access::SignedIn => "everybody",
        }
    }
}

/// `GET /docs/permissions`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    html(&Page { frame: Frame::new(&app, &visitor, "permissions", "Who may do what"), routes: table() })
}
