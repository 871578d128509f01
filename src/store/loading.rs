//! Every live session, as a start reads a million of them.
//!
//! *Why not one row a session, like everything else?* Each column of each row would be copied under a lock and sent from
//! the engine's thread to ours: that was most of a start. Here the engine writes a session as an array of JSON, which
//! keeps a number, a text and nothing apart, and one message carries some hundred of them. While it writes the next,
//! those that have come are put in their place.
//!
//! *Why in the order of the rows' numbers?* By default the engine goes by the index of live sessions, which is in the
//! order of people's random ids, and reads a page of the file for each session.
//!
//! *Why are people not joined by the engine?* It looks each one up in an index of random ids and then in the table:
//! longer than reading everybody once in the order of the file. Where most people have no session it is not.
//!
//! The queries are SQLite's own, where the store elsewhere keeps to what PostgreSQL speaks too.
//!
//! A session that does not read back is a fault that names its table, as everywhere in the store: those before it may
//! have been given out by then.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::quality::RandomState;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::rows::{Columns, if_known};
use super::sessions::LoadedSession;
use super::{Store, StoreFault};
use crate::base::{FlowId, Hostname, SessionId, TenantId, TokenDigest, Ttl, UnixTime, UserId, hex_bytes};
use crate::directory::{Lifetimes, UserKind};
use crate::session::{Class, Device, Factors, Method, Principal, SessionRecord};

/// How many rows one message carries: a third of a megabyte, taken in within milliseconds.
const CHUNK: i64 = 1024;

/// The live sessions after row `$1`, at most `$2`, a line each (JSON has no line's end in a text), and the last one's
/// number. [`Reader::record`] reads them. Bytes where text or a number should be are the greatest of all, and would be
/// taken for JSON that is written in bytes: such a session is an empty array.
const SESSIONS: &str = "SELECT max(number) AS last, group_concat(line, char(10)) AS lines FROM (\
     SELECT rowid AS number, CASE WHEN max(zone, epoch, class, method, factors, authenticated_at, started_at, last_seen, \
     idle_max, absolute_max, device_label, device_address) < x'' THEN json_array(hex(id), hex(token), hex(flow), \
     hex(account), hex(tenant), zone, epoch, class, method, factors, authenticated_at, started_at, last_seen, \
     idle_max, absolute_max, device_label, device_address) ELSE '[]' END AS line \
     FROM session NOT INDEXED WHERE rowid > $1 AND ended_at IS NULL ORDER BY rowid LIMIT $2)";

macro_rules! person {
    () => {
        "hex(id) || CASE WHEN max(username, ifnull(email, ''), display_name, groups, kind, epoch) < x'' \
         THEN json_array(username, email, display_name, groups, kind, epoch) ELSE '[]' END"
    };
}

/// People after row `$1`, likewise, behind their ids.
const EVERYBODY: &str = concat!(
    "SELECT max(number) AS last, group_concat(line, char(10)) AS lines FROM (SELECT rowid AS number, ",
    person!(),
    " AS line FROM account NOT INDEXED WHERE rowid > $1 ORDER BY rowid LIMIT $2)"
);

/// The people of the live sessions after row `$1` up to row `$2`, likewise.
const THEIR_PEOPLE: &str = concat!(
    "SELECT max(rowid) AS last, group_concat(",
    person!(),
    ", char(10)) AS lines FROM account WHERE id IN \
     (SELECT account FROM session NOT INDEXED WHERE rowid > $1 AND rowid <= $2 AND ended_at IS NULL)"
);

/// From how many people for each session on they are looked up one by one.
const FEW: i64 = 4;

const WHAT: &str = "session";
const CORRUPT: StoreFault = StoreFault::Corrupt(WHAT);

impl Store {
    /// Every session that has not ended.
    pub async fn live_sessions(&self) -> Result<Vec<LoadedSession>, StoreFault> {
        let mut sessions = Vec::new();
        self.each_live_session(|session| sessions.push(session)).await?;
        Ok(sessions)
    }

