//! Pages of lists.

use serde::{Deserialize, Serialize};

/// Rows of a page when the caller names no limit.
pub const PAGE_ROWS_DEFAULT: u32 = 25;
/// The largest page.
pub const PAGE_ROWS_MAX: u32 = 100;

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

impl SortOrder {
    /// Reads `created_at:asc`; everything else is newest first, since the contract admits nothing else.
    pub fn parse(text: &str) -> Self {
        if text.ends_with(":asc") {
            Self::Ascending
        } else {
            Self::Descending
        }
    }
}

/// What a caller asks of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows wanted, from 1 to [`PAGE_ROWS_MAX`].
    pub limit: u32,
    /// The sealed cursor as it came; empty for the first page.
    pub cursor: String,
}

impl PageRequest {
    /// Takes a limit as it stands in a request: 0 means the default; larger than the maximum is the maximum.
    pub fn new(limit: i32, cursor: impl Into<String>) -> Self {
        let limit = match u32::try_from(limit) {
            Ok(0) | Err(_) => PAGE_ROWS_DEFAULT,
            Ok(limit) => limit.min(PAGE_ROWS_MAX),
        };
        Self {
            limit,
            cursor: cursor.into(),
        }
    }

    /// How many rows to read: one more than wanted tells whether there is a next page.
    pub fn rows_to_read(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most `limit` rows.
    pub rows: Vec<T>,
    /// The sealed cursor of the next page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts what was read by [`PageRequest::rows_to_read`] down to a page, and seals a cursor of its last row when more follow.
    pub fn cut<E>(
        mut rows: Vec<T>,
        request: &PageRequest,
        seal: impl FnOnce(&T) -> Result<String, E>,
    ) -> Result<Self, E> {
        let limit = request.limit as usize;
        if rows.len() <= limit {
            return Ok(Self {
                rows,
                next_cursor: None,
            });
        }
        rows.truncate(limit);
        let next_cursor = rows.last().map(seal).transpose()?;
        Ok(Self { rows, next_cursor })
    }

    /// Whether there is a next page.
    pub fn has_more(&self) -> bool {
        self.next_cursor.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_brought_into_range() {
        let limit = |n| PageRequest::new(n, "").limit;
        assert_eq!(
            [limit(0), limit(-1), limit(7), limit(5000)],
            [25, 25, 7, 100]
        );
    }

    #[test]
    fn a_page_tells_whether_more_rows_follow() {
        let request = PageRequest::new(2, "");
        let seal = |n: &i32| Ok::<_, ()>(n.to_string());
        let page = Page::cut(vec![1, 2, 3], &request, seal).unwrap();
        assert_eq!(
            (page.rows, page.next_cursor),
            (vec![1, 2], Some("2".into()))
        );
        let page = Page::cut(vec![1, 2], &request, seal).unwrap();
        assert_eq!((page.rows.len(), page.has_more()), (2, false));
    }
}
