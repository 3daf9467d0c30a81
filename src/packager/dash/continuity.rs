//! What of one period goes on in a later one (ISO/IEC 23009-1 §5.3.2.4): equal ids for sets that are alike, and which of them need no
//! new initialization.

use crate::formats::isobmff::boxes::FourCc;
use crate::media::presentation::{Period, Presentation, SwitchingSet};
use crate::media::switching;
use crate::media::track::{Kind, Role};

/// How a set goes on that an earlier period has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Its initialization segments are the same: `urn:mpeg:dash:period-connectivity:2015`.
    Connected,
    /// Its timeline goes on, too, where the period before ends: `urn:mpeg:dash:period-continuity:2015`.
    Continuous,
}

impl Link {
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Link::Connected => "urn:mpeg:dash:period-connectivity:2015",
            Link::Continuous => "urn:mpeg:dash:period-continuity:2015",
        }
    }
}

/// A set among those of all periods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place<'a> {
    /// AdaptationSet@id, from 1 on: the same for sets that are alike.
    pub(super) id: u64,
    /// The latest period that it goes on from, by its id.
    pub(super) from: Option<(&'a str, Link)>,
}

/// What makes sets of several periods one to a viewer.
#[derive(PartialEq)]
struct Likeness<'a> {
    kind: Kind,
    language: Option<&'a str>,
    roles: &'a [Role],
    format: FourCc,
    scheme: Option<FourCc>,
    channels: Option<u16>,
    aligned: bool,
}

impl Likeness<'_> {
    fn of(set: &SwitchingSet) -> Likeness<'_> {
        let first = &set.tracks[0];
        Likeness {
            kind: set.kind,
            language: set.language.as_deref(),
            roles: &set.roles,
            format: first.entry.format,
            scheme: first.entry.protection.as_ref().map(|protection| protection.scheme),
            channels: first.audio().map(|audio| audio.channels),
            aligned: set.aligned,
        }
    }
}

/// What AdaptationSet@id follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ids {
    /// The order in which sets that are alike first appear: all periods are listed, and always will be.
    Order,
    /// The set alone: periods come and go, while an id never changes (ISO/IEC 23009-1 §5.4: what an MPD that is updated has of a Period that was there
    /// is the same). dash.js 5.2.1 takes a set of another id for another one, and asks for no more of the one that it plays (2026-11-27).
    Set,
}

/// The ids that fit players which count in 32 bits with a sign.
const IDS: u64 = i32::MAX as u64;

/// The places of the sets of all periods, by period and set.
pub(super) fn places(presentation: &Presentation, ids: Ids) -> Vec<Vec<Place<'_>>> {
    let periods = &presentation.periods;
    let mut known: Vec<Likeness<'_>> = Vec::new();
    let mut places: Vec<Vec<Place<'_>>> = Vec::with_capacity(periods.len());
    for (index, period) in periods.iter().enumerate() {
        let mut own: Vec<Place<'_>> = Vec::with_capacity(period.sets.len());
        for set in &period.sets {
            let is_free = |id: u64| own.iter().all(|place| place.id != id);
            let id = match ids {
                Ids::Set => {
                    let first = switching::identity(&set.tracks[0]) % IDS;
                    (0..).map(|more| (first + more) % IDS + 1).find(|id| is_free(*id)).unwrap_or(1)
                }
                Ids::Order => {
                    let likeness = Likeness::of(set);
                    let found = (1..).zip(&known).find(|(id, other)| **other == likeness && is_free(*id));
                    let id = found.map_or(known.len() as u64 + 1, |(id, _)| id);
                    if id > known.len() as u64 {
                        known.push(likeness);
                    }
                    id
                }
            };
            let earlier = (0..index).rev().find_map(|before| {
                let at = places[before].iter().position(|place| place.id == id)?;
                connects(&periods[before].sets[at], set).then_some(before)
            });
            let from = earlier.map(|before| {
                let goes_on = before + 1 == index && is_continuous(&periods[before], period);
                (periods[before].id.as_str(), if goes_on { Link::Continuous } else { Link::Connected })
            });
            own.push(Place { id, from });
        }
        places.push(own);
    }
    places
}

