//! The simulator's own pages, for people who practise by hand: the world at a glance, and a form for each fault. Plain HTML.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::{Map, Number, Value, json};

use super::Sim;
use crate::fault::FaultKind;
use crate::physics::{ClusterState, FleetState, State as World};

/// Seconds after which the page with the world asks again.
const REFRESH_S: u32 = 2;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;max-width:75em}\
    table{border-collapse:collapse;margin:.4em 0 1.2em}td,th{text-align:left;padding:.15em .9em .15em 0;\
    border-bottom:1px solid #ddd;vertical-align:top}.bad{color:#b00020;font-weight:600}\
    form{display:inline-block;border:1px solid #ccc;padding:.6em .8em;margin:0 .6em .6em 0;vertical-align:top}\
    label{display:block;margin:.2em 0}h1{font-size:1.3em}h2{font-size:1.05em}";

/// What a field of a fault's form takes.
#[derive(Clone, Copy)]
enum Input {
    Cluster,
    Fleet,
    Instance,
    /// None chosen means all.
    Zone,
    /// With what it holds at first.
    Number(&'static str),
    Text(&'static str),
    OneOf(&'static [&'static str]),
}

/// A fault's form: its kind, what it says to people, and its fields by their names in [`FaultKind`].
struct Form {
    kind: &'static str,
    title: &'static str,
    fields: &'static [(&'static str, Input)],
}

const SERVICES: &[&str] =
    &["", "autoscaling", "ec2", "elasticloadbalancing", "monitoring", "proxysql", "rds", "shedder", "sts"];
const TROUBLES: &[&str] =
    &["throttle", "refused", "internal_error", "unavailable", "latency", "timeout_before", "timeout_after"];

static FORMS: &[Form] = &[
    Form {
        kind: "sick_hosts",
        title: "Hosts fail logins",
        fields: &[
            ("fleet", Input::Fleet),
            ("cluster", Input::Cluster),
            ("from", Input::Number("0.03")),
            ("to", Input::Number("0.55")),
            ("ramp_s", Input::Number("600")),
        ],
    },
    Form {
        kind: "cluster_failover",
        title: "Writer lost",
        fields: &[("cluster", Input::Cluster), ("duration_s", Input::Number("60"))],
    },
    Form {
        kind: "writer_exhausted",
        title: "Writer out of connections",
        fields: &[("cluster", Input::Cluster), ("share", Input::Number("0.3"))],
    },
    Form {
        kind: "surge",
        title: "Customers ask more",
        fields: &[("cluster", Input::Cluster), ("times", Input::Number("3.6"))],
    },
    Form {
        kind: "outgrown",
        title: "Load has outgrown its class",
        fields: &[
            ("cluster", Input::Cluster),
            ("needs_gib", Input::Number("300")),
            ("share", Input::Number("0.2")),
        ],
    },
    Form {
        kind: "replica_lag",
        title: "Reader lags",
        fields: &[
            ("cluster", Input::Cluster),
            ("instance", Input::Instance),
            ("milliseconds", Input::Number("20000")),
        ],
    },
    Form {
        kind: "failover_reverts",
        title: "Next failover goes back",
        fields: &[("cluster", Input::Cluster)],
    },
    Form {
        kind: "slow_failovers",
        title: "Failovers asked for take long",
        fields: &[("cluster", Input::Cluster), ("duration_s", Input::Number("300"))],
    },
    Form {
        kind: "events_lost",
        title: "Events are not told",
        fields: &[("cluster", Input::Cluster), ("saying", Input::Text("Started"))],
    },
    Form {
        kind: "events_late",
        title: "Events are shown late",
        fields: &[("cluster", Input::Cluster), ("late_s", Input::Number("300"))],
    },
    Form { kind: "failures_by_chance", title: "Chance says which queries fail", fields: &[] },
    Form {
        kind: "stuck_writer",
        title: "Hosts keep the old writer at the next failover",
        fields: &[("fleet", Input::Fleet), ("cluster", Input::Cluster), ("hosts", Input::Number(""))],
    },
    Form {
        kind: "class_change_sticks",
        title: "Next change of class sticks",
        fields: &[("cluster", Input::Cluster)],
    },
    Form {
        kind: "blue_green",
        title: "Blue/green deployment under way",
        fields: &[("cluster", Input::Cluster)],
    },
    Form {
        kind: "not_orderable",
        title: "Class cannot be ordered",
        fields: &[("class", Input::Text("db.r6i.12xlarge")), ("zone", Input::Zone)],
    },
    Form {
        kind: "wrong_credentials",
        title: "Aurora refuses logins",
        fields: &[("cluster", Input::Cluster)],
    },
    Form {
        kind: "credentials_restored",
        title: "… and takes them again",
        fields: &[("cluster", Input::Cluster)],
    },
    Form { kind: "no_capacity", title: "EC2 has no capacity", fields: &[("zone", Input::Zone)] },
    Form {
        kind: "room_for",
        title: "EC2 has room for so many",
        fields: &[("zone", Input::Zone), ("instances", Input::Number("1"))],
    },
    Form {
        kind: "unhealthy_drains",
        title: "Unhealthy targets drain first",
        fields: &[("fleet", Input::Fleet), ("drain_s", Input::Number("600"))],
    },
    Form { kind: "capacity_restored", title: "… and has it again", fields: &[] },
    Form {
        kind: "new_hosts_never_listen",
        title: "New hosts never listen",
        fields: &[("fleet", Input::Fleet)],
    },
    Form {
        kind: "dead_hosts_silent",
        title: "Hosts that have ended answer nothing",
        fields: &[("fleet", Input::Fleet)],
    },
    Form {
        kind: "instance_refresh",
        title: "Somebody refreshes the group",
        fields: &[("fleet", Input::Fleet), ("duration_s", Input::Number("600"))],
    },
    Form {
        kind: "api",
        title: "API calls go wrong",
        fields: &[
            ("service", Input::OneOf(SERVICES)),
            ("operation", Input::Text("")),
            ("trouble", Input::OneOf(TROUBLES)),
            ("seconds", Input::Number("")),
            ("probability", Input::Number("1")),
            ("next", Input::Number("")),
        ],
    },
    Form { kind: "api_restored", title: "… and right again", fields: &[] },
];

/// The world at a glance.
pub(super) async fn world(axum::extract::State(shared): Sim) -> Html<String> {
    let world = shared.world(|w| w.state());
    let mut body = String::new();
    let _ = write!(
        body,
        "<p>{} (× {}) · {} faults to come · <a href=\"/_sim/faults\">set a fault</a></p>",
        shared.clock.now().format("%Y-%m-%d %H:%M:%S UTC"),
        shared.clock.speed(),
        world.faults_to_come
    );
    if !world.zones_without_capacity.is_empty() {
        let zones = escape(&world.zones_without_capacity.join(", "));
        let _ = write!(body, "<p class=bad>No EC2 capacity in {zones}</p>");
    }
    body += "<h2>Clusters</h2>";
    table(
        &mut body,
        &["Cluster", "Errors", "Turned away", "Status", "Members"],
        world.clusters.iter().map(cluster),
    );
    for fleet in &world.fleets {
        self::fleet(&mut body, fleet);
    }
    body += "<h2>Alarms</h2>";
    let alarms = world
        .alarms
        .iter()
        .map(|a| vec![marked(&a.name, a.state == "ALARM"), escape(a.state), escape(&a.reason)]);
    table(&mut body, &["Alarm", "State", "Reason"], alarms);
    Html(page(&format!("<meta http-equiv=refresh content={REFRESH_S}>"), &body))
}

fn cluster(c: &ClusterState) -> Vec<String> {
    let member = |m: &crate::physics::MemberState| {
        let role = if m.writer { "writer".to_owned() } else { format!("{:.0} ms behind", m.lag_ms) };
        marked(&format!("{} ({role}, {}, {}, {})", m.id, m.class, m.zone, m.status), m.status != "available")
    };
    vec![
        escape(&c.id),
        marked(&format!("{:.1} %", 100.0 * c.error_share), c.error_share > 0.0005),
        if c.turned_away_percent > 0.0 {
            marked(&format!("{} %", c.turned_away_percent), true)
        } else {
            String::new()
        },
        marked(c.status, c.status != "available"),
        c.members.iter().map(member).collect::<Vec<_>>().join("<br>"),
    ]
}

fn fleet(body: &mut String, f: &FleetState) {
    let refresh = f.refresh.map_or_else(String::new, |status| format!(" · last refresh {status}"));
    let suspended = if f.suspended.is_empty() {
        String::new()
    } else {
        format!(" · suspended: {}", f.suspended.join(", "))
    };
    let size = format!("{}: {} ({} to {}){refresh}{suspended}", f.asg, f.desired, f.min, f.max);
    let _ = write!(body, "<h2>{}</h2>", escape(&size));
    let host = |h: &crate::physics::HostState| {
        vec![
            escape(&h.instance),
            escape(&h.address),
            escape(&h.zone),
            escape(h.lifecycle),
            escape(h.machine),
            marked(if h.listens { "listens" } else { "does not listen" }, !h.listens),
            h.clients.to_string(),
            marked(&h.sick_for.join(", "), true),
        ]
    };
    let heads = ["Instance", "Address", "Zone", "Group", "EC2", "ProxySQL", "Clients", "Sick for"];
    table(body, &heads, f.hosts.iter().map(host));
}

/// A form for each fault.
pub(super) async fn faults(axum::extract::State(shared): Sim) -> Html<String> {
    let world = shared.world(|w| w.state());
    let mut body = String::from("<p><a href=\"/_sim\">the world</a></p>");
    for form in FORMS {
        let _ = write!(
            body,
            "<form method=post action=\"/_sim/faults\"><strong>{}</strong>\
             <input type=hidden name=kind value=\"{}\">",
            form.title, form.kind
        );
        for (name, input) in form.fields {
            let _ = write!(body, "<label>{name} {}</label>", field(name, *input, &world));
        }
        body += "<button>Strike</button></form>";
    }
    Html(page("", &body))
}

fn field(name: &str, input: Input, world: &World) -> String {
    let choice = |values: Vec<&str>| {
        let options: String = values.iter().map(|v| format!("<option>{}</option>", escape(v))).collect();
        format!("<select name=\"{name}\">{options}</select>")
    };
    let clusters = || world.clusters.iter();
    match input {
        Input::Cluster => choice(clusters().map(|c| c.id.as_str()).collect()),
        Input::Fleet => choice(world.fleets.iter().map(|f| f.asg.as_str()).collect()),
        Input::Instance => {
            let all = clusters().flat_map(|c| &c.members).map(|m| m.id.as_str());
            choice([""].into_iter().chain(all).collect())
        }
        Input::Zone => {
            let mut zones: Vec<&str> = clusters().flat_map(|c| &c.members).map(|m| m.zone.as_str()).collect();
            zones.sort_unstable();
            zones.dedup();
            choice([""].into_iter().chain(zones).collect())
        }
        Input::OneOf(values) => choice(values.to_vec()),
        Input::Number(value) | Input::Text(value) => {
            format!("<input name=\"{name}\" value=\"{}\" size=12>", escape(value))
        }
    }
}

/// A fault that was sent by its form.
pub(super) async fn strike(axum::extract::State(shared): Sim, body: String) -> Response {
    let struck = read(&body).and_then(|fault| {
        shared.world(|w| {
            if let Some(wrong) = w.unknown_name(&fault) {
                return Err(wrong);
            }
            w.strike(fault);
            Ok(())
        })
    });
    match struck {
        Ok(()) => Redirect::to("/_sim").into_response(),
        Err(wrong) => {
            let text = format!("<p class=bad>{}</p><p><a href=\"/_sim/faults\">back</a></p>", escape(&wrong));
            (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], Html(page("", &text)))
                .into_response()
        }
    }
}

