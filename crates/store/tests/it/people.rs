//! Sessions and tokens end by the database's clock.

use std::time::Duration;

use domain::identity::By;
use domain::token::{Scope, Wish};
use domain::{Actor, Role};
use serde_json::json;
use store::people::{self, Elsewhere, Session};
use store::private::TestDb;
use store::slack::{self, Member};
use store::{PgPool, known, tokens};

use crate::history::execute;

const HOUR: Duration = Duration::from_secs(3600);

/// Somebody signs in: by a link, or by an account elsewhere. Did they get in?
async fn open(pool: &PgPool, hash: &[u8], person: &str, role: Role, account: Option<&str>) -> bool {
    let by = if account.is_some() { By::Provider } else { By::Link };
    let groups = vec![format!("{role}s")];
    let session = Session { person: person.into(), role, csrf: "c".into(), by, groups };
    let elsewhere = account.map(|account| Elsewhere {
        account: account.into(),
        sid: Some("s".into()),
        id_token: "t".into(),
    });
    let at = chrono::DateTime::UNIX_EPOCH;
    people::add_session(pool, hash, &session, elsewhere.as_ref(), 12 * HOUR, at).await.unwrap()
}

async fn told(pool: &PgPool, action: &str) -> Vec<serde_json::Value> {
    sqlx::query_scalar("SELECT details FROM audit WHERE action = $1 ORDER BY seq")
        .bind(action)
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_name_belongs_to_the_account_that_had_it_first_until_an_admin_lets_go_of_it() {
    let db = TestDb::new().await.unwrap();
    let (pool, at, admin) = (db.pool(), chrono::DateTime::UNIX_EPOCH, Actor::with_role("root", Role::Admin));
    assert!(open(pool, b"1", "ada", Role::Viewer, Some("id 1")).await);
    assert!(!open(pool, b"2", "ada", Role::Admin, Some("id 2")).await, "somebody else of that name");
    assert!(people::session(pool, b"2", 4 * HOUR).await.unwrap().is_none());
    assert!(known::unbind(pool, "ada", &admin, at).await.unwrap());
    assert!(!known::unbind(pool, "ada", &admin, at).await.unwrap(), "there is none any more");
    assert!(people::session(pool, b"1", 4 * HOUR).await.unwrap().is_none(), "what the first had open ended");
    assert!(open(pool, b"2", "ada", Role::Admin, Some("id 2")).await);
    // Renamed there: the old name may do nothing any more.
    assert!(open(pool, b"3", "ada l", Role::Admin, Some("id 2")).await);
    assert!(people::session(pool, b"2", 4 * HOUR).await.unwrap().is_none());
    let all = known::list(pool, None, 4 * HOUR).await.unwrap();
    let roles: Vec<_> = all.iter().map(|k| (k.name.as_str(), k.role, k.sessions)).collect();
    assert_eq!(roles, [("ada l", Some(Role::Admin), 1), ("ada", None, 0)]);
    assert_eq!(told(pool, "signed in").await.len(), 3);
}

/// Somebody makes a token and says who they are in Slack, both called like what they are made with.
async fn speaking(pool: &PgPool, person: &str, called: &str) {
    let (by, at) = (Actor::with_role(person, Role::Responder), chrono::DateTime::UNIX_EPOCH);
    let wish = Wish { name: called.into(), role: Role::Responder, scope: Scope::default(), days: 365 };
    tokens::add(pool, called.as_bytes(), person, &wish, &by, at).await.unwrap().unwrap();
    let member = Member { team: "T".into(), id: called.into(), called: called.into() };
    slack::add_code(pool, called.as_bytes(), &member, HOUR).await.unwrap();
    assert!(slack::confirm(pool, called.as_bytes(), &by, at).await.unwrap());
}

/// Does anything speak that was made with it?
async fn speaks(pool: &PgPool, called: &str) -> bool {
    let token = tokens::find(pool, called.as_bytes()).await.unwrap().unwrap().0.good;
    let member = slack::link(pool, "T", called).await.unwrap().is_some();
    assert_eq!(token, member, "{called}");
    token
}

#[tokio::test]
async fn a_name_that_an_admin_lets_go_of_brings_nothing_back_of_whoever_had_it() {
    let db = TestDb::new().await.unwrap();
    let (pool, at, admin) = (db.pool(), chrono::DateTime::UNIX_EPOCH, Actor::with_role("root", Role::Admin));
    assert!(open(pool, b"1", "ada", Role::Responder, Some("id 1")).await);
    assert!(open(pool, b"2", "ada", Role::Responder, None).await, "by a link");
    speaking(pool, "ada", "first").await;
    speaking(pool, "bob", "other").await;
    assert!(known::unbind(pool, "ada", &admin, at).await.unwrap());
    assert!(!speaks(pool, "first").await && speaks(pool, "other").await);
    assert!(
        people::session(pool, b"2", 4 * HOUR).await.unwrap().is_none(),
        "a link's session speaks by the name, too"
    );
    let ended = json!({ "account": "id 1", "sessions": 2, "tokens": ["first"], "slack": ["T/first"] });
    assert_eq!(told(pool, "account let go").await, [ended]);

    // What the version before has left ends when the name is taken.
    speaking(pool, "ada", "late").await;
    assert!(open(pool, b"3", "ada", Role::Responder, Some("id 2")).await);
    assert!(!speaks(pool, "first").await && !speaks(pool, "late").await);
    let ended = json!({ "sessions": 0, "tokens": ["late"], "slack": ["T/late"] });
    assert_eq!(told(pool, "name taken").await, [ended]);
    speaking(pool, "ada", "second").await;
    assert!(open(pool, b"4", "ada", Role::Viewer, Some("id 2")).await);
    assert!(speaks(pool, "second").await, "who has the name keeps what they made");
}

#[tokio::test]
async fn a_link_that_nobody_used_does_not_outlive_the_name_that_it_was_for() {
    let db = TestDb::new().await.unwrap();
    let (pool, at, admin) = (db.pool(), chrono::DateTime::UNIX_EPOCH, Actor::with_role("root", Role::Admin));
    assert!(open(pool, b"1", "ada", Role::Responder, Some("id 1")).await);
    for (hash, name) in [(b"ada", "ada"), (b"bob", "bob")] {
        people::add_link(pool, hash, name, Role::Admin, HOUR).await.unwrap();
    }
    assert!(known::unbind(pool, "ada", &admin, at).await.unwrap());
    assert_eq!(people::use_link(pool, b"ada").await.unwrap(), None);
    assert!(people::use_link(pool, b"bob").await.unwrap().is_some(), "somebody else's works");
}

#[tokio::test]
async fn what_a_provider_says_of_somebody_no_link_changes() {
    let db = TestDb::new().await.unwrap();
    let (pool, at) = (db.pool(), chrono::DateTime::UNIX_EPOCH);
    let known = async || {
        let ada = known::list(pool, Some("ada"), 4 * HOUR).await.unwrap().remove(0);
        (ada.by, ada.role)
    };
    let standing = async || tokens::find(pool, b"t").await.unwrap().unwrap().1;
    assert!(open(pool, b"1", "ada", Role::Responder, Some("id 1")).await);
    speaking(pool, "ada", "t").await;
    assert!(open(pool, b"2", "ada", Role::Admin, None).await);
    assert_eq!(people::session(pool, b"2", 4 * HOUR).await.unwrap().unwrap().role, Role::Admin);
    assert_eq!(known().await, (Some(By::Provider), Some(Role::Responder)));
    assert_eq!(standing().await.unwrap().groups, ["responders"]);
    people::lose(pool, "id 1", "no group", at).await.unwrap();
    assert!(open(pool, b"3", "ada", Role::Viewer, None).await);
    assert_eq!(known().await, (Some(By::Provider), None), "what is lost stays lost");
    // Its own word counts, and of whom it does not know, the link's.
    assert!(open(pool, b"4", "ada", Role::Approver, Some("id 1")).await);
    assert!(
        open(pool, b"5", "bob", Role::Viewer, None).await && open(pool, b"6", "bob", Role::Admin, None).await
    );
    assert_eq!(known().await, (Some(By::Provider), Some(Role::Approver)));
    assert_eq!(known::list(pool, Some("bob"), 4 * HOUR).await.unwrap()[0].role, Some(Role::Admin));
}

#[tokio::test]
async fn who_is_renamed_at_the_provider_speaks_by_the_new_name_alone() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    assert!(open(pool, b"1", "ada", Role::Approver, Some("id 1")).await);
    assert!(open(pool, b"2", "ada", Role::Approver, None).await, "by a link");
    speaking(pool, "ada", "old").await;
    assert!(open(pool, b"3", "ada l", Role::Approver, Some("id 1")).await);
    assert!(!speaks(pool, "old").await);
    for (hash, good) in [(b"1", false), (b"2", false), (b"3", true)] {
        assert_eq!(people::session(pool, hash, 4 * HOUR).await.unwrap().is_some(), good, "{hash:?}");
    }
    let ended = json!({
        "account": "id 1", "renamed": "ada l", "sessions": 2, "tokens": ["old"], "slack": ["T/old"],
    });
    assert_eq!(told(pool, "account let go").await, [ended]);
    // Somebody else of the old name gets it without anything of theirs.
    assert!(open(pool, b"4", "ada", Role::Approver, Some("id 2")).await);
    assert!(!speaks(pool, "old").await);
    assert!(told(pool, "name taken").await.is_empty(), "nothing was left");
}

