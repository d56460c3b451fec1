//! Writes the packages of an image as a table.

use super::Sbom;
use crate::report::{aligned, clean};

pub(super) fn write(sbom: &Sbom<'_>) -> String {
    let row = |p: &crate::package::Package| {
        [
            clean(&p.name),
            clean(&p.version),
            p.kind.as_str().to_owned(),
        ]
    };
    let rows: Vec<[String; 3]> = sbom.catalog.packages.iter().map(row).collect();
    let mut text = match rows.is_empty() {
        true => "no packages found\n".to_owned(),
        false => aligned(["NAME", "VERSION", "TYPE"], &rows),
    };
    for problem in &sbom.catalog.problems {
        text.push_str(&format!(
            "not read: `{}` {}\n",
            clean(&problem.path),
            clean(&problem.reason)
        ));
    }
    text
}
