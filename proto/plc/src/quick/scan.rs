//! A walk over JSON of the plainest kind. `None` is "not of that kind", and ends the walk.

/// One byte in each lane.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

pub(super) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all has been read.
    pub(super) fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// An object; `member` reads the value behind each name.
    #[inline]
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.plain()?;
            self.byte(b':')?;
            member(self, name)?;
            if self.byte(b',').is_none() {
                return self.byte(b'}');
            }
        }
    }

    /// A string.
    #[inline]
    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.plain()?).ok()
    }

    #[inline]
    pub(super) fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        if self.word(b"null").is_some() { Some(None) } else { self.text().map(Some) }
    }

    /// An array of strings, passed over.
    #[inline]
    pub(super) fn texts(&mut self) -> Option<()> {
        self.byte(b'[')?;
        if self.byte(b']').is_some() {
            return Some(());
        }
        loop {
            self.plain()?;
            if self.byte(b',').is_none() {
                return self.byte(b']');
            }
        }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        if self.word(b"false").is_some() { Some(false) } else { self.word(b"true").map(|()| true) }
    }

    /// A whole number of at most 19 digits, so that it fits.
    pub(super) fn number(&mut self) -> Option<u64> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at_checked(digits)?;
        let whole = matches!(number, [b'0'] | [b'1'..=b'9', ..]) && digits < 20;
        // What could go on as a fraction or with an exponent is followed by something else.
        if !whole || !matches!(rest, [b',' | b'}', ..]) {
            return None;
        }
        self.rest = rest;
        Some(number.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
    }

    #[inline]
    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == wanted).then(|| self.rest = rest)
    }

    #[inline]
    fn word(&mut self, wanted: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// A string of ASCII without escapes and control characters.
    #[inline]
    fn plain(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let mut length = 0;
        let mut rest = self.rest;
        let end = loop {
            let Some((eight, behind)) = rest.split_first_chunk() else {
                break rest.iter().position(|byte| is_special(*byte))?;
            };
            let special = special(u64::from_le_bytes(*eight));
            if special != 0 {
                break special.trailing_zeros() as usize / 8;
            }
            length += 8;
            rest = behind;
        };
        let (text, rest) = self.rest.split_at_checked(length + end)?;
        let (quote, rest) = rest.split_first()?;
        self.rest = rest;
        (*quote == b'"').then_some(text)
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..)
}

/// The highest bit of the first lane that holds a quote, a backslash, a control character or no
/// ASCII is set, and none before it; lanes behind it may be wrong, since they were borrowed of.
#[inline]
fn special(lanes: u64) -> u64 {
    let zero = |lanes: u64| lanes.wrapping_sub(ONES) & !lanes;
    let quote = zero(lanes ^ (u64::from(b'"') * ONES));
    let backslash = zero(lanes ^ (u64::from(b'\\') * ONES));
    let control = lanes.wrapping_sub(0x20 * ONES) & !lanes;
    (quote | backslash | control | lanes) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(
            mut bytes: [u8; 8],
            plain in "[ -~]{8}",
            mask: u8,
        ) {
            for (place, byte) in plain.bytes().enumerate() {
                if mask >> place & 1 == 0 {
                    bytes[place] = byte;
                }
            }
            let first = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(8);
            let found = special(u64::from_le_bytes(bytes)).trailing_zeros() as usize / 8;
            prop_assert_eq!(found, first);
        }
    }
}