#[tokio::test]
async fn sessions_with_a_role_that_is_lost_end_and_both_is_told() {
    let db = TestDb::new().await.unwrap();
    let (pool, at) = (db.pool(), chrono::DateTime::UNIX_EPOCH);
    let good = async |hash: &[u8]| people::session(pool, hash, 4 * HOUR).await.unwrap().is_some();
    assert!(open(pool, b"1", "ada", Role::Admin, Some("id 1")).await);
    assert!(open(pool, b"2", "ada", Role::Admin, Some("id 1")).await);
    assert!(open(pool, b"b", "bob", Role::Admin, Some("id 2")).await);
    assert!(good(b"1").await && good(b"2").await, "the same role: both go on");
    assert!(open(pool, b"3", "ada", Role::Viewer, Some("id 1")).await);
    assert!(!good(b"1").await && !good(b"2").await && good(b"3").await);
    assert_eq!(people::lose(pool, "id 1", "no group", at).await.unwrap(), Some(1));
    assert_eq!(people::lose(pool, "id 1", "no group", at).await.unwrap(), Some(0));
    assert_eq!(people::lose(pool, "nobody's", "no group", at).await.unwrap(), None);
    assert!(!good(b"3").await && good(b"b").await, "somebody else goes on");
    let changes: Vec<_> =
        told(pool, "role changed").await.iter().map(|d| (d["from"].clone(), d["to"].clone())).collect();
    assert_eq!(changes, [("admin".into(), "viewer".into()), ("viewer".into(), serde_json::Value::Null)]);
    assert_eq!(
        people::end_sessions_elsewhere(pool, None, None).await.unwrap().len(),
        0,
        "nobody is not everybody"
    );
    assert_eq!(people::end_sessions_elsewhere(pool, Some("id 2"), Some("s")).await.unwrap(), ["bob"]);
}