/// The fault that a form's fields describe; an empty field is one that is left out.
fn read(body: &str) -> Result<FaultKind, String> {
    let sent: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let kind = sent.iter().find(|(name, _)| name == "kind").map(|(_, v)| v.as_str()).unwrap_or_default();
    let form = FORMS.iter().find(|f| f.kind == kind).ok_or_else(|| format!("there is no fault `{kind}`"))?;
    let mut fault = Map::from_iter([("kind".to_owned(), Value::from(kind))]);
    for (name, value) in sent.iter().filter(|(name, value)| name != "kind" && !value.trim().is_empty()) {
        let Some((_, input)) = form.fields.iter().find(|(field, _)| field == name) else {
            return Err(format!("`{kind}` has no field `{name}`"));
        };
        let value = value.trim();
        let read = match input {
            Input::Number(_) => number(value).ok_or_else(|| format!("{name}: `{value}` is no number"))?,
            _ => Value::from(value),
        };
        fault.insert(name.clone(), read);
    }
    // How late belongs to the trouble of being late, and to no other.
    let seconds = fault.remove("seconds");
    if fault.get("trouble").is_some_and(|trouble| trouble == "latency") {
        let seconds = seconds.ok_or("latency: say how many `seconds`")?;
        fault.insert("trouble".into(), json!({ "latency": { "seconds": seconds } }));
    }
    serde_json::from_value(Value::Object(fault)).map_err(|e| format!("{kind}: {e}"))
}

