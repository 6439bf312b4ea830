//! Other processes are played by this very test program, started again with one test and a folder in its environment.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use sqlx::{Connection as _, PgConnection};

use super::{Options, PrivateError, Server, TestDb};

const MEMBER: &str = "FIREBREAK_TEST_MEMBER_OF";

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = tokio::join!(TestDb::new(), TestDb::new());
    let (one, two) = (one.unwrap(), two.unwrap());
    sqlx::query("CREATE TABLE only_here (n int)").execute(one.pool()).await.unwrap();
    let there = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1)";
    for (db, table, expected) in
        [(&one, "only_here", true), (&two, "only_here", false), (&two, "journal", true)]
    {
        let found: bool = sqlx::query_scalar(there).bind(table).fetch_one(db.pool()).await.unwrap();
        assert_eq!(found, expected, "{table}");
    }
    let mut by_url = PgConnection::connect(&one.url()).await.unwrap();
    sqlx::query("SELECT n FROM only_here").fetch_all(&mut by_url).await.unwrap();
}

#[tokio::test]
async fn a_dropped_test_database_is_gone_even_with_somebody_in_it() {
    let (keeper, dropped) = (TestDb::new().await.unwrap(), TestDb::new().await.unwrap());
    let name: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(dropped.pool()).await.unwrap();
    let exists = async || -> bool {
        let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
        sqlx::query_scalar(exists).bind(&name).fetch_one(keeper.pool()).await.unwrap()
    };
    let _inside = PgConnection::connect(&dropped.url()).await.unwrap();
    assert!(exists().await);
    drop(dropped);
    assert!(!exists().await);
}

#[tokio::test]
async fn a_database_outlives_the_server_but_those_of_tests_do_not() {
    let folder = Folder::new("keeps");
    let server = folder.server(false).await.unwrap();
    let url = server.ensure_database("de\"mo").await.unwrap();
    assert_eq!(url, server.ensure_database("de\"mo").await.unwrap());
    server.ensure_database("firebreak_test_left_behind").await.unwrap();
    query(&url, "CREATE TABLE kept ()").await.unwrap();
    drop(server);
    folder.wait_until_stopped();

    let server = folder.server(false).await.unwrap();
    query(&url, "SELECT FROM kept").await.unwrap();
    assert!(query(&server.url("firebreak_test_left_behind"), "SELECT 1").await.is_err());
}

#[tokio::test]
async fn processes_share_one_server_and_it_stops_after_the_last_even_if_that_is_killed() {
    let folder = Folder::new("shared");
    let first = Member::start(&folder);
    let mut second = Member::start(&folder);
    let pid = folder.postmaster();
    first.kill();
    assert_eq!(second.ask(), "1", "the server outlives the process that started it");
    let third = folder.server(false).await.unwrap();
    assert_eq!(folder.postmaster(), pid);
    second.kill();
    query(&third.url("postgres"), "SELECT 1").await.unwrap();
    let last = Member::start(&folder);
    drop(third);
    assert_eq!(folder.postmaster(), pid);
    last.kill();
    folder.wait_until_stopped();
}

#[tokio::test]
async fn many_processes_that_start_at_once_meet_on_one_server() {
    let folder = Folder::new("crowd");
    let members: Vec<Member> = thread::scope(|s| {
        [(); 6].map(|()| s.spawn(|| Member::start(&folder))).map(|m| m.join().unwrap()).into()
    });
    for mut member in members {
        assert_eq!(member.ask(), "1");
    }
    folder.wait_until_stopped();
}

