//! Whether the database belongs to this deployment.

use shared::config::{ConfigError, Held};
use store::{
    Connection, Error,
    deployment::{self, Deployment},
    session,
};

use crate::config::Config;

/// Why a database was not taken as this deployment's.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It belongs to another one.
    Other(ConfigError),
    /// It takes no writes, and something is to be noted in it.
    ReadOnly,
    /// It does not answer.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Other(error)
    }
}

/// Compares this deployment with that of the database's first start, where the database
/// remembers one. Returns whether it does.
pub(super) async fn check_known(conn: &Connection, config: &Config) -> Result<bool, Refusal> {
    let Some(first) = deployment::find(conn).await? else {
        return Ok(false);
    };
    compare(&ours(conn, config).await?, &first)?;
    Ok(true)
}

/// As [`check_known`]; the first start itself is remembered. A database of a release that
/// remembered none is held to the mode of the events in its ledger.
pub(super) async fn check(conn: &Connection, config: &Config) -> Result<(), Refusal> {
    if check_known(conn, config).await? {
        return Ok(());
    }
    let ours = ours(conn, config).await?;
    if let Some(mode) = deployment::mode_of_ledger(conn).await? {
        compare_modes(&ours.mode, &mode.to_string())?;
    }
    if !session::takes_writes(conn).await? {
        return Err(Refusal::ReadOnly);
    }
    compare(&ours, &deployment::remember(conn, &ours).await?)?;
    Ok(())
}

async fn ours(conn: &Connection, config: &Config) -> Result<Deployment, Error> {
    Ok(Deployment {
        mode: config.rules.mode.to_string(),
        app_schema: deployment::app_schema(conn).await?,
        amqp_prefix: config.amqp_prefix.clone(),
    })
}

/// Refuses to write to a database of another deployment.
///
/// # Errors
/// [`ConfigError`] within, where mode, schema or prefix differ.
pub async fn check_same(
    conn: &Connection,
    config: &Config,
) -> Result<Result<(), ConfigError>, Error> {
    match check_known(conn, config).await {
        Ok(_) | Err(Refusal::ReadOnly) => Ok(Ok(())),
        Err(Refusal::Other(error)) => Ok(Err(error)),
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// Refuses to send to the broker's names of another deployment than the database's.
///
/// # Errors
/// [`ConfigError`] within, where the prefix differs.
pub async fn check_prefix(
    conn: &Connection,
    prefix: &str,
) -> Result<Result<(), ConfigError>, Error> {
    let first = deployment::find(conn).await?;
    Ok(first.map_or(Ok(()), |first| compare_prefixes(prefix, &first.amqp_prefix)))
}

fn compare(ours: &Deployment, first: &Deployment) -> Result<(), ConfigError> {
    compare_modes(&ours.mode, &first.mode)?;
    compare_prefixes(&ours.amqp_prefix, &first.amqp_prefix)?;
    // Where there is no such schema, the migrations say so.
    if !ours.app_schema.is_empty() && ours.app_schema != first.app_schema {
        let held = Held::value(&ours.app_schema);
        let expected = expected(&format!("{:?}", first.app_schema), "schema");
        return Err(ConfigError::new(
            "the schema of DATABASE_URL",
            held,
            expected,
        ));
    }
    Ok(())
}

fn compare_modes(ours: &str, first: &str) -> Result<(), ConfigError> {
    if ours == first {
        return Ok(());
    }
    let held = Held::value(ours);
    Err(ConfigError::new(
        "STRIPE_MODE",
        held,
        expected(first, "mode"),
    ))
}

fn compare_prefixes(ours: &str, first: &str) -> Result<(), ConfigError> {
    if ours == first {
        return Ok(());
    }
    let held = match ours {
        "" => Held::Nothing,
        ours => Held::value(ours),
    };
    let first = match first {
        "" => "nothing".to_owned(),
        first => format!("{first:?}"),
    };
    Err(ConfigError::new(
        "AMQP_PREFIX",
        held,
        expected(&first, "prefix"),
    ))
}

/// What the database remembers, and the way out.
fn expected(first: &str, what: &str) -> String {
    format!(
        "{first}, to which this database belongs since its first start: another {what} needs \
         another database, named by DATABASE_URL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(mode: &str, app_schema: &str, amqp_prefix: &str) -> Deployment {
        Deployment {
            mode: mode.into(),
            app_schema: app_schema.into(),
            amqp_prefix: amqp_prefix.into(),
        }
    }

    #[test]
    fn each_difference_is_a_line_with_both_values_and_the_way_out() {
        let first = deployment("live", "public", "");
        assert_eq!(compare(&first, &first), Ok(()));
        for (ours, said) in [
            (
                deployment("test", "public", ""),
                r#"STRIPE_MODE holds "test"; expected live, "#,
            ),
            (
                deployment("live", "shop", ""),
                r#"the schema of DATABASE_URL holds "shop"; expected "public", "#,
            ),
            (
                deployment("live", "public", "b."),
                r#"AMQP_PREFIX holds "b."; expected nothing, "#,
            ),
        ] {
            let line = compare(&ours, &first).unwrap_err().to_string();
            assert!(line.starts_with(said), "{line}");
            assert!(line.contains("needs another database"), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
        let prefixed = deployment("live", "public", "a.");
        let line = compare(&first, &prefixed).unwrap_err().to_string();
        assert!(
            line.starts_with(r#"AMQP_PREFIX holds nothing; expected "a.", "#),
            "{line}"
        );
    }
}
