//! The observer on a clock that is moved by hand: every look is counted, nothing depends on how fast the machine is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use domain::action::{Action, ActionError, CallRecord, Ctx, ErrorClass, Observe, Observing};
use domain::{Clock, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use super::{Budget, Observer, Share, Subscription, Wish};

/// Stands still until it is moved.
#[derive(Default)]
struct Hands(Mutex<Dial>);

#[derive(Default)]
struct Dial {
    shows: TimeDelta,
    /// By the time at which they wake, and the order in which they came.
    sleepers: BTreeMap<(TimeDelta, u64), oneshot::Sender<()>>,
    came: u64,
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.lock().unwrap().shows
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut dial = self.0.lock().unwrap();
        let at = dial.shows + TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(365));
        let (wake, woken) = oneshot::channel();
        dial.came += 1;
        let n = dial.came;
        dial.sleepers.insert((at, n), wake);
        woken.map(drop).boxed()
    }
}

/// What is looked at, and how often it was.
#[derive(Clone)]
struct Outside(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    values: BTreeMap<String, i64>,
    looks: BTreeMap<String, u32>,
    answers: VecDeque<ErrorClass>,
    calls_per_look: usize,
    /// When set, a look hangs until it gets a permit; it has read its value by then.
    gate: Option<Arc<Semaphore>>,
}

#[derive(Deserialize, JsonSchema)]
struct Named {
    name: String,
    #[serde(rename = "region")]
    _region: Option<String>,
}

struct Describe(Outside);

impl Observe for Describe {
    const NAME: &'static str = "autoscaling.describe_group";
    const SUMMARY: &'static str = "Looks";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeAutoScalingGroups"];
    type Input = Named;
    type Output = Value;

    async fn observe(&self, ctx: &Ctx, input: &Named) -> Result<Value, ActionError> {
        let (value, answer, gate, calls) = {
            let mut inner = self.0.0.lock().unwrap();
            *inner.looks.entry(input.name.clone()).or_default() += 1;
            let value = inner.values.get(&input.name).copied().unwrap_or_default();
            (value, inner.answers.pop_front(), inner.gate.clone(), inner.calls_per_look)
        };
        for _ in 0..calls {
            ctx.calls.push(CallRecord {
                at: ctx.clock.now(),
                service: "autoscaling".into(),
                operation: "DescribeAutoScalingGroups".into(),
                target: input.name.clone(),
                request_id: None,
                status: "ok".into(),
                duration_ms: 0,
                mutating: false,
            });
        }
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        match answer {
            Some(class) => Err(ActionError::new(class, "trouble", "it did not work")),
            None => Ok(json!({ "value": value })),
        }
    }

    fn command(&self, _input: &Named) -> String {
        String::new()
    }
}

struct Bench {
    clock: Arc<Hands>,
    outside: Outside,
    action: Arc<dyn Action>,
    observer: Observer,
    /// How many processes share the budget.
    among: Arc<AtomicU32>,
}

impl Bench {
    fn new(budget: Budget) -> Self {
        let clock = Arc::new(Hands::default());
        let outside = Outside(Arc::new(Mutex::new(Inner { calls_per_look: 1, ..Inner::default() })));
        let action = Arc::new(Observing::new(Describe(outside.clone())));
        let among = Arc::new(AtomicU32::new(1));
        let share =
            Share::of(budget, Budget { per_second: budget.per_second / 2.0, ..budget }, among.clone());
        let observer = Observer::new(clock.clone(), share, Duration::from_secs(60));
        Self { clock, outside, action, observer, among }
    }

    fn inner<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.outside.0.lock().unwrap())
    }

    fn looks(&self) -> u32 {
        self.inner(|inner| inner.looks.values().sum())
    }

    fn watch(&self, name: &str) -> Subscription {
        let wish = Wish { every: Duration::from_secs(5), since: self.clock.now(), expect: None };
        self.observer.watch(&self.action, &json!({ "name": name }), wish)
    }

    /// Lets everything that can happen now happen.
    async fn settle(&self) {
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock on, from one sleeper to the next.
    async fn pass(&self, seconds: i64) {
        self.settle().await;
        let end = self.clock.0.lock().unwrap().shows + TimeDelta::seconds(seconds);
        loop {
            {
                let mut dial = self.clock.0.lock().unwrap();
                dial.sleepers.retain(|_, sleeper| !sleeper.is_closed());
                match dial.sleepers.first_key_value().map(|((at, _), _)| *at) {
                    Some(at) if at <= end => {
                        dial.shows = dial.shows.max(at);
                        let (_, sleeper) = dial.sleepers.pop_first().unwrap();
                        let _ = sleeper.send(());
                    }
                    _ => {
                        dial.shows = end;
                        return;
                    }
                }
            }
            self.settle().await;
        }
    }
}