/// Whether a player that plays the one needs no other initialization segment for the other.
fn connects(a: &SwitchingSet, b: &SwitchingSet) -> bool {
    let has = |set: &SwitchingSet, name: &str, init: &[u8]| {
        set.tracks
            .iter()
            .any(|track| track.name == name && track.init == init && track.timescale == set.tracks[0].timescale)
    };
    a.tracks.len() == b.tracks.len() && a.tracks.iter().all(|track| has(b, &track.name, &track.init))
}

/// Whether the media of `b` go on exactly where those of `a` end.
fn is_continuous(a: &Period, b: &Period) -> bool {
    a.origin.plus(a.duration) == b.origin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::fixture;
    use crate::time::{MediaTime, Timescale};

    fn period(id: &str, origin_s: i64, sets: Vec<SwitchingSet>) -> Period {
        let mut period = fixture::presentation(sets).periods.remove(0);
        period.id = id.into();
        period.origin = MediaTime::new(origin_s * 1000, Timescale::MILLI);
        period
    }

    fn video(name: &str) -> SwitchingSet {
        fixture::set(vec![
            fixture::video(name).regular(1).with(|track| track.init = name.as_bytes().to_vec().into()).done(),
        ])
    }

    fn audio(tag: &str) -> SwitchingSet {
        fixture::set(vec![fixture::audio(tag).regular(1).language(tag).done()])
    }

    #[test]
    fn sets_that_are_alike_keep_their_ids() {
        let periods = vec![
            period("a", 0, vec![video("film"), audio("de"), audio("en")]),
            period("b", 0, vec![video("trailer"), audio("en")]),
            period("c", 6, vec![video("film"), audio("en"), audio("fr"), audio("de")]),
        ];
        let presentation = Presentation { periods, thumbnails: Vec::new(), warnings: Vec::new() };
        let ids = places(&presentation, Ids::Order)
            .into_iter()
            .map(|period| period.iter().map(|place| place.id).collect::<Vec<_>>());
        assert_eq!(ids.collect::<Vec<_>>(), [vec![1, 2, 3], vec![1, 3], vec![1, 3, 4, 2]]);
    }

    #[test]
    fn an_id_changed_when_an_older_period_left() {
        let text = |name: &str| fixture::set(vec![fixture::text(name, b"wvtt").regular(1).language("en").done()]);
        let labelled =
            |label: &str| fixture::set(vec![fixture::audio(label).regular(1).language("en").label(label).done()]);
        let periods = vec![
            period("a", 0, vec![video("film"), audio("en"), text("t")]),
            period("b", 6, vec![video("film"), audio("de"), audio("en"), labelled("Commentary"), text("s"), text("t")]),
            period("c", 12, vec![video("film"), labelled("Commentary"), audio("fr"), text("t")]),
        ];
        let ids = |periods: &[Period]| -> Vec<Vec<u64>> {
            let presentation = Presentation { periods: periods.to_vec(), thumbnails: Vec::new(), warnings: Vec::new() };
            let places = places(&presentation, Ids::Set);
            places.iter().map(|period| period.iter().map(|place| place.id).collect()).collect()
        };
        let all = ids(&periods);
        assert_eq!(ids(&periods[1..]), all[1..]);
        assert_eq!((all[0][0], all[0][1], all[0][2]), (all[1][0], all[1][2], all[1][5]), "what is alike has one id");
        assert_eq!((all[1][0], all[1][3], all[1][5]), (all[2][0], all[2][1], all[2][3]), "what is alike has one id");
        for period in &all {
            assert!(period.iter().all(|id| (1..=IDS).contains(id)), "{period:?}");
            assert_eq!(period.iter().collect::<std::collections::BTreeSet<_>>().len(), period.len(), "{period:?}");
        }
        // What every node says, also after an update of the program.
        assert_eq!(all[0], [474_157_512, 1_481_624_615, 845_812_866]);
    }

    #[test]
    fn what_has_the_same_initialization_is_connected_and_continuous_where_its_time_goes_on() {
        let periods = vec![
            period("a", 0, vec![video("film")]),
            period("b", 6, vec![video("film")]),
            period("c", 0, vec![video("trailer")]),
            period("d", 12, vec![video("film")]),
        ];
        let presentation = Presentation { periods, thumbnails: Vec::new(), warnings: Vec::new() };
        let from: Vec<_> = places(&presentation, Ids::Order).into_iter().map(|period| period[0].from).collect();
        assert_eq!(from, [None, Some(("a", Link::Continuous)), None, Some(("b", Link::Connected))]);
    }
}
