//! What tests and demo need beside Rust and a C compiler, how it is recognised, and what its packages are called.

use std::env;
use std::path::PathBuf;

use crate::npm::{self, Package};
use crate::packages::Family;
use crate::pypi::{self, Project};
use crate::tarball::AXE;
use crate::{places, postgres};

/// Something that a machine has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The database.
    Postgres,
    /// Chromium and its driver, for tests of the pages.
    Browser,
    /// A second opinion on AWS's wire formats, from a third party.
    Moto,
    /// Amazon's own command, and its models of every service.
    Awscli,
    /// Requests made from the description of our API.
    Schemathesis,
    /// A server to log in to, and the client that people log in with.
    Mariadb,
    /// What people read awscli's answers with.
    Jq,
    /// Prometheus and its Alertmanager, which deliver alerts.
    Prometheus,
    /// What finds on a page what keeps people from using it.
    Axe,
    /// A provider to sign in at.
    OidcProvider,
    /// Builds the allocator, whose C is more than a compiler can put together alone.
    Make,
    /// Runs what comes from npm.
    Node,
    /// Runs what comes from PyPI.
    Python,
}

impl Part {
    /// All that a person names; make, Node and Python come along.
    pub(crate) const ALL: [Self; 10] = [
        Self::Postgres,
        Self::Browser,
        Self::Moto,
        Self::Awscli,
        Self::Schemathesis,
        Self::Mariadb,
        Self::Jq,
        Self::Prometheus,
        Self::Axe,
        Self::OidcProvider,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Browser => "browser",
            Self::Moto => "moto",
            Self::Awscli => "awscli",
            Self::Schemathesis => "schemathesis",
            Self::Mariadb => "mariadb",
            Self::Jq => "jq",
            Self::Prometheus => "prometheus",
            Self::Axe => "axe",
            Self::OidcProvider => npm::OIDC_PROVIDER.name(),
            Self::Make => "make",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Postgres => unpacked_postgres().is_some() || postgres::Programs::find().is_ok(),
            Self::Browser => chromium().is_some() && chromedriver().is_some(),
            Self::Moto | Self::Awscli | Self::Schemathesis => {
                self.project().is_some_and(|p| p.folder().is_some())
            }
            Self::Mariadb => {
                mariadbd().is_some()
                    && find(&["mariadb-install-db"]).is_some()
                    && find(&["my_print_defaults"]).is_some()
                    && find(&["mysql"]).is_some()
            }
            Self::Jq => find(&["jq"]).is_some(),
            Self::Prometheus => prometheus().is_some() && alertmanager().is_some(),
            Self::Axe => AXE.place().is_some(),
            Self::OidcProvider => {
                self.package().is_some_and(|p| p.folder().is_some()) && npm::node().is_some()
            }
            // As BSDs call it, the allocator looks for it, too.
            Self::Make => find(&["make", "gmake"]).is_some(),
            Self::Node => npm::node().is_some(),
            Self::Python => pypi::pip().is_some(),
        }
    }

    /// Would installing it start something that nobody here wants to run?
    pub(crate) fn has_service(self) -> bool {
        self == Self::Prometheus
    }

    /// What brings it, if PyPI does.
    pub(crate) fn project(self) -> Option<Project> {
        match self {
            Self::Moto => Some(pypi::MOTO),
            Self::Awscli => Some(pypi::AWSCLI),
            Self::Schemathesis => Some(pypi::SCHEMATHESIS),
            Self::Node => Some(pypi::NODE),
            _ => None,
        }
    }

    /// What brings it, if npm does.
    pub(crate) fn package(self) -> Option<Package> {
        (self == Self::OidcProvider).then_some(npm::OIDC_PROVIDER)
    }

    /// Is it fetched by ourselves, and not by the system's package manager?
    pub(crate) fn is_fetched(self) -> bool {
        self.project().is_some() || self.package().is_some() || self == Self::Axe
    }

    /// The packages that bring it.
    pub(crate) fn packages(self, family: Family) -> &'static [&'static str] {
        use Family::{Debian, Fedora, Homebrew, Ubuntu};
        match (self, family) {
            (Self::Postgres, Debian | Ubuntu) => &["postgresql"],
            (Self::Postgres, Fedora) => &["postgresql-server"],
            (Self::Postgres, Homebrew) => &["postgresql@17"],
            (Self::Browser, Debian) => &["chromium", "chromium-driver"],
            (Self::Browser, Ubuntu) => &["chromium-browser", "chromium-chromedriver"], // they bring a snap
            (Self::Browser, Fedora) => &["chromium", "chromedriver"],
            (Self::Browser, Homebrew) => &["google-chrome", "chromedriver"],
            (Self::Mariadb, Debian | Ubuntu) => &["mariadb-server-core", "mariadb-client-core"], // without the service
            (Self::Mariadb, Fedora) => &["mariadb-server"],
            (Self::Mariadb, Homebrew) => &["mariadb"],
            (Self::Python, Debian | Ubuntu) => &["python3", "python3-pip-whl"],
            (Self::Python, Fedora) => &["python3", "python3-pip"],
            (Self::Python, Homebrew) => &["python"],
            (Self::Make, _) => &["make"],
            (Self::Jq, _) => &["jq"],
            (Self::Prometheus, Debian | Ubuntu) => &["prometheus", "prometheus-alertmanager"],
            (Self::Prometheus, Fedora) => {
                &["golang-github-prometheus", "golang-github-prometheus-alertmanager"]
            }
            (Self::Prometheus, Homebrew) => &["prometheus", "alertmanager"],
            (
                Self::Moto | Self::Awscli | Self::Schemathesis | Self::Node | Self::OidcProvider | Self::Axe,
                _,
            ) => &[], // from PyPI and npm
        }
    }
}

