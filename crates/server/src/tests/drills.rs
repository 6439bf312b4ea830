//! Drills: a server that is given nobody to play them offers none and says why; one that is, lets responders play, and keeps scores.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use domain::drill::{Player, Reality, Score};
use domain::{Actor, Role};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use store::PgPool;
use store::drills::Begun;
use tower::ServiceExt;
use uuid::Uuid;

use super::bench::{Bench, wish};
use crate::{DrillError, Drills, Offer, OnStage, Playing, Settings, Stage};

/// Plays nothing, and writes down what it should play.
#[derive(Debug)]
struct Troupe {
    pool: PgPool,
    on: Mutex<Option<Uuid>>,
}

impl Drills for Troupe {
    fn offers(&self) -> Vec<Offer> {
        let offer = |name: &str, why_not: Option<&str>| Offer {
            name: name.into(),
            title: format!("The {name} goes <out>"),
            about: "It is dark.".into(),
            real: true,
            why_not: why_not.map(str::to_owned),
        };
        vec![offer("lamp", None), offer("sun", Some("it takes too long"))]
    }

    fn playing(&self) -> Option<Playing> {
        let now = domain::Timestamp::from_timestamp(1_715_090_400, 0)?;
        (*self.on.lock().ok()?).map(|id| Playing {
            id,
            title: "The lamp goes out".into(),
            player: Player::People,
            by: "ada".into(),
            over: false,
            now,
            trigger: now + chrono::TimeDelta::seconds(30),
            cluster: "shard-b".into(),
            here: vec![(-60, 0.0), (0, 0.2)],
            nobody: vec![(-60, 0.0), (0, 0.2), (600, 0.5)],
        })
    }

    fn start<'a>(
        &'a self,
        name: &'a str,
        player: Player,
        by: &'a Actor,
    ) -> BoxFuture<'a, Result<Uuid, DrillError>> {
        async move {
            if self.on.lock().unwrap().is_some() {
                return Err(DrillError::On("The lamp goes out".into()));
            }
            let id = Uuid::now_v7();
            let at = domain::Timestamp::from_timestamp(1_715_090_400, 0).unwrap();
            let begun = Begun { id, name, title: "The lamp goes out", player, at };
            store::drills::begin(&self.pool, begun, by).await?;
            *self.on.lock().unwrap() = Some(id);
            Ok(id)
        }
        .boxed()
    }

    fn end<'a>(&'a self, id: Uuid, by: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>> {
        async move {
            let at = domain::Timestamp::from_timestamp(1_715_091_000, 0).unwrap();
            let reality = Reality {
                source: "a report".into(),
                error_share_peak: 0.5,
                seconds_to_decision: 2280,
                seconds_to_recovered: 3480,
            };
            let score = Score {
                cluster: "shard-b".into(),
                recovered: true,
                seconds_to_recovered: Some(600),
                failed_requests: 1234.0,
                reality: Some(reality),
                here: vec![(0, 0.2), (600, 0.0)],
                nobody: vec![(0, 0.2), (600, 0.5)],
                real: vec![(0, 0.2), (3480, 0.0)],
                ..Score::default()
            };
            store::drills::end(&self.pool, id, Some(&score), by.name(), at).await?;
            Ok(())
        }
        .boxed()
    }

    fn leave<'a>(&'a self, id: Uuid, _: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>> {
        async move {
            let mut on = self.on.lock().unwrap();
            if on.take_if(|on| *on == id).is_some() { Ok(()) } else { Err(DrillError::NotOn) }
        }
        .boxed()
    }
}

/// A bench whose server plays drills.
async fn house() -> Bench {
    let mut bench = Bench::new().await;
    let troupe = Troupe { pool: bench.engine.pool().clone(), on: Mutex::default() };
    let settings = Settings { drills: Some(Arc::new(troupe)), ..bench.settings.clone() };
    bench.router = crate::router(bench.engine.clone(), settings);
    bench
}

