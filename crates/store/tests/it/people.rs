//! Sessions and tokens end by the database's clock.

use std::time::Duration;

use domain::token::{Scope, Wish};
use domain::{Actor, Role};
use store::people::{self, Session};
use store::private::TestDb;
use store::tokens;

use crate::history::execute;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_at_the_latest_at_its_end() {
    let db = TestDb::new().await.unwrap();
    let (pool, hash) = (db.pool(), b"hash".as_slice());
    let session = Session { person: "ada".into(), role: Role::Viewer, csrf: "c".into() };
    people::add_session(pool, hash, &session, 12 * HOUR).await.unwrap();
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
    let used = tokens::find(pool, b"one").await.unwrap().unwrap().used_at;
    tokens::used(pool, made.id).await.unwrap();
    assert_eq!(tokens::find(pool, b"one").await.unwrap().unwrap().used_at, used);
    execute(pool, "UPDATE token SET expires_at = now()").await;
    assert!(!tokens::find(pool, b"one").await.unwrap().unwrap().good);
    assert!(!tokens::revoke(pool, made.id, Some("bob"), &by, at).await.unwrap(), "not bob's");
    assert!(tokens::revoke(pool, made.id, Some("ada"), &by, at).await.unwrap());
    assert!(tokens::add(pool, b"two", "ada", &wish("one"), &by, at).await.unwrap().unwrap().good);
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action LIKE 'token %'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(told, 3);
}
