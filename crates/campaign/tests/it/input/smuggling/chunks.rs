//! Bodies in chunks, sound and broken.

use super::vectors::{HIDDEN, Vector, post};

/// Broken chunks end the connection without a word: the method is under way, and its answer would be a guess.
const SILENCE: &[u16] = &[0];

/// Bodies in chunks. Trailers are read over; `spoofing.rs` shows that they say nothing.
const CHUNKS: [(&str, &str, &[u16]); 15] = [
    (
        "size beyond 64 bits",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        SILENCE,
    ),
    (
        "size that wraps to 5",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        SILENCE,
    ),
    ("size negative", "-5\r\nhello\r\n0\r\n\r\n", SILENCE),
    ("size with a plus", "+5\r\nhello\r\n0\r\n\r\n", SILENCE),
    ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", SILENCE),
    ("size empty", "\r\nhello\r\n0\r\n\r\n", SILENCE),
    ("size before a bare LF", "5\nhello\r\n0\r\n\r\n", SILENCE),
    ("size before a bare CR", "5\rhello\r\n0\r\n\r\n", SILENCE),
    (
        "extension with a bare LF",
        "5;x=\ny\r\nhello\r\n0\r\n\r\n",
        SILENCE,
    ),
    (
        "extension with a bare CR",
        "5;x=\ry\r\nhello\r\n0\r\n\r\n",
        SILENCE,
    ),
    (
        "data longer than its size",
        "4\r\nhello\r\n0\r\n\r\n",
        SILENCE,
    ),
    ("data before a bare LF", "5\r\nhello\n0\r\n\r\n", SILENCE),
    ("no blank line at the end", "5\r\nhello\r\n0\r\n", &[400]),
    (
        "trailer",
        "5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
        &[400, 200],
    ),
    (
        "trailer for framing",
        "5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n",
        &[400, 200],
    ),
];

/// Each followed by the hidden request.
pub fn all() -> Vec<Vector> {
    let lines = "Transfer-Encoding: chunked\r\n";
    CHUNKS
        .iter()
        .map(|(name, body, expected)| (*name, post(lines, &format!("{body}{HIDDEN}")), *expected))
        .collect()
}
