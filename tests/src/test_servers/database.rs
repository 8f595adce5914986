//! A database of its own for a test.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use url::Url;

use super::{clean_up, database_url, template, unique};
use crate::servers::postgres;

/// A database of its own, dropped with all connections to it when this value is.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
    url: String,
}

impl TestDatabase {
    /// An empty database on the server of `DATABASE_URL`. The label becomes part
    /// of its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn empty(label: &str) -> Result<Self> {
        Self::empty_on(&database_url(), label).await
    }

    /// An empty database on this server.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn empty_on(server: &str, label: &str) -> Result<Self> {
        let name = format!("test_{}", unique(label, '_'));
        let admin = admin(server).await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .context("CREATE DATABASE")?;
        Self::named(server, name)
    }

    /// A copy of a database that `migrate` has filled. `migrate` gets the address
    /// of an empty database, once per server and key, however many tests and
    /// processes ask at the same time; the key must change whenever what
    /// `migrate` does changes.
    ///
    /// ```no_run
    /// # async fn example() -> anyhow::Result<()> {
    /// let hash_of_migrations = "5f1c";
    /// let key = format!("worker-{hash_of_migrations}");
    /// let database = harness::test_servers::TestDatabase::from_template(&key, async |url| {
    ///     println!("migrate {url}");
    ///     Ok(())
    /// })
    /// .await?;
    /// println!("connect to {}", database.url());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When `migrate` fails or the database cannot be made.
    pub async fn from_template(
        key: &str,
        migrate: impl AsyncFnOnce(&str) -> Result<()>,
    ) -> Result<Self> {
        let server = database_url();
        let admin = admin(&server).await?;
        let template = template::ensure(&admin, &server, key, migrate).await?;
        let name = format!("test_{}", unique(key, '_'));
        let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
        admin
            .batch_execute(&copy)
            .await
            .context("CREATE DATABASE from its template")?;
        Self::named(&server, name)
    }

    fn named(server: &str, name: String) -> Result<Self> {
        let url = with_database(server, &name)?;
        Ok(Self {
            server: server.to_owned(),
            name,
            url,
        })
    }

    /// Its address, for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection to it.
    pub async fn connect(&self) -> Result<Client> {
        postgres::connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        clean_up(&self.name, async {
            let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            admin(&self.server)
                .await?
                .batch_execute(&statement)
                .await
                .context("DROP DATABASE")
        });
    }
}

/// A connection for making and dropping databases.
async fn admin(server: &str) -> Result<Client> {
    postgres::connect(server)
        .await
        .context("cannot connect to the server of DATABASE_URL")
}

/// The address with another database in it.
pub(super) fn with_database(server: &str, name: &str) -> Result<String> {
    let mut url = Url::parse(server)
        .context("DATABASE_URL is not of the form postgres://user@host:port/database")?;
    url.set_path(name);
    Ok(url.into())
}