    /// Gives every session that has not ended to `take`, one at a time, all as of one moment.
    ///
    /// Errors: some may have been given before a row does not read back.
    pub async fn each_live_session(&self, mut take: impl FnMut(LoadedSession)) -> Result<(), StoreFault> {
        let mut snapshot = self.read.begin().await?;
        let mut reader = Reader { tenants: tenants(&mut snapshot).await?, ..Reader::default() };
        let everybody = are_most_here(&mut snapshot).await? && reader.read_everybody(&mut snapshot).await?;
        let mut after = i64::MIN;
        let mut sessions = chunk(&mut snapshot, SESSIONS, after, CHUNK).await?;
        while let Some((last, lines)) = sessions {
            if !everybody {
                reader.people.clear();
                let people = chunk(&mut snapshot, THEIR_PEOPLE, after, last).await?;
                people.iter().for_each(|(_, lines)| reader.know(lines));
            }
            let taken = async {
                for line in lines.lines() {
                    reader.session(line)?.into_iter().for_each(&mut take);
                }
                Ok::<(), StoreFault>(())
            };
            // In this order: the next are asked for, and written while these are taken in.
            let (next, taken) = tokio::join!(biased; chunk(&mut snapshot, SESSIONS, last, CHUNK), taken);
            taken?;
            (after, sessions) = (last, next?);
        }
        Ok(snapshot.rollback().await?)
    }
}

/// What a query of this file found: the number of the last row, and the lines. `None`: nothing.
async fn chunk(
    snapshot: &mut SqliteConnection,
    query: &'static str,
    after: i64,
    limit: i64,
) -> Result<Option<(i64, String)>, StoreFault> {
    let row = sqlx::query(query).bind(after).bind(limit).fetch_one(snapshot).await?;
    let last: Option<i64> = row.try_get("last").map_err(|_| CORRUPT)?;
    last.map(|last| Ok((last, row.try_get("lines").map_err(|_| CORRUPT)?))).transpose()
}

/// Whether so many of all people have a session that they are best read all.
async fn are_most_here(snapshot: &mut SqliteConnection) -> Result<bool, StoreFault> {
    let query =
        "SELECT (SELECT count(*) FROM account) <= $1 * (SELECT count(*) FROM session WHERE ended_at IS NULL)";
    Ok(sqlx::query_scalar(query).bind(FEW).fetch_one(snapshot).await?)
}

/// The tenants' slugs; `None` for one that does not read back, which is a fault only if it has a session.
async fn tenants(
    snapshot: &mut SqliteConnection,
) -> Result<HashMap<TenantId, Option<String>, RandomState>, StoreFault> {
    let rows = sqlx::query("SELECT id, slug FROM tenant").fetch_all(snapshot).await?;
    let tenant = |row| {
        let columns = Columns { row, what: WHAT };
        Some((TenantId::from_bytes(columns.array("id").ok()?), columns.text("slug").ok()))
    };
    Ok(rows.iter().filter_map(tenant).collect())
}

/// Reads lines. What nearly all have in common is parsed once.
#[derive(Default)]
struct Reader {
    tenants: HashMap<TenantId, Option<String>, RandomState>,
    /// People's lines, without the id: read when a session asks for them, of which most hold one.
    people: HashMap<UserId, Box<str>, RandomState>,
    zone: Last<Hostname>,
    factors: Last<Factors>,
    groups: Last<Vec<String>>,
}

