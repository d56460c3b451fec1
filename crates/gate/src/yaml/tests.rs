use super::*;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
struct Shop {
    name: String,
    port: u16,
    #[serde(default)]
    shelves: Vec<Shelf>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelf {
    #[serde(deserialize_with = "digest")]
    #[expect(dead_code, reason = "only its shape matters")]
    digest: oci::Digest,
}

fn digest<'de, D: serde::Deserializer<'de>>(d: D) -> Result<oci::Digest, D::Error> {
    serde::Deserialize::deserialize(d)
}

fn error(text: &str) -> String {
    parse::<Shop>(text, |_| Vec::new()).unwrap_err().to_string()
}

#[test]
fn errors_name_the_place_and_the_member() {
    let table = [
        "name: a\nport: many\n",
        "name: a\nport: 1\ncolour: red\n",
        "name: a\n",
        "name: a\nport: 1\nport: 2\n",
        "name: a\nport: 1\nshelves:\n  - digest: sha256:1\n",
        "name: a\nport: 1\nshelves:\n  - {digest: 1, x: 2}\n",
        "name: [\n",
        "name: &a x\nport: 1\n",
        "name: a\nport: 1\n---\nname: b\n",
        "",
        "- 1",
        "\t",
    ];
    let shown: Vec<String> = table
        .iter()
        .map(|text| format!("{text:?}\n  {}", error(text)))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_mistake_in_the_meaning_is_placed() {
    let text = "name: a\nport: 1\nshelves:\n  - digest: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n";
    let check = |_: &Shop| {
        vec![
            Mistake::new("shelves[0].digest", "is not ours"),
            Mistake::new("port", "is taken"),
        ]
    };
    let error = parse::<Shop>(text, check).unwrap_err().in_file("shop.yaml");
    assert_eq!(error.to_string(), "shop.yaml:2:7: `port`: is taken");
    let check = |_: &Shop| vec![Mistake::new("shelves[0].digest.hex", "is odd")];
    let error = parse::<Shop>(text, check).unwrap_err();
    assert_eq!(error.position, Some((4, 13)));
}

#[test]
fn a_document_that_is_too_large_is_refused() {
    let text = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert!(error(&text).contains("bytes, more than"));
}

#[test]
fn a_text_that_yaml_reads_as_a_mapping_is_named() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Commands {
        commands: Vec<String>,
    }
    let text = "commands:\n  - true\n  - printf 'image: \"%s\"\\n' x > y\n";
    let error = parse::<Commands>(text, |_| Vec::new()).unwrap_err();
    insta::assert_snapshot!(error, @"line 3, column 5: `commands`: expected a text; one that holds `: ` or ` #` must be in quotes");
}
