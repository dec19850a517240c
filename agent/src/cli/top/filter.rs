//! What is typed to filter: words as everywhere (`status=5xx`) go to the agent, other text is looked for in the rows.

use crate::control::SpanFilter;

/// The time that is looked at unless another is typed.
const LAST: &str = "1m";
/// Characters at most.
const LENGTH_MAX: usize = 500;

/// What is typed.
#[derive(Debug, Default)]
pub struct Filter(String);

impl Filter {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Another character.
    pub fn push(&mut self, c: char) {
        if self.0.len() < LENGTH_MAX {
            self.0.push(c);
        }
    }

    /// One character less.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Nothing.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn parts(&self) -> impl Iterator<Item = Result<(&str, &str), &str>> {
        self.0.split_whitespace().map(|part| {
            let pair = part.split_once('=').filter(|(word, _)| *word == "last" || SpanFilter::knows(word));
            pair.ok_or(part)
        })
    }

    /// The words for the agent; one without its value yet is none.
    pub fn words(&self) -> Vec<(String, String)> {
        let typed = self.parts().flatten().filter(|(_, value)| !value.is_empty());
        let mut words: Vec<_> = typed.map(|(word, value)| (word.to_owned(), value.to_owned())).collect();
        if !words.iter().any(|(word, _)| word == "last") {
            words.push(("last".to_owned(), LAST.to_owned()));
        }
        words
    }

    /// Whether each text that is no word is in one of the cells, in whatever case.
    pub fn passes(&self, cells: impl Iterator<Item = String>) -> bool {
        let mut texts = self.parts().filter_map(Result::err).peekable();
        if texts.peek().is_none() {
            return true;
        }
        let cells: Vec<_> = cells.map(|cell| cell.to_lowercase()).collect();
        texts.all(|text| cells.iter().any(|cell| cell.contains(&text.to_lowercase())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_to_the_agent_and_the_rest_is_looked_for() {
        let filter = Filter("status=5xx Shop  x=1 port=".to_owned());
        let words = [("status", "5xx"), ("last", "1m")].map(|(word, value)| (word.to_owned(), value.to_owned()));
        assert_eq!(filter.words(), words);
        let passes = |cells: &[&str]| filter.passes(cells.iter().map(|cell| (*cell).to_owned()));
        assert!(passes(&["the SHOP", "x=1"]));
        assert!(!passes(&["the shop"]) && !passes(&[]));
        assert!(Filter::default().passes(std::iter::empty()));
        assert_eq!(Filter("last=5m".to_owned()).words().len(), 1);
    }
}
