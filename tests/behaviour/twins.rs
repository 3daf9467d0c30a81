//! Two nodes over copies of one library agree on every byte, without talking.

use std::time::Duration;

use http::Method;

use crate::scene::{CLEAR, ENCRYPTED, Scene, same, testdata, touch};

/// Everything a presentation has: the manifests, and what they lead to.
async fn urls(scene: &Scene, name: &str) -> Vec<String> {
    let mut urls = vec![format!("/{name}/master.m3u8"), format!("/{name}/manifest.mpd")];
    for representation in scene.dash(name).await {
        urls.push(representation.init);
        urls.extend(representation.segments.into_iter().map(|segment| segment.url));
    }
    if scene.get(&urls[0]).await.status == 200 {
        for playlist in scene.hls(name).await.playlists {
            urls.push(playlist.url);
            urls.extend(playlist.init.into_iter().chain(playlist.segments));
        }
    }
    urls
}

#[tokio::test]
async fn names_etags_and_bytes_are_those_of_every_node() {
    let names: Vec<&str> = CLEAR.iter().chain(ENCRYPTED).copied().collect();
    let (one, other) = (Scene::of(&names), Scene::of(&names));
    for (index, name) in names.iter().enumerate() {
        let from = testdata(name);
        let path = other.path(from.file_name().unwrap().to_str().unwrap());
        let files: Vec<_> = match path.is_dir() {
            true => std::fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .collect(),
            false => vec![path],
        };
        for file in files {
            touch(&file, Duration::from_secs(1_700_000_000 + index as u64 * 1000));
        }
    }
    other.rescan();
    assert_eq!(one.names(), other.names());
    for name in names {
        let wanted = urls(&one, name).await;
        assert_eq!(wanted, urls(&other, name).await);
        for url in wanted {
            for coding in ["identity", "gzip", "br"] {
                let headers = [("accept-encoding", coding)];
                let (a, b) = (one.ask(Method::GET, &url, &headers).await, other.ask(Method::GET, &url, &headers).await);
                assert_eq!(a.status, b.status, "{url}");
                same(&a.body, &b.body, &url);
                for header in ["etag", "content-type", "cache-control", "vary", "content-encoding"] {
                    assert_eq!(a.header(header), b.header(header), "{url}: {header}");
                }
                if !url.ends_with(".m3u8") && !url.ends_with(".mpd") {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let scene = Scene::of(&["tour"]);
    let before = urls(&scene, "tour").await;
    let etag = scene.get(&before[2]).await.header("etag").to_owned();
    let again = Scene::of(&["tour"]);
    assert_eq!(urls(&again, "tour").await, before);
    assert_eq!(again.get(&before[2]).await.header("etag"), etag);
}
