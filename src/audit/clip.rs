//! Bounds texts before they reach the trail, with a mark that shows what is missing (invariant 7).

use std::borrow::Cow;

/// `text`, cut at a character boundary to at most `max` bytes, with the mark `…[+N bytes]` behind it when it was longer.
pub(super) fn clip(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut clipper = Clipper::new(max);
    clipper.push(text);
    Cow::Owned(clipper.finish())
}

/// Joins pieces to a text of at most `max` bytes without ever holding more; see [`clip`].
#[derive(Debug)]
pub(super) struct Clipper {
    text: String,
    max: usize,
    left_out: usize,
}

impl Clipper {
    pub(super) fn new(max: usize) -> Self {
        Self { text: String::new(), max, left_out: 0 }
    }

    pub(super) fn push(&mut self, piece: &str) {
        if self.left_out > 0 {
            self.left_out += piece.len();
            return;
        }
        let mut end = piece.len().min(self.max - self.text.len());
        while !piece.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&piece[..end]);
        self.left_out = piece.len() - end;
    }

    pub(super) fn finish(mut self) -> String {
        if self.left_out > 0 {
            self.text.push_str(&format!("…[+{} bytes]", self.left_out));
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_stay_as_they_are() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("", 0), "");
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_say_so() {
        assert_eq!(clip("abcdef", 4), "abcd…[+2 bytes]");
        assert_eq!(clip("aéé", 2), "a…[+4 bytes]");
    }

    #[test]
    fn pieces_after_the_cut_are_counted_but_not_kept() {
        let mut clipper = Clipper::new(4);
        for piece in ["ab", "cé", "f", "g"] {
            clipper.push(piece);
        }
        // "é" does not fit into the fourth byte; nothing that follows may fill the hole.
        assert_eq!(clipper.finish(), "abc…[+4 bytes]");
    }
}
