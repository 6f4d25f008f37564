//! The configuration record of AAC in MP4 and Matroska (ISO/IEC 14496-3, 1.6.2.1). Pure.

/// Object types: plain AAC, and the two wrappings of High-Efficiency AAC around it.
const LOW_COMPLEXITY: u64 = 2;
const SPECTRAL_BAND_REPLICATION: u64 = 5;
const PARAMETRIC_STEREO: u64 = 29;

/// The record of the plain AAC inside a High-Efficiency stream, which is complete in itself: half the
/// rate, so up to 12 kHz of sound, which is more than speech recognition hears. `None` when `config` is
/// not such a record.
pub(super) fn low_complexity_core(config: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Bits { bytes: config, at: 0 };
    let outer = bits.take(5)?;
    if outer != SPECTRAL_BAND_REPLICATION && outer != PARAMETRIC_STEREO {
        return None;
    }
    let (rate, rate_bits) = bits.take_rate()?;
    let channels = bits.take(4)?;
    bits.take_rate()?;
    if bits.take(5)? != LOW_COMPLEXITY {
        return None;
    }
    // Type, rate, channels, and three flags that are off.
    let record = ((LOW_COMPLEXITY << rate_bits | rate) << 4 | channels) << 3;
    let length = 5 + rate_bits + 4 + 3;
    let aligned = record << (64 - length);
    Some(aligned.to_be_bytes()[..length.div_ceil(8)].to_vec())
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A rate as it is written, and its length: an index of 4 bits, of which 15 announces 24 bits more.
    fn take_rate(&mut self) -> Option<(u64, usize)> {
        let index = self.take(4)?;
        if index == 15 { Some((index << 24 | self.take(24)?, 28)) } else { Some((index, 4)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_of_a_high_efficiency_stream_is_found() {
        // 44.1 kHz stereo around 22.05 kHz; the same as parametric stereo around mono.
        assert_eq!(low_complexity_core(&[0x2b, 0x92, 0x08, 0x00]), Some(vec![0x13, 0x90]));
        assert_eq!(low_complexity_core(&[0xeb, 0x8a, 0x08, 0x00]), Some(vec![0x13, 0x88]));
    }

    #[test]
    fn plain_and_cut_records_are_left_alone() {
        assert_eq!(low_complexity_core(&[0x12, 0x10]), None);
        assert_eq!(low_complexity_core(&[0x2b, 0x92]), None);
        assert_eq!(low_complexity_core(&[]), None);
    }
}
