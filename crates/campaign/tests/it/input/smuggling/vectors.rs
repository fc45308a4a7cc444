//! The messages, and what is answered to each.

use super::chunks;

/// What would be answered 200 if it were taken for a request of its own.
pub const HIDDEN: &str = "GET /health/live HTTP/1.1\r\nHost: hidden\r\n\r\n";

/// One answer, and the connection is closed.
const REFUSED: &[u16] = &[400, 0];

/// A vector: a name, the message, and the statuses that are expected; a trailing 0 stands for a connection that must be closed.
pub type Vector = (&'static str, String, &'static [u16]);

pub fn post(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{lines}\r\n{body}"
    )
}

/// A `POST` whose framing is doubtful, followed by the hidden request.
fn framed(name: &'static str, lines: &str) -> Vector {
    (
        name,
        post(lines, &format!("5\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        &[400, 0],
    )
}

/// Header lines that frame a body in a doubtful way.
const FRAMINGS: [(&str, &str); 33] = [
    (
        "CL.TE",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ),
    (
        "CL.TE, length 0",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "TE.TE",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "TE.TE, the second unknown",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
    ),
    (
        "TE.TE, the first unknown",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "TE identity and CL",
        "Transfer-Encoding: identity\r\nContent-Length: 6\r\n",
    ),
    ("TE with x", "Transfer-Encoding: xchunked\r\n"),
    ("TE list", "Transfer-Encoding: gzip, chunked\r\n"),
    (
        "TE list, chunked first",
        "Transfer-Encoding: chunked, identity\r\n",
    ),
    (
        "TE with a vertical tab",
        "Transfer-Encoding: \u{b}chunked\r\n",
    ),
    ("TE with a NUL", "Transfer-Encoding: chunked\0\r\n"),
    ("TE in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("TE with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    (
        "TE before a blank and a colon",
        "Transfer-Encoding : chunked\r\n",
    ),
    ("TE folded", "Transfer-Encoding:\r\n chunked\r\n"),
    (
        "TE after a folded line",
        "X: y\r\n\tTransfer-Encoding: chunked\r\n",
    ),
    ("TE after a bare CR", "X: y\rTransfer-Encoding: chunked\r\n"),
    ("TE empty", "Transfer-Encoding: \r\n"),
    ("CL twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    (
        "CL twice, different",
        "Content-Length: 5\r\nContent-Length: 50\r\n",
    ),
    ("CL list", "Content-Length: 5, 5\r\n"),
    ("CL negative", "Content-Length: -5\r\n"),
    ("CL with a plus", "Content-Length: +5\r\n"),
    ("CL hexadecimal", "Content-Length: 0x5\r\n"),
    ("CL with an underscore", "Content-Length: 1_0\r\n"),
    ("CL decimal", "Content-Length: 5.0\r\n"),
    ("CL exponential", "Content-Length: 5e0\r\n"),
    (
        "CL beyond 64 bits",
        "Content-Length: 18446744073709551616\r\n",
    ),
    ("CL empty", "Content-Length: \r\n"),
    ("CL in other digits", "Content-Length: \u{665}\r\n"),
    ("CL before a blank and a colon", "Content-Length : 5\r\n"),
    ("CL folded", "Content-Length:\r\n 5\r\n"),
];

fn lengths() -> Vec<Vector> {
    FRAMINGS
        .iter()
        .map(|(name, lines)| framed(name, lines))
        .collect()
}

/// Heads that are no HTTP/1.1.
const HEADS: [(&str, &str); 23] = [
    ("no version", "GET /\r\n\r\n"),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (
        "a blank after the version",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    ),
    (
        "a blank in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a control character in the target",
        "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a method that is no token",
        "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (
        "a line without a colon",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    ),
    (
        "a line that begins with a blank",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    ),
    (
        "a folded line",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    ),
    (
        "a blank before a colon",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    ),
    (
        "a NUL in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    ),
    (
        "a NUL in a name",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
    ),
    ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    (
        "a bare CR in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    ),
    (
        "a bare CR at the end of a line",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    ),
    (
        "chunks in HTTP/1.0",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a body without a length in HTTP/1.0",
        "POST /v1/auth/login HTTP/1.0\r\n\r\n",
    ),
    (
        "TLS",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
    ),
];

/// Each followed by the hidden request.
fn heads() -> Vec<Vector> {
    HEADS
        .iter()
        .map(|(name, head)| (*name, format!("{head}{HIDDEN}"), REFUSED))
        .collect()
}

/// Sound messages that other servers have misread, with a request behind them that is honestly a second one, or is not read at all.
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
fn sound() -> Vec<Vector> {
    let hidden_body = |target: &str, lines: &str| {
        format!(
            "{target} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {}\r\n\r\n{HIDDEN}",
            HIDDEN.len()
        )
    };
    vec![
        ("two requests at once", HIDDEN.repeat(2), &[200, 200]),
        ("line ends without CR", HIDDEN.replace("\r\n", "\n"), &[200]),
        (
            "an empty line before the request",
            format!("\r\n{HIDDEN}"),
            &[200],
        ),
        (
            "another host in the target",
            HIDDEN.replace("/health", "http://evil.example/health"),
            &[200],
        ),
        (
            "Transfer_Encoding is no framing",
            hidden_body(
                "POST /v1/auth/login",
                "Content-Type: application/json\r\nTransfer_Encoding: chunked\r\n",
            ),
            &[400],
        ),
        (
            "a body where none is taken",
            hidden_body("GET /v1/me", "Authorization: Bearer x\r\n"),
            &[401],
        ),
        (
            "a body on an own page",
            hidden_body("GET /health/live", ""),
            &[200],
        ),
        ("a body on HEAD", hidden_body("HEAD /nothing", ""), &[404]),
        (
            "a body at no route",
            hidden_body("POST /nothing", ""),
            &[404],
        ),
        (
            "a body of a refused method",
            hidden_body("POST /health/live", ""),
            &[405],
        ),
        (
            "a body without a credential",
            hidden_body("POST /v1/search", "Content-Type: application/json\r\n"),
            &[401],
        ),
        (
            "a body of the wrong kind",
            hidden_body("POST /v1/auth/login", "Content-Type: text/plain\r\n"),
            &[415],
        ),
        (
            "a packed body",
            hidden_body(
                "POST /v1/auth/login",
                "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            ),
            &[415],
        ),
        (
            "a body in need of 100",
            hidden_body(
                "POST /v1/search",
                "Expect: 100-continue\r\nContent-Type: application/json\r\n",
            ),
            &[100, 401],
        ),
        (
            "an unknown expectation",
            hidden_body(
                "POST /v1/search",
                "Expect: tea\r\nContent-Type: application/json\r\n",
            ),
            &[401],
        ),
        (
            "a tunnel",
            format!("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}"),
            &[404],
        ),
        (
            "an upgrade to websocket",
            format!(
                "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{HIDDEN}"
            ),
            &[200],
        ),
        (
            "an upgrade to h2c",
            format!(
                "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{HIDDEN}"
            ),
            &[200, 400, 0],
        ),
        (
            "HTTP/1.0",
            "GET /health/live HTTP/1.0\r\n\r\n".to_owned(),
            &[200, 0],
        ),
        (
            "HTTP/1.0 kept alive",
            format!("GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{HIDDEN}"),
            &[200, 200],
        ),
        (
            "the end was asked for",
            "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            &[200, 0],
        ),
        (
            "more after the end was asked for",
            format!("GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{HIDDEN}"),
            &[200, 400, 0],
        ),
        (
            "more after HTTP/1.0",
            format!("GET /health/live HTTP/1.0\r\n\r\n{HIDDEN}"),
            &[200, 400, 0],
        ),
        (
            "an asterisk",
            format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}"),
            &[404, 200],
        ),
        (
            "TRACE",
            format!("TRACE /v1/me HTTP/1.1\r\nHost: a\r\nCookie: s\r\n\r\n{HIDDEN}"),
            &[405, 200],
        ),
        (
            "a method of WebDAV",
            format!("PROPFIND /v1/me HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}"),
            &[405, 200],
        ),
        (
            "another method in a header",
            format!(
                "GET /v1/auth/logout HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: POST\r\nX-Method-Override: POST\r\n\r\n{HIDDEN}"
            ),
            &[405, 200],
        ),
        (
            "a chunk with an extension",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("2;a=\"b\"\r\n{{}}\r\n0\r\n\r\n{HIDDEN}"),
            ),
            &[400, 200],
        ),
        (
            "a length with zeros before it",
            post("Content-Length: 002\r\n", &format!("{{}}{HIDDEN}")),
            &[400, 200],
        ),
    ]
}

/// All of them.
pub fn all() -> Vec<Vector> {
    [lengths(), chunks::all(), heads(), sound()].concat()
}
