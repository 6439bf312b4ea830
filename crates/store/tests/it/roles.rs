//! The roles of a production set-up, made as whoever administers a managed Postgres makes them: no superuser there.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::private::Alone;

const SCRIPT: &str = include_str!("../../../../deploy/database.sql");
const PASSWORDS: [(&str, &str); 2] = [("owner_password", "one's own"), ("app_password", "another")];

async fn run(at: &PgConnectOptions, statement: String) {
    let mut connection = PgConnection::connect_with(at).await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_sets_it_up_and_may_do_so_again() {
    let server = Alone::start().await.unwrap();
    let postgres: PgConnectOptions = server.url("postgres").parse().unwrap();
    run(&postgres, "CREATE ROLE administrator LOGIN CREATEROLE CREATEDB".into()).await;
    // Whoever owns this server has the name that the application is to have.
    run(&postgres, "CREATE ROLE second LOGIN SUPERUSER".into()).await;
    let rename = format!("ALTER ROLE {} RENAME TO first", postgres.get_username());
    run(&postgres.clone().username("second"), rename).await;

    // It ends where a password is missing, and goes on from there when all is said.
    server.script("administrator", &PASSWORDS[..1], SCRIPT).await.unwrap_err();
    for _ in 0..2 {
        server.script("administrator", &PASSWORDS, SCRIPT).await.unwrap();
    }

    let options: PgConnectOptions = server.url("firebreak").parse().unwrap();
    let owner = PgPoolOptions::new().connect_lazy_with(options.clone().username("firebreak_owner"));
    store::schema::migrate(&owner).await.unwrap();
    let mut app = PgConnection::connect_with(&options.username("firebreak")).await.unwrap();
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(&mut app).await.unwrap();
    assert_eq!(entries, 0);
    let refused = sqlx::query("DELETE FROM audit").execute(&mut app).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"), "{refused}");
    app.close().await.unwrap();
    owner.close().await;
}