fn value(look: &super::Look) -> i64 {
    look.result.as_ref().unwrap()["value"].as_i64().unwrap()
}

fn told(subscription: &mut Subscription) -> Option<(i64, bool)> {
    let news = subscription.news().now_or_never()?;
    Some((value(&news.look), news.gap))
}

async fn looks_of(watchers: usize) -> u32 {
    let bench = Bench::new(Budget::default());
    let mut all: Vec<_> = (0..watchers).map(|_| bench.watch("a")).collect();
    bench.pass(600).await;
    assert!(all.iter_mut().all(|s| told(s) == Some((0, false))), "each is told what is so, once");
    bench.pass(600).await;
    assert!(all.iter_mut().all(|s| told(s).is_none()), "nothing has changed, nobody is woken");
    bench.looks()
}

#[tokio::test]
async fn two_hundred_that_wait_cost_no_more_looks_than_ten() {
    let ten = looks_of(10).await;
    assert_eq!(looks_of(200).await, ten);
    // Every five seconds at first, at most every fifteen later: never more than 240 in these twenty minutes, never under 80.
    assert!((80..200).contains(&ten), "{ten}");
}

#[tokio::test]
async fn a_change_is_told_to_all_and_looked_at_more_often_for_a_while() {
    let bench = Bench::new(Budget::default());
    let mut all: Vec<_> = (0..200).map(|_| bench.watch("a")).collect();
    bench.pass(22).await;
    assert!(all.iter_mut().all(|s| told(s) == Some((0, false))));
    assert_eq!(bench.looks(), 5, "at 0, 5, 10, 15, 20");
    bench.inner(|inner| inner.values.insert("a".into(), 7));
    bench.pass(4).await;
    assert!(all.iter_mut().all(|s| told(s) == Some((7, false))));
    bench.pass(10).await;
    assert_eq!(bench.looks(), 9, "at 25, 27.5, 30, 35: half of `every`, twice");
}

#[tokio::test]
async fn nobody_is_given_a_look_that_began_before_they_asked() {
    let bench = Bench::new(Budget::default());
    let gate = Arc::new(Semaphore::new(0));
    bench.inner(|inner| inner.gate = Some(gate.clone()));
    let mut first = bench.watch("a");
    bench.settle().await;
    assert_eq!(bench.looks(), 1, "under way: it has read 0");
    bench.inner(|inner| inner.values.insert("a".into(), 1));
    let mut second = bench.watch("a");
    let input = json!({ "name": "a" });
    let once = bench.observer.once(&bench.action, &input);
    tokio::pin!(once);
    assert!(once.as_mut().now_or_never().is_none());
    gate.add_permits(1);
    bench.settle().await;
    assert_eq!(told(&mut first), Some((0, false)));
    assert!(told(&mut second).is_none(), "that look had been sent before it came");
    assert!(once.as_mut().now_or_never().is_none());
    gate.add_permits(1);
    bench.settle().await;
    assert_eq!(told(&mut second), Some((1, false)));
    assert_eq!(value(&once.now_or_never().unwrap()), 1);
    assert_eq!(bench.looks(), 2, "one look for both");
    // Nothing is passed over; then what is due is looked at anew, even when somebody else's look has just come back.
    assert_eq!(told(&mut first), Some((1, false)));
    let fresh = first.fresh();
    tokio::pin!(fresh);
    assert!(fresh.as_mut().now_or_never().is_none());
    gate.add_permits(1);
    bench.settle().await;
    assert_eq!(value(&fresh.now_or_never().unwrap().look), 1);
    assert_eq!(bench.looks(), 3);
}

#[tokio::test]
async fn all_that_is_watched_in_a_lane_shares_its_budget_evenly() {
    let bench = Bench::new(Budget { per_second: 5.0, burst: 20.0 });
    let all: Vec<_> = (0..200).map(|n| bench.watch(&format!("host {n}"))).collect();
    bench.pass(200).await;
    let looks = bench.inner(|inner| inner.looks.clone());
    assert!((980..=1021).contains(&looks.values().sum::<u32>()), "five a second: {looks:?}");
    assert_eq!(looks.len(), all.len());
    let (least, most) = (looks.values().min().unwrap(), looks.values().max().unwrap());
    // While the last had to wait for their first look, one in four was already a second one.
    assert!(most - least <= 2, "{least} to {most}");
    // A region of its own is a lane of its own.
    let counted = bench.looks();
    let elsewhere = json!({ "name": "elsewhere", "region": "eu-west-1" });
    let look = bench.observer.once(&bench.action, &elsewhere).now_or_never();
    assert!(look.is_none());
    let once = bench.observer.once(&bench.action, &elsewhere);
    tokio::pin!(once);
    let _ = once.as_mut().now_or_never();
    bench.settle().await;
    assert!(once.now_or_never().is_some() && bench.looks() > counted);
}

