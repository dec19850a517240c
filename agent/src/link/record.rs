//! How often an assumption about a program held, and how often it did not.

/// Cases after which earlier ones count half: programs change what they do.
const REMEMBERED: u32 = 4096;

/// The cases of an assumption that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    cases: u32,
    /// Those in which it did not hold.
    exceptions: u32,
}

impl Record {
    /// Counts a case.
    pub(super) fn note(&mut self, holds: bool) {
        if self.cases >= REMEMBERED {
            (self.cases, self.exceptions) = (self.cases / 2, self.exceptions.div_ceil(2));
        }
        self.cases += 1;
        self.exceptions += u32::from(!holds);
    }

    /// Counts so many exceptions less: they were none.
    pub(super) fn forgive(&mut self, exceptions: u32) {
        let forgiven = exceptions.min(self.exceptions);
        (self.cases, self.exceptions) = (self.cases - forgiven, self.exceptions - forgiven);
    }

    /// Whether there were at least `min` cases, at most one in `share` of them an exception.
    pub(super) fn holds(self, min: u32, share: u32) -> bool {
        self.cases >= min && self.exceptions.saturating_mul(share) <= self.cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kept: u32, exceptions: u32) -> Record {
        let mut record = Record::default();
        (0..exceptions).for_each(|_| record.note(false));
        (0..kept).for_each(|_| record.note(true));
        record
    }

    #[test]
    fn one_in_so_many_may_be_an_exception_once_there_were_enough() {
        assert!(record(0, 0).holds(0, 200));
        assert!(!record(19, 0).holds(20, 200));
        assert!(record(20, 0).holds(20, 200));
        assert!(record(199, 1).holds(20, 200));
        assert!(!record(198, 1).holds(20, 200));
    }

    #[test]
    fn what_was_no_exception_is_forgiven() {
        let mut record = record(50, 3);
        record.forgive(2);
        assert!(record.holds(51, 51) && !record.holds(52, 51) && !record.holds(51, 52));
        record.forgive(9);
        assert!(record.holds(50, u32::MAX));
    }

    #[test]
    fn earlier_cases_count_half_after_a_while() {
        let mut record = record(0, REMEMBERED);
        (0..8 * REMEMBERED).for_each(|_| record.note(true));
        assert!(record.holds(0, 50), "{record:?}");
        assert!(record.cases <= REMEMBERED);
    }
}
