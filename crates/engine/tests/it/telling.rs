//! What people elsewhere are told: everything once, whatever is lost on the way, and never in the way of a run.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::Actor;
use domain::action::ErrorClass;
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use domain::run::Ask;
use domain::trace::Trace;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use store::outbox::{OutboxFilter, OutboxRow};
use store::signals::SignalRow;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::judging::{self, AUTO, ONE, said, signal};
use crate::world::{Bench, Trouble, ask, request};

/// What the channel does with the next letters; afterwards it takes all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    /// Takes it, and the answer is lost.
    LosesAnswer,
    /// The letter is lost, and so is the answer.
    LosesLetter,
    /// Says that it is busy.
    Busy,
    /// Refuses it.
    Refuses,
    /// Takes it for some.
    MissesSome,
    /// Never answers.
    Hangs,
    /// Never answers, and nothing has come.
    Vanishes,
    /// Never answers; it comes only after somebody has looked for it.
    ComesLate,
    /// Takes its time.
    Slow,
}

/// A channel that remembers.
#[derive(Default)]
pub(crate) struct Room {
    moods: Mutex<Vec<Mood>>,
    heard: Mutex<Vec<(Uuid, String, Option<Value>)>>,
    /// It can say what it has heard.
    tells: bool,
    /// It knows a letter again, and takes it once.
    knows: bool,
    asked: Mutex<usize>,
    /// On its way still.
    late: Mutex<Option<(Uuid, String, Option<Value>)>>,
    hung: Notify,
}

impl Room {
    pub(crate) fn in_mood(moods: &[Mood], tells: bool) -> Arc<Self> {
        Arc::new(Self { moods: Mutex::new(moods.iter().rev().copied().collect()), tells, ..Self::default() })
    }

    fn titles(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|(_, title, _)| title.clone()).collect()
    }
}

impl Channel for Room {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        let mood = self.moods.lock().unwrap().pop();
        let take = || {
            let mut heard = self.heard.lock().unwrap();
            heard.retain(|(id, ..)| !self.knows || *id != letter.id);
            heard.push((letter.id, letter.notice.title.clone(), letter.thread.cloned()));
            json!({ "ts": heard.len() })
        };
        let lost = || Err(Undelivered::Unclear("the answer was lost".into()));
        let answer = match mood {
            None => Ok(Some(take())),
            Some(Mood::LosesAnswer) => {
                take();
                lost()
            }
            Some(Mood::LosesLetter) => lost(),
            Some(Mood::Busy) => {
                Err(Undelivered::Later { error: "busy".into(), after: Some(Duration::from_secs(30)) })
            }
            Some(Mood::MissesSome) => {
                take();
                Ok(Some(json!({ "refused": { "boss@example.com": "no such user" } })))
            }
            Some(Mood::Refuses) => Err(Undelivered::Never("no such channel".into())),
            Some(mood @ (Mood::Hangs | Mood::Vanishes | Mood::ComesLate)) => {
                match mood {
                    Mood::Hangs => drop(take()),
                    Mood::ComesLate => {
                        let letter = (letter.id, letter.notice.title.clone(), letter.thread.cloned());
                        *self.late.lock().unwrap() = Some(letter);
                    }
                    _ => {}
                }
                return async {
                    self.hung.notify_one();
                    std::future::pending().await
                }
                .boxed();
            }
            Some(Mood::Slow) => {
                return async move {
                    self.hung.notify_one();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(Some(take()))
                }
                .boxed();
            }
        };
        std::future::ready(answer).boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        *self.asked.lock().unwrap() += 1;
        let heard = self.heard.lock().unwrap().iter().position(|(id, ..)| *id == letter.id);
        self.heard.lock().unwrap().extend(self.late.lock().unwrap().take());
        std::future::ready(match (self.tells, heard) {
            _ if self.knows => Ok(Found::Harmless),
            (false, _) => Err(Undelivered::Unclear("it does not say".into())),
            (true, Some(at)) => Ok(Found::There(Some(json!({ "ts": at + 1 })))),
            (true, None) => Ok(Found::NotThere),
        })
        .boxed()
    }
}

fn lease() -> Duration {
    Duration::from_secs(10)
}

async fn messages(bench: &Bench) -> Vec<OutboxRow> {
    store::outbox::list(bench.pool(), OutboxFilter::default(), 100).await.unwrap()
}

