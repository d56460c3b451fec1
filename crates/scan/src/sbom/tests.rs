//! Documents on a small image, as they are written and as they read back.

use time::macros::datetime;

use super::*;
use crate::files::Problem;
use crate::testing;

const BOTH: [SbomFormat; 2] = [SbomFormat::SpdxJson, SbomFormat::CycloneDxJson];

fn written(format: Option<SbomFormat>, change: impl Fn(&mut Catalog)) -> String {
    let source = testing::source();
    let mut catalog = testing::catalog();
    change(&mut catalog);
    let sbom = Sbom {
        source: &source,
        catalog: &catalog,
        created: datetime!(2026-11-23 09:00:00.5 +1),
        tool_version: "0.0.0",
    };
    match format {
        Some(format) => String::from_utf8(sbom.write(format)).unwrap(),
        None => sbom.to_table(),
    }
}

#[test]
fn what_is_written_reads_back() {
    for format in BOTH {
        let text = written(Some(format), |_| {});
        let summary = parse(text.as_bytes()).unwrap();
        assert_eq!(summary.format, format);
        assert_eq!(summary.packages, 3);
        assert_eq!(summary.subject.as_ref(), Some(testing::source().digest()));
        assert_eq!(summary.created, Some(datetime!(2026-11-23 08:00 UTC)));
        assert!(summary.complete);
    }
}

#[test]
fn gaps_read_back() {
    let problem = Problem {
        path: "var/lib/dpkg/status".to_owned(),
        reason: "is stored with holes".to_owned(),
    };
    for format in BOTH {
        let text = written(Some(format), |catalog| {
            catalog.problems.push(problem.clone())
        });
        let summary = parse(text.as_bytes()).unwrap();
        assert!(!summary.complete);
        assert_eq!(summary.gaps.len(), 1);
    }
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    for format in BOTH {
        assert_eq!(written(Some(format), |_| {}), written(Some(format), |_| {}));
    }
}

#[test]
fn suppliers_are_written_as_persons() {
    let mut shown = Vec::new();
    for maintainer in [
        "A B <a@b.org>",
        "A B",
        "<a@b.org>",
        "A (B) <a@b.org>",
        "\"A, B\" <a@b.org>",
        "A <x (y)>",
        "",
    ] {
        let text = written(Some(SbomFormat::SpdxJson), |catalog| {
            catalog.packages.truncate(1);
            catalog.packages[0].maintainer = Some(maintainer.to_owned());
        });
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        shown.push(
            document["packages"][0]["supplier"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(
        shown,
        [
            "Person: A B (a@b.org)",
            "Person: A B",
            "Person: a@b.org",
            "NOASSERTION",
            "Person: A, B (a@b.org)",
            "Person: A",
            "NOASSERTION"
        ]
    );
}

#[test]
fn spdx() {
    insta::assert_snapshot!(written(Some(SbomFormat::SpdxJson), |_| {}), @r#"
    {
      "spdxVersion": "SPDX-2.3",
      "dataLicense": "CC0-1.0",
      "SPDXID": "SPDXRef-DOCUMENT",
      "name": "localhost:5000/apps/shop",
      "documentNamespace": "https://countersign.dev/spdx/image/localhost-5000-apps-shop-55506d0d-c291-84e5-b388-edf98cd49278",
      "creationInfo": {
        "licenseListVersion": "3.25",
        "creators": [
          "Tool: countersign-0.0.0"
        ],
        "created": "2026-11-23T08:00:00Z"
      },
      "packages": [
        {
          "name": "libssl3",
          "SPDXID": "SPDXRef-Package-deb-libssl3-ddd708821c3c1ca1",
          "versionInfo": "3.0.17-1~deb12u2",
          "supplier": "Person: Debian OpenSSL Team (pkg-openssl-devel@alioth-lists.debian.net)",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "homepage": "https://www.openssl.org/",
          "sourceInfo": "acquired package info from DPKG DB: /var/lib/dpkg/status",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "Apache-2.0 AND LicenseRef-Artistic-or-GPL-1-",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl"
            }
          ]
        },
        {
          "name": "openssl",
          "SPDXID": "SPDXRef-Package-deb-openssl-e681967351bfdb21",
          "versionInfo": "3.0.17-1~deb12u2",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "sourceInfo": "acquired package info from DPKG DB: /var/lib/dpkg/status",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12"
            }
          ]
        },
        {
          "name": "bottle",
          "SPDXID": "SPDXRef-Package-python-bottle-0d97dfb562d42689",
          "versionInfo": "0.12.19",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "sourceInfo": "acquired package info from installed python package manifest file: /usr/lib/python3/dist-packages/bottle-0.12.19.dist-info/METADATA",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "MIT",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:pypi/bottle@0.12.19"
            }
          ]
        },
        {
          "name": "debian",
          "SPDXID": "SPDXRef-OperatingSystem-debian-12",
          "versionInfo": "12",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "primaryPackagePurpose": "OPERATING-SYSTEM"
        },
        {
          "name": "localhost:5000/apps/shop",
          "SPDXID": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "versionInfo": "1.0",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "checksums": [
            {
              "algorithm": "SHA256",
              "checksumValue": "05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
            }
          ],
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:oci/shop@sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f?arch=amd64&repository_url=localhost:5000%2Fapps%2Fshop&tag=1.0"
            }
          ],
          "primaryPackagePurpose": "CONTAINER"
        }
      ],
      "hasExtractedLicensingInfos": [
        {
          "licenseId": "LicenseRef-Artistic-or-GPL-1-",
          "extractedText": "Artistic or GPL-1+",
          "name": "Artistic or GPL-1+"
        }
      ],
      "relationships": [
        {
          "spdxElementId": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "relatedSpdxElement": "SPDXRef-Package-deb-libssl3-ddd708821c3c1ca1",
          "relationshipType": "CONTAINS"
        },
        {
          "spdxElementId": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "relatedSpdxElement": "SPDXRef-Package-deb-openssl-e681967351bfdb21",
          "relationshipType": "CONTAINS"
        },
        {
          "spdxElementId": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "relatedSpdxElement": "SPDXRef-Package-python-bottle-0d97dfb562d42689",
          "relationshipType": "CONTAINS"
        },
        {
          "spdxElementId": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "relatedSpdxElement": "SPDXRef-OperatingSystem-debian-12",
          "relationshipType": "CONTAINS"
        },
        {
          "spdxElementId": "SPDXRef-DOCUMENT",
          "relatedSpdxElement": "SPDXRef-DocumentRoot-Image-localhost-5000-apps-shop",
          "relationshipType": "DESCRIBES"
        }
      ]
    }
    "#);
}

