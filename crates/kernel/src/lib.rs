//! The vocabulary that every crate shares: ids, who is calling, what can go wrong, pages and time.
//!
//! Nothing here does I/O, and nothing here knows a driver.
#![warn(missing_docs)]

mod context;
mod error;
mod ids;
mod page;
mod time;

pub use context::{ClientInfo, ContextBuilder, Locale, Principal, RequestContext};
pub use error::{Code, Error, ErrorCode, Result, Violation};
pub use ids::{Ids, ImportId, RecordId, SessionId, TenantId, UserId};
pub use page::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, Page, PageRequest, SortOrder};
pub use time::Clock;
