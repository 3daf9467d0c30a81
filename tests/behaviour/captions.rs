//! Captions in pictures: found, and announced as what they are.

use crate::scene::{Scene, WRITTEN, copy, testdata, write};

/// What the multivariant playlist and the MPD of `name` say of captions, a line each.
async fn said(scene: &Scene, name: &str) -> Vec<String> {
    let hls = scene.text(&format!("/{name}/master.m3u8")).await;
    let dash = scene.text(&format!("/{name}/manifest.mpd")).await;
    let lines = [hls, dash].join("\n");
    let says = |line: &&str| line.contains("CLOSED-CAPTIONS") || line.contains("urn:scte:dash:cc");
    // Of a variant only what it says of captions.
    let short = |line: &str| match line.rsplit_once(",CLOSED-CAPTIONS=") {
        Some((_, group)) => format!("variant {group}"),
        None => line.trim().to_owned(),
    };
    lines.lines().filter(says).map(short).collect()
}

#[tokio::test]
async fn captions_in_pictures_are_announced_by_what_speaks() {
    let scene = Scene::of(&["shape-captions.mp4", "shape-mfra.mp4", "encrypted-cbcs"]);
    assert_eq!(
        said(&scene, "shape-captions").await,
        [
            r#"#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC1",AUTOSELECT=YES,INSTREAM-ID="CC1""#,
            r#"#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC3",INSTREAM-ID="CC3""#,
            r#"#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="SERVICE1",INSTREAM-ID="SERVICE1""#,
            r#"#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="SERVICE2",INSTREAM-ID="SERVICE2""#,
            r#"variant "cc""#,
            r#"<Accessibility schemeIdUri="urn:scte:dash:cc:cea-608:2015" value="CC1=und;CC3=und"/>"#,
            r#"<Accessibility schemeIdUri="urn:scte:dash:cc:cea-708:2015" value="1=lang:und;2=lang:und"/>"#,
        ]
    );
    assert_eq!(said(&scene, "shape-mfra").await, ["variant NONE"], "there are none, and that is said");
    assert_eq!(said(&scene, "encrypted-cbcs").await, [""; 0], "what is in encrypted pictures is not known");
}

#[tokio::test]
async fn a_presentation_toml_says_the_languages_of_captions_and_what_is_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("shape-captions.mp4"), &dir.path().join("film/film.mp4"));
    let toml = "[[file]]\npath = \"film.mp4\"\ncaptions = { CC1 = \"en\", SERVICE1 = \"en\", SERVICE2 = \"de\" }\n";
    write(&dir.path().join("film/presentation.toml"), toml.as_bytes(), WRITTEN);
    copy(&testdata("encrypted-cenc.mp4"), &dir.path().join("hidden/film.mp4"));
    let toml = "[[file]]\npath = \"film.mp4\"\ncaptions = { CC3 = \"fr-CA\" }\n";
    write(&dir.path().join("hidden/presentation.toml"), toml.as_bytes(), WRITTEN);
    let scene = Scene::at(dir, |_, options| options.key_uri = Some("https://keys.example/{kid}".to_owned()));
    let film = said(&scene, "film").await;
    assert!(film[0].contains(r#"LANGUAGE="en",NAME="English",AUTOSELECT=YES,INSTREAM-ID="CC1""#), "{film:?}");
    assert!(film[2].contains(r#"LANGUAGE="en",NAME="English (SERVICE1)",INSTREAM-ID="SERVICE1""#), "{film:?}");
    assert!(film[5].ends_with(r#"value="CC1=eng;CC3=und"/>"#), "{film:?}");
    assert!(film[6].ends_with(r#"value="1=lang:eng;2=lang:ger"/>"#), "{film:?}");
    let hidden = said(&scene, "hidden").await;
    assert!(
        hidden[0].contains(r#"LANGUAGE="fr-CA",NAME="Français (CA)",AUTOSELECT=YES,INSTREAM-ID="CC3""#),
        "{hidden:?}"
    );
    assert!(hidden[2].ends_with(r#"value="CC3=fre"/>"#), "{hidden:?}");
}
