//! A TTML document as a sequence of documents, each of what is shown in one stretch of time: IMSC in segments (ISO/IEC 14496-30 §5).
//!
//! ```text
//!   <tt …> <head> styling, layout </head> <body …>      as they are written
//!     <div …>                                           if something in it is shown in the stretch
//!       <p …> … </p>                                    if it is shown in the stretch, with the times that it has
//! ```

use std::ops::Range;
use std::sync::Arc;

/// Nanoseconds: whole, for frames and ticks of all usual rates to within less than half a millisecond.
pub(super) type Ns = i64;
pub(super) const SECOND: Ns = 1_000_000_000;
/// An end that nothing gives.
pub(super) const OPEN: Ns = i64::MAX;

/// A document whose parts are told apart. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document(Arc<Parts>);

/// What a document is made of, by places in its text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Parts {
    pub(super) text: String,
    /// From the root's start tag to the body's.
    pub(super) head: Range<usize>,
    pub(super) body: Body,
    /// The body and its `div`s, in order.
    pub(super) containers: Vec<Container>,
    pub(super) paragraphs: Vec<Paragraph>,
    /// After the body.
    pub(super) tail: Range<usize>,
    /// Whether it has what IMSC 1.1 added.
    pub(super) is_imsc_1_1: bool,
    /// Why it is no text that stays itself when it is taken apart.
    pub(super) refused: Option<&'static str>,
}

/// The body's start tag, whose times change where the media does not begin at 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Body {
    pub(super) name: String,
    /// Names and values as they are written, without `begin` and `end`.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) begin: Option<Ns>,
    pub(super) end: Option<Ns>,
}

/// The body or a `div`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Container {
    /// The one it is in; of the body itself.
    pub(super) parent: usize,
    pub(super) start: Range<usize>,
    /// Animation and metadata directly in it.
    pub(super) own: Vec<Range<usize>>,
    pub(super) end: Range<usize>,
}

/// A paragraph, and when it shows something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Paragraph {
    pub(super) container: usize,
    pub(super) text: Range<usize>,
    pub(super) shown: Range<Ns>,
}

impl Document {
    pub(super) fn new(parts: Parts) -> Document {
        Document(Arc::new(parts))
    }

    /// Its profile in the W3C's registry: text of IMSC 1 or 1.1.
    pub fn profile(&self) -> &'static str {
        if self.0.is_imsc_1_1 { "im2t" } else { "im1t" }
    }

    /// The same without its paragraphs: nothing is shown.
    pub fn emptied(&self) -> Document {
        Document::new(Parts { paragraphs: Vec::new(), ..Parts::clone(&self.0) })
    }

    /// When each paragraph shows something, in milliseconds: the first in which it may, and the last; in the order of the text.
    pub fn shown_ms(&self) -> impl Iterator<Item = Range<i64>> + '_ {
        const MS: Ns = SECOND / 1000;
        self.0.paragraphs.iter().map(|paragraph| {
            let Range { start, end } = paragraph.shown;
            start.div_euclid(MS)..if end == OPEN { i64::MAX } else { end.saturating_add(MS - 1).div_euclid(MS) }
        })
    }

    /// Bytes of paragraph `index`.
    pub fn paragraph_len(&self, index: usize) -> usize {
        self.0.paragraphs[index].text.len()
    }

    /// Bytes of a document without paragraphs, nearly.
    pub fn frame_len(&self) -> usize {
        self.0.head.len() + self.0.tail.len() + 256
    }

    /// Appends the document of the paragraphs that `shown` counts, in order, all of it `offset_ms` later. Paragraphs keep their times where
    /// they cross the stretch's ends, since a document is presented only as long as its sample is.
    pub fn write(&self, out: &mut Vec<u8>, shown: &[usize], offset_ms: i64) {
        let parts = &*self.0;
        let copy =
            |out: &mut Vec<u8>, range: &Range<usize>| out.extend_from_slice(&parts.text.as_bytes()[range.clone()]);
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        copy(out, &parts.head);
        match offset_ms {
            0 => copy(out, &parts.containers[0].start),
            _ => parts.body.write(out, offset_ms),
        }
        parts.containers[0].own.iter().for_each(|range| copy(out, range));
        // From the body inwards.
        let mut open = vec![0];
        for &index in shown {
            let paragraph = &parts.paragraphs[index];
            let mut path = vec![paragraph.container];
            while let Some(&inner) = path.last().filter(|inner| **inner != 0) {
                path.push(parts.containers[inner].parent);
            }
            path.reverse();
            let common = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
            for closed in open.drain(common..).rev() {
                copy(out, &parts.containers[closed].end);
            }
            for &opened in &path[common..] {
                let container = &parts.containers[opened];
                copy(out, &container.start);
                container.own.iter().for_each(|range| copy(out, range));
                open.push(opened);
            }
            copy(out, &paragraph.text);
        }
        for closed in open.into_iter().rev() {
            copy(out, &parts.containers[closed].end);
        }
        copy(out, &parts.tail);
    }
}

impl Body {
    fn write(&self, out: &mut Vec<u8>, offset_ms: i64) {
        const MS: Ns = SECOND / 1000;
        let later = |time: Ns| time.saturating_add(offset_ms.saturating_mul(MS)).max(0);
        let seconds = |time: Ns| match time % MS {
            0 => format!("{}.{:03}s", time / SECOND, time % SECOND / MS),
            _ => format!("{}.{:09}s", time / SECOND, time % SECOND),
        };
        let begin = [("begin".to_owned(), seconds(later(self.begin.unwrap_or(0))))];
        let end = self.end.map(|end| ("end".to_owned(), seconds(later(end))));
        out.extend_from_slice(format!("<{}", self.name).as_bytes());
        for (name, value) in begin.iter().chain(&end).chain(&self.attributes) {
            let quote = if value.contains('"') { '\'' } else { '"' };
            out.extend_from_slice(format!(" {name}={quote}{value}{quote}").as_bytes());
        }
        out.push(b'>');
    }
}
