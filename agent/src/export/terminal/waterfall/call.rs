//! What stands in the tree for a span: arrow, service where it changes, request, and where a call leaves what is seen.

use crate::{
    export::terminal::{
        clean::{columns, fit},
        describe,
        look::Paint,
        row::Row,
        tree::{Node, Place},
    },
    span::Kind,
};

/// The request keeps so many columns before other parts give way.
const REQUEST_MIN: usize = 4;

/// The parts; those that are empty are not there.
#[derive(Clone, Debug)]
pub struct Call {
    arrow: &'static str,
    service: String,
    request: String,
    target: String,
    mark: String,
}

impl Call {
    /// The parts for a node among these.
    pub fn of(node: &Node<'_>, nodes: &[Node<'_>]) -> Self {
        let span = node.span;
        let same = matches!(node.place, Place::Child(at) if nodes[at].span.resource.service == span.resource.service);
        let leaves = span.kind == Kind::Client && !node.has_children;
        let target = if leaves { describe::peer(span) } else { String::new() };
        Self {
            arrow: describe::arrow(span.kind),
            service: if same { String::new() } else { describe::service(span) },
            request: describe::request(span),
            target: if target.is_empty() { target } else { format!("→ {target}") },
            mark: describe::mark(span).unwrap_or_default(),
        }
    }

    /// Columns of all parts.
    pub fn columns(&self) -> usize {
        let parts = [&self.service, &self.request, &self.target, &self.mark];
        1 + parts.iter().filter(|part| !part.is_empty()).map(|part| columns(part) + 1).sum::<usize>()
    }

    /// Puts the parts into `width` columns. The request gives way first.
    pub fn put(&self, row: &mut Row<'_>, width: usize, service: Paint) {
        let excess = self.columns().saturating_sub(width);
        let request = fit(&self.request, columns(&self.request).saturating_sub(excess).max(REQUEST_MIN));
        let parts = [
            (self.arrow, service),
            (&self.service, service),
            (&request, Paint::Plain),
            (&self.target, Paint::Faint),
            (&self.mark, Paint::Warning),
        ];
        let mut left = width;
        for (text, paint) in parts.into_iter().filter(|(text, _)| !text.is_empty()) {
            let text = fit(text, left);
            let used = columns(&text);
            let gap = usize::from(left > used);
            row.left(&text, used, gap, paint);
            left -= used + gap;
        }
        row.gap(left);
    }
}
