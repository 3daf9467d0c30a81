//! Reading big-endian fields and bits from a slice, every read checked.

use super::error::Malformed;

/// A cursor over the fields of one box or one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
    offset: u64,
}

impl<'a> Fields<'a> {
    /// Reads from `bytes`, which begin at `offset` of what errors count from.
    pub fn new(bytes: &'a [u8], offset: u64) -> Fields<'a> {
        Fields { bytes, position: 0, offset }
    }

    /// Where the next read is, as errors count.
    pub fn offset(&self) -> u64 {
        self.offset + self.position as u64
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        if count > self.remaining() {
            return Err(Malformed::new(format!("{count} bytes wanted, {} left", self.remaining()), self.offset()));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// An 8-bit field.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// A 16-bit field.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 24-bit field.
    pub fn u24(&mut self) -> Result<u32, Malformed> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// A 32-bit field.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit field.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A field of 32 bits, or of 64 if `wide`: what version 1 of many boxes widens.
    pub fn u32_or_u64(&mut self, wide: bool) -> Result<u64, Malformed> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// `version` and `flags` of a FullBox (ISO/IEC 14496-12 §4.2).
    pub fn version_and_flags(&mut self) -> Result<(u8, u32), Malformed> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }
}

/// A cursor over bits, most significant first.
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    /// Reads from the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, position: 0 }
    }

    /// Bits not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    /// The next `count` bits, at most 32.
    pub fn read(&mut self, count: u32) -> Result<u32, Malformed> {
        debug_assert!(count <= 32);
        if count as usize > self.remaining() {
            return Err(Malformed::new(
                format!("{count} bits wanted, {} left", self.remaining()),
                self.position as u64 / 8,
            ));
        }
        let mut value = 0u64;
        for _ in 0..count {
            let bit = self.bytes[self.position / 8] >> (7 - self.position % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.position += 1;
        }
        Ok(value as u32)
    }

    /// The next bit.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.read(1)? == 1)
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        if count > self.remaining() {
            return Err(Malformed::new(
                format!("{count} bits wanted, {} left", self.remaining()),
                self.position as u64 / 8,
            ));
        }
        self.position += count;
        Ok(())
    }

    /// An unsigned Exp-Golomb code (ISO/IEC 14496-10 §9.1 `ue(v)`).
    pub fn ue(&mut self) -> Result<u32, Malformed> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Malformed::new(
                    "an Exp-Golomb code of more than 31 leading zeros",
                    self.position as u64 / 8,
                ));
            }
        }
        Ok(((1u64 << zeros) - 1) as u32 + self.read(zeros)?)
    }

    /// A signed Exp-Golomb code (ISO/IEC 14496-10 §9.1.1 `se(v)`).
    pub fn se(&mut self) -> Result<i32, Malformed> {
        let code = i64::from(self.ue()?);
        Ok((if code % 2 == 0 { -code / 2 } else { (code + 1) / 2 }) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_checked() {
        let mut f = Fields::new(&[1, 2, 3, 4, 5], 0x100);
        assert_eq!(f.u24(), Ok(0x010203));
        assert_eq!(f.u32().unwrap_err().to_string(), "4 bytes wanted, 2 left (at 0x103)");
        assert_eq!(f.u16(), Ok(0x0405));
    }

    #[test]
    fn exp_golomb() {
        // 1, 010, 011, 00100: 0, 1, 2, 3
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([bits.ue(), bits.ue(), bits.ue(), bits.ue()], [Ok(0), Ok(1), Ok(2), Ok(3)]);
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([bits.se(), bits.se(), bits.se(), bits.se()], [Ok(0), Ok(1), Ok(-1), Ok(2)]);
        assert!(Bits::new(&[0; 8]).ue().is_err());
    }
}
