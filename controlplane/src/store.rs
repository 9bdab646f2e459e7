//! Accounts on disk: the apps and the hashes of their secrets, in `SQLite`.
//!
//! A secret is 256 random bits (or what the operator chose), so a plain SHA-256 of it cannot be
//! turned back; it is compared in constant time.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, rand};
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
};
use subtle::ConstantTimeEq;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

/// One app, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// 32 lower-case hexadecimal digits, or what the operator chose.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
    /// When its name or secret was changed last.
    pub modified: SystemTime,
}

/// An app that was made just now. The secret is not kept anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApp {
    /// What is kept.
    pub app: App,
    /// 64 lower-case hexadecimal digits.
    pub secret: String,
}

impl std::fmt::Debug for NewApp {
    /// Leaves the secret out, so that no log can hold it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewApp")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

/// What came of looking at a bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The token is the app's secret.
    Granted,
    /// The app exists; the token is not its secret.
    WrongSecret,
    /// There is no such app.
    UnknownApp,
}

/// The database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What `SQLite` said.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The random source failed.
    #[error("the system gives no random numbers")]
    Random,
    /// The file was written by a newer version.
    #[error("the database has version {found}; this program knows versions up to {known}")]
    TooNew {
        /// In the file.
        found: i64,
        /// By us.
        known: usize,
    },
}

