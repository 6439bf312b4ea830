//! What the store alone can do: the writes of runs of ten steps, made ready beforehand, by as many connections and in the largest
//! batches that the committers have. No engine has a part in it: what is left to one that is to be so fast is the difference.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::audit::Link;
use domain::run::{Entry, Record};
use domain::{Actor, Clock as _};
use engine::clock::SystemClock;
use store::PgPool;
use store::journal::{Append, Appended, Row};
use store::runs::{Created, NewRun};
use store::writer::Writer;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::STEPS;

/// How many runs one statement may hold, and how many statements are on their way at once: as `engine::committer` has it.
const BATCH: usize = 256;
const WRITERS: usize = 2;
/// How often each writes so many runs.
const ROUNDS: usize = 24;

/// A run as the engine has written it: what came with each of its commits, its birth first.
pub(crate) struct Written {
    runbook: String,
    hash: String,
    source: String,
    commits: Vec<Vec<Record>>,
}

impl Written {
    pub(crate) async fn read(pool: &PgPool, run_id: Uuid) -> Self {
        let of_commit: Vec<(i64, Uuid)> =
            sqlx::query_as("SELECT seq, write_id FROM journal_line WHERE run_id = $1 ORDER BY seq")
                .bind(run_id)
                .fetch_all(pool)
                .await
                .unwrap();
        let mut last = BTreeMap::new(); // write ids are in order of time
        for (seq, write_id) in of_commit {
            last.insert(write_id, seq);
        }
        let mut records = store::runs::journal(pool, run_id).await.unwrap();
        let mut commits = Vec::new();
        for seq in last.into_values() {
            let later = records.split_off(records.iter().take_while(|r| r.seq <= seq).count());
            commits.push(std::mem::replace(&mut records, later));
        }
        let (runbook, hash, source) = sqlx::query_as(
            "SELECT r.runbook, r.hash, t.source FROM run r JOIN runbook_text t ON t.hash = r.hash WHERE r.id = $1",
        )
        .bind(run_id)
        .fetch_one(pool)
        .await
        .unwrap();
        Self { runbook, hash, source, commits }
    }

    /// Steps that runs like it make a second.
    pub(crate) async fn steps_per_second(&self, pool: &PgPool) -> f64 {
        let hour = Duration::from_secs(3600);
        let owner = store::workers::register(pool, "bench of the store", hour).await.unwrap();
        let runs = || (0..BATCH).map(|_| self.again(owner)).collect::<Vec<_>>();
        let ready: Vec<Vec<_>> = (0..WRITERS).map(|_| (0..ROUNDS).map(|_| runs()).collect()).collect();
        let begin = Instant::now();
        let writers: JoinSet<()> =
            ready.into_iter().map(|rounds| write(Writer::to(pool), owner, rounds)).collect();
        writers.join_all().await;
        STEPS * (WRITERS * ROUNDS * BATCH) as f64 / begin.elapsed().as_secs_f64()
    }

    /// The writes of another run like it.
    fn again(&self, owner: i64) -> (NewRun, Vec<Append>) {
        let id = Uuid::now_v7();
        let run = NewRun {
            id,
            runbook: self.runbook.clone(),
            hash: self.hash.clone(),
            source: self.source.clone(),
            title: "Bench".into(),
            inputs: [("key".to_owned(), id.to_string().into())].into_iter().collect(),
            plan: None,
            by: Actor::person("bench"),
            idem_key: id.to_string(),
            locks: vec![format!("bench:{id}")],
            limits: Vec::new(),
            free: false,
            overrides: Default::default(),
            reason: None,
            owner,
            at: SystemClock.now(),
        };
        let mut link = Link::origin(id);
        let appends = self.commits.iter().map(|records| append(id, records, &mut link)).collect();
        (run, appends)
    }
}

fn append(run_id: Uuid, records: &[Record], link: &mut Link) -> Append {
    let row = |record: &Record| {
        let entry = serde_json::to_string(&record.entry).unwrap();
        *link = link.then(record.seq, 1, record.at, &entry);
        let step = record.entry.step().map(|s| s.as_str().to_owned());
        Row { seq: record.seq, at: record.at, kind: record.entry.kind(), step, entry, link: *link }
    };
    let rows: Vec<Row> = records.iter().map(row).collect();
    let changes = records.iter().any(|r| matches!(r.entry, Entry::Intent { .. }));
    let ends = records.iter().any(|r| matches!(r.entry, Entry::Ended { .. }));
    Append {
        run_id,
        epoch: 1,
        rows,
        scopes: if changes { "* ten".into() } else { String::new() },
        state: if ends { "ended" } else { "running" },
        outcome: ends.then(|| ("succeeded", "done".to_owned())),
        inbox: 0,
        write_id: Uuid::now_v7(),
    }
}

async fn write(mut writer: Writer, owner: i64, rounds: Vec<Vec<(NewRun, Vec<Append>)>>) {
    for runs in rounds {
        let births: Vec<_> = runs.iter().map(|(run, appends)| (run, &appends[0])).collect();
        assert!(writer.create(&births).await.unwrap().iter().all(|c| *c == Created::New));
        for n in 1..runs[0].1.len() {
            let appends: Vec<_> = runs.iter().map(|(_, appends)| &appends[n]).collect();
            let answers = writer.append(owner, &appends).await.unwrap();
            assert!(answers.iter().all(|a| *a == Appended::Written));
        }
    }
}
