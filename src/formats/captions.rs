//! Captions in pictures: CEA-608 and CEA-708 in supplemental enhancement information (ATSC A/53 part 4 §6.2.3; CTA-708 §4.3).
//! This finds which services there are; the captions themselves stay where they are.
//!
//! ```text
//!   SEI 4: country B5, provider 0031, "GA94", 03, 0 process 0 count:5, FF, count × { 11111 valid type:2 data data }, FF
//!   type 0, 1: CEA-608, a pair of characters of field 1, 2       type 3, 2: CEA-708, a packet begins, goes on
//! ```

use std::fmt;
use std::str::FromStr;

use super::nal::{self, Codec};

/// A caption service of a picture's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// CEA-608: CC1 to CC4.
    Line21(u8),
    /// CEA-708: service 1 to 63.
    Digital(u8),
}

impl fmt::Display for Service {
    /// As HLS names it (rfc8216bis §4.4.6.1, INSTREAM-ID).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Line21(channel) => write!(f, "CC{channel}"),
            Service::Digital(number) => write!(f, "SERVICE{number}"),
        }
    }
}

impl FromStr for Service {
    type Err = ();

    /// Exactly what `Display` writes.
    fn from_str(name: &str) -> Result<Service, ()> {
        let line21 = (1..=4).map(Service::Line21);
        line21.chain((1..=63).map(Service::Digital)).find(|service| service.to_string() == name).ok_or(())
    }
}

/// Collects which services some pictures have. Of those in one stretch each goes on where the one before it ended.
#[derive(Debug, Default)]
pub struct Services {
    /// Bit `n`: service CC`n`.
    line21: u8,
    /// Bit `n`: service `n`.
    digital: u64,
    /// Whether there was anything that captions are carried in.
    carried: bool,
    packet: Packet,
}

/// A caption channel packet (CTA-708 §5) as far as it has come.
#[derive(Debug, Default)]
struct Packet {
    bytes: Vec<u8>,
    len: usize,
}

impl Services {
    /// Reads the beginning of a picture, whose NAL units have `length_bytes` of length before them. Pictures come in the order in
    /// which they are shown.
    pub fn read(&mut self, codec: Codec, length_bytes: u8, picture: &[u8]) {
        for unit in nal::units(picture, length_bytes) {
            match codec.class(unit) {
                nal::Class::Slice => break,
                nal::Class::SupplementalInformation => {
                    let payload = nal::rbsp(codec.payload(unit));
                    nal::messages(&payload).for_each(|(kind, message)| self.message(kind, message));
                }
                nal::Class::Other => {}
            }
        }
    }

    /// What comes next does not go on where the last picture ended.
    pub fn leap(&mut self) {
        self.packet = Packet::default();
    }

    /// Whether there was anything that captions are carried in, be it empty.
    pub fn is_carried(&self) -> bool {
        self.carried
    }

    /// The services that were found, sorted.
    pub fn found(&self) -> Vec<Service> {
        let line21 = (1..=4).filter(|channel| self.line21 >> channel & 1 == 1).map(Service::Line21);
        let digital = (1..=63).filter(|number| self.digital >> number & 1 == 1).map(Service::Digital);
        line21.chain(digital).collect()
    }

    fn message(&mut self, kind: u32, message: &[u8]) {
        const REGISTERED: u32 = 4; // user_data_registered_itu_t_t35
        let Some(data) = message.strip_prefix(b"\xb5\x00\x31GA94\x03").filter(|_| kind == REGISTERED) else { return };
        let [flags, _em_data, triples @ ..] = data else { return };
        self.carried = true;
        if flags & 0x40 == 0 {
            return; // process_cc_data_flag
        }
        for triple in triples.chunks_exact(3).take(usize::from(flags & 0x1f)) {
            let (is_valid, data) = (triple[0] & 4 != 0, [triple[1], triple[2]]);
            match triple[0] & 3 {
                _ if !is_valid => {}
                field @ (0 | 1) => self.pair(field, data.map(|byte| byte & 0x7f)),
                kind => self.packet_data(kind == 3, data),
            }
        }
    }

    /// A pair of `field`, without parity. What begins a caption names the channel it is of (CTA-608 §7.1, table 52; the
    /// channel is bit 3): resume caption loading, roll-up of two to four rows, resume direct captioning, end of caption.
    fn pair(&mut self, field: u8, [first, second]: [u8; 2]) {
        let miscellaneous = matches!(first, 0x14 | 0x15 | 0x1c | 0x1d);
        if miscellaneous && matches!(second, 0x20 | 0x25..=0x27 | 0x29 | 0x2f) {
            self.line21 |= 1 << (1 + 2 * field + (first >> 3 & 1));
        }
    }

