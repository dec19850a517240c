//! How many tests passed, failed and were skipped; and what the last line of a test program says of it.

use std::{fmt, ops::AddAssign};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Not run, on purpose.
    pub skipped: u32,
}

impl Count {
    /// One that passed.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One that failed.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// One, by how it ended.
    pub fn of(passed: bool) -> Self {
        if passed { Self::PASSED } else { Self::FAILED }
    }

    /// Reads Rust's closing line: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`.
    pub fn of_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |name: &str| {
            let part = numbers.split("; ").find_map(|part| part.strip_suffix(name))?;
            part.trim().parse().ok()
        };
        Some(Self { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
    }

    /// Reads a line of the closing lines of Node's test runner, such as `ℹ pass 3`: each tells one number.
    pub fn of_node_line(line: &str) -> Option<Self> {
        let (name, number) = line.trim_start_matches(['ℹ', '#', ' ']).split_once(' ')?;
        let number = number.trim().parse().ok()?;
        let none = Self::default();
        match name {
            "pass" => Some(Self { passed: number, ..none }),
            "fail" | "cancelled" => Some(Self { failed: number, ..none }),
            "skipped" => Some(Self { skipped: number, ..none }),
            _ => None,
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_program_is_read() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(Count::of_line(line), Some(Count { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(Count::of_line("test count::tests::it_works ... ok"), None);
    }

    #[test]
    fn the_closing_lines_of_nodes_runner_are_read() {
        let mut sum = Count::default();
        for line in
            ["ℹ tests 9", "ℹ suites 0", "ℹ pass 6", "ℹ fail 1", "ℹ cancelled 1", "ℹ skipped 1", "✔ pass 5 (3ms)"]
        {
            if let Some(count) = Count::of_node_line(line) {
                sum += count;
            }
        }
        assert_eq!(sum, Count { passed: 6, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_count_is_printed_in_the_form_that_programs_read() {
        assert_eq!(Count { passed: 7, failed: 0, skipped: 0 }.to_string(), "7 passed, 0 failed, 0 skipped");
    }
}