/// Whole numbers stay whole.
fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<u64>().ok().map(Number::from);
    whole.or_else(|| Number::from_f64(text.parse().ok()?)).map(Value::Number)
}

fn page(head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Simulated AWS</title>{head}\
         <style>{STYLE}</style><h1>Simulated AWS</h1>{body}</html>"
    )
}

/// Cells are HTML already.
fn table(body: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let cells = |kind: &str, cells: &[String]| -> String {
        cells.iter().map(|c| format!("<{kind}>{c}</{kind}>")).collect()
    };
    let heads: Vec<String> = heads.iter().map(|h| (*h).to_owned()).collect();
    let _ = write!(body, "<table><tr>{}</tr>", cells("th", &heads));
    for row in rows {
        let _ = write!(body, "<tr>{}</tr>", cells("td", &row));
    }
    *body += "</table>";
}

fn marked(text: &str, bad: bool) -> String {
    let text = escape(text);
    if bad { format!("<span class=bad>{text}</span>") } else { text }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::ApiTrouble;

    #[test]
    fn a_forms_fields_become_a_fault() {
        let fault = read("kind=sick_hosts&fleet=f&cluster=c&from=0.1&to=1&ramp_s=30");
        assert!(matches!(fault, Ok(FaultKind::SickHosts { ramp_s: 30, hosts: None, .. })), "{fault:?}");
        assert_eq!(read("kind=no_capacity&zone="), Ok(FaultKind::NoCapacity { zone: None }));
        let api = read("kind=api&service=rds&operation=&trouble=throttle&probability=1&next=2");
        assert!(matches!(api, Ok(FaultKind::Api(ref api)) if api.next == Some(2)), "{api:?}");
        let late = read("kind=api&service=proxysql&trouble=latency&seconds=3&probability=1");
        assert!(
            matches!(late, Ok(FaultKind::Api(ref api)) if api.trouble == ApiTrouble::Latency { seconds: 3.0 }),
            "{late:?}"
        );
        for (body, wrong) in [
            ("kind=api&trouble=latency", "say how many `seconds`"),
            ("kind=nonsense", "there is no fault `nonsense`"),
            ("kind=cluster_failover&cluster=c&duration_s=soon", "duration_s: `soon` is no number"),
            ("kind=cluster_failover&cluster=c", "missing field `duration_s`"),
            ("kind=cluster_failover&colour=red", "`cluster_failover` has no field `colour`"),
        ] {
            let error = read(body).expect_err(body);
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn every_form_is_a_fault_once_it_is_filled_in() {
        for form in FORMS {
            let filled: String = form
                .fields
                .iter()
                .map(|(name, input)| match input {
                    Input::Number(value) if !value.is_empty() => format!("&{name}={value}"),
                    Input::OneOf(values) => format!("&{name}={}", values[values.len() - 1]),
                    Input::Number(_) => format!("&{name}=1"),
                    _ => format!("&{name}=x"),
                })
                .collect();
            let fault = read(&format!("kind={}{filled}", form.kind));
            assert!(fault.is_ok(), "{}: {fault:?}", form.kind);
        }
    }

    #[test]
    fn what_is_shown_is_text() {
        assert_eq!(marked("<b>", true), "<span class=bad>&lt;b&gt;</span>");
    }
}
