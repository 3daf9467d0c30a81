//! What was written of the last state of each channel: once, for all who ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};

use crate::cache::Lease;
use crate::content::live::channel::{Channel, Channels};
use crate::media::live::Broadcast;
use crate::origin::object::{ANYBODY, Body, Object, Problem};
use crate::rope::Rope;
use crate::time::Utc;

/// The channels, and what was written of their states.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    channels: Arc<Channels>,
    /// By the channel's number, which one of the same name that comes later does not have.
    written: Mutex<HashMap<u64, Written>>,
    /// Likewise: its last state, and what ends with it.
    states: Mutex<HashMap<u64, (u64, Arc<Lease>)>>,
}

/// What was written of the last state of a channel.
#[derive(Debug, Default)]
struct Written {
    sequence: u64,
    /// A few for each track that is asked for.
    objects: Vec<(Manifest, Arc<Once>)>,
}

/// What is written by whoever comes first.
pub(crate) type Once = OnceLock<Result<Arc<Object>, Problem>>;

/// A manifest of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Manifest {
    Multivariant,
    Mpd,
    Media { track: String, is_delta: bool, was_waited_for: bool },
}

impl Broadcasts {
    pub(crate) fn of(channels: Arc<Channels>) -> Broadcasts {
        Broadcasts { channels, ..Broadcasts::default() }
    }

    pub(crate) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// Before something is kept of `channel` for the first time: what is kept of those that were forgotten is given back.
    fn forget_others<T>(&self, kept: &mut HashMap<u64, T>, channel: &Channel) {
        if !kept.contains_key(&channel.number()) {
            let there: Vec<u64> = self.channels.all().iter().map(|channel| channel.number()).collect();
            kept.retain(|number, _| there.contains(number));
        }
    }

    /// A lease that lasts as long as state `sequence` of `channel` is the last that was asked for.
    pub(crate) fn lease(&self, channel: &Channel, sequence: u64, now: Utc) -> Arc<Lease> {
        let mut all = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_others(&mut all, channel);
        let (last, lease) = all.entry(channel.number()).or_default();
        if *last < sequence {
            std::mem::take(lease).end(now);
            *last = sequence;
        }
        match *last == sequence {
            true => Arc::clone(lease),
            // Who is late with an older state keeps it for himself.
            false => {
                let over = Arc::<Lease>::default();
                over.end(now);
                over
            }
        }
    }

    /// Where what `manifest` is in `broadcast`, or a later state, is written: once.
    pub(crate) fn written(
        &self,
        channel: &Channel,
        mut broadcast: Arc<Broadcast>,
        manifest: &Manifest,
    ) -> (Arc<Broadcast>, Arc<Once>) {
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_others(&mut all, channel);
        let written = all.entry(channel.number()).or_default();
        if written.sequence > broadcast.sequence {
            broadcast = channel.broadcast();
        }
        if written.sequence != broadcast.sequence {
            *written = Written { sequence: broadcast.sequence, objects: Vec::new() };
        }
        if let Some((_, cell)) = written.objects.iter().find(|(of, _)| of == manifest) {
            return (broadcast, Arc::clone(cell));
        }
        let cell = Arc::<Once>::default();
        written.objects.push((manifest.clone(), Arc::clone(&cell)));
        (broadcast, cell)
    }
}

/// The time of day, for players whose clock is wrong (ISO/IEC 23009-1 §5.8.4.11, urn:mpeg:dash:utc:http-iso:2014).
pub(crate) fn time(method: &Method, now: Utc) -> Response<Body> {
    let text = Bytes::from(now.to_string());
    let mut response = Response::new(if method == Method::HEAD { Body::empty() } else { Body::new(Rope::from(text)) });
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    response
}
