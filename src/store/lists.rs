//! What a tenant's administrators look through: its users, and who of them is who at a provider.
//!
//! Such a list may be as long as the tenant, and whoever asks for one may ask again at once. So no secret is opened for
//! it, the engine counts and cuts what is shown, and few lists are read at a time: the other readers are for log-ins.
//!
//! *Why are names compared here as well?* People are found whatever the case they are typed in, and SQLite folds ASCII
//! only. The engine leaves out what cannot match; of the rest, names alone are read and compared as Unicode says.
//!
//! The queries are SQLite's own, where the store elsewhere keeps to what PostgreSQL speaks too.

use sqlx::sqlite::SqliteRow;

use super::directory::{is_selected, user};
use super::links::link_row;
use super::rows::{Columns, to_json};
use super::{BUSY_MAX, LinkRow, Store, StoreFault};
use crate::base::{TenantId, UserId, Username};
use crate::directory::User;
use crate::sso::{Audience, Issuer};

/// How many lists are read at once: half of [`super::READERS`].
pub(super) const LISTS: usize = 2;

/// The beginning of a long list.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// As many as were asked for.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub count: usize,
}

/// A user as a list shows them.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The directory record.
    pub user: User,
    /// Whether a password was set.
    pub has_password: bool,
    /// Whether failures locked the account.
    pub locked: bool,
}

macro_rules! listed_query {
    ($also:literal, $condition:literal) => {
        concat!(
            "SELECT account.*, ",
            is_selected!(),
            ", EXISTS (SELECT 1 FROM password WHERE password.account = account.id) AS has_password, ",
            "EXISTS (SELECT 1 FROM attempts WHERE attempts.account = account.id ",
            "AND attempts.locked_at IS NOT NULL) AS locked",
            $also,
            " FROM account WHERE account.tenant = $1 AND ",
            $condition
        )
    };
}

impl Store {
    /// A list's turn, and its reading. Bounded as a reader is: who is not served within [`BUSY_MAX`] is refused.
    ///
    /// Errors: [`StoreFault::Busy`].
    pub(super) async fn listing<T>(
        &self,
        read: impl Future<Output = Result<T, StoreFault>>,
    ) -> Result<T, StoreFault> {
        let turn = tokio::time::timeout(BUSY_MAX, self.lists.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(StoreFault::Busy)?;
        read.await
    }

    /// The tenant's users whose username or display name contains what is `wanted`, in whatever case, by username; at
    /// most `most` of them, and how many there are.
    pub async fn users_found(
        &self,
        tenant: TenantId,
        wanted: &str,
        most: usize,
    ) -> Result<Found<Listed>, StoreFault> {
        self.listing(self.find_users(tenant, &wanted.to_lowercase(), most)).await
    }

    async fn find_users(&self, tenant: TenantId, wanted: &str, most: usize) -> Result<Found<Listed>, StoreFault> {
        // A name with more bytes than characters is not ASCII alone.
        let names = sqlx::query(
            "SELECT username, display_name FROM account WHERE tenant = $1 AND (instr(username, $2) > 0 \
             OR instr(lower(display_name), $2) > 0 OR length(display_name) < length(CAST(display_name AS BLOB))) \
             ORDER BY username",
        );
        let names = names.bind(tenant.as_bytes().to_vec()).bind(wanted);
        let (mut shown, mut count) = (Vec::new(), 0);
        for row in &self.reading(names.fetch_all(&self.read)).await? {
            let columns = Columns { row, what: "account" };
            let username = columns.text("username")?;
            if username.contains(wanted) || columns.text("display_name")?.to_lowercase().contains(wanted) {
                count += 1;
                if shown.len() < most {
                    shown.push(username);
                }
            }
        }
        let query = sqlx::query(listed_query!(
            "",
            "account.username IN (SELECT value FROM json_each($2)) ORDER BY account.username"
        ));
        let query = query.bind(tenant.as_bytes().to_vec()).bind(to_json(&shown)?);
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        Ok(Found { rows: rows.iter().map(listed).collect::<Result<_, _>>()?, count })
    }

    /// The tenant's users who log in locally although it requires the suite (D22), by username; at most `most` of them,
    /// and how many there are.
    pub async fn suite_exempt(&self, tenant: TenantId, most: usize) -> Result<Found<Listed>, StoreFault> {
        let query = sqlx::query(listed_query!(
            ", count(*) OVER () AS found",
            "account.suite_exempt = 1 ORDER BY account.username LIMIT $2"
        ));
        let query = query.bind(tenant.as_bytes().to_vec()).bind(limit(most));
        let rows = self.listing(self.reading(query.fetch_all(&self.read))).await?;
        found(&rows, listed)
    }

    /// The tenant's links at an issuer, of one kind of log-in, whose username contains what is `wanted` in whatever case,
    /// or whose subject does as it stands; by username, at most `most` of them, and how many there are.
    pub async fn links_found(
        &self,
        tenant: TenantId,
        (audience, issuer): (Audience, &Issuer),
        wanted: &str,
        most: usize,
    ) -> Result<Found<LinkRow>, StoreFault> {
        let query = sqlx::query(
            "SELECT link.*, account.username, count(*) OVER () AS found \
             FROM account JOIN link ON link.account = account.id AND link.audience = $2 AND link.issuer = $3 \
             WHERE account.tenant = $1 AND (instr(account.username, $4) > 0 OR instr(link.subject, $5) > 0) \
             ORDER BY account.username LIMIT $6",
        )
        .bind(tenant.as_bytes().to_vec())
        .bind(audience.name())
        .bind(issuer.as_str())
        .bind(wanted.to_lowercase())
        .bind(wanted)
        .bind(limit(most));
        let rows = self.listing(self.reading(query.fetch_all(&self.read))).await?;
        found(&rows, |row| link_row(Columns { row, what: "link" }))
    }

    /// The names of all of a tenant's users, and whose they are.
    pub async fn usernames(&self, tenant: TenantId) -> Result<Vec<(Username, UserId)>, StoreFault> {
        let query = sqlx::query("SELECT username, id FROM account WHERE tenant = $1 ORDER BY username");
        let query = query.bind(tenant.as_bytes().to_vec());
        let rows = self.listing(self.reading(query.fetch_all(&self.read))).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "account" };
                Ok((columns.parsed("username")?, UserId::from_bytes(columns.array("id")?)))
            })
            .collect()
    }
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Rows that each say how many were `found`.
fn found<T>(
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, StoreFault>,
) -> Result<Found<T>, StoreFault> {
    let count = match rows.first() {
        None => 0,
        Some(row) => {
            let columns = Columns { row, what: "account" };
            usize::try_from(columns.number("found")?).map_err(|_| columns.corrupt())?
        }
    };
    Ok(Found { rows: rows.iter().map(read).collect::<Result<_, _>>()?, count })
}

fn listed(row: &SqliteRow) -> Result<Listed, StoreFault> {
    let columns = Columns { row, what: "account" };
    Ok(Listed {
        user: user(columns)?,
        has_password: columns.flag("has_password")?,
        locked: columns.flag("locked")?,
    })
}
