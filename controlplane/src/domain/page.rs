//! How a list is asked for and answered: ThingsBoard's page link and page. Never builds SQL.

use crate::domain::Invalid;

/// The largest page, in rows.
const PAGE_ROWS_MAX: u64 = 1_000;
/// The longest search text, in characters.
const SEARCH_CHARS_MAX: usize = 255;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    Ascending,
    #[default]
    Descending,
}

/// A checked request for one page. `sort_property` is checked against the list's own columns by the entity store, which
/// answers an unknown one with [`Invalid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageLink {
    pub page_size: u64,
    pub page: u64,
    /// Lower-cased; `None` when absent or blank.
    pub text_search: Option<String>,
    /// ThingsBoard's property name, such as `createdTime` or `name`.
    pub sort_property: Option<String>,
    pub sort_order: SortOrder,
}

impl PageLink {
    /// # Errors
    /// [`Invalid`] for a page size outside 1..=1000, an absurd page number or a search text that is too long.
    pub fn new(page_size: u64, page: u64) -> Result<Self, Invalid> {
        if page_size == 0 || page_size > PAGE_ROWS_MAX {
            return Err(Invalid::new("pageSize", &page_size.to_string(), format!("must be 1 to {PAGE_ROWS_MAX}")));
        }
        if page > u64::from(u32::MAX) {
            return Err(Invalid::new("page", &page.to_string(), format!("must be 0 to {}", u32::MAX)));
        }
        Ok(Self { page_size, page, text_search: None, sort_property: None, sort_order: SortOrder::default() })
    }

    /// The same page of rows whose name contains `text`, whatever its case.
    ///
    /// # Errors
    /// [`Invalid`] when the text is too long.
    pub fn search(mut self, text: Option<&str>) -> Result<Self, Invalid> {
        if let Some(text) = text
            && text.chars().count() > SEARCH_CHARS_MAX
        {
            return Err(Invalid::new("textSearch", text, format!("must have at most {SEARCH_CHARS_MAX} characters")));
        }
        self.text_search = text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_lowercase);
        Ok(self)
    }

    /// The same page in another order.
    ///
    /// # Errors
    /// [`Invalid`] when `order` is neither `ASC` nor `DESC`.
    pub fn sort(mut self, property: Option<&str>, order: Option<&str>) -> Result<Self, Invalid> {
        self.sort_property = property.filter(|property| !property.is_empty()).map(str::to_owned);
        self.sort_order = match order {
            None | Some("" | "DESC") => SortOrder::Descending,
            Some("ASC") => SortOrder::Ascending,
            Some(other) => return Err(Invalid::new("sortOrder", other, "must be ASC or DESC")),
        };
        Ok(self)
    }

    /// Rows before this page.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.page.saturating_mul(self.page_size)
    }
}

/// One page of a list and how long the list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub total_pages: u64,
    pub total_elements: u64,
    pub has_next: bool,
}

impl<T> Page<T> {
    #[must_use]
    pub fn new(data: Vec<T>, total_elements: u64, link: &PageLink) -> Self {
        let total_pages = total_elements.div_ceil(link.page_size);
        Self { data, total_pages, total_elements, has_next: link.page + 1 < total_pages }
    }

    /// The page with every row turned into something else.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(convert).collect(),
            total_pages: self.total_pages,
            total_elements: self.total_elements,
            has_next: self.has_next,
        }
    }
}
