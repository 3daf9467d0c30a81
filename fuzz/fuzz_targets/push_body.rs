//! What an encoder pushes: cut anywhere, the same bytes are the same, in memory that they stand for; a chunk that is cut, or has another time,
//! has the same media.
#![no_main]

#[path = "../../tests/counted/mod.rs"]
mod counted;

use headwater::content::live::cut;
use headwater::content::live::pushed::{Chunk, Init, segment_of};
use headwater::content::live::receiver::{Event, RawChunk, Receiver};
use headwater::formats::error::Malformed;
use headwater::time::MediaTime;
use headwater_fuzz::Tape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut tape = Tape(bytes);
    let Some(lens) = tape.counted() else { return };
    let body = tape.0;
    let whole = received([body].into_iter());
    let mut rest = Tape(body);
    let lens = lens.iter().map(|len| usize::from(*len)).chain([1]).cycle();
    let pieces = lens.map(|len| rest.bytes(len)).scan(0, |had, piece| {
        let was_all = *had == body.len();
        *had += piece.len();
        (!was_all).then_some(piece)
    });
    assert_eq!(received(pieces), whole);
    let mut init = None;
    for event in whole.0 {
        match event {
            Event::Init(raw) => init = Init::read(raw, "v").ok().or(init),
            Event::Chunk(raw) => init.iter().for_each(|init| of_track(init, raw.clone())),
            Event::End => {}
        }
    }
});

/// What comes of `pieces`, and whether anything is under way then.
fn received<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), Malformed>, bool) {
    let mut came = 0;
    let (received, peak_bytes) = counted::peak_of(|| {
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        let result = pieces.into_iter().try_for_each(|piece| {
            came += piece.len() as i64;
            receiver.push(piece, &mut events)
        });
        let rests = receiver.is_at_rest();
        (events, result, rests)
    });
    // An event is ten times as large as the smallest box, and what holds them three times as large as they are; a chunk has a MiB ahead.
    assert!(peak_bytes <= 40 * came + (2 << 20), "{peak_bytes} bytes for {came}");
    received
}

/// `raw` came of the track that `init` begins.
fn of_track(init: &Init, raw: RawChunk) {
    let Ok(chunk) = init.chunk(raw.clone()) else { return };
    assert!(chunk.time >= 0 && chunk.decode_end >= chunk.decode_time);
    assert!(!init.is_verbatim() || chunk.bytes == raw.bytes);
    counts_from_media(init, chunk.clone());
    if init.events.is_some() {
        return;
    }
    let media = media_of(init, &[&chunk]);
    let (from, until) = (chunk.decode_time, chunk.decode_end);
    if let Some((first, second)) = cut::at(init, &raw, chunk.time + (chunk.end - chunk.time) / 2)
        && let (Ok(first), Ok(second)) = (init.chunk(first), init.chunk(second))
    {
        assert_eq!([first.decode_time, first.decode_end, second.decode_end], [from, second.decode_time, until]);
        assert_eq!(media_of(init, &[&first, &second]), media);
    }
    // 32 bits of its time may have begun anew.
    const ROUND: i64 = 1 << 32;
    if let Ok(whole) = init.whole(raw, from + ROUND, 1000) {
        let whole = init.chunk(whole).expect("it was read with another time");
        assert!(whole.decode_time == from || whole.decode_time == from + ROUND);
        assert_eq!(media_of(init, &[&whole]), media);
    }
}

/// The bytes of the samples of `chunks`.
fn media_of(init: &Init, chunks: &[&Chunk]) -> Vec<u8> {
    let segment: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    let (track, media) = segment_of(&init.face, &segment).expect("what was taken is read again");
    let sizes = (0..track.samples.len()).map(|index| u64::from(track.samples.get(index).size));
    assert_eq!(sizes.sum::<u64>(), media.len() as u64);
    media
}

/// Messages that count from where the media does are found again.
fn counts_from_media(init: &Init, chunk: Chunk) {
    let begins = MediaTime::new(chunk.time, init.face.timescale);
    let expected = chunk.clone().counting_from_media(begins);
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&expected.bytes, &mut events).expect("it came before");
    let [Event::Chunk(raw)] = &events[..] else { panic!("{events:?}") };
    let again = init.served(raw.clone()).expect("it was read before");
    assert_eq!(
        (again.decode_time, again.decode_end, again.is_last),
        (chunk.decode_time, chunk.decode_end, chunk.is_last)
    );
    assert_eq!(again.bytes, expected.bytes);
    if init.events.is_none() {
        assert_eq!(again.events, expected.events);
    }
}
