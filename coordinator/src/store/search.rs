//! What `search` finds, by an index of every three characters of it: the migration `0100_search.sql` tells how that is kept.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::StoreError;

/// How many characters the index looks up at once; it knows no shorter text.
const PIECE: usize = 3;

/// How many pieces of a text are looked up at most: each costs a walk through all that contain it, and more of them would find
/// little less.
const MOST_PIECES: usize = 4;

/// How many pieces may begin with a text that is shorter than they are. Where more do, it is likely in so many objects that a
/// page of them is full soon.
const MOST_BEGINNINGS: i64 = 64;

/// What nothing in the index matches: no piece at all.
const NOTHING: &str = "\"\"";

/// How many objects the index may name. Where a text is in more of them than this, a page of them is full sooner by looking at
/// one after the other.
const FEW: i64 = 2_000;

/// What the index is asked for: the kinds of objects as SQL, of which workspace, and the pieces that they contain.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    kinds: &'static str,
    workspace_id: Uuid,
    pieces: String,
}

/// Credentials alone.
pub(super) const CREDENTIALS: &str = "'credential'";
/// People alone.
pub(super) const IDENTITIES: &str = "'identity'";
/// Users, and the people whose users they may be.
pub(super) const USERS_AND_IDENTITIES: &str = "'user', 'identity'";

impl Indexed {
    /// How the index leads to what contains `text`, if it does: the text may be too short, or too much may contain it.
    ///
    /// # Errors
    /// [`StoreError::Query`] when the statement fails.
    pub(super) async fn new(
        conn: &mut SqliteConnection,
        kinds: &'static str,
        workspace_id: Uuid,
        text: Option<&str>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(text) = text else { return Ok(None) };
        let pieces = match pieces(text) {
            Some(pieces) => pieces,
            None => match pieces_that_begin_with(conn, text).await? {
                Some(pieces) => pieces,
                None => return Ok(None),
            },
        };
        let indexed = Self {
            kinds,
            workspace_id,
            pieces,
        };
        let mut query = QueryBuilder::<Sqlite>::new("SELECT count(*) FROM (");
        indexed.push_ids(&mut query);
        query.push(" LIMIT ").push_bind(FEW + 1).push(")");
        let found: i64 = query.build_query_scalar().fetch_one(conn).await?;
        Ok((found <= FEW).then_some(indexed))
    }

    /// Adds the query of the ids of what the index names. What contains the text is among them; it is to be looked at again.
    pub(super) fn push_ids(&self, query: &mut QueryBuilder<Sqlite>) {
        query
            .push(
                "SELECT searchable.object_id FROM searchable_index \
                 JOIN searchable ON searchable.searchable_id = searchable_index.rowid WHERE searchable_index MATCH ",
            )
            .push_bind(self.pieces.clone())
            .push(" AND searchable.workspace_id = ")
            .push_bind(self.workspace_id.to_string())
            .push(" AND searchable.kind IN (")
            .push(self.kinds)
            .push(")");
    }
}

/// The pieces of a text as the index is asked for all of them (SQLite's FTS5, section 3); none where it is too short.
fn pieces(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().filter(|letter| *letter != '\0').collect();
    let all: Vec<&[char]> = letters.windows(PIECE).collect();
    let step = all.len().div_ceil(MOST_PIECES).max(1);
    // From its end on: what sets texts apart, the last digits of ids and numbers, stands there.
    let quoted = all.into_iter().rev().step_by(step);
    let quoted: Vec<_> = quoted
        .map(|piece| quoted_piece(&piece.iter().collect::<String>()))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(" AND "))
}

fn quoted_piece(piece: &str) -> String {
    format!("\"{}\"", piece.replace('"', "\"\""))
}