/// The folder of a Postgres that was unpacked, not installed.
pub(crate) fn unpacked_postgres() -> Option<PathBuf> {
    let versions = places::unpacked().join("usr/lib/postgresql").read_dir().ok()?;
    versions.flatten().map(|version| version.path().join("bin")).find(|bin| bin.join("pg_ctl").is_file())
}

pub(crate) fn chromium() -> Option<PathBuf> {
    // Debian's `chromium` is a script that knows only its own place: of an unpacked one, take the program itself.
    let unpacked = places::unpacked().join("usr/lib/chromium/chromium");
    let mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
    let installed = program("FIREBREAK_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]);
    installed.or_else(|| [unpacked, mac.into()].into_iter().find(|p| p.is_file()))
}

pub(crate) fn chromedriver() -> Option<PathBuf> {
    program("FIREBREAK_CHROMEDRIVER", &["chromedriver", "chromium.chromedriver"])
}

pub(crate) fn mariadbd() -> Option<PathBuf> {
    program("FIREBREAK_MARIADBD", &["mariadbd"])
}

pub(crate) fn prometheus() -> Option<PathBuf> {
    program("FIREBREAK_PROMETHEUS", &["prometheus"])
}

pub(crate) fn alertmanager() -> Option<PathBuf> {
    program("FIREBREAK_ALERTMANAGER", &["prometheus-alertmanager", "alertmanager"])
}

pub(crate) fn python() -> Option<PathBuf> {
    program("FIREBREAK_PYTHON", &["python3"])
}

/// What the variable names, else the first of the names that is found.
pub(crate) fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(given) = env::var_os(variable).filter(|v| !v.is_empty()) {
        return Some(given.into());
    }
    find(names)
}

/// The first of the names on the PATH, among the system's programs, or among the unpacked ones.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let (unpacked, system) =
        (places::unpacked(), ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/snap/bin"]);
    let folders: Vec<PathBuf> = env::split_paths(&path)
        .filter(|folder| !folder.starts_with(&unpacked))
        .chain(system.map(PathBuf::from))
        .chain(["usr/bin", "usr/sbin"].map(|folder| unpacked.join(folder)))
        .collect();
    // Debian's chromium script is no use where it was unpacked to.
    let script = unpacked.join("usr/bin/chromium");
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|file| file.is_file() && *file != script)
}
