//! CVSS base scores, computed from the vector.
//!
//! CVSS v3.0 §8 and v3.1 §7 and Appendix A (the two differ only in the rounding, and for base
//! scores of scope changed not at all). Vectors of version 4.0 are scored by a table of 270
//! macro-vectors that we do not carry: they are recognised and have no score, and the severity
//! then comes from the word that the advisory's source gives. Version 2 likewise.

/// The base score of a vector, and the two parts that it is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseScore {
    /// The score, from 0.0 to 10.0 in steps of 0.1.
    pub base: f64,
    /// How easily it is exploited.
    pub exploitability: f64,
    /// What an exploit does.
    pub impact: f64,
}

/// Returns the version of CVSS that a vector is written in: `3.1`, or `2.0` where it has no
/// prefix.
pub fn version(vector: &str) -> &str {
    let prefixed = vector
        .strip_prefix("CVSS:")
        .and_then(|rest| rest.split('/').next());
    prefixed.unwrap_or("2.0")
}

/// The base metrics of a vector, as the numbers of the specification's tables.
struct Metrics {
    vector: f64,
    complexity: f64,
    privileges: f64,
    interaction: f64,
    scope_changed: bool,
    /// Confidentiality, integrity, availability.
    impacts: [f64; 3],
}

/// Returns the base score of a CVSS 3.0 or 3.1 vector; nothing for other versions, and for a
/// vector that lacks a base metric, has one twice, or has a value that does not exist.
pub fn base_score(vector: &str) -> Option<BaseScore> {
    let (prefix, metrics) = vector.split_once('/')?;
    let rounding = match prefix {
        "CVSS:3.1" => round_up_3_1,
        "CVSS:3.0" => round_up_3_0,
        _ => return None,
    };
    let m = parse(metrics)?;
    let missing: f64 = m.impacts.iter().map(|impact| 1.0 - impact).product();
    let iss = 1.0 - missing;
    let impact = match m.scope_changed {
        false => 6.42 * iss,
        true => 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15),
    };
    let exploitability = 8.22 * m.vector * m.complexity * m.privileges * m.interaction;
    let sum = impact + exploitability;
    let base = match (impact <= 0.0, m.scope_changed) {
        (true, _) => 0.0,
        (false, false) => rounding(sum.min(10.0)),
        (false, true) => rounding((1.08 * sum).min(10.0)),
    };
    Some(BaseScore {
        base,
        exploitability: one_decimal(exploitability),
        impact: one_decimal(impact.max(0.0)),
    })
}

fn parse(metrics: &str) -> Option<Metrics> {
    let mut values: [Option<&str>; 8] = [None; 8];
    for metric in metrics.split('/') {
        let (name, value) = metric.split_once(':')?;
        let Some(index) = ["AV", "AC", "PR", "UI", "S", "C", "I", "A"]
            .iter()
            .position(|known| *known == name)
        else {
            // Temporal and environmental metrics do not change the base score.
            continue;
        };
        if values[index].replace(value).is_some() {
            return None;
        }
    }
    let [av, ac, pr, ui, s, c, i, a] = values;
    let scope_changed = pick(s, &[("U", 0.0), ("C", 1.0)])? > 0.5;
    let privileges: &[(&str, f64)] = match scope_changed {
        false => &[("N", 0.85), ("L", 0.62), ("H", 0.27)],
        true => &[("N", 0.85), ("L", 0.68), ("H", 0.5)],
    };
    let impact = |value| pick(value, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    Some(Metrics {
        vector: pick(av, &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?,
        complexity: pick(ac, &[("L", 0.77), ("H", 0.44)])?,
        privileges: pick(pr, privileges)?,
        interaction: pick(ui, &[("N", 0.85), ("R", 0.62)])?,
        scope_changed,
        impacts: [impact(c)?, impact(i)?, impact(a)?],
    })
}

fn pick(value: Option<&str>, table: &[(&str, f64)]) -> Option<f64> {
    let row = table.iter().find(|(known, _)| Some(*known) == value);
    row.map(|(_, number)| *number)
}

/// CVSS v3.1, Appendix A: rounding over whole numbers, so that 4.02 computed as 4.0200000001 is
/// still 4.1 everywhere.
fn round_up_3_1(score: f64) -> f64 {
    let hundred_thousandths = (score * 100_000.0).round();
    if hundred_thousandths % 10_000.0 == 0.0 {
        hundred_thousandths / 100_000.0
    } else {
        ((hundred_thousandths / 10_000.0).floor() + 1.0) / 10.0
    }
}

fn round_up_3_0(score: f64) -> f64 {
    (score * 10.0).ceil() / 10.0
}

fn one_decimal(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_scores() {
        // Scores as the National Vulnerability Database and the CVSS v3.1 examples document give
        // them.
        let table = [
            // CVE-2022-31799
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                9.8,
                3.9,
                5.9,
            ),
            // CVE-2021-44228
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H",
                10.0,
                3.9,
                6.0,
            ),
            // CVE-2014-0160
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
                7.5,
                3.9,
                3.6,
            ),
            // CVE-2013-1937
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N",
                6.1,
                2.8,
                2.7,
            ),
            // CVE-2013-0375
            (
                "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N",
                6.4,
                3.1,
                2.7,
            ),
            // CVE-2014-3566
            (
                "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N",
                3.1,
                1.6,
                1.4,
            ),
            // CVE-2012-1516
            (
                "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H",
                9.9,
                3.1,
                6.0,
            ),
            // CVE-2009-0783
            (
                "CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L",
                4.2,
                0.8,
                3.4,
            ),
            (
                "CVSS:3.0/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                6.8,
                0.9,
                5.9,
            ),
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N",
                0.0,
                3.9,
                0.0,
            ),
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O",
                9.8,
                3.9,
                5.9,
            ),
        ];
        for (vector, base, exploitability, impact) in table {
            let expected = BaseScore {
                base,
                exploitability,
                impact,
            };
            assert_eq!(base_score(vector), Some(expected), "{vector}");
        }
    }

    #[test]
    fn vectors_without_a_score() {
        for vector in [
            "",
            "AV:N/AC:L/Au:N/C:P/I:P/A:P",
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H",
            "CVSS:3.1/AV:N/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV",
        ] {
            assert_eq!(base_score(vector), None, "{vector}");
        }
        assert_eq!(version("CVSS:4.0/AV:N"), "4.0");
        assert_eq!(version("AV:N/AC:L"), "2.0");
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text: String) {
            let _ = base_score(&text);
            let _ = version(&text);
        }

        #[test]
        fn scores_are_tenths_between_zero_and_ten(
            vector in "CVSS:3\\.[01]/AV:[NALP]/AC:[LH]/PR:[NLH]/UI:[NR]/S:[UC]/C:[HLN]/I:[HLN]/A:[HLN]",
        ) {
            let score = base_score(&vector).unwrap();
            prop_assert!((0.0..=10.0).contains(&score.base));
            prop_assert!((score.base * 10.0 - (score.base * 10.0).round()).abs() < 1e-9);
        }
    }
}