#[tokio::test]
async fn several_processes_share_the_rate_and_the_first_looks_of_each_do_not_wait() {
    let bench = Bench::new(Budget { per_second: 6.0, burst: 24.0 });
    bench.among.store(3, Ordering::Relaxed);
    bench.pass(60).await; // what is not asked is saved up
    let _all: Vec<_> = (0..200).map(|n| bench.watch(&format!("host {n}"))).collect();
    bench.settle().await;
    assert!((24..=25).contains(&bench.looks()), "at once, whoever else is there: {}", bench.looks());
    bench.pass(100).await;
    assert!((220..=226).contains(&bench.looks()), "two a second for each of three: {}", bench.looks());
    bench.among.store(1, Ordering::Relaxed);
    let before = bench.looks();
    bench.pass(100).await;
    let alone = bench.looks() - before;
    assert!((595..=625).contains(&alone), "all of it, once the others are gone: {alone}");
}

#[tokio::test]
async fn what_is_asked_itself_has_a_budget_of_its_own() {
    let bench = Bench::new(Budget { per_second: 1.0, burst: 1.0 });
    let places =
        (0..50).map(|n| json!({ "name": format!("{n}"), "fleet": "us", "host": { "id": format!("i-{n}") } }));
    let others = ["us", "eu"].map(|fleet| json!({ "name": format!("logins of {fleet}"), "fleet": fleet }));
    let wish = Wish { every: Duration::from_secs(5), since: bench.clock.now(), expect: None };
    let _all: Vec<_> =
        places.chain(others).map(|input| bench.observer.watch(&bench.action, &input, wish)).collect();
    bench.settle().await;
    assert_eq!(bench.looks(), 52, "nobody waits for the others");
    // In a region it is the region's service that is asked, whatever about.
    let lane = |input: Value| super::LaneName::of("rds.describe_cluster", &input);
    assert_eq!(
        lane(json!({ "region": "r", "cluster": "a" })),
        lane(json!({ "region": "r", "cluster": "b" }))
    );
}

#[tokio::test]
async fn a_look_is_charged_for_the_requests_that_it_really_took() {
    let bench = Bench::new(Budget { per_second: 5.0, burst: 20.0 });
    bench.inner(|inner| inner.calls_per_look = 4);
    let _all: Vec<_> = (0..100).map(|n| bench.watch(&format!("host {n}"))).collect();
    bench.pass(200).await;
    let counts = bench.observer.counts();
    assert!((900..=1030).contains(&counts.requests), "{counts:?}");
    assert_eq!(counts.requests, counts.looks * 4);
}

#[tokio::test]
async fn a_throttled_lane_backs_off_and_comes_back() {
    let bench = Bench::new(Budget { per_second: 4.0, burst: 4.0 });
    let _all: Vec<_> = (0..100).map(|n| bench.watch(&format!("host {n}"))).collect();
    bench.pass(60).await;
    let looks_in = async |seconds| {
        let before = bench.looks();
        bench.pass(seconds).await;
        bench.looks() - before
    };
    assert!((238..=242).contains(&looks_in(60).await));
    bench.inner(|inner| inner.answers = [ErrorClass::Busy, ErrorClass::Busy].into());
    bench.pass(5).await;
    let quarter = looks_in(50).await;
    assert!((45..=55).contains(&quarter), "a quarter of the rate: {quarter}");
    bench.pass(140).await;
    assert!((238..=242).contains(&looks_in(60).await), "all of it after two calm minutes");
}

#[tokio::test]
async fn the_urgent_go_first_and_the_routine_is_not_starved() {
    let bench = Bench::new(Budget { per_second: 1.0, burst: 1.0 });
    let _dull: Vec<_> = (0..20).map(|n| bench.watch(&format!("dull {n}"))).collect();
    bench.pass(100).await;
    bench.inner(|inner| inner.looks.clear());
    let _new: Vec<_> = (0..40).map(|n| bench.watch(&format!("new {n}"))).collect();
    bench.pass(40).await;
    let (new, dull): (Vec<_>, Vec<_>) =
        bench.inner(|inner| inner.looks.clone()).into_keys().partition(|name| name.starts_with("new"));
    assert!(new.len() >= 28 && dull.len() >= 8, "{} new, {} dull", new.len(), dull.len());
}

