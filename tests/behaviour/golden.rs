//! Manifests word for word, kept beside the tests. `UPDATE_GOLDEN=1 cargo test` rewrites them; the difference is for people to
//! read.

use std::path::Path;

use crate::scene::Scene;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{name} is not what it was; UPDATE_GOLDEN=1 rewrites it. It was:\n{golden}\nand is:\n{text}"
    );
}

async fn check_presentation(scene: &Scene, name: &str) {
    check(&format!("{name}.multivariant.txt"), &scene.text(&format!("/{name}/master.m3u8")).await);
    check(&format!("{name}.mpd.txt"), &scene.text(&format!("/{name}/manifest.mpd")).await);
    let hls = scene.hls(name).await;
    let playlists: Vec<String> = (hls.playlists.iter().chain(&hls.tricks))
        .map(|playlist| format!("== {}\n{}", playlist.url, playlist.text))
        .collect();
    check(&format!("{name}.media.txt"), &playlists.join("\n"));
}

#[tokio::test]
async fn the_tour() {
    check_presentation(&Scene::of(&["tour"]), "tour").await;
}

#[tokio::test]
async fn a_sequence_of_clips() {
    check_presentation(&Scene::of(&["clips"]), "clips").await;
}

#[tokio::test]
async fn an_encrypted_presentation() {
    check_presentation(&Scene::of(&["encrypted-cbcs"]), "encrypted-cbcs").await;
}
