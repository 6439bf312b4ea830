//! What tests need from the npm registry: one script, fetched as the tarball that everybody gets, held against its checksum, and
//! unpacked into the target folder. No Node is needed: the tests run it in the browser that they drive.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{cargo, parts, places};

/// Finds what keeps people from using a page: too little contrast, fields without a name, roles that are none.
pub(crate) const AXE: Tarball = Tarball {
    name: "axe-core",
    version: "4.14.1",
    file: "package/axe.min.js",
    integrity: "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    variable: "FIREBREAK_AXE",
};

/// Fetches an address, holds it against its checksum, and writes one file of it. Python is here anyway, and has all that it takes.
const FETCH: &str = "\
import base64, hashlib, io, sys, tarfile, urllib.request
address, integrity, inside, place = sys.argv[1:]
data = urllib.request.urlopen(address, timeout=120).read()
found = base64.b64encode(hashlib.sha512(data).digest()).decode()
if found != integrity:
    sys.exit(f'{address} is not what it was: its checksum is sha512-{found}')
with tarfile.open(fileobj=io.BytesIO(data)) as tarball, open(place, 'wb') as file:
    file.write(tarball.extractfile(inside).read())
";

/// One file of a package.
pub(crate) struct Tarball {
    name: &'static str,
    /// What the tests were written against.
    version: &'static str,
    /// The file that is wanted, inside.
    file: &'static str,
    /// SHA-512 of the tarball, as the registry writes it.
    integrity: &'static str,
    /// Names the file to the tests, and to us if a person has set it.
    pub(crate) variable: &'static str,
}

impl Tarball {
    /// Where the file is: named by the variable, or fetched by [`Tarball::fetch`].
    pub(crate) fn place(&self) -> Option<PathBuf> {
        if let Some(given) = env::var_os(self.variable).filter(|v| !v.is_empty()) {
            return Some(given.into());
        }
        Some(self.ours()).filter(|file| file.is_file())
    }

    /// With its version in the name: another version is another file.
    fn ours(&self) -> PathBuf {
        let inside = self.file.rsplit('/').next().unwrap_or(self.file);
        places::tools().join("npm").join(format!("{}-{}-{inside}", self.name, self.version))
    }

    pub(crate) fn fetch(&self) -> Result<()> {
        let python = parts::python().context("there is no Python to fetch it with")?;
        let registry = env::var("npm_config_registry").ok().filter(|url| !url.is_empty());
        let registry = registry.unwrap_or_else(|| "https://registry.npmjs.org".to_owned());
        let address = format!(
            "{}/{name}/-/{name}-{}.tgz",
            registry.trim_end_matches('/'),
            self.version,
            name = self.name
        );
        let ours = self.ours();
        let folder = ours.parent().context("the file has no folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let new = ours.with_extension("new");
        println!("$ fetch {address}");
        let mut command = Command::new(python);
        command.args(["-c", FETCH, &address, self.integrity, self.file]).arg(&new).stdin(Stdio::null());
        let status = command.status().with_context(|| format!("cannot run {}", cargo::shown(&command)))?;
        if !status.success() {
            bail!("{} was not fetched", self.name);
        }
        fs::rename(&new, &ours).with_context(|| format!("cannot rename {}", new.display()))
    }
}