#[tokio::test]
async fn a_failure_in_passing_is_told_to_those_who_soak_and_blindness_to_all() {
    let bench = Bench::new(Budget::default());
    let (mut waits, mut soaks) = (bench.watch("a"), bench.watch("a"));
    bench.pass(1).await;
    assert_eq!((told(&mut waits), told(&mut soaks)), (Some((0, false)), Some((0, false))));
    soaks.soaks(true);
    bench.inner(|inner| inner.answers = [ErrorClass::Transient].into());
    bench.pass(5).await;
    assert!(told(&mut waits).is_none());
    let news = soaks.news().now_or_never().unwrap();
    assert!(news.look.result.is_err());
    // A failure that it was too slow to see shows as a gap, even though the value is what it was.
    bench.inner(|inner| inner.answers = [ErrorClass::Transient].into());
    bench.pass(10).await;
    assert_eq!(told(&mut soaks), Some((0, true)));
    assert!(told(&mut waits).is_none());
    bench.inner(|inner| inner.answers = [ErrorClass::Transient; 3].into());
    bench.pass(15).await;
    assert!(
        waits.news().now_or_never().unwrap().look.result.is_err(),
        "three in a row are told to everybody"
    );
    bench.pass(5).await;
    assert_eq!(told(&mut waits).map(|(value, _)| value), Some(0), "and so is it that it can be seen again");
}

#[tokio::test]
async fn changes_that_were_not_seen_one_by_one_show_as_a_gap() {
    let bench = Bench::new(Budget::default());
    let mut watch = bench.watch("a");
    bench.pass(1).await;
    assert_eq!(told(&mut watch), Some((0, false)));
    for value in [1, 0] {
        bench.inner(|inner| inner.values.insert("a".into(), value));
        bench.pass(6).await;
    }
    assert_eq!(told(&mut watch), Some((0, true)));
}

#[tokio::test]
async fn rds_has_a_budget_of_its_own() {
    let bench = Bench::new(Budget { per_second: 5.0, burst: 1.0 });
    let budget = |action: &str| bench.observer.lane(action, &json!({ "region": "eu-west-1" })).per_second();
    assert_eq!((budget("autoscaling.describe_group"), budget("rds.describe_cluster")), (5.0, 2.5));
    // However many share it.
    bench.among.store(5, Ordering::Relaxed);
    let budget = |action: &str| bench.observer.lane(action, &json!({ "region": "eu-west-2" })).per_second();
    assert_eq!((budget("autoscaling.describe_group"), budget("rds.describe_cluster")), (1.0, 0.5));
}

#[tokio::test]
async fn an_event_brings_the_look_forward_and_is_not_believed() {
    let bench = Bench::new(Budget::default());
    let mut watch = bench.watch("a");
    bench.pass(300).await;
    assert_eq!(told(&mut watch), Some((0, false)));
    let before = bench.looks();
    bench.observer.hint("autoscaling", "eu-west-1", "b");
    bench.pass(1).await;
    assert_eq!(bench.looks(), before, "it was about something else");
    bench.observer.hint("autoscaling", "eu-west-1", "a");
    bench.pass(1).await;
    assert_eq!(bench.looks(), before + 1);
    assert!(told(&mut watch).is_none(), "nothing has changed, whatever the event said");
}

#[tokio::test]
async fn looks_of_the_moment_are_shared_and_nothing_is_looked_at_for_nobody() {
    let bench = Bench::new(Budget::default());
    let input = json!({ "name": "a", "region": null });
    let all = futures::future::join_all((0..50).map(|_| bench.observer.once(&bench.action, &input)));
    tokio::pin!(all);
    assert!(all.as_mut().now_or_never().is_none());
    bench.settle().await;
    assert_eq!(all.now_or_never().unwrap().len(), 50);
    assert_eq!(bench.looks(), 1);
    bench.pass(100).await;
    assert_eq!(bench.looks(), 1);
    assert_eq!(bench.observer.counts().subjects, 0);
}

#[tokio::test]
async fn what_is_asked_without_a_ticket_counts_and_blinds_nobody() {
    let bench = Bench::new(Budget { per_second: 4.0, burst: 4.0 });
    let _all: Vec<_> = (0..100).map(|n| bench.watch(&format!("host {n}"))).collect();
    bench.pass(60).await;
    let before = bench.looks();
    for _ in 0..60 {
        for _ in 0..10 {
            bench.observer.spent(&*bench.action, &json!({ "name": "a" }), &[], false);
        }
        bench.pass(1).await;
    }
    let looks = bench.looks() - before;
    assert!((115..=125).contains(&looks), "half of the budget: {looks}");
}
