use super::*;

const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

fn parse(media_type: MediaType, text: &str) -> Result<Manifest, String> {
    Manifest::parse(media_type, text.as_bytes().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn unknown_members_are_accepted_and_the_bytes_are_kept() {
    let text = format!(r#"{{"schemaVersion":2,"x":[1], "config":{CONFIG},"layers":[]}}"#);
    let manifest = parse(MediaType::IMAGE_MANIFEST, &text).unwrap();
    assert_eq!(manifest.bytes(), text.as_bytes());
    assert_eq!(manifest.digest(), &Digest::sha256(text.as_bytes()));
    assert_eq!(manifest.artifact_type(), Some(&MediaType::EMPTY));
}

#[test]
fn a_document_with_two_readings_is_refused() {
    let text = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[],"manifests":[]}}"#);
    let message = parse(MediaType::IMAGE_MANIFEST, &text).unwrap_err();
    insta::assert_snapshot!(message, @"manifest has both `layers` and `manifests`, so two readers could see two documents");
    assert!(parse(MediaType::IMAGE_INDEX, &text).is_err());
}

#[test]
fn a_media_type_that_contradicts_the_document_is_refused() {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{CONFIG},"layers":[]}}"#,
        MediaType::DOCKER_MANIFEST
    );
    let message = parse(MediaType::IMAGE_MANIFEST, &text).unwrap_err();
    insta::assert_snapshot!(message, @"manifest says `mediaType` `application/vnd.docker.distribution.manifest.v2+json`, but came as `application/vnd.oci.image.manifest.v1+json`");
    assert!(parse(MediaType::DOCKER_MANIFEST, &text).is_ok());
}

#[test]
fn other_versions_types_and_shapes_are_refused() {
    let version = format!(r#"{{"schemaVersion":1,"config":{CONFIG},"layers":[]}}"#);
    for (media_type, text) in [
        (MediaType::IMAGE_MANIFEST, version.as_str()),
        (MediaType::IMAGE_MANIFEST, "[]"),
        (MediaType::IMAGE_MANIFEST, ""),
        (MediaType::IMAGE_MANIFEST, r#"{"schemaVersion":2}"#),
        (MediaType::JSON, r#"{"schemaVersion":2,"manifests":[]}"#),
    ] {
        assert!(parse(media_type, text).is_err(), "{text}");
    }
}

#[test]
fn a_manifest_over_the_limit_is_refused_before_it_is_read() {
    let bytes = vec![b' '; MAX_MANIFEST_BYTES + 1];
    let error = Manifest::parse(MediaType::IMAGE_MANIFEST, bytes).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge(_)));
}

#[test]
fn an_index_is_recognised_by_its_members() {
    let manifest = Manifest::sniff(br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()).unwrap();
    assert_eq!(manifest.media_type(), &MediaType::IMAGE_INDEX);
}
