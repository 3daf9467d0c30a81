//! The walker: heads and children of any bytes, to any depth.
#![no_main]

use headwater::formats::isobmff::boxes::{BoxHead, Boxes};
use libfuzzer_sys::fuzz_target;

fn walk(boxes: Boxes<'_>, depth: usize) {
    for b in boxes.map_while(Result::ok) {
        assert!(b.bytes().len() >= b.payload().len());
        if depth < 16 {
            walk(b.children(), depth + 1);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = BoxHead::parse(bytes);
    walk(Boxes::new(bytes, 0), 0);
});
