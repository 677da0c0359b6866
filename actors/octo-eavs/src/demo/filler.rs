//! Filler text: the same for the same offset, in lines of 64 bytes, plain ASCII.

const LINE: usize = 64;

/// `len` bytes of the filler from `offset` on. A full line is its number and a fixed pattern, so a gap or a doubled piece shows.
pub fn filler(offset: u64, len: usize) -> String {
    let mut text = String::with_capacity(len + 2 * LINE);
    let mut number = offset / LINE as u64;
    let skip = (offset % LINE as u64) as usize;
    while text.len() < skip + len {
        text.push_str(&format!("{number:08} octo demo filler 0123456789 abcdefghijklmnopqrstuvwxyz\n"));
        number += 1;
    }
    text[skip..skip + len].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_whole() {
        let whole = filler(0, 1000);
        assert_eq!(whole.as_bytes()[LINE - 1], b'\n');
        let mut joined = String::new();
        for (at, len) in [(0u64, 7usize), (7, 120), (127, 1), (128, 64), (192, 808)] {
            joined.push_str(&filler(at, len));
        }
        assert_eq!(joined, whole);
    }
}
