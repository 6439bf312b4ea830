//! In which order signals are written, so that two who write the same rows wait for each other in a line, and never in a circle.

use std::collections::HashMap;

use domain::Timestamp;
use domain::signal::{DATED, ONCE, REOPENED, SignalState};
use sqlx::PgConnection;

use super::Received;
use crate::StoreError;

/// The key of those who write many signals at the same time.
const TURN: i64 = 4_417_205_936_180_771;

/// A signal, and how often it was said in the same words.
pub(super) struct Said<'a> {
    pub(super) last: Received<'a>,
    /// Of each time.
    pub(super) places: Vec<usize>,
}

/// Sees to it that two who write the same rows wait for each other in a line.
///
/// Where all of it fires, one statement writes it in the order of sources and fingerprints, and so does everybody else who does that.
/// What is over is written after all that fires, and what is said twice after what was said once: that is another order, so whoever
/// has such a batch writes alone among batches, and first locks what is there already, in the order in which verdicts are given. Who
/// writes one signal holds nothing while waiting for it.
pub(super) async fn take_turn(
    connection: &mut PgConnection,
    waves: &[Vec<Said<'_>>],
) -> Result<(), StoreError> {
    let said = || waves.iter().flatten().map(|said| said.last.signal);
    if said().nth(1).is_none() {
        return Ok(());
    }
    let in_order = waves.len() == 1 && said().all(|signal| signal.state == SignalState::Firing);
    if in_order {
        sqlx::query!("SELECT pg_advisory_xact_lock_shared($1)", TURN).execute(connection).await?;
        return Ok(());
    }
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", TURN).execute(&mut *connection).await?;
    sqlx::query!(
        r#"WITH known AS MATERIALIZED (
               SELECT b.id FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
                                     AS g (source, fingerprint, state, started_at, at)
                CROSS JOIN LATERAL told_by(g.source, g.fingerprint, g.state, g.started_at, g.at, $6, $7, $8) b
           )
           SELECT s.id FROM signal s WHERE s.id IN (SELECT id FROM known)
            ORDER BY s.source COLLATE "C", s.fingerprint COLLATE "C", s.id FOR UPDATE"#,
        &said().map(|s| s.source.clone()).collect::<Vec<String>>(),
        &said().map(|s| s.fingerprint.clone()).collect::<Vec<String>>(),
        &said().map(|s| s.state.word().to_owned()).collect::<Vec<String>>(),
        &said().map(|s| s.started_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &waves.iter().flatten().map(|said| said.last.at).collect::<Vec<_>>(),
        &ONCE.map(str::to_owned)[..],
        &DATED.map(str::to_owned)[..],
        &REOPENED.map(str::to_owned)[..],
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// What may be written at the same time, in the order in which it must be; in each, one order of rows everywhere.
pub(super) fn waves<'a>(received: &[Received<'a>]) -> Vec<Vec<Said<'a>>> {
    let mut order: Vec<usize> = (0..received.len()).collect();
    order.sort_by_key(|&n| key(&received[n]));
    let mut waves: Vec<Vec<Said<'a>>> = Vec::new();
    // The first wave that has nothing of this delivery yet.
    let mut deliveries: HashMap<(&str, &str), usize> = HashMap::new();
    let mut wave = 0;
    for (at, &place) in order.iter().enumerate() {
        let this = received[place];
        let before = at.checked_sub(1).map(|before| received[order[before]]);
        let again = before.filter(|before| key(before) == key(&this));
        if let Some(before) = again
            && (before.delivery, this.delivery) == (None, None)
            && before.signal == this.signal
            && this.signal.state == SignalState::Firing
            && let Some(said) = waves.get_mut(wave).and_then(|wave| wave.last_mut())
        {
            said.last = this;
            said.places.push(place);
            continue;
        }
        wave = if again.is_some() { wave + 1 } else { 0 };
        if let Some(delivery) = this.delivery {
            let free = deliveries.entry((&this.signal.source, delivery)).or_default();
            wave = wave.max(*free);
            *free = wave + 1;
        }
        waves.resize_with(waves.len().max(wave + 1), Vec::new);
        waves[wave].push(Said { last: this, places: vec![place] });
    }
    waves
}

fn key<'a>(received: &Received<'a>) -> (&'a str, &'a str) {
    (&received.signal.source, &received.signal.fingerprint)
}

#[cfg(test)]
mod tests {
    use domain::signal::Signal;

    use super::*;

    fn signal(fingerprint: &str, state: SignalState, summary: &str) -> Signal {
        let (source, kind) = ("test".to_owned(), "bad".to_owned());
        let (labels, summary) = (Default::default(), summary.to_owned());
        let fingerprint = fingerprint.to_owned();
        Signal { source, kind, fingerprint, state, severity: None, summary, labels, started_at: None }
    }

    /// Fingerprints and how often each is said, wave by wave.
    fn shown(said: &[(&Signal, Option<&str>)]) -> String {
        let at = Timestamp::UNIX_EPOCH;
        let received: Vec<_> =
            said.iter().map(|&(signal, delivery)| Received { signal, delivery, body: None, at }).collect();
        let one = |said: &Said<'_>| format!("{}x{}", said.last.signal.fingerprint, said.places.len());
        let waves = waves(&received);
        waves
            .iter()
            .map(|wave| wave.iter().map(one).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn what_is_about_the_same_is_written_one_after_the_other_and_the_same_words_once() {
        let (a, b) = (signal("a", SignalState::Firing, ""), signal("b", SignalState::Firing, ""));
        let (other, over) =
            (signal("a", SignalState::Firing, "worse"), signal("a", SignalState::Resolved, ""));
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&[(&b, None), (&a, None), (&b, None), (&a, None), (&a, None)]), "ax3 bx2");
        assert_eq!(shown(&[(&a, None), (&other, None), (&a, None), (&b, None)]), "ax1 bx1 | ax1 | ax1");
        assert_eq!(
            shown(&[(&over, None), (&a, None), (&over, None), (&over, None)]),
            "ax1 | ax1 | ax1 | ax1"
        );
        // Each delivery counts by itself, and one that is told of two things is seen once.
        assert_eq!(shown(&[(&a, Some("1")), (&a, Some("1")), (&b, Some("2"))]), "ax1 bx1 | ax1");
        assert_eq!(shown(&[(&a, Some("1")), (&b, Some("1"))]), "ax1 | bx1");
    }
}
