//! Who of a provider's people has which account, as a table that goes to a spreadsheet and comes back.
//!
//! All of a table counts or nothing does: of one with a wrong line, somebody would have to find out which half is in.
//! So every wrong line is named at once.

use crate::base::{UnixTime, UserId, Username, UsernameProblem, csv};

use super::Subject;

/// A line of a table that says something that can be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whose.
    pub username: Username,
    /// The same account.
    pub user: UserId,
    /// Who that is at the provider.
    pub subject: Subject,
}

/// Why a line does not count.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LineProblem {
    /// No table at all.
    #[error("{0}")]
    Table(&'static str),
    /// The first line names other columns.
    #[error("must name the columns, username and subject among them")]
    Columns,
    /// Columns, and nobody below them.
    #[error("names nobody: no line below the columns")]
    Nobody,
    /// No username.
    #[error("{0:?} {UsernameProblem}")]
    Username(String),
    /// A username that nobody of the tenant has.
    #[error("there is no user {0}")]
    Unknown(Username),
    /// No subject.
    #[error("{0:?} is no subject: 1 to 255 printable ASCII characters")]
    Subject(String),
}

/// Reads a table. `find`: whose account of the tenant a username is. The error names every wrong line.
pub fn read_roster(
    text: &str,
    find: impl Fn(&Username) -> Option<UserId>,
) -> Result<Vec<Entry>, Vec<(usize, LineProblem)>> {
    let rows = csv::read(text).map_err(|(line, text)| vec![(line, LineProblem::Table(text))])?;
    let mut rows = rows.into_iter();
    let (line, head) = rows.next().unwrap_or((1, Vec::new()));
    let column = |name: &str| head.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
    let (Some(username), Some(subject)) = (column("username"), column("subject")) else {
        return Err(vec![(line, LineProblem::Columns)]);
    };
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    if rows.len() == 0 {
        return Err(vec![(line, LineProblem::Nobody)]);
    }
    for (line, row) in rows {
        let cell = |at: usize| row.get(at).map_or("", |cell| cell.trim());
        let found = cell(username)
            .parse::<Username>()
            .map_err(|_| LineProblem::Username(cell(username).to_owned()))
            .and_then(|username| match find(&username) {
                Some(user) => Ok((username, user)),
                None => Err(LineProblem::Unknown(username)),
            });
        let subject = Subject::parse(cell(subject)).ok_or_else(|| LineProblem::Subject(cell(subject).to_owned()));
        match (found, subject) {
            (Ok((username, user)), Ok(subject)) => good.push(Entry { line, username, user, subject }),
            (Err(problem), Ok(_)) | (Ok(_), Err(problem)) => wrong.push((line, problem)),
            (Err(first), Err(second)) => wrong.extend([(line, first), (line, second)]),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}

/// Writes the table that [`read_roster`] reads.
pub fn write_roster<'a>(rows: impl IntoIterator<Item = (&'a Username, &'a Subject, UnixTime)>) -> String {
    let head = ["username", "subject", "linked_at"].map(String::from);
    let rows = rows.into_iter().map(|(username, subject, linked_at)| {
        [username.to_string(), subject.as_str().to_owned(), linked_at.to_string()]
    });
    csv::write(std::iter::once(head).chain(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(username: &Username) -> Option<UserId> {
        (username.domain() == "acme.example").then_some(UserId::from_bytes([1; 16]))
    }

    #[test]
    fn a_table_survives_the_round_whatever_a_spreadsheet_would_make_of_it() {
        let (username, subject) = ("alice@acme.example".parse().unwrap(), Subject::parse("=cmd|'x'!A1").unwrap());
        let text = write_roster([(&username, &subject, UnixTime::from_seconds(1_790_000_000))]);
        assert!(text.contains(",'=cmd|"), "{text}");
        let entry = Entry { line: 2, username, user: UserId::from_bytes([1; 16]), subject };
        assert_eq!(read_roster(&text, find), Ok(vec![entry]));
    }

    #[test]
    fn every_wrong_line_is_named_and_none_of_the_others_counts() {
        let text = "Subject, USERNAME \na,alice@acme.example\n,bob\nb,eve@bolt.example\n";
        let wrong = read_roster(text, find).unwrap_err();
        let told: Vec<_> = wrong.iter().map(|(line, problem)| format!("{line}: {problem}")).collect();
        assert_eq!(
            told,
            [
                "3: \"bob\" is not of the form username@domain.com",
                "3: \"\" is no subject: 1 to 255 printable ASCII characters",
                "4: there is no user eve@bolt.example",
            ]
        );
        assert_eq!(read_roster("name,subject\n", find), Err(vec![(1, LineProblem::Columns)]));
        assert_eq!(read_roster("", find), Err(vec![(1, LineProblem::Columns)]));
        assert_eq!(read_roster("username,subject\n", find), Err(vec![(1, LineProblem::Nobody)]));
        assert!(matches!(read_roster("\"x", find).unwrap_err()[..], [(1, LineProblem::Table(_))]));
    }
}
