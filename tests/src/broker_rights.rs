//! The broker's users of the documents: the commands of `rabbitmqctl` that make them.

use anyhow::Result;

use crate::servers::RabbitMq;

/// The names of exchanges and queues that `AMQP_PREFIX` is put before begin so.
const NAMES: [&str; 3] = ["stripe", "dialoom", "app"];

/// The arguments of each command of `rabbitmqctl` below a heading of a document, up to the next
/// heading: for names under this prefix, and with this password for each user.
///
/// # Panics
/// The document has no such heading.
#[must_use]
pub fn commands(document: &str, heading: &str, prefix: &str, password: &str) -> Vec<Vec<String>> {
    let section = document.split_once(&format!("\n{heading}\n"));
    let (_, section) = section.expect("the document has the heading");
    let section = section.split("\n#").next().unwrap_or_default();
    let escaped = prefix.replace('.', r"\.");
    let lines = section.lines().filter_map(|line| {
        let mut line = line.strip_prefix("    rabbitmqctl ")?.to_owned();
        for name in NAMES {
            let name = format!(r"{name}\.");
            line = line.replace(&name, &format!("{escaped}{name}"));
        }
        let line = line.replace("'...'", password).replace('\'', "");
        Some(line.split(' ').map(str::to_owned).collect())
    });
    lines.collect()
}

/// Runs commands of `rabbitmqctl`, each given by its arguments.
///
/// # Errors
/// The first that fails.
pub async fn run(node: &RabbitMq, commands: &[Vec<String>]) -> Result<()> {
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        node.ctl(&arguments).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_section_have_the_prefix_and_the_password() {
        let document = "# A\n\n## B\n\n    rabbitmqctl add_user app '...'\n    \
            rabbitmqctl set_permissions app '^(app\\.news|amq\\.default)$' '^$'\n\n\
            ## C\n\n    rabbitmqctl add_user c '...'\n";
        assert_eq!(
            commands(document, "## B", "eu.", "secret"),
            [
                vec!["add_user", "app", "secret"],
                vec![
                    "set_permissions",
                    "app",
                    r"^(eu\.app\.news|amq\.default)$",
                    "^$"
                ],
            ]
        );
    }
}
