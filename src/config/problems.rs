//! Everything that is wrong with a configuration, told at once.

use std::fmt;

/// One thing that is wrong: where, what, and what would be right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The line of the file, from 1; 0 when it came from the environment or is about no line in particular.
    pub line: u64,
    /// The key's path, such as `zones[2].upstream.url`.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Where something stands in the file, for problems that are found after it was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// As in [`Problem::line`].
    pub line: u64,
    /// As in [`Problem::key`].
    pub key: String,
}

/// All of them, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    /// The file's name, as the operator gave it.
    pub file: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { line, key, text }) in self.list.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match line {
                0 => write!(f, "{}: ", self.file)?,
                line => write!(f, "{}:{line}: ", self.file)?,
            }
            if !key.is_empty() {
                write!(f, "{key} ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
