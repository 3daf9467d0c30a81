//! The image media playlist of thumbnails (HLS Image Media Playlist specification, version 0.4): their sheets, each with how it is laid out.

use crate::media::thumbnails::Thumbnails;
use crate::packager::push;

/// The playlist of `thumbnails` in a presentation of `duration_ms`. Its URIs are relative to where it is itself: `{number}.jpg`, from 1.
pub fn playlist(thumbnails: &Thumbnails, duration_ms: u64) -> Vec<u8> {
    let shown = thumbnails.shown(duration_ms);
    let sheet_ms = thumbnails.sheet_ms();
    let mut out = Vec::with_capacity(256 + shown * 128);
    out.extend_from_slice(b"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:");
    push::decimal(&mut out, ((sheet_ms.min(duration_ms) + 500) / 1000).max(1));
    out.extend_from_slice(b"\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-IMAGES-ONLY\n");
    let (width, height) = thumbnails.size();
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    for sheet in 0..shown as u64 {
        let left_ms = duration_ms - sheet * sheet_ms;
        let tiles = format!(
            "#EXTINF:{},\n#EXT-X-TILES:RESOLUTION={width}x{height},LAYOUT={}x{},DURATION={}\n{}.{}\n",
            seconds(sheet_ms.min(left_ms)),
            thumbnails.columns,
            thumbnails.rows,
            seconds(thumbnails.interval_ms),
            sheet + 1,
            thumbnails.format.extension(),
        );
        out.extend_from_slice(tiles.as_bytes());
    }
    out.extend_from_slice(b"#EXT-X-ENDLIST\n");
    out
}

/// The line of a multivariant playlist that names the playlist of `thumbnails`, relative to the presentation.
pub(crate) fn stream(thumbnails: &Thumbnails) -> String {
    let (width, height) = thumbnails.size();
    let codecs = match thumbnails.format {
        crate::formats::image::Format::Jpeg => "jpeg",
        crate::formats::image::Format::Png => "png",
    };
    format!(
        "#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={},RESOLUTION={width}x{height},CODECS=\"{codecs}\",URI=\"{}/{}/media.m3u8\"\n",
        thumbnails.peak(),
        thumbnails.name,
        thumbnails.version
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::fixture;

    #[test]
    fn sheets_last_as_long_as_their_thumbnails_and_end_with_the_presentation() {
        let thumbnails = fixture::thumbnails("thumbs");
        insta::assert_snapshot!(String::from_utf8(playlist(&thumbnails, 70_500)).expect("text"), @r"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:30
        #EXT-X-MEDIA-SEQUENCE:1
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-IMAGES-ONLY
        #EXTINF:30.000,
        #EXT-X-TILES:RESOLUTION=160x90,LAYOUT=3x2,DURATION=5.000
        1.jpg
        #EXTINF:30.000,
        #EXT-X-TILES:RESOLUTION=160x90,LAYOUT=3x2,DURATION=5.000
        2.jpg
        #EXTINF:10.500,
        #EXT-X-TILES:RESOLUTION=160x90,LAYOUT=3x2,DURATION=5.000
        3.jpg
        #EXT-X-ENDLIST
        ");
        assert_eq!(thumbnails.shown(60_000), 2);
        assert_eq!(thumbnails.shown(600_000), 3, "no more than there are");
        let line = "#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=5333,RESOLUTION=160x90,CODECS=\"jpeg\",URI=\"thumbs/0123456789abcdef/media.m3u8\"\n";
        assert_eq!(stream(&thumbnails), line);
    }
}
