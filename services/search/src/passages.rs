//! Documents into passages: short enough to be embedded as one thought and to be shown as a hit.

/// Words of a passage. A sentence embedder takes about 256 word pieces, which is about 180 words.
const WORDS_MAX: usize = 180;
/// Words that two neighbouring passages share, so that a thought on the border is whole in one of them.
const WORDS_OVERLAP: usize = 30;
/// Passages of one document; what comes after is not indexed. 100 passages are about 15,000 words.
const PASSAGES_MAX: usize = 100;

/// Marks around a found word in the database's highlight; they are taken out of texts before they are indexed.
pub const MARK_START: char = '\u{E000}';
/// The end of a found word.
pub const MARK_END: char = '\u{E001}';

/// Removes what PostgreSQL cannot store in a text (NUL) and the characters that mark highlights, and joins white space.
pub fn clean(text: &str) -> String {
    let kept = text.replace(['\0', MARK_START, MARK_END], " ");
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts a cleaned text into overlapping passages; each starts with the title. At least one.
pub fn cut(title: &str, text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let with_title = |body: &[&str]| {
        let body = body.join(" ");
        if title.is_empty() {
            body
        } else if body.is_empty() {
            title.to_owned()
        } else {
            format!("{title}. {body}")
        }
    };
    if words.len() <= WORDS_MAX {
        return vec![with_title(&words)];
    }
    let mut passages = Vec::new();
    let mut start = 0;
    while start < words.len() && passages.len() < PASSAGES_MAX {
        let end = (start + WORDS_MAX).min(words.len());
        passages.push(with_title(&words[start..end]));
        if end == words.len() {
            break;
        }
        start = end - WORDS_OVERLAP;
    }
    passages
}

/// Escapes for HTML and turns the database's marks into `<mark>` elements, in this order, so that no text can bring its own.
pub fn highlight_html(marked: &str) -> String {
    let mut html = String::with_capacity(marked.len() + 32);
    for letter in marked.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            MARK_START => html.push_str("<mark>"),
            MARK_END => html.push_str("</mark>"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_becomes_overlapping_passages() {
        let words: Vec<String> = (0..400).map(|n| format!("w{n}")).collect();
        let passages = cut("Title", &words.join(" "));
        assert_eq!(passages.len(), 3);
        assert!(passages[0].starts_with("Title. w0 ") && passages[0].ends_with(" w179"));
        assert!(passages[1].starts_with("Title. w150 "));
        assert!(passages[2].ends_with(" w399"));
    }

    #[test]
    fn a_short_text_is_one_passage_and_an_empty_one_is_its_title() {
        assert_eq!(cut("T", "a b"), ["T. a b"]);
        assert_eq!(cut("T", ""), ["T"]);
    }

    #[test]
    fn a_text_cannot_bring_its_own_markup() {
        let text = clean("<script>\u{E000}x\u{E001}\0 end");
        assert_eq!(text, "<script> x end");
        assert_eq!(
            highlight_html("<b>\u{E000}x\u{E001}</b>"),
            "&lt;b&gt;<mark>x</mark>&lt;/b&gt;"
        );
    }
}
