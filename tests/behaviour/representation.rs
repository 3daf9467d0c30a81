//! HTTP: methods, conditions, ranges, codings, errors.

use std::io::Read;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::scene::{Answer, Scene, copy, same, testdata};

/// A master, an MPD, a media playlist, an initialization segment, a segment, a WebVTT segment.
async fn one_of_each(scene: &Scene) -> Vec<String> {
    let dash = scene.dash("tour").await;
    let hls = scene.hls("tour").await;
    let text = hls.playlists.iter().find(|playlist| playlist.segments[0].ends_with(".vtt")).unwrap();
    let segment = dash[0].segments[1].url.clone();
    let (init, playlist) = (dash[0].init.clone(), hls.playlists[0].url.clone());
    vec![
        "/tour/master.m3u8".to_owned(),
        "/tour/manifest.mpd".to_owned(),
        playlist,
        init,
        segment,
        text.segments[0].clone(),
    ]
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let scene = Scene::of(&["tour"]);
    for url in one_of_each(&scene).await {
        // Cold in another scene, warm in this one: the same head.
        let cold = Scene::of(&["tour"]);
        let head = cold.head(&url).await;
        let get = scene.get(&url).await;
        assert_eq!((head.status, get.status), (StatusCode::OK, StatusCode::OK), "{url}");
        assert_eq!(head.headers, get.headers, "{url}");
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(get.header("content-length"), get.body.len().to_string());
        assert_eq!(scene.head(&url).await.headers, get.headers, "{url}");
        assert!(get.headers.get("set-cookie").is_none());
        assert_eq!(get.header("access-control-allow-origin"), "*");
        // Range is for GET alone.
        let ranged = scene.ask(Method::HEAD, &url, &[("range", "bytes=0-1")]).await;
        assert_eq!((ranged.status, ranged.headers), (StatusCode::OK, get.headers));
    }
    let missing = scene.head("/nothing/master.m3u8").await;
    assert_eq!((missing.status, missing.body.len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn a_head_and_a_304_read_no_media() {
    let scene = Scene::of(&["tour", "muxed"]);
    let urls = [
        scene.first_segment("tour", "video-144p").await,
        scene.first_segment("tour", "audio-eng").await,
        scene.first_segment("muxed", "video").await,
    ];
    let before = (scene.telemetry.source_reads.get(), scene.telemetry.source_read_bytes.get());
    let mut tags = Vec::new();
    for url in &urls {
        let head = scene.head(url).await;
        assert_eq!(head.status, StatusCode::OK);
        let tag = head.header("etag").to_owned();
        let known = scene.ask(Method::GET, url, &[("if-none-match", &tag)]).await;
        assert_eq!((known.status, known.header("etag"), known.body.len()), (StatusCode::NOT_MODIFIED, &tag[..], 0));
        tags.push((head.header("content-length").to_owned(), tag));
    }
    assert_eq!((scene.telemetry.source_reads.get(), scene.telemetry.source_read_bytes.get()), before);
    for (url, (len, tag)) in urls.iter().zip(tags) {
        let get = scene.get(url).await;
        assert_eq!((get.body.len().to_string(), get.header("etag")), (len, &tag[..]), "what HEAD said was true");
    }
    assert!(scene.telemetry.source_reads.get() > before.0);
}

#[tokio::test]
async fn conditions() {
    let scene = Scene::of(&["tour"]);
    for url in one_of_each(&scene).await {
        let get = scene.get(&url).await;
        let (tag, modified) = (get.header("etag"), get.header("last-modified"));
        // What other things than its source shape has no date, and dates say nothing of it.
        let is_dated = !matches!(url.rsplit('/').next(), Some("master.m3u8" | "manifest.mpd"));
        assert_eq!(is_dated, !modified.is_empty(), "{url}");
        let modified = if is_dated { modified } else { "Thu, 01 Jan 2099 00:00:00 GMT" };
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag} is strong");
        let list = format!("\"x\", \"a,b\", {tag}");
        let weak = format!("W/{tag}");
        let earlier = "Thu, 01 Jan 1970 00:01:40 GMT";
        for (headers, status) in [
            (vec![("if-none-match", tag)], 304),
            (vec![("if-none-match", &list[..])], 304),
            (vec![("if-none-match", &weak[..])], 304),
            (vec![("if-none-match", "*")], 304),
            (vec![("if-none-match", "\"x\"")], 200),
            (vec![("if-modified-since", modified)], if is_dated { 304 } else { 200 }),
            (vec![("if-modified-since", earlier)], 200),
            (vec![("if-none-match", "\"x\""), ("if-modified-since", modified)], 200),
            (vec![("if-match", tag)], 200),
            (vec![("if-match", "\"x\"")], 412),
            (vec![("if-unmodified-since", earlier)], if is_dated { 412 } else { 200 }),
            (vec![("range", "bytes=0-9"), ("if-range", tag)], 206),
            (vec![("range", "bytes=0-9"), ("if-range", modified)], if is_dated { 206 } else { 200 }),
            (vec![("range", "bytes=0-9"), ("if-range", "\"x\"")], 200),
            (vec![("range", "bytes=0-9"), ("if-range", &weak[..])], 200),
            (vec![("range", "bytes=0-9"), ("if-none-match", tag)], 304),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let status = if method == Method::HEAD && status == 206 { 200 } else { status };
                let answer = scene.ask(method.clone(), &url, &headers).await;
                assert_eq!(answer.status, status, "{method} {url} {headers:?}");
                match status {
                    304 => {
                        assert_eq!((answer.header("etag"), answer.body.len()), (tag, 0));
                        assert_eq!(answer.header("cache-control"), get.header("cache-control"));
                        assert_eq!(answer.header("vary"), get.header("vary"));
                    }
                    206 => assert_eq!(answer.body, get.body[..10]),
                    412 if method == Method::GET => drop(answer.problem(412, "no-store")),
                    200 if method == Method::GET => same(&answer.body, &get.body, &url),
                    _ => assert!(answer.body.is_empty()),
                }
            }
        }
    }
}

/// The parts of a multipart/byteranges body (RFC 2046 §5.1): Content-Type, Content-Range, bytes.
fn parts(answer: &Answer) -> Vec<(String, String, Vec<u8>)> {
    let boundary =
        answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap().trim_matches('"');
    assert!((1..=70).contains(&boundary.len()) && !boundary.contains(' '));
    let find = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|window| window == needle);
    let mut rest = answer.body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).unwrap();
    let mut found = Vec::new();
    loop {
        let end_of_head = find(rest, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(rest[..end_of_head].to_vec()).unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        rest = &rest[end_of_head + 4..];
        let delimiter = format!("\r\n--{boundary}");
        let end = find(rest, delimiter.as_bytes()).unwrap();
        found.push((field("Content-Type: "), field("Content-Range: "), rest[..end].to_vec()));
        rest = &rest[end + delimiter.len()..];
        match rest.strip_prefix(b"\r\n") {
            Some(more) => rest = more,
            None => {
                assert_eq!(rest, b"--\r\n");
                return found;
            }
        }
    }
}

