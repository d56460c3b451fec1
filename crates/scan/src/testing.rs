//! A small image for the tests of this crate.

use oci::{Descriptor, Digest, MediaType};

use crate::catalog::{Catalog, Distro};
use crate::image::ImageSource;
use crate::licence::Licence;
use crate::package::{Location, Package, PackageKind, SourcePackage, purl};

/// An image in a registry.
pub(crate) fn source() -> ImageSource {
    ImageSource {
        reference: "localhost:5000/apps/shop:1.0".to_owned(),
        name: "localhost:5000/apps/shop".to_owned(),
        tag: Some("1.0".to_owned()),
        manifest: Descriptor::of(MediaType::IMAGE_MANIFEST, b"manifest"),
        config: Descriptor::of(MediaType::IMAGE_CONFIG, b"config"),
        layers: vec![Descriptor::of(MediaType::LAYER_TAR_GZIP, b"layer")],
        architecture: Some("amd64".to_owned()),
        os: Some("linux".to_owned()),
    }
}

/// Its packages: two of Debian, of which one is named after its source, and one of Python.
pub(crate) fn catalog() -> Catalog {
    let distro = Distro {
        pretty_name: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        ..Distro::named("debian", "12")
    };
    let mut packages = vec![
        Package {
            source: Some(SourcePackage {
                name: "openssl".to_owned(),
                version: "3.0.17-1~deb12u2".to_owned(),
            }),
            licences: vec![
                Licence::named("Apache-2.0"),
                Licence::named("Artistic or GPL-1+"),
            ],
            maintainer: Some(
                "Debian OpenSSL Team <pkg-openssl-devel@alioth-lists.debian.net>".to_owned(),
            ),
            homepage: Some("https://www.openssl.org/".to_owned()),
            ..deb("libssl3", "3.0.17-1~deb12u2")
        },
        deb("openssl", "3.0.17-1~deb12u2"),
        Package {
            licences: vec![Licence::named("MIT")],
            ..package(
                PackageKind::Python,
                "bottle",
                "0.12.19",
                "usr/lib/python3/dist-packages/bottle-0.12.19.dist-info/METADATA",
            )
        },
    ];
    for package in &mut packages {
        package.purl = purl(package, Some(&distro));
    }
    Catalog {
        distro: Some(distro),
        packages,
        problems: Vec::new(),
    }
}

fn deb(name: &str, version: &str) -> Package {
    Package {
        architecture: Some("amd64".to_owned()),
        ..package(PackageKind::Deb, name, version, "var/lib/dpkg/status")
    }
}

fn package(kind: PackageKind, name: &str, version: &str, path: &str) -> Package {
    Package {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        source: None,
        location: Location {
            path: path.to_owned(),
            layer: Digest::sha256(b"layer"),
        },
        licences: Vec::new(),
        maintainer: None,
        homepage: None,
        owner: None,
        purl: String::new(),
    }
}
