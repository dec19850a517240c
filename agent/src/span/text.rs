//! Text of an attribute. What many spans say alike (addresses of a connection, names of the standard) is shared among them, and
//! not copied for each.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

/// Text of an attribute; equal to another one if both read the same, however they are kept.
#[derive(Clone)]
pub enum Text {
    /// Part of the program.
    Static(&'static str),
    /// Of one span.
    Owned(String),
    /// Of many spans.
    Shared(Arc<str>),
}

impl Text {
    /// The text as a string of its own.
    pub fn into_owned(self) -> String {
        match self {
            Self::Owned(text) => text,
            Self::Static(_) | Self::Shared(_) => self.as_ref().to_owned(),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Owned(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, to)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Owned(text)
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Static(text),
            Cow::Owned(text) => Self::Owned(text),
        }
    }
}