#[tokio::test]
async fn a_server_whose_guardian_was_killed_is_stopped_and_started_afresh() {
    let folder = Folder::new("orphan");
    let _member = Member::start(&folder);
    let (guardian, pid) = (number(&folder.found().join("guardian.pid")), folder.postmaster());
    let kill = Command::new("sh").args(["-c", "kill -9 \"$0\"", &guardian.to_string()]).status();
    assert!(kill.unwrap().success());
    let server = folder.server(false).await.unwrap();
    assert_ne!(folder.postmaster(), pid);
    query(&server.url("postgres"), "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_broken_cluster_of_tests_is_made_anew_and_a_lasting_one_is_left_alone() {
    let folder = Folder::new("broken");
    let server = folder.server(false).await.unwrap();
    drop(server);
    folder.wait_until_stopped();
    fs::remove_file(folder.cluster().join("global/pg_control")).unwrap();
    let refused = folder.server(true).await.unwrap_err().to_string();
    assert!(refused.contains("pg_control"), "{refused}");
    folder.server(false).await.unwrap();
}

#[tokio::test]
async fn a_folder_with_an_odd_name_will_do() {
    let folder = Folder::new("it's a \"short\", odd\\ name é %41");
    let server = folder.server(false).await.unwrap();
    query(&server.url("postgres"), "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_folder_with_a_name_too_long_for_a_socket_will_do() {
    let folder = Folder::new(&"long".repeat(30));
    let server = folder.server(false).await.unwrap();
    query(&server.url("postgres"), "SELECT 1").await.unwrap();
    let sockets = PathBuf::from(server.url("").split_once("?host=").unwrap().1);
    drop((server, folder));
    if sockets.exists() {
        fs::remove_dir(sockets).unwrap(); // elsewhere, unless root was moved to a short place anyway
    }
}

/// Does nothing, unless a test started this program as another process.
#[tokio::test]
async fn member() {
    let Some(data) = env::var_os(MEMBER) else { return };
    let server = Server::start(Options { data: data.into(), durable: false }).await.unwrap();
    println!("\nfolder {}", server.folder().display());
    for _asked in io::stdin().lines() {
        query(&server.url("postgres"), "SELECT 1").await.unwrap();
        println!("\nanswer 1");
    }
}

/// Another process that uses the server, until it is killed: SIGKILL, so that it has no chance to clean up.
struct Member {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Member {
    fn start(folder: &Folder) -> Self {
        let mut program = Command::new(env::current_exe().unwrap());
        program
            .args(["--exact", "--nocapture"])
            .arg(format!("{}::member", module_path!().split_once("::").unwrap().1));
        program.env(MEMBER, &folder.data).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = program.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut member = Self { process, said };
        let found = member.hear("folder ").into();
        folder.found.get_or_init(|| found);
        member
    }

    fn ask(&mut self) -> String {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.hear("answer ")
    }

    fn hear(&mut self, word: &str) -> String {
        let mut lines = self.said.by_ref().lines().map(Result::unwrap);
        lines.find_map(|line| line.strip_prefix(word).map(str::to_owned)).unwrap()
    }

    fn kill(self) {}
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A data folder for one test, removed at its end.
struct Folder {
    data: PathBuf,
    /// Where the files really are.
    found: OnceLock<PathBuf>,
}

impl Folder {
    fn new(name: &str) -> Self {
        let data = Options::fleeting().data.with_file_name(format!("private-{}-{name}", std::process::id()));
        Self { data, found: OnceLock::new() }
    }

    async fn server(&self, durable: bool) -> Result<Server, PrivateError> {
        let server = Server::start(Options { data: self.data.clone(), durable }).await?;
        self.found.get_or_init(|| server.folder());
        Ok(server)
    }

    fn found(&self) -> &Path {
        self.found.get().unwrap()
    }

    fn cluster(&self) -> PathBuf {
        let mut inside = fs::read_dir(self.found()).unwrap().map(|entry| entry.unwrap().path());
        inside.find(|path| path.join("PG_VERSION").is_file()).unwrap()
    }

    fn postmaster(&self) -> u32 {
        number(&self.cluster().join("postmaster.pid"))
    }

    /// Postgres removes the file with its process id last.
    fn wait_until_stopped(&self) {
        let (file, since) = (self.cluster().join("postmaster.pid"), Instant::now());
        while file.exists() {
            assert!(since.elapsed() < Duration::from_secs(60), "Postgres did not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(found) = self.found.get() {
            self.wait_until_stopped();
            fs::remove_dir_all(found).unwrap();
        }
    }
}

/// The number in the first line of a file.
fn number(path: &Path) -> u32 {
    fs::read_to_string(path).unwrap().lines().next().unwrap().parse().unwrap()
}

async fn query(url: &str, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(sql).execute(&mut connection).await?;
    connection.close().await
}