    /// Two bytes of a packet: its size in the first (§5.1), then blocks of services (§6.2).
    fn packet_data(&mut self, begins: bool, data: [u8; 2]) {
        if begins {
            let code = usize::from(data[0] & 0x3f);
            self.packet.len = if code == 0 { 128 } else { code * 2 };
            self.packet.bytes.clear();
        }
        if self.packet.len == 0 {
            return;
        }
        self.packet.bytes.extend_from_slice(&data);
        if self.packet.bytes.len() >= self.packet.len {
            let Packet { bytes, len } = std::mem::take(&mut self.packet);
            self.blocks(&bytes[1..len]);
        }
    }

    fn blocks(&mut self, mut rest: &[u8]) {
        while let [head, after @ ..] = rest {
            let (mut number, size) = (head >> 5, usize::from(head & 0x1f));
            let mut after = after;
            if number == 7 && size > 0 {
                let [extended, behind @ ..] = after else { return };
                (number, after) = (extended & 0x3f, behind);
            }
            // Number 0 fills up the packet.
            let Some(behind) = after.get(size..).filter(|_| number > 0) else { return };
            if size > 0 {
                self.digital |= 1 << number;
            }
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An access unit with `triples` in it, its NAL units after four bytes of length each.
    fn picture(codec: Codec, triples: &[[u8; 3]]) -> Vec<u8> {
        let mut message = b"\xb5\x00\x31GA94\x03".to_vec();
        message.extend([0x40 | triples.len() as u8, 0xff]);
        message.extend(triples.iter().flatten());
        message.push(0xff);
        let mut sei = match codec {
            Codec::Avc => vec![0x06],
            Codec::Hevc => vec![39 << 1, 1],
        };
        sei.extend([4, message.len() as u8]);
        sei.extend(message);
        sei.push(0x80);
        let slice: &[u8] = if codec == Codec::Avc { &[0x65, 0] } else { &[19 << 1, 1, 0] };
        let units = [&sei[..], slice];
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
    }

    fn found(pictures: &[&[[u8; 3]]]) -> Vec<String> {
        let mut services = Services::default();
        for triples in pictures {
            services.read(Codec::Avc, 4, &picture(Codec::Avc, triples));
        }
        services.found().iter().map(Service::to_string).collect()
    }

    const RESUME_CC1: [u8; 3] = [0xfc, 0x94, 0x20];

    #[test]
    fn a_field_and_a_bit_say_which_channel() {
        assert_eq!(found(&[&[RESUME_CC1]]), ["CC1"]);
        assert_eq!(found(&[&[[0xfc, 0x1c, 0x2f], [0xfd, 0x15, 0x26]]]), ["CC2", "CC3"]);
        assert_eq!(found(&[&[[0xfd, 0x1d, 0x29]]]), ["CC4"]);
        // Nothing, letters, an erased screen, text mode, and a pair that is not valid
        let none = [[0xfc, 0x80, 0x80], [0xfc, 0xc1, 0xc2], [0xfc, 0x94, 0x2c], [0xfc, 0x94, 0x2a], [0xf8, 0x94, 0x20]];
        assert_eq!(found(&[&none]), [""; 0]);
    }

    #[test]
    fn services_of_a_packet_over_two_pictures() {
        // Eight bytes: its head; service 1, two bytes; service 7 and its number, 9, one byte; filling
        let first = [[0xff, 0x04, 0x22], [0xfe, b'a', b'b']];
        let second = [[0xfe, 0xe1, 0x09], [0xfe, b'c', 0x00]];
        assert_eq!(found(&[&first, &second]), ["SERVICE1", "SERVICE9"]);
        let mut services = Services::default();
        services.read(Codec::Avc, 4, &picture(Codec::Avc, &first));
        services.leap();
        services.read(Codec::Avc, 4, &picture(Codec::Avc, &second));
        assert_eq!((services.found(), services.is_carried()), (Vec::new(), true));
    }

    #[test]
    fn hevc_and_what_comes_after_the_first_slice() {
        let mut services = Services::default();
        let hevc = picture(Codec::Hevc, &[RESUME_CC1]);
        services.read(Codec::Hevc, 4, &hevc);
        assert_eq!(services.found(), [Service::Line21(1)]);
        let mut services = Services::default();
        let avc = picture(Codec::Avc, &[RESUME_CC1]);
        services.read(Codec::Avc, 4, &[&[0, 0, 0, 2, 0x65, 0], &avc[..]].concat());
        assert!(!services.is_carried());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["CC1", "CC4", "SERVICE1", "SERVICE63"] {
            assert_eq!(name.parse::<Service>().map(|service| service.to_string()), Ok(name.to_owned()));
        }
        for name in ["CC0", "CC5", "cc1", "SERVICE0", "SERVICE64", "SERVICE01", "T1", ""] {
            assert_eq!(name.parse::<Service>(), Err(()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_picture_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            triples in proptest::collection::vec(any::<[u8; 3]>(), 0..31),
            cut in 0usize..200,
        ) {
            let mut services = Services::default();
            for codec in [Codec::Avc, Codec::Hevc] {
                services.read(codec, 4, &bytes);
                services.read(codec, 1, &bytes);
                let whole = picture(codec, &triples);
                services.read(codec, 4, &whole[..cut.min(whole.len())]);
            }
        }
    }
}
