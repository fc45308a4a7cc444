//! Comments of the contract: summary, description, and `Example: …` taken out.

use prost_reflect::FileDescriptor;
use serde_json::Value;

/// A comment, cut into its parts.
#[derive(Default)]
pub struct Comment {
    /// The first paragraph.
    pub summary: String,
    /// The rest.
    pub description: String,
    /// What stands after `Example:`, as JSON if it is JSON, else as text.
    pub example: Option<Value>,
}

impl Comment {
    /// Summary and description together.
    pub fn whole(&self) -> String {
        if self.description.is_empty() {
            self.summary.clone()
        } else {
            format!("{}\n\n{}", self.summary, self.description)
        }
    }
}

/// The comment of the thing at a path within a file.
pub fn of(file: &FileDescriptor, path: &[i32]) -> Comment {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location =
        info.and_then(|info| info.location.iter().find(|location| location.path == path));
    location
        .map(|location| cut(location.leading_comments()))
        .unwrap_or_default()
}

fn cut(text: &str) -> Comment {
    let mut example = None;
    let mut paragraphs: Vec<String> = vec![String::new()];
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            paragraphs.push(String::new());
            continue;
        }
        let mut line = line.to_owned();
        if let Some((before, after)) = line.split_once("Example: `")
            && let Some((value, rest)) = after.rsplit_once('`')
        {
            example = Some(serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)));
            line = format!("{before}{}", rest.trim_start_matches('.'))
                .trim()
                .to_owned();
        }
        let paragraph = paragraphs.last_mut().expect("there is always one");
        if !paragraph.is_empty() && !line.is_empty() {
            paragraph.push(' ');
        }
        paragraph.push_str(&line);
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    let mut paragraphs = paragraphs.into_iter();
    let summary = paragraphs.next().unwrap_or_default();
    Comment {
        summary,
        description: paragraphs.collect::<Vec<_>>().join("\n\n"),
        example,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_falls_into_its_parts() {
        let comment = cut(
            " Opens a session.\n\n Without a tenant it is\n bound to none. Example: `pt-BR`.\n",
        );
        assert_eq!(comment.summary, "Opens a session.");
        assert_eq!(comment.description, "Without a tenant it is bound to none.");
        assert_eq!(comment.example, Some(Value::from("pt-BR")));
        assert_eq!(
            cut(" The fields. Example: `{\"a\": 1}`.").example,
            Some(serde_json::json!({"a": 1}))
        );
    }
}