#[tokio::test]
async fn a_server_that_works_on_something_real_offers_none_and_says_why() {
    let mut bench = Bench::new().await;
    let settings = Settings { simulated: false, ..bench.settings.clone() };
    bench.router = crate::router(bench.engine.clone(), settings);
    let ada = bench.sign_in_as("ada", Role::Admin).await;
    let page = ada.get("/drills").await;
    assert!(
        page.text.contains("connected to a real AWS") && !page.text.contains("data-offer-drill"),
        "{}",
        page.text
    );
    let refused = ada.form("/drills", &[("drill", "lamp")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("data-problem=\"no_drills_here\""), "{}", refused.text);
    for act in ["end", "leave"] {
        let refused = ada.form(&format!("/drills/{}/{act}", Uuid::now_v7()), &[]).await;
        assert!(refused.text.contains("data-problem=\"no_drills_here\""), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_responder_plays_one_at_a_time_and_its_score_stays() {
    let bench = house().await;
    let (ada, eve) = (bench.sign_in("ada").await, bench.sign_in_as("eve", Role::Viewer).await);
    let page = eve.get("/drills").await;
    assert!(page.text.contains("The lamp goes &#60;out&#62;"), "{}", page.text);
    assert!(
        page.text.contains("Not here: it takes too long") && page.text.contains("One is played at a time")
    );
    let refused = eve.form("/drills", &[("drill", "lamp"), ("player", "people")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    let started = ada.form("/drills", &[("drill", "lamp"), ("player", "people")]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let path = started.header(header::LOCATION).to_owned();
    let playing = eve.get(&path).await;
    assert!(playing.text.contains("It goes wrong in 30 s."), "{}", playing.text);
    assert!(playing.text.contains("data-state=\"playing\"") && playing.text.contains("<svg viewBox"));
    let second = ada.form("/drills", &[("drill", "lamp")]).await;
    assert!(second.text.contains("data-problem=\"drill_is_on\""), "{}", second.text);
    assert_eq!(eve.form(&format!("{path}/end"), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ada.form(&format!("{path}/end"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.form(&format!("{path}/leave"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.form(&format!("{path}/leave"), &[]).await.status, StatusCode::CONFLICT);

    let scored = eve.get(&path).await;
    assert!(scored.text.contains("All well 48 m 00 s sooner than in reality."), "{}", scored.text);
    assert!(
        scored.text.contains("1\u{202f}234")
            && scored.text.contains("data-cluster=\"in reality, as simulated\"")
    );
    let audit = eve.get("/audit").await.text;
    assert!(audit.contains("drill started") && audit.contains("drill ended"), "{audit}");
}

#[tokio::test]
async fn a_program_plays_one_by_the_same_rules() {
    let bench = house().await;
    let ada = bench.program("ada", wish("t", Role::Responder)).await;
    let eve = bench.program("eve", wish("t", Role::Viewer)).await;
    let list = eve.get("/api/v1/drills").await.json();
    assert_eq!((&list["offers"][0]["name"], &list["playing"]), (&json!("lamp"), &json!(null)), "{list}");
    assert_eq!(list["offers"][1]["why_not"], "it takes too long");
    let key = || Uuid::now_v7().to_string();
    let begin = json!({ "drill": "lamp", "player": "firebreak" });
    let refused = eve.post("/api/v1/drills", &key(), &begin).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::FORBIDDEN, &json!("not_allowed")));

    let once = key();
    let started = ada.post("/api/v1/drills", &once, &begin).await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.text);
    let (told, path) = (started.json(), started.header(header::LOCATION).to_owned());
    assert_eq!(told["drill"]["player"], "firebreak");
    assert_eq!(path, format!("/api/v1/drills/{}", told["drill"]["id"].as_str().unwrap()));
    let again = ada.post("/api/v1/drills", &once, &begin).await;
    assert_eq!(again.json()["drill"]["id"], told["drill"]["id"], "the same request again starts nothing");
    let second = ada.post("/api/v1/drills", &key(), &begin).await;
    assert_eq!((second.status, &second.json()["code"]), (StatusCode::CONFLICT, &json!("drill_is_on")));
    let on = eve.get(&path).await.json();
    assert_eq!((&on["playing"]["over"], &on["drill"]["score"]), (&json!(false), &json!(null)), "{on}");

    assert_eq!(eve.post(&format!("{path}/end"), &key(), &json!({})).await.status, StatusCode::FORBIDDEN);
    let ended = ada.post(&format!("{path}/end"), &key(), &json!({})).await;
    assert_eq!(ended.json()["drill"]["score"]["seconds_to_recovered"], 600, "{}", ended.text);
    let left = ada.post(&format!("{path}/leave"), &key(), &json!({})).await;
    assert_eq!(left.json()["playing"], json!(null), "{}", left.text);
    let late = ada.post(&format!("{path}/leave"), &key(), &json!({})).await;
    assert_eq!(late.json()["code"], "drill_not_on", "{}", late.text);
    let played = eve.get("/api/v1/drills").await.json()["played"][0].clone();
    assert_eq!((&played["recovered"], &played["seconds_to_recovered"]), (&json!(true), &json!(600)));
    let nowhere = eve.get(&format!("/api/v1/drills/{}", Uuid::now_v7())).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);

    let bench = Bench::new().await;
    let ada = bench.program("ada", wish("t", Role::Responder)).await;
    assert_eq!(ada.get("/api/v1/drills").await.json()["offers"], json!(null));
    assert_eq!(ada.post("/api/v1/drills", &key(), &begin).await.json()["code"], "no_drills_here");
}

#[tokio::test]
async fn on_the_stage_every_page_is_the_guests_but_people_and_drills_stay_at_home() {
    let (home, guest) = (Bench::new().await, Bench::new().await);
    let people = Some(home.engine.pool().clone());
    let (end, over) = tokio::sync::watch::channel(false);
    let drill = Some(OnStage { id: Uuid::now_v7(), title: "The lamp goes out".into(), over });
    let settings = Settings { people, drill, ..guest.settings.clone() };
    let stage = Stage::default();
    let router = crate::staged(home.router.clone(), stage.clone());
    let ada = home.sign_in("ada").await;
    let body = json!({ "title": "At home", "targets": ["fleet:lamps-eu"] });
    ada.post("/api/v1/incidents", "", &body).await;
    let get = async |path: &str| {
        let request: Request<Body> = ada.request(Method::GET, path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 4_000_000).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    assert!(get("/").await.contains("At home"));
    stage.put(Some(crate::router(guest.engine.clone(), settings)));
    let page = get("/").await;
    assert!(!page.contains("At home") && page.contains("id=\"drill-strip\">The lamp goes out<"), "{page}");
    assert!(page.contains("ada"), "the session is known there, too");
    assert!(page.contains("id=\"drill-over\" hidden"), "{page}");
    end.send_replace(true);
    let page = get("/").await;
    assert!(page.contains("id=\"drill-over\">It is over: <a href=\"/drills/"), "{page}");
    assert!(!get("/settings").await.contains("drill-strip"), "people are at home");
    stage.put(None);
    assert!(get("/").await.contains("At home"));
}
