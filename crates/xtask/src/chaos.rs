//! `cargo xtask chaos`: plays many seeds of the chaos test of the binary.

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// The flags, and the variables that carry them to the test.
const FLAGS: [(&str, &str); 3] = [
    ("--seeds", "FIREBREAK_CHAOS_SEEDS"),
    ("--from", "FIREBREAK_CHAOS_FROM"),
    ("--jobs", "FIREBREAK_CHAOS_JOBS"),
];

pub(crate) fn become_chaos(args: &[String]) -> Result<()> {
    let mut command = cargo::cargo(&["test", "--locked", "--package", "firebreak", "--test", "chaos"]);
    command.args(["--", "--nocapture"]);
    for (variable, number) in variables(args)? {
        command.env(variable, number.to_string());
    }
    cargo::become_command(command)
}

fn variables(args: &[String]) -> Result<Vec<(&'static str, u64)>> {
    let mut args = args.iter();
    let mut found = Vec::new();
    while let Some(arg) = args.next() {
        let known = FLAGS.iter().find(|(flag, _)| flag == arg);
        let Some((flag, variable)) = known else {
            bail!("`{arg}` is not a flag of chaos; these are: --seeds N, --from S, --jobs J");
        };
        let number = args.next().with_context(|| format!("{flag} needs a number"))?;
        found.push((*variable, number.parse().with_context(|| format!("{flag} {number}"))?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::variables;

    #[test]
    fn flags_become_variables() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = variables(&args("--seeds 500 --jobs 3")).unwrap();
        assert_eq!(found, [("FIREBREAK_CHAOS_SEEDS", 500), ("FIREBREAK_CHAOS_JOBS", 3)]);
        assert!(variables(&args("--seeds")).is_err() && variables(&args("--seed 1")).is_err());
    }
}
