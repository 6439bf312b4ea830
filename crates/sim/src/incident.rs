//! The incident of 7 May 2024 as a world: thirteen clusters, one fleet, one trigger.
//!
//! Known from the post-mortem: 13 clusters, five of them sharded; shard-b with a quarter of the
//! customers; shard-e the smallest, on db.r6i.8xlarge; failover 14:42 to 14:48; just over half of
//! shard-b's requests failing at the peak. Everything else (names, sizes, rates) is invented.

use chrono::{DateTime, TimeDelta, Utc};

use crate::alarm::{Alarm, AlarmSubject, Comparison, Missing, Statistic};
use crate::fault::{FaultKind, TimedFault};
use crate::world::{Clients, Cluster, Fleet, HealthCheck, TargetGroup, World};

/// 14:42, twelve minutes after the world begins.
const TRIGGER_S: u32 = 12 * 60;

impl World {
    /// The incident of 7 May 2024, from 14:30 UTC on.
    #[must_use]
    pub fn incident_2024_05_07() -> Self {
        let cluster = |id: &str, customers_percent: f64, class: &str, readers: u8, rps: f64| Cluster {
            id: id.into(),
            customers_percent,
            class: format!("db.r6i.{class}"),
            readers,
            requests_per_second: rps,
            max_connections: None,
            fleet: None,
            probe_password: format!("probe-{id}-secret"),
        };
        Self {
            name: "incident of 7 May 2024".into(),
            region: "us-east-1".into(),
            account: "111122223333".into(),
            // 2024-05-07T14:30:00Z
            start: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(1_715_092_200),
            clusters: vec![
                cluster("shard-a", 28.0, "24xlarge", 3, 9_000.0),
                cluster("shard-b", 25.0, "24xlarge", 3, 8_000.0),
                cluster("shard-c", 23.0, "24xlarge", 3, 7_400.0),
                cluster("shard-d", 20.0, "16xlarge", 2, 6_400.0),
                cluster("shard-e", 4.0, "8xlarge", 1, 1_300.0),
                cluster("accounts", 100.0, "32xlarge", 3, 12_000.0),
                cluster("identity", 100.0, "16xlarge", 2, 5_200.0),
                cluster("billing", 35.0, "12xlarge", 1, 900.0),
                cluster("audit-log", 60.0, "16xlarge", 1, 2_600.0),
                cluster("content", 70.0, "24xlarge", 2, 4_100.0),
                cluster("integrations", 55.0, "12xlarge", 1, 1_800.0),
                cluster("reporting", 40.0, "16xlarge", 2, 1_100.0),
                cluster("scheduling", 80.0, "12xlarge", 1, 2_200.0),
            ],
            fleets: vec![Fleet {
                asg: "proxysql-us".into(),
                zones: ["us-east-1a", "us-east-1b", "us-east-1c"].map(String::from).to_vec(),
                min: 6,
                desired: 6,
                max: 8,
                instance_type: "c6i.4xlarge".into(),
                template_version: "7".into(),
                suspended: vec![],
                hooks: vec![],
                target_group: Some(TargetGroup {
                    name: "proxysql-us".into(),
                    deregistration_delay_s: 300,
                    initial_health_s: 100,
                    unhealthy_after_s: 60,
                }),
                health_check: HealthCheck::Ec2,
                mysql_port: 6033,
                admin_port: 6032,
                admin_user: "radmin".into(),
                admin_password: "radmin-secret".into(),
                backend_connections: 400,
                boot_s: (60, 150),
            }],
            clients: Clients::default(),
            alarms: alarms(),
            faults: vec![
                TimedFault {
                    at_s: TRIGGER_S,
                    fault: FaultKind::ClusterFailover { cluster: "shard-e".into(), duration_s: 6 * 60 },
                },
                TimedFault {
                    at_s: TRIGGER_S,
                    fault: FaultKind::SickHosts {
                        fleet: "proxysql-us".into(),
                        cluster: "shard-b".into(),
                        from: 0.03,
                        to: 0.55,
                        ramp_s: 40 * 60,
                        hosts: None,
                        new_hosts_too: false,
                    },
                },
            ],
        }
    }
}

/// What a careful team watches. None of them says anything of the proxies: Aurora's own metrics stayed nominal that day.
fn alarms() -> Vec<Alarm> {
    let alarm = |name: &str, metric: &str, of: AlarmSubject, comparison, threshold| Alarm {
        name: name.into(),
        metric: metric.into(),
        of,
        statistic: Statistic::Average,
        period_s: 60,
        comparison,
        threshold,
        evaluation_periods: 3,
        datapoints_to_alarm: Some(2),
        missing: Missing::Missing,
    };
    let writer = |cluster: &str| AlarmSubject::WriterOf(cluster.into());
    vec![
        alarm("shard-b-login-failures", "LoginFailures", writer("shard-b"), Comparison::Above, 0.0),
        alarm("shard-b-cpu", "CPUUtilization", writer("shard-b"), Comparison::AtLeast, 80.0),
        alarm("shard-e-no-connections", "DatabaseConnections", writer("shard-e"), Comparison::Below, 1.0),
    ]
}