impl Store {
    /// Opens the database in `data_dir`, makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join(FILE_NAME))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await?;
        let store = Self { pool };
        store.migrate().await?;
        Ok(store)
    }

    /// Looks at a bearer token. Takes as long whatever part of the secret is wrong.
    ///
    /// # Errors
    /// The database failed.
    pub async fn authenticate(&self, app_id: &str, token: &str) -> Result<Access, StoreError> {
        let row = sqlx::query("SELECT secret_hash FROM apps WHERE id = ?1")
            .bind(app_id)
            .fetch_optional(&self.pool)
            .await?;
        let given = hash(token);
        let kept: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(match kept {
            None => Access::UnknownApp,
            Some(kept) if bool::from(kept.as_slice().ct_eq(&given)) => Access::Granted,
            Some(_) => Access::WrongSecret,
        })
    }

    /// All apps, the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apps(&self) -> Result<Vec<App>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created_ms, modified_ms FROM apps ORDER BY created_ms, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(app_of).collect()
    }

    /// One app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn app(&self, id: &str) -> Result<Option<App>, StoreError> {
        let row = sqlx::query("SELECT id, name, created_ms, modified_ms FROM apps WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(app_of).transpose()
    }

    /// Makes an app with an id and secret from a CSPRNG.
    ///
    /// # Errors
    /// The database or the random source failed.
    pub async fn create_app(&self, name: &str) -> Result<NewApp, StoreError> {
        let (id, secret) = (random_hex::<16>()?, random_hex::<32>()?);
        self.put_app(&id, name, &secret).await?;
        let app = self.app(&id).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(NewApp { app, secret })
    }

    /// Makes sure that an app with this id exists and has this secret.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ensure_app(&self, id: &str, secret: &str) -> Result<(), StoreError> {
        if self.authenticate(id, secret).await? != Access::Granted {
            self.put_app(id, "", secret).await?;
        }
        Ok(())
    }

    /// Gives an app another name. None if there is no such app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rename_app(&self, id: &str, name: &str) -> Result<Option<App>, StoreError> {
        sqlx::query("UPDATE apps SET name = ?2, modified_ms = ?3 WHERE id = ?1")
            .bind(id)
            .bind(name)
            .bind(millis(SystemTime::now()))
            .execute(&self.pool)
            .await?;
        self.app(id).await
    }

    /// Removes an app and tells what it was. None if there is no such app.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_app(&self, id: &str) -> Result<Option<App>, StoreError> {
        let row = sqlx::query(
            "DELETE FROM apps WHERE id = ?1 RETURNING id, name, created_ms, modified_ms",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(app_of).transpose()
    }

    async fn put_app(&self, id: &str, name: &str, secret: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO apps (id, name, secret_hash, created_ms, modified_ms)
             VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (id) DO UPDATE SET secret_hash = ?3, modified_ms = ?4",
        )
        .bind(id)
        .bind(name)
        .bind(hash(secret).as_slice())
        .bind(millis(SystemTime::now()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Each step runs once, in a transaction of its own; `user_version` counts them.
    async fn migrate(&self) -> Result<(), StoreError> {
        let found: i64 = sqlx::query("PRAGMA user_version")
            .fetch_one(&self.pool)
            .await?
            .try_get(0)?;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        if done > MIGRATIONS.len() {
            return Err(StoreError::TooNew {
                found,
                known: MIGRATIONS.len(),
            });
        }
        for (statement, version) in MIGRATIONS.iter().zip(VERSIONS).skip(done) {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(*statement).execute(&mut *transaction).await?;
            sqlx::query(version).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// `bytes` random bytes as lower-case hexadecimal digits.
///
/// # Errors
/// The random source failed.
pub fn random_hex<const BYTES: usize>() -> Result<String, StoreError> {
    let mut random = [0; BYTES];
    rand::fill(&mut random).map_err(|_| StoreError::Random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Compares two secrets in a time that does not depend on where they differ.
pub fn secrets_equal(a: &str, b: &str) -> bool {
    // The hashes have one length, so that the lengths do not show either.
    hash(a).ct_eq(&hash(b)).into()
}

fn hash(secret: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

fn app_of(row: &SqliteRow) -> Result<App, StoreError> {
    Ok(App {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        created: time_of(row.try_get(2)?),
        modified: time_of(row.try_get(3)?),
    })
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time_of(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

const FILE_NAME: &str = "jackfield.sqlite";
const CONNECTIONS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Never change one that was released; add another.
const MIGRATIONS: [&str; 1] = ["CREATE TABLE apps (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL
) STRICT"];
/// Written out, since a pragma takes no bound values.
const VERSIONS: [&str; MIGRATIONS.len()] = ["PRAGMA user_version = 1"];

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn only_the_secret_of_an_app_opens_it() {
        let (_dir, store) = store().await;
        let NewApp { app, secret } = store.create_app("one").await.unwrap();
        let other = store.create_app("two").await.unwrap();
        let table = [
            (app.id.as_str(), secret.as_str(), Access::Granted),
            (app.id.as_str(), other.secret.as_str(), Access::WrongSecret),
            (app.id.as_str(), "", Access::WrongSecret),
            ("nobody", secret.as_str(), Access::UnknownApp),
        ];
        for (id, token, expected) in table {
            assert_eq!(store.authenticate(id, token).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn apps_outlive_the_process() {
        let (dir, store) = store().await;
        let made = store.create_app("one").await.unwrap();
        drop(store);
        let again = Store::open(dir.path()).await.unwrap();
        assert_eq!(again.apps().await.unwrap(), [made.app]);
    }

    #[tokio::test]
    async fn the_secret_is_not_in_the_file() {
        let (dir, store) = store().await;
        let secret = store.create_app("one").await.unwrap().secret;
        store.pool.close().await;
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
            );
        }
    }

    #[tokio::test]
    async fn an_app_of_the_operators_choice_takes_a_new_secret() {
        let (_dir, store) = store().await;
        store.ensure_app("mine", "first").await.unwrap();
        store.ensure_app("mine", "second").await.unwrap();
        assert_eq!(
            store.authenticate("mine", "first").await.unwrap(),
            Access::WrongSecret
        );
        assert_eq!(
            store.authenticate("mine", "second").await.unwrap(),
            Access::Granted
        );
        assert_eq!(store.apps().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_app_can_be_renamed_and_deleted() {
        let (_dir, store) = store().await;
        let id = store.create_app("one").await.unwrap().app.id;
        assert_eq!(
            store.rename_app(&id, "two").await.unwrap().unwrap().name,
            "two"
        );
        assert_eq!(store.delete_app(&id).await.unwrap().unwrap().name, "two");
        assert_eq!(store.delete_app(&id).await.unwrap(), None);
        assert_eq!(store.rename_app(&id, "three").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused() {
        let (dir, store) = store().await;
        sqlx::query("PRAGMA user_version = 99")
            .execute(&store.pool)
            .await
            .unwrap();
        let refused = Store::open(dir.path()).await.unwrap_err();
        assert!(matches!(
            refused,
            StoreError::TooNew {
                found: 99,
                known: 1
            }
        ));
    }
}
