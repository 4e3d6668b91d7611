//! Tables, views and every statement of the SQLite store. Table names come from checked settings, so building SQL from them is safe.
//! Layout and reasons: docs/decisions/0003-history-layout.md.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

use crate::{config::TableNames, error::HistoryError};

/// The layout that this version writes.
pub const LAYOUT: i64 = 1;

/// Rows per statement for inserts into a hot table, largest first; the last is 1.
pub const INSERT_SIZES: [usize; 4] = [1000, 100, 10, 1];

/// Statements, built once.
#[derive(Debug)]
pub struct Sql {
    pub names: TableNames,
    /// The two hot tables.
    pub hot: [String; 2],
    pub chunk: String,
    state: String,
    /// VOLTTRON's own data table, renamed, until it is imported.
    pub imported: String,
    /// Rows of it whose time could not be read.
    pub unreadable: String,
    insert_hot: [Vec<Arc<str>>; 2],
    pub insert_topic: Arc<str>,
    pub owner_chunk: Arc<str>,
    pub insert_chunk: Arc<str>,
    pub update_chunk: Arc<str>,
    pub page_up: Arc<str>,
    pub page_down: Arc<str>,
    pub extent: Arc<str>,
    pub summaries: Arc<str>,
    pub last_chunk: Arc<str>,
}

/// A statement that was built from checked names.
pub fn statement(sql: &Arc<str>) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(AssertSqlSafe(Arc::clone(sql)))
}

/// A statement used once.
pub fn once(sql: String) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

