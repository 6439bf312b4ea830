//! What this Postgres can do at all: pgbench, one durable row per commit, right before and right after each figure.

use std::process::Command;

/// Rates of the reference, in commits per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    /// By one client.
    pub(crate) alone: f64,
    /// By 32 clients.
    pub(crate) together: f64,
}

impl Reference {
    /// Runs pgbench for a few seconds.
    pub(crate) fn measure(pgbench: &str, url: &str) -> Self {
        Self { alone: rate(pgbench, url, 1), together: rate(pgbench, url, 32) }
    }

    pub(crate) fn between(self, other: Self) -> Self {
        Self { alone: (self.alone + other.alone) / 2.0, together: (self.together + other.together) / 2.0 }
    }
}

fn rate(pgbench: &str, url: &str, clients: u32) -> f64 {
    let script = std::env::temp_dir().join(format!("firebreak-bench-{}.sql", std::process::id()));
    std::fs::write(&script, "INSERT INTO reference (body) VALUES ('one row, as small as they come');\n")
        .unwrap();
    let output = Command::new(pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--time=3", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg("--file")
        .arg(&script)
        .arg(url)
        .output()
        .unwrap_or_else(|e| panic!("cannot run {pgbench}: {e}"));
    std::fs::remove_file(&script).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|l| l.split(' ').next());
    tps.and_then(|tps| tps.parse().ok())
        .unwrap_or_else(|| panic!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)))
}