#[tokio::test]
async fn ranges() {
    let scene = Scene::of(&["tour", "muxed"]);
    let mut urls = one_of_each(&scene).await;
    // A rope of many slices.
    urls.push(scene.first_segment("muxed", "video").await);
    for url in urls {
        let whole = scene.get(&url).await;
        let len = whole.body.len();
        let ask = async |range: &str| scene.ask(Method::GET, &url, &[("range", range)]).await;
        for (range, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=1-9".to_owned(), 1..10),
            (format!("bytes={}-", len - 5), len - 5..len),
            ("bytes=-7".to_owned(), len - 7..len),
            (format!("bytes=-{}", len + 7), 0..len),
            (format!("bytes=3-{}", len + 7), 3..len),
            ("bytes=0-".to_owned(), 0..len),
        ] {
            let answer = ask(&range).await;
            assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{url} {range}");
            same(&answer.body, &whole.body[expected.clone()], &format!("{url} {range}"));
            let said = format!("bytes {}-{}/{len}", expected.start, expected.end - 1);
            assert_eq!(answer.header("content-range"), said);
            assert_eq!(answer.header("content-length"), expected.len().to_string());
            assert_eq!(answer.header("etag"), whole.header("etag"));
        }
        for range in [format!("bytes={len}-"), "bytes=-0".to_owned()] {
            let answer = ask(&range).await;
            answer.problem(416, "no-store");
            assert_eq!(answer.header("content-range"), format!("bytes */{len}"));
        }
        for ignored in ["bytes=9-1", "lines=0-1", "bytes=x"] {
            let answer = ask(ignored).await;
            assert_eq!(answer.status, StatusCode::OK, "{url} {ignored}");
            same(&answer.body, &whole.body, &url);
        }
        let answer = ask(&format!("bytes=0-3, 10-19,-4, {}-", len + 1)).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let expected = [0..4, 10..20, len - 4..len].map(|range| {
            let said = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            (whole.header("content-type").to_owned(), said, whole.body[range].to_vec())
        });
        assert_eq!(parts(&answer), expected, "{url}");
        // Slices, however cut, are the whole.
        for step in [1 + len / 7, 1 + len / 23] {
            let mut joined = Vec::new();
            for start in (0..len).step_by(step) {
                joined.extend_from_slice(&ask(&format!("bytes={start}-{}", start + step - 1)).await.body);
            }
            same(&joined, &whole.body, &format!("{url} in steps of {step}"));
        }
    }
}

