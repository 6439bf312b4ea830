//! Many who look at one run.

use std::sync::Arc;
use std::time::Duration;

use domain::Actor;
use domain::run::Ask;
use uuid::Uuid;

use super::bench::{Bench, run_of};
use crate::app::App;
use crate::watched::Subject;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn those_who_watch_a_run_share_what_was_read_and_see_each_move() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let app = App::new(bench.engine.clone(), bench.settings.clone());
    let look = || app.watched().run(&app, run);

    // Nobody has it open: each look is one of its own.
    let (one, other) = (look().await.unwrap(), look().await.unwrap());
    assert!(!Arc::ptr_eq(&one, &other));

    // What was read is good for a second; on a machine where that is over before the next line, the next two share it.
    let mut ear = app.watched().open(&app, Subject::Run(run));
    let shared = async {
        loop {
            let (one, other) = tokio::join!(look(), look());
            if Arc::ptr_eq(&one.unwrap(), &other.unwrap()) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.expect("two who look at once share what is read");

    // Whoever is told sees what they were told of.
    bench.until(run, "running").await;
    let pause = Ask::Pause { reason: None };
    let ada = Actor::with_role("ada", domain::Role::Responder);
    bench.engine.ask(run, Uuid::now_v7(), &ada, &pause).await.unwrap();
    let paused = async {
        while look().await.unwrap().run.state.paused().is_none() {
            assert!(ear.told().await, "the engine is there");
        }
    };
    tokio::time::timeout(PATIENCE, paused).await.expect("each move is told, and seen by who was told");
}

#[tokio::test]
async fn a_page_that_many_have_open_asks_less_often_and_one_that_was_closed_is_forgotten() {
    let bench = Bench::new().await;
    let app = App::new(bench.engine.clone(), bench.settings.clone());
    let mut ears = vec![app.watched().open(&app, Subject::Situation)];
    assert_eq!(ears[0].pace(), Duration::from_secs(5));
    ears.extend((0..50).map(|_| app.watched().open(&app, Subject::Situation)));
    assert_eq!(ears[0].pace(), Duration::from_secs(30));
    assert_eq!(app.watched().pages(), 1);

    drop(ears);
    let forgotten = async {
        while app.watched().pages() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("nobody has it open");
}
