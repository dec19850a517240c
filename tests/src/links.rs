//! Spans without parents, for `netspan link`, and the truth about them in a file of its own: made up, made harder, and
//! compared with what the linker says. The linker never sees the truth.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "delays and shares are drawn and counted, and need not be exact"
)]

mod corpus;
mod generate;
mod random;
mod score;
mod stress;

pub use corpus::{Corpus, Span, Truth};
pub use generate::{Style, Traffic};
pub use score::Score;
pub use stress::Stress;