#[tokio::test]
async fn codings_of_a_manifest_are_each_a_representation_of_its_own() {
    let scene = Scene::of(&["tour"]);
    for url in one_of_each(&scene).await {
        let identity = scene.get(&url).await;
        if !url.ends_with(".m3u8") && !url.ends_with(".mpd") {
            let asked = scene.ask(Method::GET, &url, &[("accept-encoding", "gzip, br")]).await;
            assert_eq!((asked.header("content-encoding"), &asked.body), ("", &identity.body), "{url}");
            continue;
        }
        let gzip = scene.ask(Method::GET, &url, &[("accept-encoding", "gzip")]).await;
        let brotli = scene.ask(Method::GET, &url, &[("accept-encoding", "gzip, deflate, br")]).await;
        if identity.header("vary").is_empty() {
            // Too short to be worth it.
            assert!(identity.body.len() < 512 && gzip == identity && brotli == identity, "{url}");
            continue;
        }
        assert_eq!((gzip.header("content-encoding"), brotli.header("content-encoding")), ("gzip", "br"), "{url}");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, identity.body);
        let mut text = Vec::new();
        brotli::Decompressor::new(&brotli.body[..], 4096).read_to_end(&mut text).unwrap();
        assert_eq!(text, identity.body);
        let tags = [&identity, &gzip, &brotli].map(|answer| answer.header("etag"));
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
        for answer in [&identity, &gzip, &brotli] {
            assert_eq!(answer.header("vary"), "Accept-Encoding");
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            assert!(answer.body.len() <= identity.body.len());
            // Each is revalidated under its own tag, and ranged by its own bytes.
            let coding = if answer.header("content-encoding").is_empty() {
                "identity"
            } else {
                answer.header("content-encoding")
            };
            let headers = [("accept-encoding", coding), ("if-none-match", answer.header("etag"))];
            assert_eq!(scene.ask(Method::GET, &url, &headers).await.status, StatusCode::NOT_MODIFIED);
            let other =
                [("accept-encoding", coding), ("if-none-match", tags[usize::from(tags[0] == answer.header("etag"))])];
            assert_eq!(scene.ask(Method::GET, &url, &other).await.status, StatusCode::OK);
            let ranged = scene.ask(Method::GET, &url, &[("accept-encoding", coding), ("range", "bytes=5-50")]).await;
            assert_eq!((ranged.status, ranged.body), (StatusCode::PARTIAL_CONTENT, answer.body.slice(5..51)));
        }
    }
}