/// Waits until the outbox is as wanted.
pub(crate) async fn until(
    bench: &Bench,
    what: &str,
    wanted: impl Fn(&[OutboxRow]) -> bool,
) -> Vec<OutboxRow> {
    let mut bell = store::listener::PgListener::connect_with(bench.pool()).await.unwrap();
    bell.listen("firebreak").await.unwrap();
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let found = messages(bench).await;
        if wanted(&found) {
            return found;
        }
        assert!(tokio::time::Instant::now() < patience, "never {what}: {found:#?}");
        let _ = tokio::time::timeout(Duration::from_millis(200), bell.recv()).await;
    }
}

/// The engines that there are lose their leases.
async fn dies(bench: &Bench, engine: &engine::Engine) {
    let lost = "UPDATE worker SET lease_until = now() - interval '1 hour'";
    sqlx::query(lost).execute(bench.pool()).await.unwrap();
    engine.lost().await;
    engine.shut_down().await;
}

fn states(found: &[OutboxRow]) -> Vec<&str> {
    found.iter().rev().map(|m| m.state.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_its_end_are_told_once_in_one_thread_by_however_many_processes() {
    let room = Room::in_mood(&[], true);
    let bench = Bench::new(ONE).await.saying(AUTO).telling("ops", room.clone());
    said(&bench, &signal("one", "disk")).await;
    let engines = [bench.engine(lease()).await, bench.engine(lease()).await, bench.engine(lease()).await];
    let told = |found: &[OutboxRow]| {
        found.len() >= 3
            && found.iter().all(|m| m.state == "sent")
            && found.iter().any(|m| m.message["kind"] == "acted")
    };
    until(&bench, "told all", told).await;
    for engine in &engines {
        engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    }
    let mut titles = room.titles();
    assert_eq!(titles[0], "Started by itself: Test");
    titles.sort();
    assert_eq!(titles, ["It was done once and did not help", "Started by itself: Test", "Succeeded: Test"]);
    let threads: Vec<_> = room.heard.lock().unwrap().iter().map(|(_, _, thread)| thread.clone()).collect();
    assert_eq!(threads, [None, Some(json!({ "ts": 1 })), Some(json!({ "ts": 1 }))]);
    for engine in engines {
        engine.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_brake_holds_back_is_an_incident_and_told_once_with_what_a_person_can_do() {
    let room = Room::in_mood(&[], true);
    let bench = Bench::new(ONE).await.saying(AUTO).telling("ops", room.clone());
    let engine = bench.engine(lease()).await;
    let (brakes, ana) = (engine.brakes(), Actor::person("ana"));
    brakes.stop(None, &ana, "a wrong view").await.unwrap();
    for source in ["one", "other"] {
        engine.receive(&signal(source, "disk"), None, None).await.unwrap();
    }
    let held = |s: &[SignalRow]| s.len() == 2 && s.iter().all(|s| s.code.as_deref() == Some("kill_switch"));
    let signals = judging::until(&bench, &engine, "held", held).await;
    let incident = signals[0].incident.unwrap();
    assert_eq!(signals[1].incident, Some(incident));
    let found = until(&bench, "told that it is held", |f| f.iter().any(|m| m.state == "sent")).await;
    assert_eq!((found.len(), found[0].incident), (1, Some(incident)), "{found:#?}");
    let text = found[0].message["text"].as_str().unwrap();
    assert!(text.contains("a wrong view") && text.contains("released on the page of brakes"), "{text}");
    brakes.allow(None, &ana, "understood").await.unwrap();
    until(&bench, "told of the run", |f| f.iter().filter(|m| m.state == "sent").count() >= 3).await;
    let titles = room.titles();
    assert_eq!(titles[..2], ["Nothing is done by itself: Test", "Started by itself: Test"], "{titles:?}");
    let of_it = messages(&bench).await.iter().all(|m| m.incident == Some(incident));
    assert!(of_it, "one thread");
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_back_so_soon_after_a_run_is_told_and_what_only_the_signal_still_says_is_not() {
    for (value, code, told) in [(1, "cooldown", true), (12, "refuted", false)] {
        let room = Room::in_mood(&[], true);
        let bench = Bench::new(ONE).await.saying(&AUTO.replace("1s", "100h")).telling("ops", room.clone());
        let engine = bench.engine(lease()).await;
        let run = engine.start(request("by hand")).await.unwrap().run_id;
        bench.ended(run).await;
        bench.world.put("a", value);
        engine.receive(&signal("one", "disk"), None, None).await.unwrap();
        let signals = judging::until(&bench, &engine, code, |s| judging::code(s, code)).await;
        let held: Vec<_> =
            messages(&bench).await.into_iter().filter(|m| m.message["kind"] == "held_back").collect();
        assert_eq!((held.len(), signals[0].incident.is_some()), (usize::from(told), told), "{held:#?}");
        assert!(held.iter().all(|m| {
            m.incident == signals[0].incident
                && m.message["text"]
                    .as_str()
                    .unwrap()
                    .contains("has just ended, and the guards of test/bad hold again")
        }));
        assert_eq!(judging::runs(&bench).await.len(), 1);
        engine.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_can_see_nothing_says_so_unless_it_is_in_shadow() {
    for mode in ["ask", "shadow"] {
        let room = Room::in_mood(&[], true);
        let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", mode)).telling("ops", room.clone());
        bench.world.0.lock().unwrap().looks_fail = true;
        said(&bench, &signal("one", "disk")).await;
        let engine = bench.engine(lease()).await;
        let signals = judging::until(&bench, &engine, "blind", |s| judging::code(s, "blind")).await;
        let told: Vec<_> =
            messages(&bench).await.into_iter().map(|m| (m.message["kind"].clone(), m.incident)).collect();
        let expected = signals[0].incident.map(|incident| (json!("held_back"), Some(incident)));
        assert_eq!(expected.is_some(), mode == "ask");
        assert_eq!(told, Vec::from_iter(expected));
        engine.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_looked_up_and_a_busy_channel_is_given_time() {
    let room = Room::in_mood(&[Mood::LosesAnswer, Mood::LosesLetter, Mood::Busy], true);
    let bench = Bench::new(ONE).await.saying(AUTO).telling("ops", room.clone());
    said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    let found = until(&bench, "told all", |f| f.len() >= 3 && f.iter().all(|m| m.state == "sent")).await;
    assert_eq!(room.titles().len(), found.len(), "{found:#?}");
    // Once for the answer, and twice for the letter: it might have been on its way.
    assert_eq!(*room.asked.lock().unwrap(), 3);
    let tries: Vec<_> = found.iter().rev().map(|m| m.attempts).collect();
    assert_eq!((tries[0], tries[1]), (1, 3), "{found:#?}");
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_up_is_said_to_be_unclear_and_what_is_refused_is_not_tried_again() {
    let room = Room::in_mood(&[Mood::LosesAnswer, Mood::Refuses, Mood::MissesSome], false);
    let bench = Bench::new(ONE).await.saying(AUTO).telling("mail", room.clone());
    said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    let settled = |found: &[OutboxRow]| found.len() >= 3 && found.iter().all(|m| m.due.is_none());
    let found = until(&bench, "settled all", settled).await;
    assert_eq!(states(&found), ["unclear", "failed", "sent"]);
    assert!(found.iter().all(|m| m.attempts == 1));
    assert_eq!(found[1].error.as_deref(), Some("no such channel"));
    let missed = found[0].error.as_deref().unwrap_or_default();
    assert!(missed.contains("not taken for") && missed.contains("boss@example.com"), "{missed}");
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_it_sends_leaves_a_doubt_that_the_next_one_clears_up() {
    let room = Room::in_mood(&[Mood::Hangs], true);
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask")).telling("ops", room.clone());
    said(&bench, &signal("one", "disk")).await;
    let first = bench.engine(lease()).await;
    room.hung.notified().await;
    // It has sent, and does not live to write that down.
    dies(&bench, &first).await;
    let second = bench.engine(lease()).await;
    let found = until(&bench, "told", |f| f.iter().any(|m| m.state == "sent")).await;
    assert_eq!(room.titles(), ["Decide: Test"]);
    assert_eq!((found.len(), found[0].attempts), (1, 2));
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_was_sending_may_come_late_and_is_looked_for_once_more_before_it_is_sent_again() {
    for (mood, tries) in [(Mood::ComesLate, 3), (Mood::Vanishes, 3)] {
        let room = Room::in_mood(&[mood], true);
        let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask")).telling("ops", room.clone());
        said(&bench, &signal("one", "disk")).await;
        let first = bench.engine(lease()).await;
        room.hung.notified().await;
        dies(&bench, &first).await;
        let second = bench.engine(lease()).await;
        let found = until(&bench, "told", |f| f.iter().any(|m| m.state == "sent")).await;
        assert_eq!(room.titles(), ["Decide: Test"], "{mood:?}");
        assert_eq!((found.len(), found[0].attempts, *room.asked.lock().unwrap()), (1, tries, 2), "{mood:?}");
        second.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_a_letter_again_is_sent_it_at_once_by_whoever_takes_over() {
    let room = Room::in_mood(&[Mood::Hangs], true);
    let room = Arc::new(Room { knows: true, ..Arc::try_unwrap(room).unwrap_or_default() });
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask")).telling("hook", room.clone());
    said(&bench, &signal("one", "disk")).await;
    let first = bench.engine(lease()).await;
    room.hung.notified().await;
    dies(&bench, &first).await;
    let second = bench.engine(lease()).await;
    let found = until(&bench, "told", |f| f.iter().any(|m| m.state == "sent")).await;
    // The try that hung, and one more.
    assert_eq!((room.titles(), found[0].attempts), (vec!["Decide: Test".to_owned()], 2));
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_told_to_stop_lets_its_message_arrive_and_takes_no_other() {
    let (mail, other) = (Room::in_mood(&[Mood::Slow], false), Room::in_mood(&[], false));
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask")).telling("mail", mail.clone());
    let bench = bench.telling("other", other.clone());
    said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    mail.hung.notified().await;
    until(&bench, "told elsewhere", |f| f.iter().any(|m| m.channel == "other" && m.state == "sent")).await;
    let stops = engine.shut_down();
    let told_meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let late = engine.start(request("late")).await.unwrap_err();
        assert_eq!(late.to_string(), "this process is stopping; ask again");
        let again = "INSERT INTO outbox (channel, key, message, at, due) SELECT channel, 'another', message, at, due FROM outbox
                      WHERE channel = 'mail'";
        sqlx::query(again).execute(bench.pool()).await.unwrap();
    };
    tokio::join!(stops, told_meanwhile);
    let found = messages(&bench).await;
    let mails: Vec<_> =
        found.iter().filter(|m| m.channel == "mail").map(|m| (m.state.as_str(), m.attempts)).collect();
    assert!(mails.contains(&("sent", 1)) && mails.contains(&("waiting", 0)), "{found:#?}");
    assert_eq!(mail.titles(), ["Decide: Test"]);
    assert_eq!(*mail.asked.lock().unwrap(), 0, "nothing was in doubt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_never_answers_holds_up_no_run_and_people_are_told_what_waits_for_them() {
    let room = Room::in_mood(&[Mood::Hangs, Mood::Hangs, Mood::Hangs], true);
    let words = Room::in_mood(&[], true);
    let steps = "steps:\n  - id: low\n    assert: false\n    message: Not now.\n    on_failure: pause\n";
    let bench = Bench::new(steps).await.telling("hung", room).telling("words", words.clone());
    let (engine, run) = bench.start().await;
    bench.until(run, "paused", |s| s.paused().is_some()).await;
    until(&bench, "told that it waits", |f| f.iter().any(|m| m.channel == "words" && m.state == "sent"))
        .await;
    ask(&engine, run, Ask::Abort { takeback: domain::run::Takeback::Finally, reason: "enough".into() }).await;
    bench.ended(run).await;
    until(&bench, "told its end", |f| {
        f.iter().filter(|m| m.channel == "words" && m.state == "sent").count() == 2
    })
    .await;
    assert_eq!(words.titles(), ["Waits for a person: Test", "Aborted: Test"]);
    let told = messages(&bench).await;
    let waits = told.iter().find(|m| m.message["kind"] == "needs_a_person").unwrap();
    assert!(waits.message["text"].as_str().unwrap().contains("Not now"), "{waits:?}");
    dies(&bench, &engine).await; // or the channel would be waited for
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_never_told_anything_does_not_begin_with_old_news() {
    let bench = Bench::new(ONE).await;
    let (engine, run) = bench.start().await;
    bench.ended(run).await;
    engine.shut_down().await;
    // Two hours of clock time go by, and then somebody configures a channel.
    let later = bench.clock.now() + chrono::TimeDelta::hours(3);
    let room = Room::in_mood(&[], true);
    let bench = bench.at(later).telling("ops", room.clone());
    let (engine, _) = {
        let engine = bench.engine(lease()).await;
        let started = engine.start(crate::world::request("another")).await.unwrap();
        (engine, started)
    };
    until(&bench, "told of the new run", |f| f.iter().any(|m| m.state == "sent")).await;
    assert_eq!(room.titles(), ["Succeeded: Test"]);
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_of_its_own_moves_a_trigger_to_ask_and_is_told() {
    let steps =
        "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n    on_failure: fail\n";
    let room = Room::in_mood(&[], true);
    let bench = Bench::new(steps).await.saying(AUTO).telling("ops", room.clone());
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    until(&bench, "told of the demotion", |f| {
        f.iter().any(|m| m.message["kind"] == "demoted" && m.state == "sent")
    })
    .await;
    let (triggers, occasions) = engine.triggers().await.unwrap();
    assert_eq!((triggers[0].mode.word(), triggers[0].written.word()), ("ask", "auto"));
    assert_eq!(triggers[0].set.as_ref().unwrap().by, "triage");
    assert_eq!((triggers[0].score.started, triggers[0].score.failed), (1, 1));
    assert_eq!(occasions.len(), 1);
    // Once: what a person says afterwards holds.
    let approver = Actor::with_role("grace", domain::Role::Approver);
    engine.set_mode("test/bad", Some(domain::runbook::Mode::Auto), &approver, "understood").await.unwrap();
    let (triggers, _) = engine.triggers().await.unwrap();
    assert_eq!(triggers[0].mode.word(), "auto");
    engine.shut_down().await;
}

/// A collector of traces: loses its first answer.
#[derive(Default)]
struct Collector {
    drawn: Mutex<Vec<Trace>>,
}

impl Channel for Collector {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn takes_traces(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        let mut drawn = self.drawn.lock().unwrap();
        drawn.extend(letter.trace.cloned());
        let lost = drawn.len() == 1;
        std::future::ready(if lost { Err(Undelivered::Unclear("lost".into())) } else { Ok(None) }).boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        std::future::ready(Ok(Found::Harmless)).boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_has_ended_is_drawn_for_collectors_alone_and_drawn_again_it_is_the_same() {
    let (room, collector) = (Room::in_mood(&[], true), Arc::new(Collector::default()));
    let bench = Bench::new(ONE).await.telling("ops", room.clone()).telling("traces", collector.clone());
    let engine = bench.engine(lease()).await;
    let run = engine.start(request("by hand")).await.unwrap().run_id;
    bench.ended(run).await;
    let settled = |f: &[OutboxRow]| f.len() == 2 && f.iter().all(|m| m.state == "sent");
    let found = until(&bench, "told and drawn", settled).await;
    let mut kinds: Vec<_> = found.iter().map(|m| (m.channel.as_str(), m.message["kind"].clone())).collect();
    kinds.sort_by_key(|(channel, _)| *channel);
    assert_eq!(kinds, [("ops", json!("ended")), ("traces", json!("trace"))]);
    assert_eq!(room.titles(), ["Succeeded: Test"]);

    let drawn = collector.drawn.lock().unwrap().clone();
    assert_eq!((drawn.len(), &drawn[0]), (2, &drawn[1]), "the answer to the first was lost");
    let Trace { id, spans } = &drawn[0];
    assert_eq!((*id, spans[0].parent, spans[0].name.as_str()), (run, None, "test"));
    assert!(spans[0].about.contains(&("firebreak.outcome", json!("succeeded"))), "{spans:#?}");
    let ids: HashSet<_> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len());
    for span in &spans[1..] {
        assert!(span.parent.is_some_and(|parent| ids.contains(&parent)), "{span:#?}");
        assert!(spans[0].from <= span.from && span.from <= span.to && span.to <= spans[0].to, "{span:#?}");
    }
    let changes: Vec<_> =
        spans.iter().filter(|s| s.about.contains(&("firebreak.changes", json!(true)))).collect();
    assert!(changes.iter().all(|call| call.outside) && !changes.is_empty(), "{spans:#?}");
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_this_version_cannot_read_is_left_to_one_that_can_and_is_not_asked_for_without_a_pause() {
    let collector = Arc::new(Collector::default());
    let bench = Bench::new(ONE).await.calm();
    let (engine, run) = bench.start().await;
    bench.ended(run).await;
    engine.shut_down().await;
    bench.write_of_tomorrow(run).await;
    let bench = bench.telling("traces", collector.clone());
    let engine = bench.engine(lease()).await;
    let found = until(&bench, "put off", |f| f.iter().any(|m| m.error.is_some())).await;
    assert_eq!((found[0].state.as_str(), found[0].attempts), ("waiting", 1), "{found:?}");
    assert!(found[0].error.as_ref().unwrap().contains("cannot be read"), "{found:?}");
    assert!(collector.drawn.lock().unwrap().is_empty());
    engine.shut_down().await;
}

/// The database is told to refuse it once, in a way that passes. The sweep would tell of it half a minute later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_put_into_the_outbox_is_put_there_soon() {
    let room = Room::in_mood(&[], true);
    let bench = Bench::new(ONE).await.telling("ops", room.clone());
    let once = "CREATE SEQUENCE refusals;
        CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('refusals') = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '55P03'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse_once BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse_once();";
    sqlx::raw_sql(once).execute(bench.db.pool()).await.unwrap();
    let (engine, run) = bench.start().await;
    bench.ended(run).await;
    let told = until(&bench, "told", |f| f.iter().any(|m| m.state == "sent"));
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("before the sweep");
    assert_eq!(room.titles(), ["Succeeded: Test"]);
    engine.shut_down().await;
}