#[tokio::test]
async fn an_admin_ends_what_somebody_has_open_and_nobody_elses() {
    let db = TestDb::new().await.unwrap();
    let (pool, at, admin) = (db.pool(), chrono::DateTime::UNIX_EPOCH, Actor::with_role("root", Role::Admin));
    for (hash, name) in [(b"1", "ada"), (b"2", "ada"), (b"3", "bob")] {
        assert!(open(pool, hash, name, Role::Responder, None).await);
    }
    for (hash, name) in [(b"a".as_slice(), "ada"), (b"b", "ci")] {
        let wish = Wish { name: "t".into(), role: Role::Viewer, scope: Scope::default(), days: 1 };
        tokens::add(pool, hash, name, &wish, &admin, at).await.unwrap().unwrap();
    }
    let ada = known::list(pool, Some("ada"), 4 * HOUR).await.unwrap().remove(0);
    assert_eq!((ada.sessions, ada.tokens, ada.by), (2, 1, Some(By::Link)));
    let names: Vec<_> =
        known::list(pool, None, 4 * HOUR).await.unwrap().into_iter().map(|k| k.name).collect();
    assert_eq!(names, ["bob", "ada", "ci"], "who was seen last comes first, who never was comes last");
    assert_eq!(known::sign_out(pool, "ada", &admin, at).await.unwrap(), 2);
    assert_eq!(known::revoke_tokens(pool, "ada", &admin, at).await.unwrap(), ["t"]);
    assert!(known::revoke_tokens(pool, "ada", &admin, at).await.unwrap().is_empty());
    assert!(people::session(pool, b"3", 4 * HOUR).await.unwrap().is_some());
    assert!(!tokens::find(pool, b"a").await.unwrap().unwrap().0.good);
    assert!(tokens::find(pool, b"b").await.unwrap().unwrap().0.good);
    assert_eq!(told(pool, "signed out by an admin").await[0]["sessions"], 2);
    assert_eq!(told(pool, "tokens revoked by an admin").await[0]["tokens"][0], "t");
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_at_the_latest_at_its_end() {
    let db = TestDb::new().await.unwrap();
    let (pool, hash) = (db.pool(), b"hash".as_slice());
    assert!(open(pool, hash, "ada", Role::Viewer, None).await);
    execute(pool, "UPDATE session SET created_at = now() - interval '3 hours'").await;
    assert!(people::session(pool, hash, 4 * HOUR).await.unwrap().is_some());
    // That was a use: it counts from there.
    execute(pool, "UPDATE session SET created_at = now() - interval '5 hours'").await;
    assert!(people::session(pool, hash, 4 * HOUR).await.unwrap().is_some());
    assert_eq!(people::sessions(pool, "ada", 4 * HOUR).await.unwrap().len(), 1);
    execute(pool, "UPDATE session SET used_at = now() - interval '4 hours'").await;
    assert!(people::session(pool, hash, 4 * HOUR).await.unwrap().is_none());
    assert!(people::sessions(pool, "ada", 4 * HOUR).await.unwrap().is_empty());
    execute(pool, "UPDATE session SET used_at = now(), expires_at = now()").await;
    assert!(people::session(pool, hash, 4 * HOUR).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_or_is_revoked_and_its_use_is_told_coarsely() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    let (by, at) = (Actor::with_role("ada", Role::Admin), chrono::DateTime::UNIX_EPOCH);
    let wish = |name: &str| Wish { name: name.into(), role: Role::Viewer, scope: Scope::default(), days: 1 };
    let made = tokens::add(pool, b"one", "ada", &wish("one"), &by, at).await.unwrap().unwrap();
    assert!(made.good && made.used_at.is_none());
    assert!(
        tokens::add(pool, b"two", "ada", &wish("one"), &by, at).await.unwrap().is_none(),
        "the name is taken"
    );
    tokens::used(pool, made.id).await.unwrap();
    let used = tokens::find(pool, b"one").await.unwrap().unwrap().0.used_at;
    tokens::used(pool, made.id).await.unwrap();
    assert_eq!(tokens::find(pool, b"one").await.unwrap().unwrap().0.used_at, used);
    execute(pool, "UPDATE token SET expires_at = now()").await;
    assert!(!tokens::find(pool, b"one").await.unwrap().unwrap().0.good);
    assert!(!tokens::revoke(pool, made.id, Some("bob"), &by, at).await.unwrap(), "not bob's");
    assert!(tokens::revoke(pool, made.id, Some("ada"), &by, at).await.unwrap());
    assert!(tokens::add(pool, b"two", "ada", &wish("one"), &by, at).await.unwrap().unwrap().good);
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action LIKE 'token %'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(count, 3);
}