impl Reader {
    /// Reads all people. `false`: one does not read back, which is a fault only if they have a session.
    async fn read_everybody(&mut self, snapshot: &mut SqliteConnection) -> Result<bool, StoreFault> {
        let mut after = i64::MIN;
        loop {
            match chunk(snapshot, EVERYBODY, after, CHUNK).await {
                Ok(Some((last, lines))) => {
                    self.know(&lines);
                    after = last;
                }
                Ok(None) => return Ok(true),
                Err(StoreFault::Corrupt(_)) => return Ok(false),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn know(&mut self, lines: &str) {
        let person = |line: &str| {
            let (id, line) = line.split_at_checked(32)?;
            Some((UserId::from_bytes(hex_bytes(id.as_bytes())?), line.into()))
        };
        self.people.extend(lines.lines().filter_map(person));
    }

    /// The session of a line. `None`: its person or tenant is not there.
    fn session(&mut self, line: &str) -> Result<Option<LoadedSession>, StoreFault> {
        let record = self.record(&mut Cells(line)).ok_or(CORRUPT)?;
        let (Some(person), Some(slug)) = (self.people.get(&record.user), self.tenants.get(&record.tenant)) else {
            return Ok(None);
        };
        let slug = slug.as_deref().ok_or(CORRUPT)?;
        let (principal, user_epoch) = principal(&mut Cells(person), &mut self.groups, slug).ok_or(CORRUPT)?;
        Ok(Some(LoadedSession { record, principal, user_epoch }))
    }

    fn record(&mut self, cells: &mut Cells<'_>) -> Option<SessionRecord> {
        Some(SessionRecord {
            id: SessionId::from_bytes(cells.bytes()?),
            token: TokenDigest::from_bytes(cells.bytes()?),
            flow: FlowId::from_bytes(cells.bytes()?),
            user: UserId::from_bytes(cells.bytes()?),
            tenant: TenantId::from_bytes(cells.bytes()?),
            zone: self.zone.or_parse(cells.raw()?, |text| text.parse().ok())?,
            epoch: cells.number()?,
            class: Class::from_name(cells.raw()?)?,
            method: Method::from_name(cells.raw()?)?,
            factors: self.factors.or_parse(cells.raw()?, |text| serde_json::from_str(text).ok())?,
            authenticated_at: if_known(UnixTime::from_seconds(cells.number()?)),
            started_at: UnixTime::from_seconds(cells.number()?),
            last_seen: UnixTime::from_seconds(cells.number()?),
            lifetimes: Lifetimes {
                idle_max: Ttl::from_seconds(cells.number()?.try_into().ok()?)?,
                absolute_max: Ttl::from_seconds(cells.number()?.try_into().ok()?)?,
            },
            device: Device { label: cells.text()?, address: cells.text()? },
        })
    }
}

/// The person of a line, and their epoch.
fn principal(cells: &mut Cells<'_>, groups: &mut Last<Vec<String>>, slug: &str) -> Option<(Principal, u64)> {
    let principal = Principal {
        username: cells.text()?,
        email: if cells.null() { None } else { Some(cells.text()?) },
        display_name: cells.text()?,
        groups: groups.or_parse(cells.raw()?, |text| serde_json::from_str(text).ok())?,
        kind: UserKind::from_name(cells.raw()?)?,
        tenant_slug: slug.to_owned(),
    };
    Some((principal, cells.number()?))
}

/// The cells of an array of JSON, as the engine writes it: no space in between, and texts and whole numbers in it.
///
/// *Why not by serde?* It took a fifth of a start: most texts are the same in each line, or are copied as they are.
struct Cells<'a>(&'a str);

impl<'a> Cells<'a> {
    /// Each cell has a character in front of it: the array's bracket, or a comma.
    fn next(&self) -> Option<&'a str> {
        self.0.strip_prefix(['[', ','])
    }

    /// A text as it stands between its quotes.
    fn raw(&mut self) -> Option<&'a str> {
        let text = self.next()?.strip_prefix('"')?;
        let mut end = 0;
        loop {
            end += memchr::memchr2(b'"', b'\\', text.as_bytes().get(end..)?)?;
            match text.as_bytes().get(end)? {
                // What is escaped is no quote, and no half of a character.
                b'\\' => end += 2,
                _ => break,
            }
        }
        self.0 = text.get(end + 1..)?;
        text.get(..end)
    }

    /// So many bytes, as the engine writes them.
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        hex_bytes(self.raw()?.as_bytes())
    }

    /// A text.
    fn text(&mut self) -> Option<String> {
        unescaped(self.raw()?).map(Cow::into_owned)
    }

    /// A whole number that is not negative.
    fn number(&mut self) -> Option<u64> {
        let text = self.next()?;
        let (number, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        // Another sort of number goes on here.
        if !rest.starts_with([',', ']']) {
            return None;
        }
        self.0 = rest;
        number.parse().ok()
    }

    /// Whether there is nothing in this cell; then it is passed over.
    fn null(&mut self) -> bool {
        let rest = self.next().and_then(|text| text.strip_prefix("null"));
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// The text that JSON has between two quotes.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}

/// The last text that was parsed, as it stood between its quotes, and what it means.
struct Last<T>(Option<(String, T)>);

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Last<T> {
    fn or_parse(&mut self, raw: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match &self.0 {
            Some((last, value)) if last == raw => Some(value.clone()),
            Some(_) | None => {
                let value = parse(&unescaped(raw)?)?;
                self.0 = Some((raw.to_owned(), value.clone()));
                Some(value)
            }
        }
    }
}
