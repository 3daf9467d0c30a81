//! The end of a broadcast as encoders say it: a segment whose `styp` has the brand `lmsg`, or an `mfra`, by one of them or by two.

use std::time::Duration;

use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;

use crate::live::{Encoder, Studio, quick};
use crate::live_requests::{Sender, WAYS, Way, listed, run};
use crate::scene::NOW;

/// A second of media, in samples.
const SECOND: u64 = 24;

/// An encoder called `machine` whose last segment begins with the sample `last`.
fn sender(machine: &'static str, way: Way, last: Option<u64>) -> Sender {
    // Two have pushes of their own.
    let push = u64::from(machine.as_bytes()[0]) << 16;
    let encoder = Encoder { push, ..Encoder::video("v") };
    Sender { encoder, way, segment_s: 2.0, before: 0, machine: Some(machine), last }
}

/// The end of the request that is under way.
fn request_ends(studio: &Studio, sender: &Sender) {
    let channel = studio.channels.get("tv").unwrap();
    channel.push_ends("v", source(studio, sender), studio.now);
}

fn source(studio: &Studio, sender: &Sender) -> Source {
    let encoder = studio.channels.get("tv").unwrap().encoder(sender.machine.unwrap(), studio.now);
    Source { encoder, push: sender.before, named_segments: sender.way == Way::File, ..Source::default() }
}

fn begin(studio: &Studio, sender: &Sender) {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&sender.encoder.init, &mut events).unwrap();
    let channel = studio.channels.for_push("tv").unwrap();
    let encoder = channel.encoder(sender.machine.unwrap(), studio.now);
    channel.take("v", events.remove(0), Source { encoder, ..Source::default() }, studio.now).unwrap();
}

fn has_ended(studio: &Studio) -> bool {
    studio.channels.get("tv").unwrap().broadcast().ended
}

/// Nothing comes for so long.
fn pass(studio: &mut Studio, seconds: f64) {
    studio.now = studio.now.after(Duration::from_secs_f64(seconds));
    studio.channels.tick(studio.now);
}

#[tokio::test]
async fn a_last_segment_of_several_chunks_was_not_the_last() {
    for way in WAYS {
        for last_chunks in [4, 2] {
            let mut studio = Studio::with(quick());
            let mut senders = [sender("a", way, Some(10 * SECOND))];
            begin(&studio, &senders[0]);
            run(&mut studio, &mut senders, 10.5);
            assert!(!has_ended(&studio), "{way:?}: more of it is to come");
            run(&mut studio, &mut senders, 10.0 + 0.5 * f64::from(last_chunks));
            if way != Way::Chunk {
                request_ends(&studio, &senders[0]);
            } else {
                // No request says that it is the last, so it is waited for.
                pass(&mut studio, 2.9);
                assert!(!has_ended(&studio));
                pass(&mut studio, 0.2);
            }
            assert!(has_ended(&studio), "{way:?} of {last_chunks} chunks");
            let found = listed(&studio, "v");
            assert_eq!((found.len(), found[5].2), (6, 6_144 * i64::from(last_chunks)), "{way:?}: {found:?}");
            assert!(found.iter().all(|own| own.3 && !own.4), "{way:?}: {found:?}");
            assert!(studio.playlist("v").await.ended);
        }
    }
}

#[tokio::test]
async fn who_goes_on_after_what_was_said_to_be_the_last_is_followed() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Segment, Some(6 * SECOND))];
    begin(&studio, &senders[0]);
    run(&mut studio, &mut senders, 8.0);
    assert!(has_ended(&studio));
    run(&mut studio, &mut senders, 14.0);
    assert!(!has_ended(&studio) && listed(&studio, "v").len() == 7);
    pass(&mut studio, 10.0);
    assert!(!has_ended(&studio), "it is silent, and did not say so of this one");
}

/// One long push said so once, went on for long, and its connection ended: that was taken for the end.
#[tokio::test]
async fn a_request_that_ends_long_after_what_was_said_to_be_the_last_is_not_the_end() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, Some(6 * SECOND))];
    begin(&studio, &senders[0]);
    run(&mut studio, &mut senders, 20.0);
    request_ends(&studio, &senders[0]);
    pass(&mut studio, 3.1);
    assert!(!has_ended(&studio));
}

#[tokio::test]
async fn a_last_segment_of_one_of_two_encoders_is_not_the_end() {
    for way in WAYS {
        let mut studio = Studio::with(quick());
        let mut senders = [sender("a", way, Some(10 * SECOND)), sender("b", way, Some(12 * SECOND))];
        senders.iter().for_each(|sender| begin(&studio, sender));
        run(&mut studio, &mut senders, 12.0);
        // The one whose track it is has no more.
        let [a, b] = senders;
        if way == Way::Long {
            request_ends(&studio, &a);
        }
        assert!(!has_ended(&studio), "{way:?}: the other goes on");
        let mut b = [b];
        run(&mut studio, &mut b, 14.0);
        if way == Way::Long {
            request_ends(&studio, &b[0]);
        }
        if way == Way::Chunk {
            pass(&mut studio, 3.1);
        }
        assert!(has_ended(&studio), "{way:?}: {:?}", listed(&studio, "v"));
        let found = listed(&studio, "v");
        assert!(found.len() == 7 && found.iter().all(|own| own.2 == 24_576 && !own.4), "{way:?}: {found:?}");
    }
}

#[tokio::test]
async fn two_encoders_that_ended_at_once_left_the_channel_open() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, None), sender("b", Way::Long, None)];
    senders.iter().for_each(|sender| begin(&studio, sender));
    run(&mut studio, &mut senders, 8.0);
    let channel = studio.channels.get("tv").unwrap();
    for sender in &senders {
        assert!(!has_ended(&studio));
        channel.take("v", Event::End, source(&studio, sender), studio.now).unwrap();
        // The request ends behind it, which is no sign of life.
        request_ends(&studio, sender);
        pass(&mut studio, 0.1);
    }
    assert!(has_ended(&studio) && studio.now.0 < NOW.0 + 9_000);
}

#[tokio::test]
async fn who_ends_while_the_other_is_dead_but_not_missed_yet_ends_the_channel() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, None), sender("b", Way::Long, None)];
    senders.iter().for_each(|sender| begin(&studio, sender));
    run(&mut studio, &mut senders, 8.0);
    let [_, b] = senders;
    let mut b = [b];
    run(&mut studio, &mut b, 9.0);
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, source(&studio, &b[0]), studio.now).unwrap();
    request_ends(&studio, &b[0]);
    assert!(!has_ended(&studio), "a may go on");
    pass(&mut studio, 3.1);
    assert!(has_ended(&studio));
}
