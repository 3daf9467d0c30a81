//! What Headwater promises, seen from outside: full URLs, a simulated clock, libraries in folders of their own, and real sockets
//! where bytes on a wire are the promise.

mod access;
mod captions;
mod clips;
mod encrypted;
mod faults;
mod flights;
mod golden;
mod library;
mod live;
mod live_cadence;
mod live_clock;
mod live_encoders;
mod live_events;
mod live_faults;
mod live_long;
mod live_missing;
mod live_order;
mod live_shift;
mod live_timeline;
mod live_wrap;
mod mp4;
mod overload;
mod paths;
mod presentations;
mod remote;
mod replaced;
mod representation;
mod rotation;
mod scene;
mod sockets;
mod text;
mod thumbnails;
mod tls;
mod trick;
mod twins;
