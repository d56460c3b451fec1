//! Finds the packages of an image: one cataloguer per ecosystem, over the same file view.

mod copyright;
mod distro;
mod dpkg;
mod message;
mod python;

pub use distro::Distro;

use crate::files::{FileView, Problem};
use crate::package::{Ecosystem, Package, PackageKind, purl};

/// The packages of an image, and what could not be read.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The distribution, if the image says one.
    pub distro: Option<Distro>,
    /// The packages, sorted by kind, name, version and path.
    pub packages: Vec<Package>,
    /// Records that could not be read, or not in full.
    pub problems: Vec<Problem>,
}

/// Finds the packages in `view`.
pub fn catalog(view: &FileView) -> Catalog {
    let distro = distro::find(view);
    let mut problems = view.problems().to_vec();
    let mut packages = dpkg::catalog(view, &mut problems);
    packages.extend(python::catalog(view, &mut problems));
    for package in &mut packages {
        package.purl = purl(package, distro.as_ref());
    }
    packages.sort_by(|a, b| {
        let key = |p: &Package| {
            (
                p.kind,
                p.name.clone(),
                p.version.clone(),
                p.location.path.clone(),
            )
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| a.architecture.cmp(&b.architecture))
    });
    packages.dedup();
    Catalog {
        distro,
        packages,
        problems,
    }
}

impl Catalog {
    /// Returns the ecosystem in which advisories on a package of this kind are looked up, if the
    /// image says enough to name it.
    pub fn ecosystem(&self, kind: PackageKind) -> Option<Ecosystem> {
        match kind {
            PackageKind::Python => Some(Ecosystem::pypi()),
            PackageKind::Deb => self.distro.as_ref()?.ecosystem(),
        }
    }
}