#[test]
fn cyclonedx() {
    insta::assert_snapshot!(written(Some(SbomFormat::CycloneDxJson), |_| {}), @r#"
    {
      "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
      "bomFormat": "CycloneDX",
      "specVersion": "1.6",
      "serialNumber": "urn:uuid:55506d0d-c291-84e5-b388-edf98cd49278",
      "version": 1,
      "metadata": {
        "component": {
          "bom-ref": "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f",
          "hashes": [
            {
              "alg": "SHA-256",
              "content": "05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
            }
          ],
          "name": "localhost:5000/apps/shop",
          "purl": "pkg:oci/shop@sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f?arch=amd64&repository_url=localhost:5000%2Fapps%2Fshop&tag=1.0",
          "type": "container",
          "version": "1.0"
        },
        "timestamp": "2026-11-23T08:00:00Z",
        "tools": {
          "components": [
            {
              "name": "countersign",
              "type": "application",
              "version": "0.0.0"
            }
          ]
        }
      },
      "components": [
        {
          "bom-ref": "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl&package-id=ddd708821c3c1ca1",
          "type": "library",
          "supplier": {
            "name": "Debian OpenSSL Team <pkg-openssl-devel@alioth-lists.debian.net>"
          },
          "name": "libssl3",
          "version": "3.0.17-1~deb12u2",
          "licenses": [
            {
              "license": {
                "id": "Apache-2.0"
              }
            },
            {
              "license": {
                "name": "Artistic or GPL-1+"
              }
            }
          ],
          "purl": "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl",
          "properties": [
            {
              "name": "syft:package:type",
              "value": "deb"
            },
            {
              "name": "syft:location:0:path",
              "value": "/var/lib/dpkg/status"
            },
            {
              "name": "syft:location:0:layerID",
              "value": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85"
            },
            {
              "name": "syft:metadata:source",
              "value": "openssl"
            },
            {
              "name": "syft:metadata:sourceVersion",
              "value": "3.0.17-1~deb12u2"
            }
          ]
        },
        {
          "bom-ref": "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&package-id=e681967351bfdb21",
          "type": "library",
          "name": "openssl",
          "version": "3.0.17-1~deb12u2",
          "purl": "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12",
          "properties": [
            {
              "name": "syft:package:type",
              "value": "deb"
            },
            {
              "name": "syft:location:0:path",
              "value": "/var/lib/dpkg/status"
            },
            {
              "name": "syft:location:0:layerID",
              "value": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85"
            }
          ]
        },
        {
          "bom-ref": "pkg:pypi/bottle@0.12.19?package-id=0d97dfb562d42689",
          "type": "library",
          "name": "bottle",
          "version": "0.12.19",
          "licenses": [
            {
              "license": {
                "id": "MIT"
              }
            }
          ],
          "purl": "pkg:pypi/bottle@0.12.19",
          "properties": [
            {
              "name": "syft:package:type",
              "value": "python"
            },
            {
              "name": "syft:location:0:path",
              "value": "/usr/lib/python3/dist-packages/bottle-0.12.19.dist-info/METADATA"
            },
            {
              "name": "syft:location:0:layerID",
              "value": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85"
            }
          ]
        },
        {
          "bom-ref": "os:debian@12",
          "type": "operating-system",
          "name": "debian",
          "version": "12",
          "description": "Debian GNU/Linux 12 (bookworm)",
          "swid": {
            "name": "debian",
            "tagId": "debian",
            "version": "12"
          }
        }
      ],
      "dependencies": [
        {
          "dependsOn": [
            "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl&package-id=ddd708821c3c1ca1",
            "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12&package-id=e681967351bfdb21",
            "pkg:pypi/bottle@0.12.19?package-id=0d97dfb562d42689",
            "os:debian@12"
          ],
          "ref": "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
        }
      ],
      "compositions": [
        {
          "aggregate": "unknown",
          "assemblies": [
            "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
          ]
        }
      ]
    }
    "#);
}

#[test]
fn table() {
    insta::assert_snapshot!(written(None, |_| {}), @r#"
    NAME     VERSION           TYPE
    libssl3  3.0.17-1~deb12u2  deb
    openssl  3.0.17-1~deb12u2  deb
    bottle   0.12.19           python
    "#);
    assert_eq!(
        written(None, |catalog| catalog.packages.clear()),
        "no packages found\n"
    );
}