/// The pieces that begin with a text of one or two characters, as the index is asked for any of them; none where these do not
/// lead to everything that contains it, or are many. All that is indexed ends with an id, and its parts are set apart by
/// spaces: so a text with neither a space nor an id's last digits is followed by something wherever it stands. Of letters
/// beyond ASCII the index knows other lower cases than `search`.
async fn pieces_that_begin_with(
    conn: &mut SqliteConnection,
    text: &str,
) -> Result<Option<String>, StoreError> {
    let begin = text.replace('\0', "").to_ascii_lowercase();
    let may_end_an_id = begin.bytes().all(|byte| byte.is_ascii_hexdigit());
    if may_end_an_id || !begin.is_ascii() || begin.contains(' ') {
        return Ok(None);
    }
    let found: Vec<String> = sqlx::query_scalar(
        "WITH RECURSIVE beginnings AS (\
         SELECT (SELECT term FROM searchable_pieces WHERE term >= ?1 ORDER BY term LIMIT 1) AS term UNION ALL \
         SELECT (SELECT p.term FROM searchable_pieces p WHERE p.term >= beginnings.term || char(1) ORDER BY p.term LIMIT 1) \
         FROM beginnings WHERE beginnings.term <= ?2) SELECT term FROM beginnings WHERE term <= ?2 LIMIT ?3",
    )
    .bind(&begin)
    .bind(format!("{begin}{}", char::MAX))
    .bind(MOST_BEGINNINGS + 1)
    .fetch_all(conn)
    .await?;
    if i64::try_from(found.len()).is_ok_and(|found| found > MOST_BEGINNINGS) {
        return Ok(None);
    }
    let quoted: Vec<_> = found.iter().map(|piece| quoted_piece(piece)).collect();
    Ok(Some(if quoted.is_empty() {
        NOTHING.to_owned()
    } else {
        quoted.join(" OR ")
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::bench::Bench;

    #[test]
    fn a_text_is_looked_up_by_three_characters_at_a_time() {
        assert_eq!(pieces("ab"), None);
        assert_eq!(pieces("ab\0"), None);
        assert_eq!(pieces("abc").unwrap(), "\"abc\"");
        assert_eq!(
            pieces("a\"ü b").unwrap(),
            "\"ü b\" AND \"\"\"ü \" AND \"a\"\"ü\""
        );
        let long = pieces(&"0123456789".repeat(100)).unwrap();
        assert_eq!(long.matches(" AND ").count() + 1, MOST_PIECES);
    }

    /// What a list shows to somebody who looks for `needle`.
    async fn found(bench: &Bench, list: &str, rows: &str, needle: &str) -> Vec<Value> {
        let answer = bench.post(list, json!({"search": needle})).await;
        answer.ok(rows).as_array().unwrap().clone()
    }

    /// Everything of a list in which one of the columns contains `needle`.
    async fn expected(
        bench: &Bench,
        list: &str,
        rows: &str,
        columns: &[&str],
        needle: &str,
    ) -> Vec<Value> {
        let needle = needle.to_ascii_lowercase();
        let answer = bench.post(list, json!({})).await;
        let all = answer.ok(rows).as_array().unwrap().clone();
        let contains = |row: &Value| {
            let mut texts = columns
                .iter()
                .filter_map(|column| row.pointer(column)?.as_str());
            texts.any(|text| text.to_ascii_lowercase().contains(&needle))
        };
        all.into_iter().filter(contains).collect()
    }

    const USER: &[&str] = &[
        "/full_name",
        "/phone_number",
        "/email_address",
        "/acs_user_id",
        "/user_identity_id",
        "/user_identity_full_name",
        "/user_identity_phone_number",
    ];
    const IDENTITY: &[&str] = &[
        "/full_name",
        "/phone_number",
        "/email_address",
        "/user_identity_id",
    ];
    const CREDENTIAL: &[&str] = &["/display_name", "/card_number", "/acs_credential_id"];

    #[tokio::test]
    async fn the_index_finds_what_a_look_at_every_row_finds() {
        let bench = Bench::start().await;
        let names = [
            "Anna \"Ann\" Lee",
            "ÄNNE Öz",
            "anna-lena 100%",
            "Bo",
            "O'Neill",
        ];
        let mut users = Vec::new();
        for (number, name) in names.into_iter().enumerate() {
            let email = format!("guest{number}@example.com");
            let body =
                json!({"acs_system_id": bench.system, "full_name": name, "email_address": email});
            let made = bench.post("/acs/users/create", body).await;
            users.push(made.ok("acs_user")["acs_user_id"].clone());
            let door = bench
                .entrance(bench.system, &format!("Door {number}"))
                .await;
            bench.person(&format!("{name} {number}")).await;
            bench.grant(&[door]).await;
        }
        let renamed = json!({"acs_user_id": users[1], "full_name": "Zoë Quist"});
        bench.post("/acs/users/update", renamed).await.ok("ok");
        let deleted = json!({"acs_user_id": users[2]});
        bench.post("/acs/users/delete", deleted).await.ok("ok");
        bench.registered_card(bench.system, "04ABCDEF123456").await;

        let mut hits = 0;
        let ids = users
            .iter()
            .map(|id| id.as_str().unwrap()[4..18].to_owned());
        let needles = [
            "anna",
            "NN",
            "\"ann\"",
            "ÄNNE",
            "100%",
            "quist",
            "o'n",
            "guest",
            "example.com",
            "04abc",
            "-",
            "no such",
            "B",
            "o",
            "O",
            "'",
            "\"",
            "l-",
            "\"a",
            "ZO",
            "oë",
            "ë",
            "%",
            "m",
            "||",
            "|",
            "0",
            "9f",
        ];
        for needle in needles.map(str::to_owned).into_iter().chain(ids) {
            for (list, rows, columns) in [
                ("/acs/users/list", "acs_users", USER),
                ("/user_identities/list", "user_identities", IDENTITY),
                ("/acs/credentials/list", "acs_credentials", CREDENTIAL),
            ] {
                let expected = expected(&bench, list, rows, columns, &needle).await;
                assert_eq!(
                    found(&bench, list, rows, &needle).await,
                    expected,
                    "{list} {needle}"
                );
                hits += expected.len();
            }
        }
        assert!(hits > 60, "{hits} hits");
    }

    #[tokio::test]
    async fn a_neighbour_is_not_searched() {
        let bench = Bench::start().await;
        bench.person("Winifred").await;
        let (_, key) = bench.neighbour().await;
        let body = json!({"search": "winifred"});
        let theirs = bench
            .post_as(&key, "/user_identities/list", body.clone())
            .await;
        assert_eq!(theirs.ok("user_identities"), &json!([]));
        let ours = bench.post("/user_identities/list", body).await;
        assert_eq!(ours.ok("user_identities").as_array().unwrap().len(), 1);
    }
}