impl Sql {
    pub fn new(names: TableNames) -> Self {
        let data = names.data.clone();
        let hot = [format!("{data}_hot0"), format!("{data}_hot1")];
        let chunk = format!("{data}_chunk");
        let row = "chunk_id, start_us, end_us, unit_us, count, points";
        let insert_hot = hot.each_ref().map(|hot| {
            let insert = |rows: &usize| {
                let values = vec!["(?,?,?)"; *rows].join(",");
                Arc::from(format!(r#"INSERT OR REPLACE INTO "{hot}"(ts_us, topic_id, value) VALUES {values}"#))
            };
            INSERT_SIZES.iter().map(insert).collect()
        });
        // The chunk that starts at or before a time: the only one that can hold it.
        let floor = format!(r#"coalesce((SELECT max(start_us) FROM "{chunk}" WHERE topic_id = ?1 AND start_us <= ?2), ?2)"#);
        Self {
            insert_topic: format!(
                r#"INSERT INTO "{}"(topic_id, topic_name, metadata) VALUES (?1, ?2, ?3)
                   ON CONFLICT(topic_id) DO UPDATE SET topic_name = excluded.topic_name, metadata = excluded.metadata"#,
                names.topics
            )
            .into(),
            owner_chunk: format!(
                r#"SELECT (SELECT min(start_us) FROM "{chunk}" WHERE topic_id = ?1 AND start_us > ?2), c.chunk_id, c.start_us, c.end_us, c.unit_us,
                     c.count, c.points
                   FROM (SELECT 1) LEFT JOIN "{chunk}" c ON c.chunk_id =
                     (SELECT chunk_id FROM "{chunk}" WHERE topic_id = ?1 AND start_us <= ?2 ORDER BY start_us DESC LIMIT 1)"#
            )
            .into(),
            insert_chunk: format!(
                r#"INSERT INTO "{chunk}"(topic_id, start_us, end_us, unit_us, count, num_min, num_max, num_sum, num_first, num_last, points)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"#
            )
            .into(),
            update_chunk: format!(
                r#"UPDATE "{chunk}" SET topic_id = ?, start_us = ?, end_us = ?, unit_us = ?, count = ?, num_min = ?, num_max = ?, num_sum = ?,
                     num_first = ?, num_last = ?, points = ? WHERE chunk_id = ?"#
            )
            .into(),
            page_up: format!(
                r#"SELECT {row} FROM "{chunk}" WHERE topic_id = ?1 AND start_us >= {floor} AND start_us < ?3 ORDER BY start_us LIMIT ?4"#
            )
            .into(),
            page_down: format!(r#"SELECT {row} FROM "{chunk}" WHERE topic_id = ?1 AND start_us < ?2 ORDER BY start_us DESC LIMIT ?3"#).into(),
            extent: format!(r#"SELECT min(start_us), max(end_us) FROM "{chunk}" WHERE topic_id = ?"#).into(),
            // Points come along only where the chunk's sums do not do: it crosses an edge or a bucket, or overlaps readings in memory.
            summaries: format!(
                r#"SELECT start_us, end_us, unit_us, count, num_min, num_max, num_sum, num_first, num_last,
                     CASE WHEN num_min IS NOT NULL AND start_us >= ?2 AND end_us < ?3 AND end_us < ?6 AND (start_us - ?4) / ?5 = (end_us - ?4) / ?5
                       THEN NULL ELSE points END
                   FROM "{chunk}" WHERE topic_id = ?1 AND start_us >= {floor} AND start_us < ?3 ORDER BY start_us"#
            )
            .into(),
            last_chunk: format!(r#"SELECT {row} FROM "{chunk}" WHERE topic_id = ? ORDER BY start_us DESC LIMIT 1"#).into(),
            state: format!("{data}_state"),
            imported: format!("{data}_volttron"),
            unreadable: format!("{data}_unreadable"),
            insert_hot,
            hot,
            chunk,
            names,
        }
    }

    /// The insert of `INSERT_SIZES[size]` rows into a hot table.
    pub fn insert_hot(&self, table: usize, size: usize) -> &Arc<str> {
        &self.insert_hot[table][size]
    }

    /// Makes what is absent, renames VOLTTRON's data table out of the way, and returns which hot table is active. One transaction.
    pub async fn create(&self, connection: &mut SqliteConnection) -> Result<usize, HistoryError> {
        let mut transaction = sqlx::Connection::begin_with(connection, "BEGIN IMMEDIATE").await?;
        let Self { names, hot: [hot0, hot1], chunk, state, imported, .. } = self;
        let (data, topics, meta) = (&names.data, &names.topics, &names.meta);
        if self.kind_of(&mut transaction, data).await?.as_deref() == Some("table") {
            once(format!(r#"ALTER TABLE "{data}" RENAME TO "{imported}""#)).execute(&mut *transaction).await?;
        }
        for sql in [
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{topics}"(topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, metadata TEXT, UNIQUE(topic_name))"#
            ),
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{hot0}"(ts_us INTEGER, topic_id INTEGER, value TEXT NOT NULL, PRIMARY KEY(ts_us, topic_id)) WITHOUT ROWID"#
            ),
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{hot1}"(ts_us INTEGER, topic_id INTEGER, value TEXT NOT NULL, PRIMARY KEY(ts_us, topic_id)) WITHOUT ROWID"#
            ),
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{chunk}"(chunk_id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, start_us INTEGER NOT NULL,
                     end_us INTEGER NOT NULL, unit_us INTEGER NOT NULL, count INTEGER NOT NULL, num_min REAL, num_max REAL, num_sum REAL,
                     num_first REAL, num_last REAL, points TEXT NOT NULL, UNIQUE(topic_id, start_us))"#
            ),
            format!(r#"CREATE INDEX IF NOT EXISTS "{chunk}_end" ON "{chunk}"(end_us)"#),
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{state}"(id INTEGER PRIMARY KEY CHECK(id = 1), layout INTEGER NOT NULL, active INTEGER NOT NULL, imported_topic INTEGER)"#
            ),
            format!(r#"INSERT OR IGNORE INTO "{state}"(id, layout, active) VALUES (1, {LAYOUT}, 0)"#),
        ] {
            once(sql).execute(&mut *transaction).await?;
        }
        let (found, active): (i64, i64) =
            sqlx::query_as(AssertSqlSafe(format!(r#"SELECT layout, active FROM "{state}""#))).fetch_one(&mut *transaction).await?;
        if found > LAYOUT {
            return Err(HistoryError::Layout { found, known: LAYOUT });
        }
        self.adopt_metadata(&mut transaction, topics, meta).await?;
        if self.kind_of(&mut transaction, data).await?.is_none() {
            once(self.data_view()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(usize::from(active == 1))
    }

    /// Makes the other hot table the active one.
    pub async fn switch(&self, connection: &mut SqliteConnection, active: usize) -> Result<(), HistoryError> {
        once(format!(r#"UPDATE "{}" SET active = {active}"#, self.state)).execute(connection).await?;
        Ok(())
    }

    /// Up to which topic VOLTTRON's readings are imported.
    pub async fn imported_topic(&self, connection: &mut SqliteConnection) -> Result<Option<i64>, HistoryError> {
        let sql = format!(r#"SELECT imported_topic FROM "{}""#, self.state);
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
    }

    /// Notes up to which topic VOLTTRON's readings are imported.
    pub async fn set_imported_topic(&self, connection: &mut SqliteConnection, topic: i64) -> Result<(), HistoryError> {
        once(format!(r#"UPDATE "{}" SET imported_topic = ?"#, self.state)).bind(topic).execute(connection).await?;
        Ok(())
    }

    /// `table`, `view` or nothing.
    pub async fn kind_of(&self, connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, HistoryError> {
        let kind = sqlx::query_scalar("SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')");
        Ok(kind.bind(name).fetch_optional(connection).await?)
    }

    /// VOLTTRON 6 has metadata in a table of its own: it moves into `topics`, and a view of the old name stays for readers.
    async fn adopt_metadata(&self, connection: &mut SqliteConnection, topics: &str, meta: &str) -> Result<(), HistoryError> {
        let columns: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(topics).fetch_all(&mut *connection).await?;
        if !columns.iter().any(|column| column.eq_ignore_ascii_case("metadata")) {
            once(format!(r#"ALTER TABLE "{topics}" ADD COLUMN metadata TEXT"#)).execute(&mut *connection).await?;
        }
        if self.kind_of(connection, meta).await?.as_deref() == Some("table") {
            for sql in [
                format!(
                    r#"UPDATE "{topics}" SET metadata = (SELECT metadata FROM "{meta}" m WHERE m.topic_id = "{topics}".topic_id)
                       WHERE metadata IS NULL"#
                ),
                format!(r#"DROP TABLE "{meta}""#),
                format!(
                    r#"CREATE VIEW "{meta}"(topic_id, metadata) AS SELECT topic_id, metadata FROM "{topics}" WHERE metadata IS NOT NULL"#
                ),
            ] {
                once(sql).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    /// VOLTTRON's `data` table as a view. The active hot table hides the sealed one, both hide chunks.
    fn data_view(&self) -> String {
        let Self { names, hot: [hot0, hot1], chunk, state, .. } = self;
        let ts = |us: &str| {
            // The inner expression is the fraction of a second, 0 or more also before 1970.
            let micros = format!("((({us}) % 1000000 + 1000000) % 1000000)");
            format!("strftime('%Y-%m-%dT%H:%M:%S', (({us}) - {micros}) / 1000000, 'unixepoch') || printf('.%06d+00:00', {micros})")
        };
        let hidden = |table: &str| format!(r#"EXISTS (SELECT 1 FROM "{table}" o WHERE o.ts_us = h.ts_us AND o.topic_id = h.topic_id)"#);
        format!(
            r#"CREATE VIEW "{}"(ts, topic_id, value_string) AS
               SELECT {ts}, h.topic_id, h.value FROM "{hot0}" h WHERE (SELECT active FROM "{state}") = 0 OR NOT {in1}
               UNION ALL SELECT {ts}, h.topic_id, h.value FROM "{hot1}" h WHERE (SELECT active FROM "{state}") = 1 OR NOT {in0}
               UNION ALL SELECT {ts}, h.topic_id, h.value FROM (
                 SELECT c.topic_id AS topic_id, c.start_us + (e.value ->> 0) * c.unit_us AS ts_us, e.value -> 1 AS value
                 FROM "{chunk}" c, json_each(c.points) e) h
               WHERE NOT {in0} AND NOT {in1}"#,
            names.data,
            ts = ts("h.ts_us"),
            in0 = hidden(hot0),
            in1 = hidden(hot1),
        )
    }
}
