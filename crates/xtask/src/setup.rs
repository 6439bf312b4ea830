//! `setup`: makes sure that the parts are here.

use anyhow::{Context as _, Result, bail};

use crate::environment;
use crate::packages::{self, Family};
use crate::parts::Part;
use crate::tarball::AXE;

/// `setup [--what a,b]`
pub(crate) fn command(args: &[String]) -> Result<()> {
    let parts = match args {
        [] => Part::ALL.to_vec(),
        [flag, list] if flag == "--what" => list.split(',').map(named).collect::<Result<_>>()?,
        _ => bail!("setup takes --what with a list, such as --what {}", all_names()),
    };
    ensure(&parts)?;
    let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
    println!("here: {}", names.join(", "));
    Ok(())
}

fn named(name: &str) -> Result<Part> {
    let part = Part::ALL.into_iter().find(|part| part.name() == name);
    part.with_context(|| format!("`{name}` is nothing to set up; these are: {}", all_names()))
}

fn all_names() -> String {
    Part::ALL.map(Part::name).join(",")
}

/// Installs what is missing of these. When it returns, they are found.
pub(crate) fn ensure(parts: &[Part]) -> Result<()> {
    // Whatever is wanted, something is about to be built.
    let mut needed = vec![Part::Make];
    needed.extend(parts);
    let to_fetch = |part: &Part| part.is_fetched() && !part.is_here();
    if parts.iter().any(|part| part.package().is_some() && !part.is_here()) {
        needed.push(Part::Node);
    }
    // It runs what comes from PyPI, and fetches the rest.
    if needed.iter().any(to_fetch) {
        needed.push(Part::Python);
    }
    let missing: Vec<Part> =
        needed.iter().copied().filter(|part| !part.is_fetched() && !part.is_here()).collect();
    if !missing.is_empty() {
        let (serving, others): (Vec<Part>, Vec<Part>) = missing.iter().partition(|part| part.has_service());
        let names = |parts: &[Part]| parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(", ");
        let of = |parts: &[Part], family: Family| {
            parts.iter().flat_map(|part| part.packages(family)).copied().collect::<Vec<_>>()
        };
        if !others.is_empty() {
            packages::install(&names(&others), |family| of(&others, family))?;
        }
        if !serving.is_empty() {
            packages::install_without_service(&names(&serving), |family| of(&serving, family))?;
        }
        if let Some(part) = missing.iter().find(|part| !part.is_here()) {
            bail!(
                "{} was installed, but is not found; is its package another one on this system?",
                part.name()
            );
        }
        environment::enter()?; // starts over if what is new needs a variable; then nothing is missing
    }
    let missing: Vec<&Part> = needed.iter().filter(|part| to_fetch(part)).collect();
    if !missing.is_empty() {
        for project in missing.iter().filter_map(|part| part.project()) {
            project.install()?;
        }
        for package in missing.iter().filter_map(|part| part.package()) {
            package.install()?;
        }
        if missing.contains(&&Part::Axe) {
            AXE.fetch()?;
        }
        environment::enter()?;
    }
    Ok(())
}