#[tokio::test]
async fn other_methods() {
    let scene = Scene::of(&["tour"]);
    for url in ["/tour/master.m3u8", "/nothing"] {
        let options = scene.ask(Method::OPTIONS, url, &[("origin", "https://player.example")]).await;
        assert_eq!((options.status, options.body.len()), (StatusCode::NO_CONTENT, 0));
        assert_eq!(options.header("access-control-allow-origin"), "*");
        assert_eq!(options.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
        assert!(!options.header("cache-control").is_empty());
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
            let answer = scene.ask(method.clone(), url, &[]).await;
            answer.problem(405, "no-store");
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS", "{method}");
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_remembered_for_five_seconds_or_until_the_library_changes() {
    let mut scene = Scene::of(&["hevc"]);
    scene.get("/film/master.m3u8").await.problem(404, "public, max-age=5");
    assert_eq!(scene.telemetry.negative_answers.get(), 0);
    scene.pass(Duration::from_millis(4_999));
    scene.get("/film/master.m3u8").await.problem(404, "public, max-age=5");
    scene.head("/film/master.m3u8").await;
    assert_eq!(scene.telemetry.negative_answers.get(), 2);
    scene.pass(Duration::from_millis(1));
    scene.get("/film/master.m3u8").await.problem(404, "public, max-age=5");
    assert_eq!(scene.telemetry.negative_answers.get(), 2, "it was looked for again");
    copy(&testdata("muxed"), &scene.path("film.mp4"));
    scene.rescan();
    scene.body("/film/master.m3u8").await;
}

#[tokio::test]
async fn a_query_changes_nothing() {
    let scene = Scene::of(&["tour"]);
    for url in one_of_each(&scene).await {
        let plain = scene.get(&url).await;
        let flights = scene.telemetry.flights_started.get();
        assert_eq!(scene.get(&format!("{url}?a=b&_HLS_msn=9")).await, plain, "{url}");
        assert_eq!(scene.telemetry.flights_started.get(), flights, "the path is the key");
    }
}

#[tokio::test]
async fn an_answer_says_how_the_cache_came_by_it() {
    let scene = Scene::of(&["tour"]);
    let segment = scene.dash("tour").await[0].segments[1].url.clone();
    for (how, answer) in [
        ("headwater; fwd=uri-miss", scene.head(&segment).await),
        ("headwater; fwd=uri-miss; stored", scene.get(&segment).await),
        ("headwater; hit", scene.get(&segment).await),
        ("headwater; hit", scene.head(&segment).await),
        ("headwater; hit", scene.ask(Method::GET, &segment, &[("range", "bytes=0-9")]).await),
        ("headwater; hit", scene.ask(Method::GET, &segment, &[("if-none-match", "*")]).await),
        ("", scene.get("/tour/nothing.m3u8").await),
    ] {
        assert_eq!(answer.how, how, "{answer:?}");
    }
}

#[tokio::test]
async fn media_says_what_it_is_where_that_is_wanted() {
    let scene = Scene::with(&["tour"], |_, options| options.sends_cmsd = true);
    let (mut kinds, dash) = (Vec::new(), scene.dash("tour").await);
    for track in &dash {
        assert_eq!(scene.get(&track.init).await.header("cmsd-static"), "ot=i,st=v");
        let answer = scene.get(&track.segments[0].url).await;
        let said = answer.header("cmsd-static").to_owned();
        let number = |key: &str| {
            let value = said.split(',').find_map(|pair| pair.strip_prefix(key)).unwrap();
            value.parse::<u64>().unwrap()
        };
        let (millis, kilobits) = (number("d="), number("br="));
        assert_eq!(kilobits, (answer.body.len() as u64 * 8).div_ceil(millis), "{said}");
        assert!(answer.header("access-control-expose-headers").contains("CMSD-Static"));
        kinds.push(said[..4].to_owned());
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["ot=a", "ot=c", "ot=v"]);
    assert_eq!(scene.get("/tour/manifest.mpd").await.header("cmsd-static"), "ot=m,st=v");
    let silent = Scene::of(&["tour"]);
    assert_eq!(silent.get(&dash[0].init).await.header("cmsd-static"), "");
}
